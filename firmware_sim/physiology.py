"""A body that does not exist: its glucose and its blood pressure, by the minute.

    gut      two compartments for what is absorbed fast, two for what is slow
    insulin  two compartments, in mg/dL that it will take away
    glucose  gains what the gut gives, loses what insulin takes, and returns to
             a base with its course over the day; it drifts, as every day is another

A model with as few parts as show what a device sees of a person: it is fitted
to real series (docs/explanation/simulated-patient.md), and is for no clinical use.

Everything is + - * / and sqrt of IEEE doubles, and `random.Random.random`, whose
sequence Python promises: the numbers of a seed are the same everywhere. That
leaves out exp and sin, numpy's distributions, and `sum`, which adds floats in
another way since Python 3.12.
"""

from collections import defaultdict
from dataclasses import dataclass
from math import sqrt
from random import Random

DAY_MIN = 1440

# mg/dL beside the base at each full hour: low at night, higher towards the morning.
_GLUCOSE_DAY = (
    *(2, -2, -6, -8, -8, -6, 0, 6, 10, 10, 6, 2),
    *(0, 0, 0, 0, -2, -4, -4, -2, 0, 2, 4, 4),
)
# Share of the nightly fall of pressure and pulse that is reached at each full hour.
_NIGHT = (
    *(0.9, 1.0, 1.0, 1.0, 0.9, 0.7, 0.4, 0.05, -0.1, -0.2, -0.2, -0.1),
    *(-0.05, 0.0, 0.05, 0.05, 0.0, 0.0, 0.0, 0.05, 0.15, 0.3, 0.55, 0.8),
)


class Draws:
    """Random numbers of one purpose, the same for a key wherever they are drawn.

    Args:
        key: The seed and what the numbers are for, so that drawing more for one
            purpose changes no other.
    """

    def __init__(self, *key: str | int) -> None:
        text = "/".join(map(str, key))
        self._next = Random(text).random  # noqa: S311 - to be repeated is the point

    def uniform(self, low: float, high: float) -> float:
        """Return a number from ``low`` up to ``high``."""
        return low + (high - low) * self._next()

    def chance(self, share: float) -> bool:
        """Tell whether what happens to this share of cases happens now."""
        return self._next() < share

    def whole(self, low: int, high: int) -> int:
        """Return an integer; both limits are among them."""
        return low + int((high - low + 1) * self._next())

    def normal(self, mean: float, sd: float) -> float:
        """Return about a normal number, never more than 6 ``sd`` from the mean.

        Twelve uniform ones added: no logarithm, which differs by C library.
        """
        u = self._next
        total = u() + u() + u() + u() + u() + u() + u() + u() + u() + u() + u() + u()
        return mean + sd * (total - 6.0)

    def noise(self, sd: float, wild: float, factor: float) -> float:
        """Return a normal number, with a share ``wild`` of them ``factor`` wider."""
        return self.normal(0.0, sd * factor if self.chance(wild) else sd)


@dataclass(frozen=True, slots=True)
class Glycaemia:
    """How a body of one kind handles glucose; ``_sd`` is between bodies.

    Attributes:
        base: Where glucose returns to, mg/dL.
        base_sd: Likewise.
        drift_sd: Of what wanders around the base within hours, mg/dL.
        return_min: Time constant of the return.
        rise: mg/dL of one gram of carbohydrate that no insulin meets.
        dose_sd: Relative error of the insulin for a meal.
        missed: Share of meals without any.
        late_min: Insulin comes from 15 minutes before to this long after a meal.
        insulin_min: Time constant of each compartment of insulin.
    """

    base: float
    base_sd: float
    drift_sd: float
    return_min: float
    rise: float
    dose_sd: float
    missed: float
    late_min: int
    insulin_min: float


TYPE_1 = Glycaemia(
    base=155.0,
    base_sd=20.0,
    drift_sd=85.0,
    return_min=90.0,
    rise=5.0,
    dose_sd=0.4,
    missed=0.06,
    late_min=30,
    insulin_min=50.0,
)
TYPE_2 = Glycaemia(
    base=151.0,
    base_sd=22.0,
    drift_sd=45.0,
    return_min=110.0,
    rise=3.0,
    dose_sd=0.2,
    missed=0.0,
    late_min=30,
    insulin_min=45.0,
)
NO_DIABETES = Glycaemia(
    base=101.0,
    base_sd=6.0,
    drift_sd=17.0,
    return_min=60.0,
    rise=2.2,
    dose_sd=0.15,
    missed=0.0,
    late_min=20,
    insulin_min=30.0,
)


