"""Continuous Glucose Monitoring Service: the Specific Ops Control Point.

Source: Bluetooth SIG, Continuous Glucose Monitoring Service 1.0.2, §3.7; GATT
Specification Supplement, CGM Specific Ops Control Point.

    op code u8 | operand | E2E-CRC u16

    interval     u8 minutes; 0 is off, 255 the fastest that the sensor can
    level, rate  SFLOAT, mg/dL or mg/dL per minute
    calibration  SFLOAT mg/dL, time u16, type and location u8, next time u16,
                 record number u16, status u8; times in minutes of the session
    record       u16, a calibration's number; 65535 is the last one
    response     request's op code u8, response value u8

The E2E-CRC is there if the feature says so. The supplement writes the interval
as u16, and 0x0F as the response to op code 1; the service's own text and the
sensors that were captured have it as here.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum, IntFlag
from struct import error as StructError  # noqa: N812 - it is a class
from struct import pack
from typing import TypeAlias
from uuid import UUID

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt import e2e_crc
from protocols.gatt.cgm import show_sample
from protocols.gatt.e2e_crc import Expect
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown, flag_names
from protocols.medfloat import Number, show_number

CGM_SPECIFIC_OPS_CONTROL_POINT: UUID = sig(0x2AAC)

LAST_CALIBRATION = 0xFFFF
_MOST_MANTISSA = 2045  # with which no word can look like a special value
_EXPONENTS = range(-8, 8)


class Op(IntEnum):
    """What a message asks or answers."""

    SET_COMMUNICATION_INTERVAL = 0x01
    GET_COMMUNICATION_INTERVAL = 0x02
    COMMUNICATION_INTERVAL_RESPONSE = 0x03
    SET_CALIBRATION = 0x04
    GET_CALIBRATION = 0x05
    CALIBRATION_RESPONSE = 0x06
    SET_PATIENT_HIGH = 0x07
    GET_PATIENT_HIGH = 0x08
    PATIENT_HIGH_RESPONSE = 0x09
    SET_PATIENT_LOW = 0x0A
    GET_PATIENT_LOW = 0x0B
    PATIENT_LOW_RESPONSE = 0x0C
    SET_HYPO = 0x0D
    GET_HYPO = 0x0E
    HYPO_RESPONSE = 0x0F
    SET_HYPER = 0x10
    GET_HYPER = 0x11
    HYPER_RESPONSE = 0x12
    SET_RATE_OF_DECREASE = 0x13
    GET_RATE_OF_DECREASE = 0x14
    RATE_OF_DECREASE_RESPONSE = 0x15
    SET_RATE_OF_INCREASE = 0x16
    GET_RATE_OF_INCREASE = 0x17
    RATE_OF_INCREASE_RESPONSE = 0x18
    RESET_DEVICE_SPECIFIC_ALERT = 0x19
    START_SESSION = 0x1A
    STOP_SESSION = 0x1B
    RESPONSE_CODE = 0x1C


class Value(IntEnum):
    """What became of a request."""

    SUCCESS = 1
    OP_CODE_NOT_SUPPORTED = 2
    INVALID_OPERAND = 3
    PROCEDURE_NOT_COMPLETED = 4
    PARAMETER_OUT_OF_RANGE = 5


class CalibrationStatus(IntFlag):
    """What became of a calibration."""

    DATA_REJECTED = 1
    DATA_OUT_OF_RANGE = 2
    PROCESS_PENDING = 4


@dataclass(frozen=True, slots=True)
class Calibration:
    """A calibration, set or stored.

    Attributes:
        concentration: Of the reference, in mg/dL.
        time_min: Minutes since the session's start, 0 to 65535.
        sample_type: One of `glucose.TYPES`, or a reserved code.
        location: One of `glucose.LOCATIONS`, or a reserved code.
        next_min: When the next one is due, in minutes of the session.
        record: Its number, 0 to 65535; the sensor chooses it.
        status: `CalibrationStatus` bits; 0 in a request.
    """

    concentration: Number
    time_min: int
    sample_type: int
    location: int
    next_min: int = 0
    record: int = 0
    status: int = 0

    def encode(self) -> bytes:
        """Return the ten bytes of it.

        Raises:
            ValueError: A number is none that the wire can carry.
        """
        sample = self.location << 4 | self.sample_type
        try:
            return _sfloat(self.concentration) + pack(
                "<HBHHB", self.time_min, sample, self.next_min, self.record, self.status
            )
        except StructError as error:
            raise ValueError(f"{self}: {error}") from error


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended.

    Attributes:
        request: The op code that it answers.
        value: One of `Value`, or a reserved code.
    """

    request: int
    value: int


Operand: TypeAlias = Number | int | Calibration | Outcome | None

_INTERVALS = (Op.SET_COMMUNICATION_INTERVAL, Op.COMMUNICATION_INTERVAL_RESPONSE)
_CALIBRATIONS = (Op.SET_CALIBRATION, Op.CALIBRATION_RESPONSE)
_LEVELS = tuple(
    op
    for op in Op
    if Op.SET_PATIENT_HIGH <= op <= Op.RATE_OF_INCREASE_RESPONSE
    and not op.name.startswith("GET_")
)


