"""Urion U9 cuffs and their relatives: the frames in both directions.

Source: field notes on the Urion U9 from two clients, layouts only; no frame of it
was captured (docs/reference/sources.md).

    FD FD | type u8 | fields | 0D 0A             no checksum

    cuff   A5                             waits for the host (older cuffs)
           05, 06                         measuring has started
           FB pressure u16                while measuring, high byte first
           FC systolic, diastolic, pulse  result, sent five times (older)
           FE systolic, diastolic, pulse, irregular u8,
              year u16, month, day, hour, minute    record, year high byte first
           FF 10 x 00                     no more records
           FD code u8                     the measurement failed
    host   FA 05, or with a clock         INFLATES THE CUFF
           FA 07 clock                    send the records not yet sent
           FA 60                          record received, send the next
           FE 06                          switch off
    clock  year since 2000, month, day, hour, minute, second

What follows from there being no checksum: only length and ends are checked here,
and nothing but the radio's own CRC guards a value. A systolic pressure is one
byte, 255 at most. One client reads records of 16 bytes whose values stand one
byte later; which cuffs send them is not known, so they are refused.
A start is decoded and can't be encoded: it must never be sent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Frames

WAITING = b"\xa5"
_HEAD = b"\xfd\xfd"
_END = b"\r\n"
_OVERHEAD = len(_HEAD) + 1 + len(_END)
_HOST, _RECORD, _NO_MORE = 0xFA, 0xFE, 0xFF
_START, _POWER_OFF, _SEND_RECORDS, _RECEIVED = 0x05, 0x06, 0x07, 0x60
_CLOCK = 6  # bytes
_EPOCH = 2000
_FAILURES = {
    0x01: "weak_signal",
    0x02: "noise",
    0x03: "inflation_too_long",
    0x04: "abnormal_result",
    0x05: "abnormal_result",
    0x0B: "battery_low",
    0x0C: "calibration",
    0x0E: "eeprom",
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """The cuff waits for a host."""


@dataclass(frozen=True, slots=True)
class Started:
    """The cuff has started measuring."""


@dataclass(frozen=True, slots=True)
class CuffPressure:
    """The pressure in the cuff while it measures, in mmHg: no result."""

    mm_hg: int


@dataclass(frozen=True, slots=True)
class Result:
    """What an older cuff just measured.

    Attributes:
        systolic: 0 to 255 mmHg.
        diastolic: 0 to 255 mmHg.
        pulse: 0 to 255 per minute.
    """

    systolic: int
    diastolic: int
    pulse: int


@dataclass(frozen=True, slots=True)
class Record:
    """One stored measurement.

    Attributes:
        systolic: 0 to 255 mmHg.
        diastolic: 0 to 255 mmHg.
        pulse: 0 to 255 per minute.
        irregular: Not 0 if the pulse was irregular.
        time: The cuff's clock, to the minute; second is always 0.
    """

    systolic: int
    diastolic: int
    pulse: int
    irregular: int
    time: DateTime


@dataclass(frozen=True, slots=True)
class NoMoreRecords:
    """All records have been sent."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The measurement failed; there is no result."""

    code: int

    @property
    def reason(self) -> str:
        """Why, as a name; ``unknown`` for a code without one."""
        return _FAILURES.get(self.code, "unknown")


@dataclass(frozen=True, slots=True)
class Start:
    """The host's order to inflate the cuff; has no `encode`, and never will."""

    clock: DateTime | None


@dataclass(frozen=True, slots=True)
class SendRecords:
    """The host's request for the records not yet sent; it sets the cuff's clock.

    Attributes:
        clock: Local time of the years 2000 to 2099.
    """

    clock: DateTime

    def encode(self) -> bytes:
        """Return the request as bytes for the wire.

        Raises:
            ValueError: The clock names no moment, or one of another century.
        """
        year = self.clock.year - _EPOCH
        if self.clock.moment is None or not 0 <= year < 100:
            raise ValueError(f"{self.clock} is no time that the cuff can be set to")
        return _frame(_HOST, bytes([_SEND_RECORDS, year, *self.clock[1:]]))


@dataclass(frozen=True, slots=True)
class Received:
    """The host's word that a record arrived: the cuff marks it and sends the next."""

    def encode(self) -> bytes:
        """Return the message as bytes for the wire."""
        return _frame(_HOST, bytes([_RECEIVED]))


@dataclass(frozen=True, slots=True)
class PowerOff:
    """The host's order to switch off."""

    def encode(self) -> bytes:
        """Return the order as bytes for the wire."""
        return _frame(_RECORD, bytes([_POWER_OFF]))


FromCuff: TypeAlias = (
    Waiting | Started | CuffPressure | Result | Record | NoMoreRecords | Failed
)
FromHost: TypeAlias = Start | SendRecords | Received | PowerOff
Message: TypeAlias = FromCuff | FromHost


def _started(_fields: bytes) -> Started:
    return Started()


def _cuff_pressure(fields: bytes) -> CuffPressure:
    return CuffPressure(int.from_bytes(fields))


def _result(fields: bytes) -> Result:
    return Result(*fields)


def _failed(fields: bytes) -> Failed:
    return Failed(fields[0])


def _record(fields: bytes) -> Record:
    systolic, diastolic, pulse, irregular = fields[:4]
    year = int.from_bytes(fields[4:6])
    month, day, hour, minute = fields[6:]
    time = DateTime(year, month, day, hour, minute, 0)
    return Record(systolic, diastolic, pulse, irregular, time)


