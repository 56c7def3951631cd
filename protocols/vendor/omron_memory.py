"""Omron: records, index and clock, as they stand in a device's memory.

Source: field notes on Omron's EEPROM protocol, checked against captured records
(docs/reference/sources.md). `omron_models` says which device has which.

Record L, 14 or 16 bytes, words little-endian, and H, 24 bytes, alike:

    0 systolic - 25 | 1 diastolic | 2 pulse | 3 year - 2000, low 6 bits
    4 u16   bits 0-4 hour, 5-9 day, 10-13 month, 14 irregular pulse, 15 movement
    6 u16   bits 0-5 second, 6-11 minute, 12 cuff, 13 battery, 14-15 position
    last 2  record number u16; in H at 10, and there an error code u8 at 17

Record B, 14 bytes, a stream of bits, the highest first:

    0-7 diastolic | 8-15 systolic - 25 | 16-23 year - 2000 (6232T: 18-23)
    24-31 pulse | 32, 33 movement and irregular pulse | 34-37 month | 38-42 day
    43-47 hour | 48-49 position | 50 battery | 51 cuff | 52-57 minute | 58-63 second

Record S, 16 bytes or 32:

    0 year - 2000 | 1 month | 2 day | 3 hour | 4 minute | 5 second
    6 systolic - 25 | 7 diastolic | 8 pulse | 11 bits 0-1 irregular, 2-3 movement

A slot is empty whose systolic byte is FF, in L and H one above E1, and one whose
facts are all 0, in L and H whatever its systolic byte is. Seconds go to 63 and
count as 59 then.

The clock's window; ss sums all to the second, modulo 256, the leading bytes too:

    lin   2 bytes, yy mo dd hh mi se, xx, ss      mix   the same, mo yy hh dd se mi
    lin8  8 bytes, yy mo dd hh mi se, ss, xx      mix8  8 bytes, mo yy hh dd se mi,
    pre   yy mo dd hh mi se, 10 bytes, no sum           xx, ss or ss, xx

What the device has at xx is any byte, which the sum leaves out; the host writes 00.
The notes put the sum of mix8 first, those of a HEM-6232T have it last: it is
written where the device has it.

Uncertain: which of B's bits 32 and 33 is movement and which irregular pulse, so
one alone is told as either; what a set bit of cuff, battery and position means,
so they stay numbers; all of H, which nobody has checked on a device.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from protocols.crc import sum8
from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown
from protocols.vendor.omron_models import ClockLayout, Format, Model

_ZERO_MMHG = 25
_LAST_SYSTOLIC = b"\xe1"
_ERASED = b"\xff"
_NOTHING_STORED = 0x8000
_CENTURY = 2000
_LAST_SECOND = 59


@dataclass(frozen=True, slots=True)
class Record:
    """One stored reading.

    Attributes:
        systolic: In mmHg.
        diastolic: In mmHg.
        pulse: Per minute.
        time: The cuff's clock.
        irregular: Not 0 if the pulse was irregular; None if `disputed` says it.
        movement: Not 0 if the body moved; None if `disputed` says it.
        disputed: Bits 32 and 33 of a record B.
        cuff: A bit of unknown meaning.
        battery: Likewise.
        position: Two such bits.
        number: The device's number of the record.
    """

    systolic: int
    diastolic: int
    pulse: int
    time: DateTime
    irregular: int | None = None
    movement: int | None = None
    disputed: tuple[int, int] | None = None
    cuff: int | None = None
    battery: int | None = None
    position: int | None = None
    number: int | None = None

    @property
    def status(self) -> tuple[str, ...]:
        """What the device says of the reading, and no more than is certain."""
        if self.disputed is not None and sum(self.disputed) == 1:
            return ("body_movement_or_irregular_pulse",)
        both = self.disputed == (1, 1)
        said = (
            ("body_movement", self.movement or both),
            ("irregular_pulse", self.irregular or both),
        )
        return tuple(name for name, is_said in said if is_said)


def decode_record(model: Model, data: bytes) -> Record:
    """Read one slot of a model's memory.

    Raises:
        DecodeError: The slot is empty, holds a failed measurement, or ``data``
            has another size than the model's records.
    """
    match model.format:
        case Format.LITTLE:
            return decode_little(data, size=model.size)
        case Format.BIT_STREAM:
            return decode_bit_stream(data, year_bits=model.year_bits)
        case Format.BYTES:
            return decode_bytes(data, size=model.size)
        case _:
            return decode_heartguide(data)


def decode_little(data: bytes, *, size: int = 14) -> Record:
    """Read a record L of ``size`` bytes, 14 or 16.

    Raises:
        DecodeError: It is empty, cut short or too long.
    """
    with Cursor("Omron record", data) as read:
        _filled(read, size, data[1:8], is_empty=data[:1] > _LAST_SYSTOLIC)
    return _little(data, int.from_bytes(data[-2:], "little"))


def decode_heartguide(data: bytes) -> Record:
    """Read a record H of 24 bytes.

    Raises:
        DecodeError: It is empty, cut short or too long, or of a measurement that
            failed.
    """
    with Cursor("Omron HeartGuide record", data) as read:
        _filled(read, 24, data[1:8], is_empty=data[:1] > _LAST_SYSTOLIC)
        if code := data[17]:
            problem = f"is {code}: the measurement failed"
            raise read.error("error code", problem, Fault.DEVICE_ERROR, size=7)
    return _little(data, int.from_bytes(data[10:12], "little"))


def decode_bit_stream(data: bytes, *, year_bits: int = 8) -> Record:
    """Read a record B of 14 bytes.

    Args:
        data: The record.
        year_bits: How many of the year's 8 bits count.

    Raises:
        DecodeError: It is empty, cut short or too long.
    """
    with Cursor("Omron record", data) as read:
        _filled(read, 14, data[:8], is_empty=data[1:2] == _ERASED)
    bits = int.from_bytes(data[:8], "big")

    def field(first: int, last: int) -> int:
        return bits >> 63 - last & (1 << last - first + 1) - 1

    return Record(
        systolic=field(8, 15) + _ZERO_MMHG,
        diastolic=field(0, 7),
        pulse=field(24, 31),
        time=DateTime(
            _CENTURY + field(24 - year_bits, 23),
            field(34, 37),
            field(38, 42),
            field(43, 47),
            field(52, 57),
            min(field(58, 63), _LAST_SECOND),
        ),
        disputed=(field(32, 32), field(33, 33)),
        cuff=field(51, 51),
        battery=field(50, 50),
        position=field(48, 49),
    )


def decode_bytes(data: bytes, *, size: int = 16) -> Record:
    """Read a record S of ``size`` bytes, 16 or 32.

    Raises:
        DecodeError: It is empty, cut short or too long.
    """
    with Cursor("Omron record", data) as read:
        _filled(read, size, data[:9], is_empty=data[6:7] == _ERASED)
    year, month, day, hour, minute, second = data[:6]
    return Record(
        systolic=data[6] + _ZERO_MMHG,
        diastolic=data[7],
        pulse=data[8],
        time=DateTime(
            _CENTURY + year, month, day, hour, minute, min(second, _LAST_SECOND)
        ),
        irregular=data[11] & 3,
        movement=data[11] >> 2 & 3,
    )


def newest_slot(model: Model, user: int, index: bytes) -> int | None:
    """Return the slot written last; None if nothing is stored.

    Args:
        model: What the device is.
        user: 0 is the first.
        index: The whole index.

    Raises:
        DecodeError: The index is cut short or too long, or names no slot.
    """
    layout, slots = model.settings.index, model.users[user].slots
    with Cursor("Omron index", index) as read:
        read.take(layout.cursor + user * layout.step, "index")
        field = f"cursor of user {user + 1}"
        cursor = read.u16_be(field) if layout.is_big_endian else read.u16(field)
        slot = (cursor & layout.mask) + layout.bias
        if slot >= slots:
            problem = f"is {cursor:#06x}, and there are {slots} slots"
            raise read.error(field, problem, Fault.OUT_OF_RANGE, size=2)
        read.take(layout.size - (len(index) - read.left), "index")
    return None if cursor == _NOTHING_STORED else slot % slots


def decode_clock(layout: ClockLayout, window: bytes) -> DateTime:
    """Read what a device's clock shows.

    Args:
        layout: The model's.
        window: The bytes of the clock's window, 10 or 16.

    Raises:
        DecodeError: ``window`` is cut short, too long, or its sum is wrong.
    """
    _sum_at(layout, window)
    at, order, _, _ = _CLOCKS[layout]
    parts = dict(zip(order, window[at : at + 6], strict=True))
    year, *rest = (parts[name] for name in "ymdhis")
    return DateTime(_CENTURY + year, *rest)


def encode_clock(layout: ClockLayout, window: bytes, time: DateTime) -> bytes:
    """Return ``window`` with another time in it, for `omron_eeprom.write_clock`.

    Args:
        layout: The model's.
        window: As it was read from the device.
        time: What the clock shall show, from 2000 to 2099.

    Raises:
        DecodeError: ``window`` is none, or its sum is wrong: then nothing that
            could be kept stands in it.
        ValueError: ``time`` is no moment of those years.
    """
    sum_at = _sum_at(layout, window)
    if time.moment is None or not _CENTURY <= time.year < _CENTURY + 100:
        raise ValueError(f"no clock of Omron's can show {time}")
    at, order, _, size = _CLOCKS[layout]
    parts = dict(zip("ymdhis", (time.year - _CENTURY, *time[1:]), strict=True))
    changed = window[:at] + bytes(parts[name] for name in order)
    if sum_at is None:
        return changed + window[len(changed) :]
    summed = changed.ljust(sum_at, b"\0") + bytes([sum8(changed)])
    return summed.ljust(size, b"\0")


# Where the time begins, its order, where the sum may stand, and the window's size.
_CLOCKS: dict[ClockLayout, tuple[int, str, tuple[int, ...], int]] = {
    ClockLayout.LINEAR: (2, "ymdhis", (9,), 10),
    ClockLayout.MIXED: (2, "myhdsi", (9,), 10),
    ClockLayout.LINEAR_8: (8, "ymdhis", (14,), 16),
    ClockLayout.MIXED_8: (8, "myhdsi", (15, 14), 16),
    ClockLayout.PREFIX: (0, "ymdhis", (), 16),
}


def clock_size(layout: ClockLayout) -> int:
    """Return how many bytes a window has, 10 or 16."""
    return _CLOCKS[layout][3]


def _sum_at(layout: ClockLayout, window: bytes) -> int | None:
    """Return where a window's sum stands; None if its layout has none."""
    at, _, places, size = _CLOCKS[layout]
    with Cursor("Omron clock", window) as read:
        read.take(size, "clock")
        if not places:
            return None
        right = sum8(window[: at + 6])
        for place in places:
            if window[place] == right:
                return place
        problem = f"is {window[places[0]]:#04x}, the window's is {right:#04x}"
        fault = Fault.BAD_CHECKSUM
        raise read.error("sum", problem, fault, size=size - places[0])