@dataclass(frozen=True, slots=True)
class Message:
    """One value of the control point, in either direction.

    Attributes:
        op: What it asks or answers.
        operand: Minutes, a level or rate, a `Calibration`, a record number or
            an `Outcome`, as belongs to ``op``.
        crc: The E2E-CRC that it came with; None if there was none.
    """

    op: Op
    operand: Operand = None
    crc: int | None = None

    def encode(self, *, has_crc: bool) -> bytes:
        """Return the bytes to write.

        Args:
            has_crc: The feature says that the sensor takes an E2E-CRC.

        Raises:
            ValueError: ``operand`` does not belong to ``op``, or is not exactly
                what the wire can carry: a limit for an alarm is not rounded.
        """
        value = bytes([self.op]) + self._operand()
        return e2e_crc.append(value) if has_crc else value

    def _operand(self) -> bytes:
        match self.operand:
            case None if not _has_operand(self.op):
                return b""
            case bool():
                pass
            case int(minutes) if self.op in _INTERVALS and 0 <= minutes <= 0xFF:
                return bytes([minutes])
            case int(record) if self.op == Op.GET_CALIBRATION and (
                0 <= record <= LAST_CALIBRATION
            ):
                return pack("<H", record)
            case Decimal() as level if self.op in _LEVELS:
                return _sfloat(level)
            case Calibration() as calibration if self.op in _CALIBRATIONS:
                return calibration.encode()
            case Outcome() as outcome if self.op == Op.RESPONSE_CODE:
                return bytes([outcome.request, outcome.value])
        raise ValueError(f"{self.operand} is no operand of {self.op.name}")


def _has_operand(op: Op) -> bool:
    return op in (
        *_INTERVALS,
        *_CALIBRATIONS,
        *_LEVELS,
        Op.GET_CALIBRATION,
        Op.RESPONSE_CODE,
    )


def _sfloat(number: Number) -> bytes:
    if isinstance(number, Decimal):
        sign, digits, exponent = number.as_tuple()
        mantissa = int("".join(map(str, digits))) * (-1 if sign else 1)
        if exponent in _EXPONENTS and abs(mantissa) <= _MOST_MANTISSA:
            return pack("<H", int(exponent) << 12 & 0xF000 | mantissa & 0xFFF)
    raise ValueError(f"{number} is no number that an SFLOAT can hold exactly")


def decode(payload: bytes, expect: Expect = Expect.EITHER) -> Message:
    """Read one value of the control point.

    Args:
        payload: The whole value.
        expect: Whether it has an E2E-CRC.

    Raises:
        DecodeError: ``payload`` is cut short or too long, its op code is reserved,
            or the E2E-CRC is wrong.
    """
    with Cursor("CGM Specific Ops Control Point", payload) as read:
        raw = read.u8("op code")
        if raw not in {*Op}:
            problem = f"{raw:#04x} is reserved"
            raise read.error("op code", problem, Fault.RESERVED_VALUE, size=1)
        op = Op(raw)
        operand = _read_operand(read, op)
        return Message(op, operand, e2e_crc.read_last(read, payload, expect))


def _read_operand(read: Cursor, op: Op) -> Operand:
    if op in _INTERVALS:
        return read.u8("interval")
    if op == Op.GET_CALIBRATION:
        return read.u16("record number")
    if op in _LEVELS:
        return read.sfloat("level")
    if op == Op.RESPONSE_CODE:
        return Outcome(read.u8("request op code"), read.u8("response value"))
    if op not in _CALIBRATIONS:
        return None
    concentration, time_min = read.sfloat("concentration"), read.u16("time")
    location, sample_type = divmod(read.u8("type, location"), 16)
    return Calibration(
        concentration=concentration,
        time_min=time_min,
        sample_type=sample_type,
        location=location,
        next_min=read.u16("next time"),
        record=read.u16("record number"),
        status=read.u8("status"),
    )


def _show_operand(message: Message) -> Shown:
    match message.operand:
        case Calibration() as it:
            return {
                "glucose_mg_dl": show_number(it.concentration),
                "calibration_time_min": it.time_min,
                **show_sample(it.sample_type, it.location),
                "next_calibration_min": it.next_min,
                "record_number": it.record,
                "calibration_status": it.status,
                "calibration_status_flags": flag_names(CalibrationStatus, it.status),
            }
        case Outcome(request, value):
            known = value in {*Value}
            return {
                "request_op_code": request,
                "response_value": value,
                "response": Value(value).name.lower() if known else "reserved",
            }
        case int(number):
            is_record = message.op == Op.GET_CALIBRATION
            return {"record_number" if is_record else "interval_min": number}
        case None:
            return {}
        case level:
            return {"level": show_number(level)}


def _show(payload: bytes, *, crc: str = "either") -> Shown:
    message = decode(payload, Expect(crc))
    return {
        "op_code": int(message.op),
        "op": message.op.name.lower(),
        **_show_operand(message),
        **e2e_crc.show(message.crc),
    }


KINDS = {"gatt.cgm_specific_ops": PayloadKind(_show, e2e_crc.OPTION)}
