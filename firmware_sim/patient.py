"""Patients who do not exist, and what their meters, sensors and cuffs show.

The body is `firmware_sim.physiology`; here are the devices, with the errors that
they make. A patient of one seed is the same on every computer and with every
version of Python, and the readings of more days begin with those of fewer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Final, Literal, TypeAlias, get_args

from firmware_sim import physiology
from firmware_sim.oscillometry import Artery, Cuff, Deflation, deflation
from firmware_sim.physiology import (
    DAY_MIN,
    HYPERTENSIVE,
    TYPE_1,
    Circulation,
    Draws,
    Glycaemia,
    Pressure,
)
from firmware_sim.series import Row

Kind: TypeAlias = Literal["glucose", "cgm", "blood-pressure", "ambulatory"]

BODY_MOVEMENT, IRREGULAR_PULSE = 1, 4  # Blood Pressure Service, Measurement Status

_MONDAY: Final = datetime(2026, 1, 5)  # noqa: DTZ001 - a wall clock
_MG_PER_MMOL = 18.0156
# A sensor's noise: each reading keeps _MEMORY of it, and adds to it, at times a lot.
_MEMORY, _NOISE_SD, _WILD, _WILDER = 0.7, 0.009, 0.07, 7.0
_NOT_A_NUMBER = Decimal("NaN")
_HI, _LO = Decimal("Infinity"), Decimal("-Infinity")

# UCI "Diabetes": before and after each meal; 48 is not said.
_BEFORE = {"breakfast": 58, "lunch": 60, "dinner": 62, "snack": 64}
_AFTER = {"breakfast": 59, "lunch": 61, "dinner": 63}
_UNSAID = 48


@dataclass(frozen=True, slots=True)
class Display:
    """What a glucose device can show.

    Attributes:
        unit: ``mg/dL`` or ``mmol/L``.
        decimals: After the point.
        low: The smallest number; below it stands LO.
        high: The largest; above it stands HI.
    """

    unit: str
    decimals: int
    low: Decimal
    high: Decimal

    def show(self, mg_per_dl: float) -> Decimal:
        """Round to a step of the display; minus and plus infinity are LO and HI."""
        if self.unit == "mmol/L":
            mg_per_dl /= _MG_PER_MMOL
        steps = int(mg_per_dl * 10**self.decimals + 0.5)
        value = Decimal(steps).scaleb(-self.decimals)
        if value < self.low:
            return _LO
        return _HI if value > self.high else value


METER_MG = Display("mg/dL", 0, Decimal(20), Decimal(600))
METER_MMOL = Display("mmol/L", 1, Decimal("1.1"), Decimal("33.3"))
SENSOR_MG = Display("mg/dL", 0, Decimal(40), Decimal(400))
SENSOR_MMOL = Display("mmol/L", 1, Decimal("2.2"), Decimal("22.2"))


class Patient:
    """A person with a glucose meter, a glucose sensor and a cuff.

    Args:
        seed: Which person.
        start: The midnight before the first reading, on the devices' wall clocks.
        glycaemia: How the body handles glucose.
        circulation: Its blood pressure.
    """

    def __init__(
        self,
        seed: int,
        *,
        start: datetime = _MONDAY,
        glycaemia: Glycaemia = TYPE_1,
        circulation: Circulation = HYPERTENSIVE,
    ) -> None:
        self._seed, self._start = seed, start
        self._glycaemia, self._circulation = glycaemia, circulation

    def plasma(self, days: int) -> list[float]:
        """Return the true glucose of each minute, mg/dL."""
        return physiology.plasma(self._seed, self._glycaemia, days)

    def pressure(self, minute: int) -> Pressure:
        """Return the true pressure at rest, without what a visit adds."""
        return physiology.pressure(self._seed, self._circulation, minute)

    def irregular(self, minute: int) -> bool:
        """Tell whether the heart fibrillates."""
        return physiology.irregular(self._seed, self._circulation, minute)

    def glucose(self, days: int, display: Display = METER_MG) -> list[Row]:
        """Return finger-stick readings, some four a day.

        The error has an SD of 6 mg/dL, or of 6 % from 100 mg/dL on, so that 98.8 %
        are within the 15 mg/dL or 15 % in which ISO 15197:2013 wants 95 %.

        Args:
            days: From `start`.
            display: The meter's.

        Returns:
            ``value`` in the display's unit, an infinity for HI and LO, and
            ``mealcode``, as in the series ``smbg_uci``.
        """
        course = self.plasma(days)
        rows: list[Row] = []
        for day in range(days):
            for second, code in self._sticks(day):
                if not 0 <= second < 60 * len(course):
                    continue
                draws = Draws(self._seed, "stick", second)
                true = course[second // 60]
                shown = display.show(true + draws.normal(0.0, 0.06) * max(true, 100.0))
                values = {"value": shown, "mealcode": Decimal(code)}
                rows.append(self._row(second, values))
        return _increasing(rows)

    def _sticks(self, day: int) -> Iterator[tuple[int, int]]:
        """Yield second and meal code of one day's finger-sticks."""
        draws = Draws(self._seed, "sticks", day)
        for meal in physiology.meals(self._seed, self._glycaemia, day):
            before, after = draws.whole(1, 20), draws.whole(90, 150)
            if draws.chance(0.15 if meal.name == "snack" else 0.85):
                at = 60 * (meal.minute - before) + draws.whole(0, 59)
                yield at, _BEFORE[meal.name]
            if draws.chance(0.08) and meal.name in _AFTER:
                at = 60 * (meal.minute + after) + draws.whole(0, 59)
                yield at, _AFTER[meal.name]
        if draws.chance(0.75):
            at = 60 * (DAY_MIN * day + draws.whole(1290, 1410)) + draws.whole(0, 59)
            yield at, _UNSAID

    def cgm(self, days: int, display: Display = SENSOR_MG) -> list[Row]:
        """Return a sensor's readings, five minutes apart where none is lost.

        It follows the blood with a lag, wears a new gain every ten days, has a
        noise with memory, reads low under a body that lies on it, and loses
        single readings and whole hours.

        Args:
            days: From `start`.
            display: The sensor's.

        Returns:
            ``value`` in the display's unit, an infinity for HI and LO.
        """
        course = self.plasma(days)
        draws, lost = Draws(self._seed, "sensor"), Draws(self._seed, "sensor gaps")
        lag_min = draws.uniform(6.0, 10.0)
        second, gain, wander, gap = draws.whole(0, 299), 1.0, 0.0, 0
        tissue, minute = course[0] if course else 0.0, 0
        rows, worn = [], -1
        nights = [self._compression(night) for night in range(days + 1)]
        while second < 60 * len(course):
            while minute < second // 60:
                tissue += (course[minute] - tissue) / lag_min
                minute += 1
            if minute // (10 * DAY_MIN) > worn:
                worn = minute // (10 * DAY_MIN)
                gain = Draws(self._seed, "sensor gain", worn).normal(1.0, 0.05)
            wander = _MEMORY * wander + draws.noise(_NOISE_SD, _WILD, _WILDER)
            gap = max(gap - 1, 0) or _gap(lost)
            if gap == 0:
                value = gain * tissue * (1.0 + wander) - _lain_on(
                    *nights[_night(minute)], minute
                )
                values = {"value": display.show(max(value, 0.0))}
                rows.append(self._row(second, values))
            second += 299 if draws.chance(0.02) else 300
        return rows

    def _compression(self, night: int) -> tuple[int, int, float]:
        """Return from when until when a sensor is lain on, and mg/dL too low then."""
        draws = Draws(self._seed, "compression", night)
        depth = draws.uniform(25.0, 60.0) if draws.chance(0.12) else 0.0
        start = DAY_MIN * night + draws.whole(-60, 330)
        return start, start + draws.whole(20, 60), depth

    def blood_pressure(self, days: int) -> list[Row]:
        """Return home readings, one to three in a sitting, mornings and evenings.

        The first of a sitting is too high, and one that failed is taken again.

        Args:
            days: From `start`.

        Returns:
            ``value`` systolic, ``value2`` diastolic and ``mean`` in mmHg,
            ``value3`` pulse per minute, all NaN if it failed, and ``status``, the
            Measurement Status bits.
        """
        rows = []
        for sitting in range(2 * days):
            draws = Draws(self._seed, "sitting", sitting)
            if not draws.chance(0.85):
                continue
            usual = 1215 if sitting % 2 else 445
            minute = usual + int(draws.normal(0.0, 40.0))
            second = 60 * (DAY_MIN * (sitting // 2) + minute) + draws.whole(0, 59)
            both = draws.normal(0.0, self._circulation.visit_sd)
            diastolic, pulse = draws.normal(0.6 * both, 3.5), draws.normal(0.0, 4.5)
            white_coat = draws.normal(5.0, 3.0)  # mmHg, gone by the third reading
            for _ in range(draws.whole(1, 3)):
                excess = Pressure(
                    systolic=both + white_coat,
                    diastolic=diastolic + 0.5 * white_coat,
                    pulse=pulse + 0.2 * white_coat,
                )
                rows.append(self._row(second, self._cuff(draws, second // 60, excess)))
                while rows[-1]["value"].is_nan() and draws.chance(0.8):
                    second += draws.whole(60, 120)
                    again = self._cuff(draws, second // 60, excess)
                    rows.append(self._row(second, again))
                second += draws.whole(75, 210)
                white_coat *= 0.2
        end = self._start + timedelta(days=days)
        return [row for row in rows if row.time < end]

    def ambulatory(self, days: int) -> list[Row]:
        """Return readings twice an hour by day and once by night, as `blood_pressure`.

        A body that is about its day varies more than one that sits.
        """
        rows = []
        for half_hour in range(48 * days):
            hour = half_hour // 2 % 24
            night = hour < 7 or hour >= 22
            draws = Draws(self._seed, "ambulatory", half_hour)
            if night and half_hour % 2:
                continue
            second = 1800 * half_hour + draws.whole(0, 50)
            both = draws.normal(0.0, 7.0 if night else 11.0)
            activity = Pressure(
                systolic=both,
                diastolic=draws.normal(0.4 * both, 4.0),
                pulse=draws.normal(0.2 * both, 5.0),
            )
            rows.append(self._row(second, self._cuff(draws, second // 60, activity)))
        return rows

    def _cuff(self, draws: Draws, minute: int, excess: Pressure) -> dict[str, Decimal]:
        """Measure once, with an excess above the pressure at rest."""
        true = self.pressure(minute)
        irregular, moved = self.irregular(minute), draws.chance(0.03)
        sd, pulse_sd = (4.2, 9.0) if irregular else (2.7, 2.7)
        both = draws.normal(0.0, sd) + (draws.normal(0.0, 12.0) if moved else 0.0)
        systolic = true.systolic + excess.systolic + both + draws.normal(0.0, sd)
        diastolic = true.diastolic + excess.diastolic
        diastolic += 0.7 * both + draws.normal(0.0, sd)
        mean = diastolic + (systolic - diastolic) * draws.normal(0.333, 0.03)
        pulse = true.pulse + excess.pulse + draws.normal(0.0, pulse_sd)
        status = BODY_MOVEMENT * moved
        # A cuff sees most of the irregular pulses, and some that are none.
        status |= IRREGULAR_PULSE * draws.chance(0.93 if irregular else 0.01)
        shown = {"value": systolic, "value2": diastolic, "value3": pulse, "mean": mean}
        failed = draws.chance(0.25 if moved else 0.012)
        inside = (
            60.0 <= systolic <= 259.0
            and 30.0 <= diastolic <= min(214.0, systolic - 10.0)
            and 40.0 <= pulse <= 179.0
        )
        if failed or not inside:
            numbers = dict.fromkeys(shown, _NOT_A_NUMBER)
        else:
            numbers = {name: Decimal(int(v + 0.5)) for name, v in shown.items()}
        return {**numbers, "status": Decimal(status)}

    def deflation(self, minute: int, cuff: Cuff = Cuff()) -> Deflation:  # noqa: B008 - frozen
        """Return the cuff's pressure while it measures at a minute, with its truth."""
        true = self.pressure(minute)
        artery = Artery(
            systolic=true.systolic,
            diastolic=true.diastolic,
            pulse=true.pulse,
            irregular=self.irregular(minute),
        )
        return deflation(f"{self._seed}/{minute}", artery, cuff)

    def _row(self, second: int, values: dict[str, Decimal]) -> Row:
        return Row(self._start + timedelta(seconds=second), values)


def rows(
    seed: int,
    kind: Kind,
    days: int,
    *,
    unit: str = "mg/dL",
    start: datetime = _MONDAY,
    glycaemia: Glycaemia = TYPE_1,
    circulation: Circulation = HYPERTENSIVE,
) -> list[Row]:
    """Return what a device of one kind has stored of one patient.

    Args:
        seed: Which patient.
        kind: ``glucose``, ``cgm``, ``blood-pressure`` or ``ambulatory``.
        days: From ``start``.
        unit: Of glucose, ``mg/dL`` or ``mmol/L``.
        start: The midnight before the first reading, on the device's wall clock.
        glycaemia: How the body handles glucose.
        circulation: Its blood pressure.

    Returns:
        Oldest first, each later than the one before; columns as at the method of
        `Patient` of that name.

    Raises:
        ValueError: There is no such kind or unit.
    """
    if kind not in get_args(Kind) or unit not in {"mg/dL", "mmol/L"}:
        raise ValueError(f"no readings of kind {kind} in {unit}")
    in_moles = unit == "mmol/L"
    patient = Patient(seed, start=start, glycaemia=glycaemia, circulation=circulation)
    match kind:
        case "glucose":
            return patient.glucose(days, METER_MMOL if in_moles else METER_MG)
        case "cgm":
            return patient.cgm(days, SENSOR_MMOL if in_moles else SENSOR_MG)
        case "blood-pressure":
            return patient.blood_pressure(days)
        case "ambulatory":
            return patient.ambulatory(days)


def _gap(draws: Draws) -> int:
    """Return how many readings are lost from here on: mostly none, or one."""
    if not draws.chance(0.02):
        return 0
    if draws.chance(0.55):
        return 1
    return draws.whole(2, 8) if draws.chance(0.85) else draws.whole(9, 60)


def _night(minute: int) -> int:
    """Return the number of the midnight that is nearest."""
    return (minute + DAY_MIN // 2) // DAY_MIN


def _lain_on(start: int, end: int, depth: float, minute: int) -> float:
    """Return mg/dL that a sensor reads too low: within 10 minutes, for 15 more."""
    share = min((minute - start) / 10.0, (end + 15 - minute) / 15.0, 1.0)
    return depth * max(share, 0.0)


def _increasing(rows: list[Row]) -> list[Row]:
    """Sort by time, and leave out what shares a second with another."""
    later = sorted(rows, key=attrgetter("time"))
    return list({row.time: row for row in later}.values())
