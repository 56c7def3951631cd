"""LifeScan OneTouch Verio: the messages of the Verio IQ, and of its BLE kin.

Source: field notes on the OneTouch Verio IQ and the Verio's BLE protocol,
checked against captured frames (docs/reference/sources.md).

Messages stand in `lifescan` frames whose link octet is 0. They begin with a
prefix, 03 or 04, and their answers with a prefix and the status 06; without
the prefix:

    0D 01              06, length u8, version text, NUL
    0B 01 02           06, serial number text, NUL
    20 02              06, clock u32, seconds since 2000 of local time
    20 01 clock u32    06
    09 02 02           06, what the display shows: 0 mg/dL, 1 mmol/L; 3 bytes
    27 00              06, number of records u16
    21 index u16       06, time u32, glucose u16 in mg/dL, control solution u8,
                       meal u8, 2 bytes; of the Verio IQ, in no known order
    0A 02 06           06, highest id of any record u32; by BLE
    B3 id u16          06, time u32, glucose u16 in mg/dL, control solution u8,
                       4 bytes; by BLE, glucose 0 is a deleted record

Any other status refuses: 07 not allowed, 08 not supported, 09 not understood.
The answers' prefix is that of the request by the notes, and another one by a
capture, so it is not judged. What stands for HI and LO is not known: the
glucose is the number as sent. What the four last bytes of a record by BLE are
is not known either; they are 0 in every result that was published. 1A erases
the memory and is not offered.

The Verio of 2015 speaks through blocks of a mass-storage device, with other
commands. It is not read here.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from struct import pack

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.observation import Quantity, State, Unit, Value

MEALS = {0: "none", 1: "preprandial", 2: "postprandial"}

_HIGHEST, _LOWEST = 600, 20  # mg/dL, what a Verio shows as a number
_DONE = 0x06
_REFUSALS = {0x07: "not allowed", 0x08: "not supported", 0x09: "not understood"}
_UNITS = {0: "MG/DL", 1: "MMOL/L"}
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_NOT_CONTROL, _CONTROL = 0, 1
_LAST_ID = 0xFFFF


@dataclass(frozen=True, slots=True)
class Record:
    """One stored result.

    Attributes:
        time: The meter's clock, local time.
        mg_per_dl: 0 to 65535, as sent; by BLE, 0 is a deleted record.
        is_control: Control solution was measured, and no person.
        meal: One of `MEALS`, or an unknown code; None by BLE.
        tail: The bytes behind these, whose meaning is not known.
    """

    time: DateTime
    mg_per_dl: int
    is_control: bool
    meal: int | None
    tail: bytes


def ask_version() -> bytes:
    """Return the message that asks for the version."""
    return _message(3, "0d 01")


def ask_serial_number() -> bytes:
    """Return the message that asks for the serial number."""
    return _message(3, "0b 01 02")


def ask_clock(prefix: int = 3) -> bytes:
    """Return the message that asks for the clock."""
    return _message(prefix, "20 02")


def set_clock(moment: datetime, prefix: int = 3) -> bytes:
    """Return the message that sets the clock.

    Args:
        moment: Local time of 2000 to 2136; its zone and fraction are left out.
        prefix: 3 or 4.

    Raises:
        ValueError: The meter's counter can't hold the moment.
    """
    seconds = (moment.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
    if not 0 <= seconds <= 0xFFFF_FFFF:
        raise ValueError(f"the meter knows 2000 to 2136, not {moment.year}")
    return _message(prefix, "20 01") + pack("<I", seconds)


def ask_unit() -> bytes:
    """Return the message that asks for the unit of the display."""
    return _message(3, "09 02 02")


def ask_count(prefix: int = 3) -> bytes:
    """Return the message that asks how many records there are."""
    return _message(prefix, "27 00")


def ask_record(index: int) -> bytes:
    """Return the message that asks a Verio IQ for a record.

    Args:
        index: 0 to the number of records less one.
    """
    return _message(3, "21") + pack("<H", index)


def ask_highest_id(prefix: int = 4) -> bytes:
    """Return the message that asks, by BLE, for the newest record's id."""
    return _message(prefix, "0a 02 06")


def ask_record_by_id(number: int) -> bytes:
    """Return the message that asks, by BLE, for the record of an id.

    Args:
        number: 0 to 65535.
    """
    return _message(4, "b3") + pack("<H", number)


def read_version(message: bytes) -> str:
    """Read the answer to `ask_version`.

    Raises:
        DecodeError: ``message`` is no such answer.
    """
    with _answer("Verio version", message) as read:
        text = read.ascii(read.u8("length"), "text").strip("\0 ")
        _zeros(read, read.rest())
        return text


