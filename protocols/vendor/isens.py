"""i-SENS CareSens and ReliOn Premier by BLE: what they add to the Glucose Service.

Source: field notes on the CareSens meters, checked against published payloads
(docs/reference/sources.md).

They speak the Glucose Service, with a clock of their own beside it:

    service FFF0, characteristic FFF1 (older), or c4dea010-…, c4dea3bc-… (newer)
    write    C0 03 01 00, Date Time 7    sets the clock; all zeros ask for it
    notify   4 bytes, Date Time 7        what it showed, or shows now

A setting is confirmed late or never. The notification's first bytes differ from
those of the write; what they say is not known, so they are kept as they are.

In a Glucose Measurement Context the meal 6, reserved by its specification,
marks the measurement as one of ketone. Its concentration stands in the place
and scale of a glucose in mg/dL, and its number is ten times the mmol/L. What
software before 1.4 says of a ketone's being above or below the range means
nothing.

Some send the month 13 for January.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from struct import pack
from uuid import UUID

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt import device_information, glucose, glucose_reading
from protocols.gatt.glucose import Context, Flag, Measurement, Status
from protocols.gatt.time import DateTime, date_time
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown
from protocols.medfloat import Special
from protocols.observation import Quantity, State, Unit, Value

OWN_CLOCK: UUID = UUID("c4dea3bc-5a9d-11e9-8647-d663bd873d93")
CLOCKS: tuple[UUID, ...] = (sig(0xFFF1), OWN_CLOCK)

_SET_CLOCK = bytes.fromhex("c0 03 01 00")
_NO_TIME = DateTime(0, 0, 0, 0, 0, 0)
_KETONE_TEST = 6
_MARKS_KETONES = 1, 4  # the software that marks ketones beyond the range
_HIGHEST_KETONE = Decimal("8.0")  # mmol/L, what such a meter shows as a number
_RANGE = Status.RESULT_TOO_HIGH | Status.RESULT_TOO_LOW
_KG_PER_L_TO_MMOL_PER_L = 4  # the shift to mg/dL, 5, less that of the ten


@dataclass(frozen=True, slots=True)
class ClockReply:
    """One notification of the clock.

    Attributes:
        head: Four bytes, whose meaning is not known.
        time: The meter's clock, local time.
        trailing: Bytes behind the fields known here.
    """

    head: bytes
    time: DateTime
    trailing: bytes = b""


def ask_clock() -> bytes:
    """Return what to write to be told the clock."""
    return _SET_CLOCK + bytes(7)


def set_clock(moment: datetime) -> bytes:
    """Return what to write to set the clock.

    Args:
        moment: Local time; its zone and fraction are left out.
    """
    return _SET_CLOCK + pack("<H5B", *DateTime.of(moment))


def decode_time_set(payload: bytes) -> DateTime:
    """Read what `set_clock` or `ask_clock` wrote; all zeros asks.

    Raises:
        DecodeError: ``payload`` is cut short, too long, or another command.
    """
    with Cursor("CareSens time command", payload) as read:
        head = read.take(len(_SET_CLOCK), "opcode")
        if head != _SET_CLOCK:
            problem = f"is {head.hex(' ')}, not {_SET_CLOCK.hex(' ')}"
            raise read.error("opcode", problem, Fault.BAD_HEADER, size=len(head))
        return date_time(read, "time")


def decode_clock(payload: bytes) -> ClockReply:
    """Read a notification of the clock.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("CareSens clock", payload) as read:
        return ClockReply(read.take(4, "head"), date_time(read, "time"), read.rest())


def is_ketone(context: Context) -> bool:
    """Whether the measurement that ``context`` belongs to is one of ketone."""
    return context.meal == _KETONE_TEST


def ketone_mmol_per_l(concentration: Decimal) -> Decimal:
    """Return what the person saw of a ketone test.

    Args:
        concentration: As sent, in the scale of kg/L.

    >>> ketone_mmol_per_l(Decimal("0.00012"))
    Decimal('1.2')
    """
    return concentration.scaleb(_KG_PER_L_TO_MMOL_PER_L)


def decode_software(payload: bytes) -> tuple[int, int] | None:
    """Read the version out of a Software Revision String; None if it names none.

    Raises:
        DecodeError: ``payload`` is no text.

    >>> decode_software(b"1.5.2")
    (1, 5)
    """
    try:
        major, minor, *_ = device_information.decode_string(payload).split(".")
        return int(major), int(minor)
    except ValueError:
        return None


def ketone_value(seen: Measurement, software: tuple[int, int] | None) -> Value:
    """Return what a ketone test found.

    Args:
        seen: The measurement that a context marks as one.
        software: The meter's software; None if it does not tell it, and then
            nobody knows what a mark of the range means.
    """
    sent, state = seen.concentration, State.NO_VALUE
    status = Status(seen.status or 0)
    is_marked = bool(status & _RANGE)
    if software is not None and software < _MARKS_KETONES:
        is_marked = False  # its marks are those of the number as a glucose
    if status & glucose_reading.UNUSABLE:
        state = State.DEVICE_ERROR
    elif isinstance(sent, Special):
        return Value.of(Quantity.KETONE, sent, Unit.MMOL_PER_L)
    elif sent is None or sent < 0 or Flag.MOL_PER_L in seen.flags:
        state = State.NO_VALUE
    elif (number := ketone_mmol_per_l(sent)) > _HIGHEST_KETONE:
        state = State.ABOVE_RANGE
    elif not is_marked:
        return Value(Quantity.KETONE, Unit.MMOL_PER_L, number)
    elif software is not None and status & _RANGE != _RANGE:
        high = Status.RESULT_TOO_HIGH in status
        state = State.ABOVE_RANGE if high else State.BELOW_RANGE
    return Value(Quantity.KETONE, Unit.MMOL_PER_L, None, state)


def repair_month(time: DateTime) -> DateTime:
    """Return ``time`` with January where the meter says month 13.

    >>> str(repair_month(DateTime(2024, 13, 5, 7, 30, 0)))
    '2024-01-05T07:30:00'
    """
    return time._replace(month=1) if time.month == 13 else time


def _show_context(payload: bytes) -> Shown:
    context = glucose.decode_context(payload)
    shown = glucose.KINDS["gatt.glucose_measurement_context"].show(payload)
    with Cursor("CareSens context", payload) as read:
        read.take(len(payload) - len(context.trailing), "fields")
    return {**shown, "vendor_ketone": is_ketone(context)}


def _show_time_set(payload: bytes) -> Shown:
    time = decode_time_set(payload)
    shown: Shown = {"opcode": _SET_CLOCK.hex(), "datetime": str(time)}
    if time == _NO_TIME:
        return {**shown, "asks": True}
    if time.moment is None:
        return {**shown, "datetime_valid": False}
    return shown


KINDS = {
    "isens.context": PayloadKind(_show_context),
    "isens.time_set": PayloadKind(_show_time_set),
}
