"""What stands in the memory of a simulated Omron cuff, byte by byte.

Source: field notes on Omron's EEPROM protocol (docs/reference/sources.md).

    record L  systolic - 25, diastolic, pulse, year - 2000, then two words, the low
              byte first: hour 5 bits, day 5, month 4, irregular, moved; and second
              6 bits, minute 6, cuff; zeros; in the last two bytes a number
    record B  diastolic 8 bits, systolic - 25 8, year - 2000 8, pulse 8, moved,
              irregular, month 4, day 5, hour 5, four bits, minute 6, second 6
    record S  year - 2000, month, day, hour, minute, second, systolic - 25,
              diastolic, pulse, two bytes, irregular 2 bits and moved 2
    index     a word for each user: the newest slot and one, 8000 for none; behind
              four bytes the numbers of unread records. With records S the newest
              slot itself, at 6 and 14. Words have the low byte first with L only
    clock     lin8  8 bytes, year month day hour minute second, their sum, 00
              mix   2 bytes, month year hour day second minute, a byte, the sum
              mix8  8 bytes, the same; the byte counts for no sum, and is F0 here
              pre   year month day hour minute second, 10 bytes

Which of B's two bits is "moved" is not certain; here it is the first (our choice).
"""

from dataclasses import dataclass, replace
from datetime import datetime
from struct import pack

_NOTHING_STORED = 0x8000
_HEADS = {"mix": b"\x3c\x5a", "mix8": b"\x50\xc0\0\x03\0\0\0\0"}


@dataclass(frozen=True, slots=True)
class Layout:
    """How one model's memory is laid out.

    Attributes:
        model: Its number.
        opens: ``key``, ``token``, or ``bond`` for one that needs neither.
        users: Address and number of slots of each user.
        form: ``L``, ``B`` or ``S``: how a record is written.
        size: Of a record.
        block: The most bytes of one read.
        read: Where the settings are read.
        write: Where they are written.
        index: The size of the index.
        clock: Where the clock's window stands behind either.
        shows: ``lin8``, ``mix``, ``mix8`` or ``pre``: how the window is written.
    """

    model: str
    opens: str
    users: tuple[tuple[int, int], ...]
    form: str
    size: int
    block: int
    read: int
    write: int
    index: int
    clock: int
    shows: str


HEM_7155T = Layout(
    "HEM-7155T", "key", ((0x0098, 60), (0x0458, 60)), "L", 16, 16, 0x10, 0x54, 16, 0x2C,
    "lin8",
)  # fmt: skip
HEM_7322T = Layout(
    "HEM-7322T", "key", ((0x02AC, 100), (0x0824, 100)), "B", 14, 44, 0x0260, 0x0286, 8,
    0x14, "mix",
)  # fmt: skip
HEM_7142T2 = Layout(
    "HEM-7142T2",
    "token",
    ((0x02E8, 14),),
    "L",
    14,
    44,
    0x0260,
    0x02A4,
    16,
    0x2C,
    "lin8",
)
HEM_7146T = replace(HEM_7142T2, model="HEM-7146T", opens="bond", users=((0x02E8, 30),))
HEM_6232T = Layout(
    "HEM-6232T", "key", ((0x02E8, 100), (0x0860, 100)), "B", 14, 44, 0x0260, 0x02A4, 16,
    0x2C, "mix8",
)  # fmt: skip
HEM_6401T = Layout(
    "HEM-6401T", "key", ((0x1350, 100),), "S", 16, 16, 0x0100, 0x0160, 16, 0x10, "pre"
)
HEM_6410T = replace(
    HEM_6401T, model="HEM-6410T", users=((0x5590, 100),), size=32, write=0x0170
)