@dataclass(frozen=True, slots=True)
class Meal:
    """Something eaten.

    Attributes:
        minute: When, from the first midnight.
        carbohydrate_g: How much.
        slow: Share of it that is absorbed slowly.
        dose: Insulin for it, as a share of what would meet it.
        dose_minute: When that is given.
        name: ``breakfast``, ``lunch``, ``dinner`` or ``snack``.
    """

    minute: int
    carbohydrate_g: float
    slow: float
    dose: float
    dose_minute: int
    name: str


# Name, share of days, minute and its sd, grams and their sd.
_MEALS = (
    ("breakfast", 0.95, 460, 50, 50.0, 14.0),
    ("lunch", 0.97, 755, 50, 62.0, 18.0),
    ("snack", 0.50, 950, 60, 20.0, 6.0),
    ("dinner", 0.98, 1120, 50, 72.0, 20.0),
    ("snack", 0.35, 1300, 40, 22.0, 7.0),
)


def meals(seed: int, kind: Glycaemia, day: int) -> list[Meal]:
    """Return what is eaten on one day, in order; day 0 is the first."""
    habit = Draws(seed, "meals").whole(-60, 60)
    draws = Draws(seed, "meals", day)
    eaten = []
    for name, share, at, at_sd, grams, grams_sd in _MEALS:
        if not draws.chance(share):
            continue
        minute = DAY_MIN * day + at + habit + int(draws.normal(0.0, at_sd))
        missed = draws.chance(kind.missed)
        dose = 0.0 if missed else max(0.0, draws.normal(1.0, kind.dose_sd))
        eaten.append(
            Meal(
                minute=minute,
                carbohydrate_g=max(8.0, draws.normal(grams, grams_sd)),
                slow=draws.uniform(0.2, 0.8),
                dose=dose,
                dose_minute=minute + draws.whole(-15, kind.late_min),
                name=name,
            )
        )
    return sorted(eaten, key=lambda meal: meal.minute)


def plasma(seed: int, kind: Glycaemia, days: int) -> list[float]:
    """Return the glucose of each minute from the first midnight, mg/dL.

    A longer course begins with the shorter one: the minute before knows nothing
    of how long it lasts.
    """
    eaten, dosed = _by_minute(seed, kind, days)
    body = Draws(seed, "glucose")
    base, unrest = body.normal(kind.base, kind.base_sd), body.uniform(0.7, 1.3)
    draws = Draws(seed, "glucose drift")
    keep = 0.98  # of the drift, every 5 minutes: it is forgotten within 4 hours
    push_sd = unrest * kind.drift_sd * sqrt(1.0 - keep * keep)
    glucose, drift, target = base, 0.0, base
    fast, fast_later, slow, slow_later, insulin, acting = (0.0,) * 6
    course = []
    for minute in range(-DAY_MIN, DAY_MIN * days):  # a day before, to settle
        if minute % 5 == 0:
            drift = keep * drift + draws.normal(0.0, push_sd)
            target = base + by_hour(_GLUCOSE_DAY, minute)
            target += drift * (1.0 + drift / 450.0)  # more room above than below
        for meal in eaten.get(minute, ()):
            rise = kind.rise * meal.carbohydrate_g
            fast += rise * (1.0 - meal.slow)
            slow += rise * meal.slow
        for meal in dosed.get(minute, ()):
            insulin += meal.dose * kind.rise * meal.carbohydrate_g
            insulin += meal.dose * 0.3 * max(0.0, glucose - base - 20.0)
        change = fast_later / 15.0 + slow_later / 45.0 - acting / kind.insulin_min
        change += (target - glucose) / kind.return_min
        change += 0.04 * max(0.0, 70.0 - glucose)  # the liver answers a low
        change -= 0.005 * max(0.0, glucose - 300.0)  # the kidneys a high
        fast_later += fast / 15.0 - fast_later / 15.0
        slow_later += slow / 45.0 - slow_later / 45.0
        acting += (insulin - acting) / kind.insulin_min
        fast -= fast / 15.0
        slow -= slow / 45.0
        insulin -= insulin / kind.insulin_min
        glucose = max(15.0, glucose + change)
        if minute >= 0:
            course.append(glucose)
    return course


