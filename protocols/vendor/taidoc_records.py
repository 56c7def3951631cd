"""TaiDoc, FORA, GlucoRx: what their stored records mean.

Source: field notes on TaiDoc meters, cuffs and thermometers, checked against
captured frames (docs/reference/sources.md). The bits of a record's time, the
mean pressure and the temperature are from implementations only.

A record is the data of two answers, its time and its value (`taidoc`). What the
value means depends on the device; only where one measures both glucose and
blood pressure, the time says which.

    time          as the clock, and above the minute (b0-5) and the hour (b0-4):
                  minute b6 irregular pulse, b7 blood pressure (of a meter that
                  measures both); hour b7 average of several
    strip         u16 value, u8 ambient temperature or code number (not told
                  alike), u8: b2-5 analyte, b6-7 meal
    pressure      systolic u8, mean u8, diastolic u8, pulse u8
    temperature   u16, u16 of the surroundings

Some devices use hour b5-6 for the rhythm, others for the evening and "was sent
before", which changes with every visit: they are not read here. Some cuffs give
the systolic pressure 16 bits; no mean is 0 or 1, so the two can't be mixed up.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from enum import IntEnum

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.vendor.taidoc import decode_clock

_EMPTY = 0xFFFF
_HIGHEST_SYSTOLIC = 300  # mmHg; no cuff shows more
_HIGHEST_HUNDREDTHS = 4300  # 43.00 Cel


class Meal(IntEnum):
    """What the person marked a strip's record with."""

    NONE = 0
    BEFORE = 1
    AFTER = 2
    CONTROL = 3  # control solution


class Analyte(IntEnum):
    """What a strip measures, by its code."""

    GLUCOSE = 0
    HEMATOCRIT = 6
    KETONE = 7
    URIC_ACID = 8
    CHOLESTEROL = 9
    HEMOGLOBIN = 11
    LACTATE = 12
    TRIGLYCERIDES = 13


_PER_MMOL_PER_L = {Analyte.KETONE: Decimal(30), Analyte.LACTATE: Decimal("9.008")}


@dataclass(frozen=True, slots=True)
class RecordTime:
    """The time of a record, and what stands in its free bits.

    Attributes:
        time: The device's clock, without seconds.
        is_blood_pressure: On a device that measures glucose as well.
        is_irregular: The pulse was irregular; of blood pressure only.
        is_average: The mean of several measurements; of blood pressure only.
    """

    time: DateTime
    is_blood_pressure: bool
    is_irregular: bool
    is_average: bool


@dataclass(frozen=True, slots=True)
class Strip:
    """The value of one test strip.

    Attributes:
        analyte: What it measures.
        value: 0 to 65534, in the unit that `analyte` has: mg/dL of glucose,
            cholesterol, lactate and triglycerides, tenths of that of uric acid,
            tenths of g/dL of hemoglobin, percent of hematocrit, thirtieths of
            mmol/L of ketone.
        meal: What it was marked with. On other analytes than glucose some meters
            set ``CONTROL`` without a control solution.
    """

    analyte: Analyte
    value: int
    meal: Meal

    @property
    def number(self) -> Decimal:
        """The value in mg/dL, g/dL or percent; of ketone and lactate in mmol/L.

        Those two are the number sent, divided by 30 and by 9.008; such a quotient
        is rarely a decimal, so it is always one of four places, half to even.

        >>> Strip(Analyte.KETONE, 31, Meal.NONE).number
        Decimal('1.0333')
        """
        if self.analyte in _PER_MMOL_PER_L:
            quotient = self.value / _PER_MMOL_PER_L[self.analyte]
            return quotient.quantize(Decimal("0.0001"), ROUND_HALF_EVEN)
        tenths = self.analyte in (Analyte.URIC_ACID, Analyte.HEMOGLOBIN)
        return Decimal(self.value).scaleb(-1 if tenths else 0)


@dataclass(frozen=True, slots=True)
class BloodPressure:
    """One measurement of a cuff, in mmHg, the pulse per minute.

    Attributes:
        systolic: 0 to 300.
        diastolic: 0 to 255.
        pulse: 0 to 255.
        mean: Between both pressures; None if the cuff sends none.
    """

    systolic: int
    diastolic: int
    pulse: int
    mean: int | None = None


def decode_record_time(data: bytes) -> RecordTime:
    """Read the data of an answer to `taidoc.ask_record_time`.

    Raises:
        DecodeError: ``data`` has not 4 bytes.
    """
    time = decode_clock(data)
    minute, hour = data[2], data[3]
    return RecordTime(
        time=time,
        is_blood_pressure=bool(minute & 0x80),
        is_irregular=bool(minute & 0x40),
        is_average=bool(hour & 0x80),
    )


def decode_strip(data: bytes) -> Strip:
    """Read the value of a meter's record.

    Raises:
        DecodeError: ``data`` has not 4 bytes, there is no record, or the analyte
            is not known.
    """
    with Cursor("TaiDoc strip record", data) as read:
        value = read.u16("value")
        if value == _EMPTY:
            raise read.error("value", "is none", Fault.EMPTY_SLOT, size=2)
        read.u8("ambient temperature or code")
        kind = read.u8("kind")
        analyte = kind >> 2 & 0xF
        if analyte not in tuple(Analyte):
            problem = f"names the analyte {analyte}, which is not known"
            raise read.error("kind", problem, Fault.RESERVED_VALUE, size=1)
        return Strip(Analyte(analyte), value, Meal(kind >> 6))


def decode_blood_pressure(data: bytes) -> BloodPressure:
    """Read the value of a cuff's record.

    Raises:
        DecodeError: ``data`` has not 4 bytes, there is no record, or its second
            byte is neither a mean nor the high byte of a systolic pressure.
    """
    with Cursor("TaiDoc blood pressure record", data) as read:
        systolic, second = read.u8("systolic"), read.u8("mean")
        diastolic, pulse = read.u8("diastolic"), read.u8("pulse")
        if {systolic, second, diastolic, pulse} == {0xFF}:
            raise read.error("systolic", "is none", Fault.EMPTY_SLOT, size=4)
        if second <= 1:
            systolic += second << 8
            if systolic > _HIGHEST_SYSTOLIC:
                problem = f"is {systolic} mmHg, more than any cuff shows"
                raise read.error("systolic", problem, Fault.OUT_OF_RANGE, size=4)
            return BloodPressure(systolic, diastolic, pulse)
        if not diastolic <= second <= systolic:
            problem = f"is {second}, not between {diastolic} and {systolic}"
            raise read.error("mean", problem, Fault.BAD_FIELD, size=3)
        return BloodPressure(systolic, diastolic, pulse, mean=second)


def decode_temperature(data: bytes) -> Decimal:
    """Read the value of a thermometer's record, in the unit that it shows.

    Some send tenths, some hundredths; below 1000 they are tenths. Some use the
    upper four bits for something else, and they are refused.

    Raises:
        DecodeError: ``data`` has not 4 bytes, or there may be more than a
            temperature in it.
    """
    with Cursor("TaiDoc temperature record", data) as read:
        value = read.u16("temperature")
        if value == _EMPTY:
            raise read.error("temperature", "is none", Fault.EMPTY_SLOT, size=2)
        if value > _HIGHEST_HUNDREDTHS:
            problem = f"is {value}, neither tenths nor hundredths of a degree"
            raise read.error("temperature", problem, Fault.OUT_OF_RANGE, size=2)
        read.u16("surroundings")
        return Decimal(value).scaleb(-1 if value < 1000 else -2)
