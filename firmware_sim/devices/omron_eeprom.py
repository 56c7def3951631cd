"""An Omron cuff whose memory is read by address.

Source: field notes on Omron's EEPROM protocol (docs/reference/sources.md).

A request is one frame, and so is its answer; words have their high byte first:

    length u8, type u16, address u16, count u8, data, result u8, xor u8

    08 0000 0000 10 00 18           8000, count 16       begin
    08 0100 address count 00 xor    8100, count, data    read
    len 01C0 address count data ..  81C0, count          write
    08 0F00 0000 00 00 07           8F00                 end

``length`` counts all of it; ``xor`` makes the exclusive or of all bytes 0. Older
cuffs take and give a frame in pieces of 16 bytes, the first on channel 0, the
next on channel 1; newer ones have one channel. A channel is a characteristic to
write to and one that notifies. Before anything is answered the cuff must be
opened on a characteristic of its own:

    02, 16 x 00       82 00 while -P- blinks, else 82 0F
    00, 16 bytes      80 00, the cuff keeps the key, and -P- ends
    01, 16 bytes      81 00 if that is its key, else 81 0F
    11, 4 bytes, ..   91 00, the 4 bytes

Our choice, for the notes do not tell: the result 0F of a refusal; that a closed
cuff is silent; that a read beyond a block, or a write anywhere but into the
clock's window, is answered by 8F00 with code 1; that it hangs up 3 s behind the
end.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from struct import pack
from uuid import UUID

from firmware_sim.bench import (
    Action,
    AttError,
    Characteristic,
    HangUp,
    Pairing,
    Security,
    Send,
    Wait,
)
from firmware_sim.label import Label, services
from firmware_sim.omron_memory import (
    HEM_7155T,
    Layout,
    Memory,
    OmronRecord,
    read_window,
    write_window,
)
from firmware_sim.trial import Shown, SimClock, Span, Trial, stopped_clock
from protocols.crc import xor8
from protocols.gatt.uuid import sig
from protocols.observation import Kind, Quantity, Unit

_CLASSIC = UUID("ecbe3980-c9a2-11e1-b1bd-0002a5d5c51b")
_MODERN = sig(0xFE4A)
_SENDS = tuple(
    UUID(f"{head}-0002a5d5c51b")
    for head in (
        "49123040-aee8-11e1-a74d",
        "4d0bf320-aee8-11e1-a0d9",
        "5128ce60-aee8-11e1-b84b",
        "560f1420-aee8-11e1-8184",
    )
)
_TAKES = tuple(
    UUID(f"{head}-0002a5d5c51b")
    for head in (
        "db5b55e0-aee7-11e1-965e",
        "e0b8a060-aee7-11e1-92f4",
        "0ae12b00-aee8-11e1-a192",
        "10e1ba60-aee8-11e1-89e5",
    )
)
_OPENS = UUID("b305b680-aee7-11e1-a730-0002a5d5c51b")

_PIECE = 16
_REFUSAL, _END_REFUSED = 0x0F, 1
_HANGS_UP_S = 3.0
_WRITE_NOT_PERMITTED = 0x03


class OmronCuff:
    """An Omron cuff's firmware: a `GattBench`.

    Args:
        records: What it has measured, oldest first; each user's last are held.
        layout: Its model.
        label: Its device information and battery; by default the model's own.
        clock: Tells the time that it shows; it stands still if not given.
        is_pairing: -P- blinks: it takes a new key.

    Attributes:
        set_to: What the host last set its clock to; None if never.
        unregistered: The users, from 1, whose memory it does not give.
        refused: The addresses that it does not give now.
        short: How many of its next answers hold one byte too few.
        index: Bytes that stand there instead of its index, where a test wants it.
    """

    def __init__(
        self,
        records: Iterable[OmronRecord] = (),
        layout: Layout = HEM_7155T,
        *,
        label: Label | None = None,
        clock: Callable[[], datetime] = stopped_clock,
        is_pairing: bool = True,
    ) -> None:
        self.set_to: datetime | None = None
        self.unregistered: frozenset[int] = frozenset()
        self.refused: frozenset[int] = frozenset()
        self.short = 0
        self.index: bytes | None = None
        self.name = "BLESmart_0000021F000000000815"
        self.pairing, self.passkey = Pairing.JUST_WORKS, 0
        self.advertised = (_CLASSIC if _is_classic(layout) else _MODERN,)
        self.services = _services(layout)
        self.mtu = 23 if _is_classic(layout) else 247
        self._layout, self._clock = layout, clock
        self._label = label or Label(layout.model, "000815", "OMRON")
        self._is_pairing = is_pairing
        self._key: bytes | None = None
        self._ahead = timedelta()
        self._memory = Memory(layout)
        self._is_open = self._is_started = False
        self._pieces = b""
        for record in records:
            self.store(record)

    def store(self, record: OmronRecord) -> None:
        """Add a measurement, as a test does that somebody takes now."""
        self._memory.store(record)

    def erase(self) -> None:
        """Forget everything, as somebody wants who holds its keys."""
        self._memory.erase()

    def overwrite(self, user: int, slot: int, content: bytes) -> None:
        """Put other bytes into a slot, as a failing memory does."""
        self._memory.slots[user - 1][slot] = content

    def connected(self) -> None:
        """Begin closed."""
        self._is_open = self._layout.opens == "bond"
        self._is_started = False
        self._pieces = b""

    def disconnected(self) -> None:
        """Close."""
        self._is_open = self._is_started = False

    def read(self, uuid: UUID) -> bytes:
        """Return a value; raise `AttError` for what is not readable."""
        return self._label.read(uuid)

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Take a message of the lock, or a piece of a frame."""
        if uuid == _OPENS:
            return [Send(_OPENS, self._unlock(payload))]
        if uuid not in _TAKES:
            raise AttError(_WRITE_NOT_PERMITTED)
        self._pieces = payload if uuid == _TAKES[0] else self._pieces + payload
        frame = self._pieces
        if len(frame) < 8 or len(frame) != frame[0] or xor8(frame) != 0:
            return []  # more is to come, or it is none
        return self._answer(frame) if self._is_open else []

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:  # noqa: ARG002
        """Say nothing unasked."""
        return ()

    def _unlock(self, message: bytes) -> bytes:
        kind, rest = message[0], message[1:]
        answer, is_right = bytes([kind | 0x80]), False
        if kind == 0x02:
            is_right = self._is_pairing
        elif kind == 0x00 and self._is_pairing:
            self._key, self._is_pairing, is_right = rest, False, True
        elif kind == 0x01:
            is_right = self._is_open = rest == self._key
        elif kind == 0x11 and self._layout.opens == "token":
            self._is_open = True
            return answer + b"\0" + rest[:4]
        return answer + (b"\0" if is_right else bytes([_REFUSAL]))

    def _answer(self, frame: bytes) -> list[Action]:
        kind, address, count = frame[1:3], int.from_bytes(frame[3:5], "big"), frame[5]
        if kind == b"\x00\x00":
            self._is_started = True
            return self._send(_frame(0x8000, 0, 16))
        if kind == b"\x0f\x00":
            self._is_started = False
            return [*self._send(_frame(0x8F00, 0, 0)), Wait(_HANGS_UP_S), HangUp()]
        is_read = kind == b"\x01\x00" and 0 < count <= self._layout.block
        if is_read and self._is_started:
            return self._send(self._give(address, count))
        if kind == b"\x01\xc0" and self._is_started and self._set(address, frame[6:-2]):
            return self._send(_frame(0x81C0, address, count))
        return self._send(_frame(0x8F00, 0, 1, bytes([_END_REFUSED])))

    def _give(self, address: int, count: int) -> bytes:
        for user, (start, slots) in enumerate(self._layout.users):
            end = start + slots * self._layout.size
            if start <= address < end and user + 1 in self.unregistered:
                return _frame(0x8100, address, count, result=5)
        if not self.refused.isdisjoint(range(address, address + count)):
            return _frame(0x8100, address, count, result=5)
        image = self._memory.image(self._window(), self.index)
        data = image[address : address + count]
        if self.short:
            self.short -= 1
            data = data[:-1]
        return _frame(0x8100, address, count, data)

    def _set(self, address: int, window: bytes) -> bool:
        layout = self._layout
        if address != layout.write + layout.clock:
            return False
        moment = read_window(layout.shows, window)
        if moment is None or len(window) != len(self._window()):
            return False
        self.set_to = moment
        self._ahead = moment - self._clock()
        return True

    def _window(self) -> bytes:
        return write_window(self._layout.shows, self._clock() + self._ahead)

    def _send(self, frame: bytes) -> list[Action]:
        if not _is_classic(self._layout):
            return [Send(_SENDS[0], frame)]
        pieces = range(0, len(frame), _PIECE)
        return [
            Send(uuid, frame[at : at + _PIECE])
            for uuid, at in zip(_SENDS, pieces, strict=False)
        ]