@dataclass(frozen=True, slots=True)
class OmronRecord:
    """One stored measurement.

    Attributes:
        time: The cuff's clock, without a zone; None if it was never set.
        systolic: In mmHg, 25 to 250, or 279 in a record B or S.
        diastolic: In mmHg, 0 to 255.
        pulse: Per minute, 0 to 255.
        user: 1, or 2 where there are two.
        irregular: The pulse was irregular.
        moved: The body moved.
    """

    time: datetime | None
    systolic: int
    diastolic: int
    pulse: int
    user: int = 1
    irregular: bool = False
    moved: bool = False

    def encode(self, form: str, size: int, number: int) -> bytes:
        """Return the record as it stands in a slot of ``size`` bytes."""
        pressure = bytes([self.systolic - 25, self.diastolic, self.pulse])
        year, month, day, hour, minute, second = 2000, 0, 0, 0, 0, 0
        if self.time is not None:
            year, month, day, hour, minute, second = self.time.timetuple()[:6]
        if form == "L":
            date = hour | day << 5 | month << 10
            date |= self.irregular << 14 | self.moved << 15
            rest = second | minute << 6 | 1 << 12
            record = pressure + pack("<BHH", year - 2000, date, rest)
            return record.ljust(size - 2, b"\0") + pack("<H", number & 0xFFFF)
        if form == "S":
            flags = self.irregular | self.moved << 2
            date_time = bytes([year - 2000, month, day, hour, minute, second])
            return (date_time + pressure + bytes([0, 0, flags])).ljust(size, b"\0")
        bits = f"{self.diastolic:08b}{self.systolic - 25:08b}{year - 2000:08b}"
        bits += f"{self.pulse:08b}{self.moved:b}{self.irregular:b}{month:04b}"
        bits += f"{day:05b}{hour:05b}0001{minute:06b}{second:06b}"
        return int(bits, 2).to_bytes(8, "big").ljust(size, b"\0")


class Memory:
    """A cuff's memory: each user's slots, of which the oldest are forgotten.

    Args:
        layout: How it is laid out.

    Attributes:
        slots: Each user's contents, by the slot.
    """

    def __init__(self, layout: Layout) -> None:
        self.slots: list[dict[int, bytes]] = [{} for _ in layout.users]
        self._layout = layout
        self._counts = [0] * len(layout.users)

    def store(self, record: OmronRecord) -> None:
        """Add a record."""
        user = record.user - 1
        count, (_, slots) = self._counts[user], self._layout.users[user]
        slot = record.encode(self._layout.form, self._layout.size, count + 1)
        self.slots[user][count % slots] = slot
        self._counts[user] += 1

    def erase(self) -> None:
        """Forget all records."""
        self.slots = [{} for _ in self._layout.users]
        self._counts = [0] * len(self._layout.users)

    def image(self, window: bytes, index: bytes | None) -> bytes:
        """Return all of it.

        Args:
            window: That of the clock.
            index: What stands there instead of the right index, if anything.
        """
        layout = self._layout
        memory = bytearray(b"\xff" * 0x10000)
        for user, (start, _) in enumerate(layout.users):
            for slot, record in self.slots[user].items():
                at = start + slot * layout.size
                memory[at : at + layout.size] = record
        shown = self._index() if index is None else index
        memory[layout.read : layout.read + layout.index] = shown
        at = layout.read + layout.clock
        memory[at : at + len(window)] = window
        return bytes(memory)

    def _index(self) -> bytes:
        layout = self._layout
        index = bytearray(layout.index)
        form = "<H" if layout.form == "L" else ">H"
        for user, (_, slots) in enumerate(layout.users):
            count = self._counts[user]
            first, second = (6, 14) if layout.form == "S" else (2 * user, 4 + 2 * user)
            newest = (count - 1) % slots
            cursor = newest if layout.form == "S" else newest + 1
            word = cursor if count else _NOTHING_STORED
            index[first : first + 2] = pack(form, word)
            index[second : second + 2] = pack(form, min(count, 0xFF))
        return bytes(index)


def write_window(shows: str, moment: datetime) -> bytes:
    """Return the window of a clock that shows ``moment``."""
    year, month, day, hour, minute, second = moment.timetuple()[:6]
    year -= 2000
    if shows == "pre":
        return bytes([year, month, day, hour, minute, second]) + b"\xa5" * 10
    if shows in _HEADS:
        window = _HEADS[shows] + bytes([month, year, hour, day, second, minute])
        return window + bytes([0xF0, sum(window) % 256])
    window = b"\xc8\xa8\0\0\0\0\0\0"
    window += bytes([year, month, day, hour, minute, second])
    return window + bytes([sum(window) % 256, 0])


def read_window(shows: str, window: bytes) -> datetime | None:
    """Return what a host has put into the window; None if it is none."""
    if shows == "pre":
        year, month, day, hour, minute, second = window[:6]
        is_right = window[6:] == b"\xa5" * 10
    elif shows in _HEADS:
        month, year, hour, day, second, minute = window[-8:-2]
        is_right = window[:-8] == _HEADS[shows] and window[-2] == 0
        is_right = is_right and window[-1] == sum(window[:-2]) % 256
    else:
        year, month, day, hour, minute, second = window[8:14]
        is_right = window[:8] == b"\xc8\xa8\0\0\0\0\0\0" and window[15] == 0
        is_right = is_right and window[14] == sum(window[:14]) % 256
    if not is_right:
        return None
    return datetime(2000 + year, month, day, hour, minute, second)  # noqa: DTZ001