def _no_more(_fields: bytes) -> NoMoreRecords:
    return NoMoreRecords()


_FROM_CUFF: dict[int, tuple[int, Callable[[bytes], FromCuff]]] = {
    0x05: (0, _started),
    0x06: (0, _started),
    0xFB: (2, _cuff_pressure),
    0xFC: (3, _result),
    0xFD: (1, _failed),
    _RECORD: (10, _record),
    _NO_MORE: (10, _no_more),
}
_FROM_HOST = {_START: (0, _CLOCK), _SEND_RECORDS: (_CLOCK,), _RECEIVED: (0,)}


def decode_frame(data: bytes) -> Message:
    """Read one whole frame of the cuff or the host.

    Raises:
        DecodeError: ``data`` is cut short, too long, or no such frame.
    """
    with Cursor("Urion frame", data) as read:
        if data == WAITING:
            read.rest()
            return Waiting()
        if (head := read.take(len(_HEAD), "head")) != _HEAD:
            problem = f"is {head.hex(' ')}, not fd fd"
            raise read.error("head", problem, Fault.BAD_HEADER, size=len(head))
        kind = read.u8("type")
        if data == PowerOff().encode():
            read.rest()
            return PowerOff()
        if kind == _HOST:
            return _order(read)
        if kind not in _FROM_CUFF:
            problem = f"{kind:#04x} is not known"
            raise read.error("type", problem, Fault.BAD_FIELD, size=1)
        size, message = _FROM_CUFF[kind]
        fields = _fields(read, size)
        if kind == _NO_MORE and any(fields):
            problem = f"are {fields.hex(' ')}, not zeros"
            raise read.error("fields", problem, Fault.BAD_FIELD, size=size + len(_END))
        return message(fields)


def decoder() -> Frames[Message]:
    """Return what makes frames of a cuff's stream of bytes.

    A cuff's `WAITING` is no frame of it, and comes out as damaged.
    """
    return Frames(_HEAD, _size, decode_frame)


def _order(read: Cursor) -> FromHost:
    if (order := read.u8("order")) not in _FROM_HOST:
        problem = f"{order:#04x} is not known"
        raise read.error("order", problem, Fault.BAD_FIELD, size=1)
    fields = _fields(read, *_FROM_HOST[order])
    if order == _RECEIVED:
        return Received()
    if not fields:
        return Start(None)
    clock = DateTime(_EPOCH + fields[0], *fields[1:])
    return SendRecords(clock) if order == _SEND_RECORDS else Start(clock)


def _fields(read: Cursor, *sizes: int) -> bytes:
    """Return what stands before the end, which must be one of ``sizes`` bytes."""
    rest = read.rest()
    fields, end = rest[: -len(_END)], rest[-len(_END) :]
    if end == _END and len(fields) in sizes:
        return fields
    if end == _END or len(fields) > max(sizes):
        problem = f"are {len(fields)} bytes, not {' or '.join(map(str, sizes))}"
        raise read.error("fields", problem, Fault.BAD_LENGTH, size=len(rest))
    if len(rest) in sizes or len(fields) in sizes:
        raise read.error("end", "is not 0d 0a", Fault.BAD_FRAME, size=len(end))
    problem = f"need {max(sizes)} bytes and an end, {len(rest)} remain"
    raise read.error("fields", problem, Fault.TRUNCATED, size=len(rest))


def _frame(kind: int, fields: bytes) -> bytes:
    return _HEAD + bytes([kind]) + fields + _END


def _size(data: bytes) -> int:
    """Return how long the cuff's frame is; what only a host sends is none."""
    if len(data) <= len(_HEAD):
        return len(_HEAD) + 1
    kind = data[len(_HEAD)]
    return _FROM_CUFF[kind][0] + _OVERHEAD if kind in _FROM_CUFF else 0


_NAMES: dict[type[Message], tuple[str, str]] = {
    Waiting: ("device", "waiting_for_host"),
    Started: ("device", "started"),
    CuffPressure: ("device", "cuff_pressure"),
    Result: ("device", "result"),
    Record: ("device", "record"),
    NoMoreRecords: ("device", "all_records_sent"),
    Failed: ("device", "error"),
    Start: ("host", "start"),
    SendRecords: ("host", "send_records"),
    Received: ("host", "record_received"),
    PowerOff: ("host", "power_off"),
}


def _show_frame(payload: bytes) -> Shown:
    message = decode_frame(payload)
    direction, packet = _NAMES[type(message)]
    shown: Shown = {"direction": direction, "packet": packet}
    match message:
        case CuffPressure(pressure):
            shown["cuff_pressure"] = pressure
        case Result() | Record():
            shown["systolic"] = message.systolic
            shown["diastolic"] = message.diastolic
            shown["pulse"] = message.pulse
            if isinstance(message, Record):
                shown["irregular"] = message.irregular
                shown["timestamp"] = str(message.time)[:-3]
                if message.time.moment is None:
                    shown["timestamp_valid"] = False
        case Failed(code):
            shown["error_code"] = code
            shown["error"] = message.reason
        case Start(clock) | SendRecords(clock) if clock is not None:
            shown["clock"] = str(clock)
    return shown


KINDS = {"urion.frame": PayloadKind(_show_frame)}