def _by_minute(
    seed: int, kind: Glycaemia, days: int
) -> tuple[dict[int, list[Meal]], dict[int, list[Meal]]]:
    """Return the meals by the minute of the meal, and by that of the insulin."""
    eaten: dict[int, list[Meal]] = defaultdict(list)
    dosed: dict[int, list[Meal]] = defaultdict(list)
    for day in range(-1, days):
        for meal in meals(seed, kind, day):
            eaten[meal.minute].append(meal)
            dosed[meal.dose_minute].append(meal)
    return eaten, dosed


@dataclass(frozen=True, slots=True)
class Circulation:
    """Blood pressures and pulses of one kind of body; ``_sd`` is between bodies.

    Attributes:
        systolic: By day at rest, mmHg.
        systolic_sd: Likewise.
        diastolic: Likewise.
        diastolic_sd: Likewise.
        pulse: Likewise, per minute.
        pulse_sd: Likewise.
        fall: Share by which pressures and pulse are lower at night.
        fall_sd: Likewise; a negative fall is a rise.
        day_sd: Of the systolic from day to day, within one body, mmHg.
        visit_sd: Of the systolic from visit to visit, within one body, mmHg.
        fibrillation: Share of bodies with episodes of atrial fibrillation.
    """

    systolic: float = 132.0
    systolic_sd: float = 9.0
    diastolic: float = 79.0
    diastolic_sd: float = 7.0
    pulse: float = 69.0
    pulse_sd: float = 8.0
    fall: float = 0.10
    fall_sd: float = 0.06
    day_sd: float = 3.5
    visit_sd: float = 4.5
    fibrillation: float = 0.15


HYPERTENSIVE = Circulation()
NORMOTENSIVE = Circulation(systolic=116.0, diastolic=73.0, fibrillation=0.03)


@dataclass(frozen=True, slots=True)
class Pressure:
    """What the arteries have at one moment: mmHg, and pulse per minute."""

    systolic: float
    diastolic: float
    pulse: float

    @property
    def mean(self) -> float:
        """Mean arterial pressure: a third of the pulse pressure above diastolic."""
        return self.diastolic + (self.systolic - self.diastolic) / 3.0


def pressure(seed: int, kind: Circulation, minute: int) -> Pressure:
    """Return the pressure of a resting body, without what a visit adds to it."""
    draws = Draws(seed, "circulation")
    systolic = draws.normal(kind.systolic, kind.systolic_sd)
    share = (systolic - kind.systolic) / kind.systolic_sd
    diastolic = kind.diastolic + kind.diastolic_sd * (
        0.6 * share + draws.normal(0.0, 0.8)
    )
    pulse = draws.normal(kind.pulse, kind.pulse_sd)
    diastolic = min(diastolic, systolic - 25.0)
    fall = draws.normal(kind.fall, kind.fall_sd) * by_hour(_NIGHT, minute)
    today = Draws(seed, "circulation", minute // DAY_MIN).normal(0.0, kind.day_sd)
    if irregular(seed, kind, minute):
        pulse += 22.0
    return Pressure(
        systolic=systolic * (1.0 - fall) + today,
        diastolic=diastolic * (1.0 - 1.1 * fall) + 0.8 * today,
        pulse=max(40.0, pulse * (1.0 - 1.2 * fall)),
    )


def irregular(seed: int, kind: Circulation, minute: int) -> bool:
    """Tell whether the heart fibrillates: for 3 to 30 hours, some days apart."""
    draws = Draws(seed, "fibrillation")
    if not draws.chance(kind.fibrillation):
        return False
    start = -DAY_MIN
    while start <= minute:
        start += draws.whole(DAY_MIN, 8 * DAY_MIN)
        end = start + draws.whole(180, 1800)
        if start <= minute < end:
            return True
        start = end
    return False


def by_hour(table: tuple[float, ...], minute: int) -> float:
    """Return what a table of 24 full hours has at a minute, by straight lines."""
    hour, past = divmod(minute % DAY_MIN, 60)
    low, high = table[hour], table[(hour + 1) % 24]
    return low + (high - low) * past / 60.0
