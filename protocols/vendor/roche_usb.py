"""Roche Accu-Chek over USB: what is said in IEEE 11073-20601, and in which order.

Aviva Connect, Guide, Guide Me, Instant, ReliOn Platinum. One APDU is one bulk
transfer; Personal Healthcare Device Class, interface 0, configuration 1.

Source: field notes on the meters' USB protocol, one source, no captured frames;
IEEE 11073-20601 for the layout of APDUs (docs/reference/sources.md).

    meter  AARQ                       host  AARE, configuration not known yet
    meter  event 0D1C, configuration  host  accepted; get all attributes
    meter  attributes                 host  action 0C0D, what segments are there
    meter  segments                   host  action 0C1C, send segment 0
    meter  result 0 is yes, 3 empty; then
           event 0D21, records        host  confirmed; until the last of them
                                      host  RLRQ
    meter  RLRE

    configuration   id u16, list of objects: class u16, handle u16, attributes
    segments        list of: number u16, attributes
    records         segment u16, first index u32, count u32, status u16, octets
    record          time 8 BCD, glucose SFLOAT in mg/dL, status u16
    time            BCD: YYYY MM DD hh mm ss and hundredths

The bits of a record's status, control solution among them, are not verified on
any meter: they come as the raw number, and until they are verified no record may
be taken for a person's.
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import pack

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.ieee11073_apdu import (
    PHD,
    Attributes,
    Choice,
    Message,
    Result,
    counted,
    encode_apdu,
    encode_data,
    octets,
    take_attributes,
    take_octets,
)
from protocols.medfloat import Number, sfloat

_PM_STORE = 61
_NUMBER_OF_SEGMENTS = 2385
_MODEL = 2344
_PRODUCTION_SPECIFICATION = 2349
_ABSOLUTE_TIME = 2439
_SERIAL_NUMBER = 1

CONFIGURATION = 0x0D1C
SEGMENT_DATA = 0x0D21
GET_SEGMENT_INFO = 0x0C0D
_SET_TIME = 0x0C17
TRANSFER_SEGMENT = 0x0C1C
_LAST_RECORDS = 0x4000
_CONFIRMED = 0x0080
_RECORD_SIZE = 12


@dataclass(frozen=True, slots=True)
class Object:
    """One object of a configuration.

    Attributes:
        type: Its class, a code of the nomenclature.
        handle: By which it is addressed.
        attributes: Code and bytes.
    """

    type: int
    handle: int
    attributes: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Configuration:
    """Which objects a meter has."""

    id: int
    objects: tuple[Object, ...]

    @property
    def store(self) -> Object | None:
        """The object that keeps the results; None if it is not among them."""
        return next((each for each in self.objects if each.type == _PM_STORE), None)

    @property
    def segments(self) -> int | None:
        """How many segments the store says it has; None if it does not."""
        said = dict(self.store.attributes) if self.store else {}
        raw = said.get(_NUMBER_OF_SEGMENTS, b"")
        return int.from_bytes(raw, "big") if len(raw) == 2 else None


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a store: its number, and attributes as code and bytes."""

    number: int
    attributes: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Meter:
    """Who a meter is, and what its clock shows; empty or None if not said."""

    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    clock: DateTime | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One stored result.

    Attributes:
        time: The meter's clock.
        mg_per_dl: The value; infinite if above or below what the meter measures.
        status: Bits that nobody has verified.
    """

    time: DateTime
    mg_per_dl: Number
    status: int


class TransferResult(IntEnum):
    """How a meter answers the request to send a segment."""

    OK = 0
    NO_SUCH_SEGMENT = 1
    TRY_AGAIN_LATER = 2
    EMPTY = 3
    FAILED = 512


@dataclass(frozen=True, slots=True)
class SegmentData:
    """Some records of a segment.

    Attributes:
        segment: Its number.
        first: The index of the first of them.
        status: Bits; 0x8000 these are the first, 0x4000 the last.
        records: Each as it came, for `decode_record`.
    """

    segment: int
    first: int
    status: int
    records: tuple[bytes, ...]

    @property
    def is_last(self) -> bool:
        """Whether no more records follow."""
        return bool(self.status & _LAST_RECORDS)


def accept_association(manager_id: bytes) -> bytes:
    """Return the AARE that accepts an agent whose configuration is not known.

    Args:
        manager_id: Names this station, 8 bytes.
    """
    said = bytes.fromhex("80000002 8000 80000000 00000000 80000000")
    said += octets(manager_id) + bytes(10)
    head = pack(">HH", Result.ACCEPTED_UNKNOWN_CONFIG, PHD)
    return encode_apdu(Choice.AARE, head + octets(said))


def accept_configuration(invoke_id: int, config_id: int) -> bytes:
    """Return the answer that accepts a configuration.

    Args:
        invoke_id: That of the event.
        config_id: That of the configuration.
    """
    info = octets(pack(">HH", config_id, 0))
    arguments = pack(">HIH", 0, 0, CONFIGURATION) + info
    return encode_data(invoke_id, Message.EVENT_RESPONSE, arguments)


def get_attributes(invoke_id: int) -> bytes:
    """Return the request for all attributes of the meter."""
    return encode_data(invoke_id, Message.GET, bytes(6))


def get_segment_info(invoke_id: int, handle: int) -> bytes:
    """Return the request for the list of all segments of the store ``handle``."""
    return _action(invoke_id, handle, GET_SEGMENT_INFO, pack(">HHH", 1, 2, 0))


def set_time(invoke_id: int, clock: DateTime) -> bytes:
    """Return the request that sets the clock.

    Args:
        invoke_id: The next one.
        clock: The wall clock; years 0 to 9999.
    """
    year, *rest = clock
    digits = f"{year:04}" + "".join(f"{part:02}" for part in rest) + "00"
    return _action(invoke_id, 0, _SET_TIME, bytes.fromhex(digits) + bytes(4))


def transfer_segment(invoke_id: int, handle: int, segment: int) -> bytes:
    """Return the request to send the records of a segment."""
    return _action(invoke_id, handle, TRANSFER_SEGMENT, segment.to_bytes(2, "big"))


def confirm_segment_data(invoke_id: int, handle: int, info: bytes) -> bytes:
    """Return the confirmation of a segment's records.

    Args:
        invoke_id: That of the event.
        handle: That of the store.
        info: What the event told; its first ten bytes are repeated.
    """
    confirmed = octets(info[:10] + _CONFIRMED.to_bytes(2, "big"))
    arguments = pack(">HIH", handle, 0xFFFF_FFFF, SEGMENT_DATA) + confirmed
    return encode_data(invoke_id, Message.EVENT_RESPONSE, arguments)


def release() -> bytes:
    """Return the RLRQ that ends the association."""
    return encode_apdu(Choice.RLRQ, bytes(2))


def decode_configuration(info: bytes) -> Configuration:
    """Read what a configuration event tells.

    Raises:
        DecodeError: ``info`` is cut short, too long, or contradicts itself.
    """
    with Cursor("configuration", info) as read:
        config_id, count = read.u16_be("id"), read.u16_be("count of objects")
        with counted(read, "length of objects"):
            objects = tuple(_object(read) for _ in range(count))
        return Configuration(config_id, objects)


def decode_meter(attributes: Attributes) -> Meter:
    """Read who a meter is from its attributes.

    Raises:
        DecodeError: One of those that are read here is cut short or damaged.
    """
    said = dict(attributes.values)
    manufacturer = model = serial = ""
    clock = None
    if (raw := said.get(_MODEL)) is not None:
        with Cursor("system model", raw) as read:
            manufacturer = _text(take_octets(read, "manufacturer"))
            model = _text(take_octets(read, "model number"))
    if (raw := said.get(_PRODUCTION_SPECIFICATION)) is not None:
        serial = _serial(raw)
    if (raw := said.get(_ABSOLUTE_TIME)) is not None:
        with Cursor("absolute time", raw) as read:
            clock = _time(read)
    return Meter(manufacturer, model, serial, clock)


def decode_segment_info(info: bytes) -> tuple[Segment, ...]:
    """Read which segments a store has.

    Raises:
        DecodeError: ``info`` is cut short, too long, or contradicts itself.
    """
    with Cursor("segment info", info) as read:
        count = read.u16_be("count of segments")
        with counted(read, "length of segments"):
            return tuple(_segment(read) for _ in range(count))


def decode_segment_data(info: bytes) -> SegmentData:
    """Read what a segment data event tells.

    Raises:
        DecodeError: ``info`` is cut short, too long, or has another number of
            records than it says.
    """
    with Cursor("segment data", info) as read:
        segment, first = read.u16_be("segment"), read.u32_be("first index")
        count, status = read.u32_be("count"), read.u16_be("status")
        length = read.u16_be("length")
        if length != count * _RECORD_SIZE:
            problem = f"is {length}, of {count} records"
            raise read.error("length", problem, Fault.BAD_LENGTH, size=2)
        records = tuple(read.take(_RECORD_SIZE, "record") for _ in range(count))
        return SegmentData(segment, first, status, records)


def decode_record(data: bytes) -> Record:
    """Read one stored result.

    Raises:
        DecodeError: ``data`` has not twelve bytes, or its time is not BCD.
    """
    with Cursor("Accu-Chek record", data) as read:
        time = _time(read)
        value = sfloat(read.u16_be("glucose"))
        return Record(time, value, read.u16_be("status"))


def decode_transfer_result(info: bytes) -> TransferResult:
    """Read the answer to `transfer_segment`.

    Raises:
        DecodeError: ``info`` is cut short, too long, or of a reserved result.
    """
    with Cursor("transfer result", info) as read:
        read.u16_be("segment")
        result = read.u16_be("result")
        if result not in {*TransferResult}:
            problem = f"is {result}, which is reserved"
            raise read.error("result", problem, Fault.RESERVED_VALUE, size=2)
        return TransferResult(result)


def _action(invoke_id: int, handle: int, kind: int, info: bytes) -> bytes:
    arguments = pack(">HH", handle, kind) + octets(info)
    return encode_data(invoke_id, Message.CONFIRMED_ACTION, arguments)


def _object(read: Cursor) -> Object:
    kind, handle = read.u16_be("class"), read.u16_be("handle")
    return Object(kind, handle, take_attributes(read))


def _segment(read: Cursor) -> Segment:
    return Segment(read.u16_be("segment"), take_attributes(read))


def _serial(raw: bytes) -> str:
    """Return the serial number among a production specification's entries."""
    serial = ""
    with Cursor("production specification", raw) as read:
        count = read.u16_be("count of entries")
        with counted(read, "length of entries"):
            for _ in range(count):
                kind = read.u16_be("type")
                read.take(2, "component")
                text = _text(take_octets(read, "text"))
                serial = text if kind == _SERIAL_NUMBER else serial
    return serial


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "backslashreplace").strip("\0 ")


def _time(read: Cursor) -> DateTime:
    """Read a time of eight BCD bytes; its hundredths are left out."""
    digits = read.take(8, "time").hex()
    if not digits.isdecimal():
        raise read.error("time", "is not BCD", Fault.BAD_DATE, size=8)
    parts = (int(digits[at : at + 2]) for at in range(4, 14, 2))
    return DateTime(int(digits[:4]), *parts)
