"""Reference time: where a device has its time from, and how to renew it.

Source: Bluetooth SIG, GATT Specification Supplement; Current Time Service 1.1,
§3.3; Reference Time Update Service 1.0, §3.

    Time Source     u8, see `SOURCES`
    Time Accuracy   u8, in 1/8 s; 254 is more than 31.625 s, 255 unknown
    Reference Time  Time Source, Time Accuracy, days u8, hours u8 since the update
    update control  u8, 1 get a reference update, 2 cancel it
    update state    current state u8, result u8

255 days mean 255 or more, and then the hours are 255 too.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from uuid import UUID

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown, trailing

UPDATE_SERVICE: UUID = sig(0x1806)
TIME_ACCURACY: UUID = sig(0x2A12)
TIME_SOURCE: UUID = sig(0x2A13)
REFERENCE_TIME_INFORMATION: UUID = sig(0x2A14)
TIME_UPDATE_CONTROL_POINT: UUID = sig(0x2A16)
TIME_UPDATE_STATE: UUID = sig(0x2A17)

SOURCES = (
    "unknown",
    "network_time_protocol",
    "gnss",
    "radio_time_signal",
    "manual",
    "atomic_clock",
    "cellular_network",
    "not_synchronised",
)
STATES = ("idle", "update_pending")
RESULTS = (
    "successful",
    "cancelled",
    "no_connection",
    "error",
    "timeout",
    "not_attempted",
)
_MOST_ACCURACY = 253


class Command(IntEnum):
    """What to write to the Time Update Control Point, as one byte."""

    GET_REFERENCE_UPDATE = 1
    CANCEL_REFERENCE_UPDATE = 2


@dataclass(frozen=True, slots=True)
class ReferenceTime:
    """One Reference Time Information value, exactly as it was on the wire.

    Attributes:
        source: An index of `SOURCES`, or a reserved code.
        accuracy: In 1/8 s, 0 to 253; 254 is more than that, 255 unknown.
        days: Since the last update; 255 is that or more.
        hours: 0 to 23 beside the days; 255 with 255 days.
        trailing: Bytes behind the fields known here.
    """

    source: int
    accuracy: int
    days: int
    hours: int
    trailing: bytes = b""


def accuracy_s(raw: int) -> Decimal | None:
    """Return a Time Accuracy in seconds; None if it is unknown or beyond them all.

    >>> accuracy_s(2), accuracy_s(254)
    (Decimal('0.250'), None)
    """
    return raw * Decimal("0.125") if raw <= _MOST_ACCURACY else None


def decode_accuracy(payload: bytes) -> tuple[int, bytes]:
    """Read a Time Accuracy, 0 to 255, and the bytes behind it.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("Time Accuracy", payload) as read:
        return read.u8("accuracy"), read.rest()


def decode_source(payload: bytes) -> tuple[int, bytes]:
    """Read a Time Source, 0 to 255, and the bytes behind it.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("Time Source", payload) as read:
        return read.u8("source"), read.rest()


def decode_reference_time(payload: bytes) -> ReferenceTime:
    """Read a Reference Time Information value.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("Reference Time Information", payload) as read:
        return ReferenceTime(
            source=read.u8("source"),
            accuracy=read.u8("accuracy"),
            days=read.u8("days since update"),
            hours=read.u8("hours since update"),
            trailing=read.rest(),
        )


def decode_update_command(payload: bytes) -> tuple[Command, bytes]:
    """Read what was written to a Time Update Control Point, and the bytes behind.

    Raises:
        DecodeError: ``payload`` is cut short, or its command is reserved.
    """
    with Cursor("Time Update Control Point", payload) as read:
        raw = read.u8("command")
        if raw not in {*Command}:
            problem = f"{raw:#04x} is reserved"
            raise read.error("command", problem, Fault.RESERVED_VALUE, size=1)
        return Command(raw), read.rest()


def decode_update_state(payload: bytes) -> tuple[int, int, bytes]:
    """Read a Time Update State.

    Returns:
        Indices of `STATES` and of `RESULTS`, or reserved codes, and the bytes
        behind them.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("Time Update State", payload) as read:
        return read.u8("current state"), read.u8("result"), read.rest()


def _name(names: tuple[str, ...], code: int) -> str:
    return names[code] if code < len(names) else "reserved"


def _show_accuracy(payload: bytes) -> Shown:
    raw, rest = decode_accuracy(payload)
    shown: Shown = {"accuracy_raw": raw, "accuracy_s": accuracy_s(raw)}
    return shown | trailing(rest)


def _show_source(payload: bytes) -> Shown:
    raw, rest = decode_source(payload)
    shown: Shown = {"time_source": raw, "time_source_name": _name(SOURCES, raw)}
    return shown | trailing(rest)


def _show_reference_time(payload: bytes) -> Shown:
    time = decode_reference_time(payload)
    return {
        "time_source": time.source,
        "time_source_name": _name(SOURCES, time.source),
        "accuracy_raw": time.accuracy,
        "accuracy_s": accuracy_s(time.accuracy),
        "days_since_update": time.days,
        "hours_since_update": time.hours,
        **trailing(time.trailing),
    }


def _show_update_command(payload: bytes) -> Shown:
    command, rest = decode_update_command(payload)
    shown: Shown = {"command": int(command), "command_name": command.name.lower()}
    return shown | trailing(rest)


def _show_update_state(payload: bytes) -> Shown:
    state, result, rest = decode_update_state(payload)
    return {
        "state": state,
        "state_name": _name(STATES, state),
        "result": result,
        "result_name": _name(RESULTS, result),
        **trailing(rest),
    }


KINDS = {
    "gatt.reference_time_information": PayloadKind(_show_reference_time),
    "gatt.time_accuracy": PayloadKind(_show_accuracy),
    "gatt.time_source": PayloadKind(_show_source),
    "gatt.time_update_control_point": PayloadKind(_show_update_command),
    "gatt.time_update_state": PayloadKind(_show_update_state),
}