def _filled(read: Cursor, size: int, facts: bytes, *, is_empty: bool) -> None:
    read.take(size, "record")
    if read.left:
        raise read.error("end", f"expected, {read.left} bytes left over")
    if is_empty or not any(facts):
        raise read.error("record", "is an empty slot", Fault.EMPTY_SLOT, size=size)


def _little(data: bytes, number: int) -> Record:
    date = int.from_bytes(data[4:6], "little")
    rest = int.from_bytes(data[6:8], "little")
    return Record(
        systolic=data[0] + _ZERO_MMHG,
        diastolic=data[1],
        pulse=data[2],
        time=DateTime(
            _CENTURY + (data[3] & 0x3F),
            date >> 10 & 0x0F,
            date >> 5 & 0x1F,
            date & 0x1F,
            rest >> 6 & 0x3F,
            min(rest & 0x3F, _LAST_SECOND),
        ),
        irregular=date >> 14 & 1,
        movement=date >> 15,
        cuff=rest >> 12 & 1,
        battery=rest >> 13 & 1,
        position=rest >> 14,
        number=number,
    )


def _show(seen: Record) -> Shown:
    shown: Shown = {
        "systolic": seen.systolic,
        "diastolic": seen.diastolic,
        "pulse": seen.pulse,
        "timestamp": str(seen.time),
    }
    if seen.time.moment is None:
        shown["timestamp_valid"] = False
    return shown | dict(_bits(seen)) | {"status_flags": list(seen.status)}


def _bits(seen: Record) -> Iterator[tuple[str, int]]:
    if seen.disputed is not None:
        yield "bit32", seen.disputed[0]
        yield "bit33", seen.disputed[1]
    fields = (
        ("irregular_heartbeat", seen.irregular),
        ("movement", seen.movement),
        ("cuff", seen.cuff),
        ("battery", seen.battery),
        ("position", seen.position),
        ("record_id", seen.number),
    )
    for name, value in fields:
        if value is not None:
            yield name, value


def _show_clock(payload: bytes, *, layout: str = "lin8") -> Shown:
    time = decode_clock(ClockLayout(layout), payload)
    valid = {} if time.moment else {"datetime_valid": False}
    return {"datetime": str(time), **valid}


KINDS = {
    "omron.eeprom_time": PayloadKind(
        _show_clock, {"layout": tuple(layout.value for layout in ClockLayout)}
    ),
    "omron.record14_be": PayloadKind(lambda data: _show(decode_bit_stream(data))),
    "omron.record14_le": PayloadKind(lambda data: _show(decode_little(data))),
    "omron.record24_heartguide": PayloadKind(
        lambda data: _show(decode_heartguide(data))
    ),
}