def _is_classic(layout: Layout) -> bool:
    return layout.opens == "key"


def _services(layout: Layout) -> Mapping[UUID, tuple[Characteristic, ...]]:
    count = 4 if _is_classic(layout) else 1
    written = frozenset({"write", "write-without-response"})
    lock = frozenset({"write", "notify"})
    own = (
        *(Characteristic(uuid, written, Security.ENCRYPTED) for uuid in _TAKES[:count]),
        *(
            Characteristic(uuid, frozenset({"notify"}), Security.ENCRYPTED)
            for uuid in _SENDS[:count]
        ),
        Characteristic(_OPENS, lock, Security.ENCRYPTED),
    )
    service = _CLASSIC if _is_classic(layout) else _MODERN
    return {service: own, **services(Security.NONE)}


def _frame(
    kind: int, address: int, count: int, data: bytes = b"", result: int = 0
) -> bytes:
    head = pack(">BHHB", len(data) + 8, kind, address, count)
    body = head + data + bytes([result])
    return body + bytes([xor8(body)])


def _record(shown: Shown) -> OmronRecord:
    values = {name: int(str(number)) for name, number in shown.values.items()}
    return OmronRecord(
        shown.time,
        values[Quantity.SYSTOLIC],
        values[Quantity.DIASTOLIC],
        values[Quantity.PULSE_RATE],
        user=shown.slot or 1,
        irregular="irregular_pulse" in shown.status,
        moved="body_movement" in shown.status,
    )


def _make(shown: Sequence[Shown], clock: SimClock) -> OmronCuff:
    return OmronCuff([_record(one) for one in shown], clock=clock)


def _take(cuff: OmronCuff, shown: Shown) -> None:
    cuff.store(_record(shown))


TRIAL = Trial(
    make=_make,
    take=_take,
    spans={
        Kind.BLOOD_PRESSURE: (
            Span(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(60), Decimal(250)),
            Span(Quantity.DIASTOLIC, Unit.MM_HG, Decimal(30), Decimal(215)),
            Span(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(40), Decimal(180)),
        )
    },
    slots=(1, 2),
    statuses=(
        (),
        ("irregular_pulse",),
        ("body_movement",),
        ("body_movement", "irregular_pulse"),
        (),
    ),
    capacity=120,
    is_divided=True,
    set_to=lambda cuff: cuff.set_to,
)
