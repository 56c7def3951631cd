"""Sinocare: the one frame of its BLE meters that is public.

Source: the sample of Sinocare's own mini program (docs/reference/sources.md);
one captured frame. The vendor's "sino_standard_ble_01" is not public.

    0x53 0x4E | length u8 | model u16 BE | command u8 | data | sum u8

``length`` counts what follows it; ``sum`` is that of all from ``length`` on to
the last byte before it, modulo 256. Commands: 03 start, 04 live result, 06 time,
0E history. Data of a live result:

    year, month, day, hour, minute, second   u8 each, the year two digits
    glucose                                  u16 BE, in 0.1 mmol/L
    4 bytes                                  not known

Not known either: the data of the other commands, HI and LO, control solution.
Without them no driver may take a result for a person's.
"""

from dataclasses import dataclass
from decimal import Decimal

from protocols.crc import sum8
from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Frames

_START = bytes.fromhex("53 4e")
_LENGTH_AT = 2
_HEAD = 3  # start, length
_OVERHEAD = 4  # model, command, sum
_CENTURY = 2000
_LIVE_RESULT = 0x04
_RESULT_SIZE = 12


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, without what delimits it.

    Attributes:
        model: 0 to 65535.
        command: 0 to 255.
        data: 0 to 251 bytes.
    """

    model: int
    command: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """What a live result says, as far as it is known.

    Attributes:
        time: The meter's clock.
        mmol_per_l: Glucose, with one decimal place.
        unknown: Four bytes that nobody has explained.
    """

    time: DateTime
    mmol_per_l: Decimal
    unknown: bytes


def decode_frame(data: bytes) -> Frame:
    """Read one whole frame.

    Raises:
        DecodeError: ``data`` is cut short, too long, or damaged.
    """
    with Cursor("Sinocare frame", data) as read:
        for at, right in enumerate(_START):
            if (start := read.u8("start")) != right:
                problem = f"has {start:#04x} at {at}, not {right:#04x}"
                raise read.error("start", problem, Fault.BAD_HEADER, size=1)
        length = read.u8("length")
        if length < _OVERHEAD:
            problem = f"is {length}, below the {_OVERHEAD} of a frame without data"
            raise read.error("length", problem, Fault.BAD_LENGTH, size=1)
        frame = Frame(
            model=read.u16_be("model"),
            command=read.u8("command"),
            data=read.take(length - _OVERHEAD, "data"),
        )
        found, right = read.u8("sum"), sum8(data[_LENGTH_AT : _LENGTH_AT + length])
        if found != right:
            problem = f"is {found:#04x}, the frame's is {right:#04x}"
            raise read.error("sum", problem, Fault.BAD_CHECKSUM, size=1)
    return frame


def decoder() -> Frames[Frame]:
    """Return what makes frames of a stream of bytes."""
    return Frames(_START, _size, decode_frame)


def decode_result(data: bytes) -> Result:
    """Read the data of a live result.

    Raises:
        DecodeError: ``data`` has not the twelve bytes of the known result.
    """
    with Cursor("Sinocare live result", data) as read:
        year = read.u8("year")
        return Result(
            time=DateTime(_CENTURY + year, *read.take(5, "month to second")),
            mmol_per_l=Decimal(read.u16_be("glucose")).scaleb(-1),
            unknown=read.take(4, "unknown"),
        )


def _size(data: bytes) -> int:
    if len(data) < _HEAD:
        return _HEAD
    return _HEAD + data[_LENGTH_AT] if data[_LENGTH_AT] >= _OVERHEAD else 0


def _show_frame(payload: bytes) -> Shown:
    frame = decode_frame(payload)
    shown: Shown = {
        "model": f"{frame.model:04x}",
        "command": frame.command,
        "data": frame.data.hex(),
    }
    if frame.command == _LIVE_RESULT and len(frame.data) == _RESULT_SIZE:
        result = decode_result(frame.data)
        shown |= {
            "timestamp": str(result.time),
            "glucose_x10": int(result.mmol_per_l.scaleb(1)),
            "mmol_per_l": result.mmol_per_l,
            "unknown": result.unknown.hex(),
        }
        if result.time.moment is None:
            shown["timestamp_valid"] = False
    return shown


KINDS = {"sinocare.wechat_frame": PayloadKind(_show_frame)}