def read_serial_number(message: bytes) -> str:
    """Read the answer to `ask_serial_number`.

    Raises:
        DecodeError: ``message`` is no such answer, or there is no text.
    """
    with _answer("Verio serial number", message) as read:
        text = read.ascii(size := read.left, "text").strip("\0 ")
        if not text:
            raise read.error("text", "is empty", Fault.BAD_FIELD, size=size)
        return text


def read_clock(message: bytes) -> DateTime:
    """Read the answer to `ask_clock`.

    Raises:
        DecodeError: ``message`` is no such answer.
    """
    with _answer("Verio clock", message) as read:
        return _date_time(read.u32("clock"))


def read_clock_set(message: bytes) -> None:
    """Read the answer to `set_clock`, which holds nothing.

    Raises:
        DecodeError: ``message`` is no such answer.
    """
    with _answer("Verio clock setting", message):
        pass


def read_unit(message: bytes) -> str:
    """Read the answer to `ask_unit`: ``MG/DL`` or ``MMOL/L``.

    Raises:
        DecodeError: ``message`` is no such answer, or another unit.
    """
    with _answer("Verio unit", message) as read:
        unit = read.u8("unit")
        _zeros(read, read.take(3, "filling"))
        if unit not in _UNITS:
            problem = f"is {unit}, neither 0 nor 1"
            raise read.error("unit", problem, Fault.RESERVED_VALUE, size=4)
        return _UNITS[unit]


def read_count(message: bytes) -> int:
    """Read the answer to `ask_count`.

    Raises:
        DecodeError: ``message`` is no such answer.
    """
    with _answer("Verio record count", message) as read:
        return read.u16("count")


def read_highest_id(message: bytes) -> int:
    """Read the answer to `ask_highest_id`.

    Raises:
        DecodeError: ``message`` is no such answer, or no record of that id can
            be asked for.
    """
    with _answer("Verio highest record", message) as read:
        if (number := read.u32("id")) > _LAST_ID:
            problem = f"is {number}, above the {_LAST_ID} that can be asked for"
            raise read.error("id", problem, Fault.OUT_OF_RANGE, size=4)
        return number


def read_record(message: bytes) -> Record:
    """Read the answer to `ask_record`.

    Raises:
        DecodeError: ``message`` is no such answer.
    """
    with _answer("Verio record", message) as read:
        return Record(
            time=_date_time(read.u32("time")),
            mg_per_dl=read.u16("glucose"),
            is_control=_control(read),
            meal=read.u8("meal"),
            tail=read.take(2, "tail"),
        )


def read_record_by_id(message: bytes) -> Record:
    """Read the answer to `ask_record_by_id`.

    Raises:
        DecodeError: ``message`` is no such answer.
    """
    with _answer("Verio record by BLE", message) as read:
        return Record(
            time=_date_time(read.u32("time")),
            mg_per_dl=read.u16("glucose"),
            is_control=_control(read),
            meal=None,
            tail=read.take(4, "tail"),
        )


def glucose(mg_per_dl: int) -> Value:
    """Return a glucose as a Verio shows it: a number, HI or LO; 0 is none."""
    number, state = None, State.MEASURED
    if mg_per_dl == 0:
        state = State.NO_VALUE
    elif mg_per_dl > _HIGHEST:
        state = State.ABOVE_RANGE
    elif mg_per_dl < _LOWEST:
        state = State.BELOW_RANGE
    else:
        number = Decimal(mg_per_dl)
    return Value(Quantity.GLUCOSE, Unit.MG_PER_DL, number, state)


def _message(prefix: int, command: str) -> bytes:
    return bytes([prefix]) + bytes.fromhex(command)


def _answer(what: str, message: bytes) -> Cursor:
    read = Cursor(what, message)
    read.u8("prefix")
    if (status := read.u8("status")) != _DONE:
        meaning = _REFUSALS.get(status, "not known")
        problem = f"is {status:#04x}, {meaning}, and not 0x06"
        raise read.error("status", problem, Fault.DEVICE_ERROR, size=1)
    return read


def _control(read: Cursor) -> bool:
    flag = read.u8("control solution")
    if flag not in (_NOT_CONTROL, _CONTROL):
        problem = f"is {flag}, neither 0 nor 1"
        raise read.error("control solution", problem, Fault.RESERVED_VALUE, size=1)
    return flag == _CONTROL


def _zeros(read: Cursor, filling: bytes) -> None:
    if any(filling):
        raise read.error("filling", "is not 0", size=len(filling))


def _date_time(seconds: int) -> DateTime:
    return DateTime.of(_EPOCH + timedelta(seconds=seconds))
