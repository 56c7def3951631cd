"""The device that a driver is proven on, as a device of a scenario."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.metadata import entry_points
from itertools import cycle
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from firmware_sim import patient
from firmware_sim.bench import Pairing
from firmware_sim.conditions import Conditions, enter, rebooted, tells_battery
from firmware_sim.faults import Faults, faulty
from firmware_sim.kit.history import many
from firmware_sim.series import Row
from firmware_sim.simulated import (
    Address,
    Count,
    OnSerialPort,
    OverBluetooth,
    Record,
    Simulated,
    tell,
)
from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial
from protocols.config import ConfigError
from protocols.observation import Kind, Quantity, Unit

_SPAN_COUNT = 20
_MOST_DAYS = 366
_MG_PER_MMOL = Decimal("18.0156")
_COLUMNS = {
    Quantity.GLUCOSE: "value",
    Quantity.SYSTOLIC: "value",
    Quantity.DIASTOLIC: "value2",
    Quantity.PULSE_RATE: "value3",
    Quantity.MEAN_PRESSURE: "mean",
}


class HostClock(SimClock):
    """A device's clock that runs as this computer's does.

    Args:
        offset: By how much it is ahead.
        not_before: What it shows at least, as that of its newest reading.
    """

    def __init__(
        self,
        offset: timedelta = timedelta(),
        not_before: datetime | None = None,
    ) -> None:
        super().__init__(datetime.now(UTC).astimezone().replace(tzinfo=None))
        self._offset, self._not_before = offset, not_before

    def __call__(self) -> datetime:
        """Tell the local time that the device shows."""
        local = datetime.now(UTC).astimezone().replace(microsecond=0, tzinfo=None)
        shown = local + self._offset
        return shown if self._not_before is None else max(shown, self._not_before)


class TrialDevice(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="model",
    tag="trial",
):
    """The device that a driver is proven on, whatever it is.

    Attributes:
        driver: The driver; its trial makes the device.
        address: Of a BLE device; static random from ``C0`` on, else public.
        port: Where a serial device is plugged in, a path from the folder of the run.
        series: ``patient`` for what a simulated person measures, or ``span`` for
            values all across what the device can show.
        seed: Which simulated patient.
        days: Of how many days it has stored the patient's readings.
        count: How many readings it has stored, from the first; None is all of the
            patient's, or 20 across the span.
        clock_offset_s: Its clock minus this computer's local time, in s.
        faults: What goes wrong with its radio or cable.
        conditions: What state it is in.
    """

    driver: str
    address: Address | None = None
    port: Annotated[str, Meta(min_length=1)] | None = None
    series: Literal["patient", "span"] = "patient"
    seed: int = 1
    days: Annotated[int, Meta(ge=1, le=_MOST_DAYS)] = 14
    count: Count | None = None
    clock_offset_s: int = 0
    faults: Faults = Faults()
    conditions: Conditions = Conditions()

    serial: ClassVar = ""
    model: ClassVar = "trial"

    @property
    def name(self) -> str:
        """What it is called here."""
        return self.driver

    def simulate(self, _folder: Path) -> Simulated:
        """Return the device with its records.

        Raises:
            ConfigError: There is no such driver, it has no place, or it can't be in
                a condition that is named.
        """
        trial = find_trial(self.driver)
        self._check(trial)
        shown, by = self._stored(trial)
        offset = timedelta(seconds=self.clock_offset_s) + by
        newest = shown[-1].time if by else None
        bench = enter(
            trial.make(shown, HostClock(offset, newest)),
            self.conditions,
            trial.conditions,
        )
        self._check_bench(trial, bench)
        bench = faulty(bench, self.faults)
        truth = [_truth_of(self.driver, trial, one) for one in shown]
        if self.port is not None and self.address is None:
            return OnSerialPort(self, bench, truth, self.port)
        if self.address is not None and self.port is None:
            lost = self.conditions.bond_lost
            return OverBluetooth(self, bench, truth, self.address, lost)
        raise ConfigError(f"{self.driver} needs either an address or a port")

    def shown(self, trial: Trial) -> list[Shown]:
        """Return what the device has shown, oldest first."""
        return self._stored(trial)[0]

    def _stored(self, trial: Trial) -> tuple[list[Shown], timedelta]:
        """Return what it has shown, and how far its clock was set."""
        is_full = self.conditions.full_memory
        count = trial.capacity if is_full else self.count
        if self.series == "span":
            found = many(trial, _SPAN_COUNT if count is None else count)
        else:
            days = _MOST_DAYS if is_full else self.days
            midnight = HostClock()().replace(hour=0, minute=0, second=0)
            found = _measured(trial, self.seed, days, midnight - timedelta(days=days))
            found = found if is_full else found[:count]
            if (is_full or self.conditions.mixed_slots) and trial.slots:
                turns = zip(found, cycle(trial.slots), strict=False)
                found = [replace(one, slot=slot) for one, slot in turns]
        held = _held(trial, found)
        if is_full and len(held) != trial.capacity:
            problem = f"the patient fills {len(held)} of {trial.capacity} places"
            raise ConfigError(f'{self.driver}: {problem}; say series = "span"')
        return rebooted(held, self.conditions.rebooted_clock)

    def _check(self, trial: Trial) -> None:
        """Refuse what the device can't be in, by what is known of its kind."""
        impossible = {}
        if trial.resolution_s == 0:
            impossible["rebooted_clock"] = "it sends no times"
        if Kind.INTERSTITIAL_GLUCOSE in trial.spans:
            impossible["rebooted_clock"] = "a sensor counts from its session's start"
        if trial.capacity is None:
            impossible["full_memory"] = "its trial names no capacity"
        elif self.count is not None:
            impossible["full_memory"] = "count says how many readings it holds"
        if "sequence_wrap" not in trial.conditions:
            impossible["sequence_wrap"] = "its trial can't number readings so"
        if len(trial.slots) < 2:
            impossible["mixed_slots"] = "it keeps no user slots apart"
        self.conditions.check(self.driver, impossible)

    def _check_bench(self, trial: Trial, bench: object) -> None:
        """Refuse what the device can't be in, by what it offers."""
        impossible = {}
        if "low_battery" not in trial.conditions and not tells_battery(bench):
            impossible["low_battery"] = "it tells nothing of its battery"
        if getattr(bench, "pairing", Pairing.NONE) is Pairing.NONE:
            impossible["bond_lost"] = "nobody bonds with it"
        self.conditions.check(self.driver, impossible)


def find_trial(driver: str) -> Trial:
    """Return the trial of a driver.

    Raises:
        ConfigError: None is announced under that name.
    """
    found = {point.name: point for point in entry_points(group="vitalwire.trials")}
    if driver not in found:
        names = ", ".join(sorted(found))
        raise ConfigError(f"no trial of '{driver}'; there are: {names}")
    trial = found[driver].load()
    if not isinstance(trial, Trial):
        raise ConfigError(f"'{driver}' is no trial, but a {type(trial).__name__}")
    return trial


def _held(trial: Trial, shown: list[Shown]) -> list[Shown]:
    """Return what a device still holds of what it has shown: the newest."""
    if trial.capacity is None:
        return shown
    if not trial.is_divided:
        return shown[-trial.capacity :]
    parts: tuple[object, ...] = trial.slots or tuple(trial.spans)
    left = Counter(dict.fromkeys(parts, trial.capacity // len(parts)))
    held = []
    for one in reversed(shown):
        part = one.slot if trial.slots else one.kind
        left[part] -= 1
        if left[part] >= 0:
            held.append(one)
    return held[::-1]


def _truth_of(device: str, trial: Trial, one: Shown) -> Record:
    units = {span.quantity: span.unit for span in trial.spans[one.kind]}
    values: dict[str, tuple[object, str]] = {
        name.value: (
            number.value if isinstance(number, Limit) else number,
            units[name].value,
        )
        for name, number in one.values.items()
    }
    time = one.time if trial.resolution_s else None
    return tell(device, one.kind.value, time, None, values)


def _measured(trial: Trial, seed: int, days: int, start: datetime) -> list[Shown]:
    """Return what a simulated patient has measured, as the device showed it."""
    found: list[Shown] = []
    if Kind.GLUCOSE in trial.spans:
        rows = patient.rows(seed, "glucose", days, start=start)
        found += _shown(trial, Kind.GLUCOSE, rows)
    if Kind.BLOOD_PRESSURE in trial.spans:
        rows = patient.rows(seed, "blood-pressure", days, start=start)
        found += _shown(trial, Kind.BLOOD_PRESSURE, rows)
    if not found:
        raise ConfigError('the simulated patient does not use it; say series = "span"')
    return sorted(found, key=lambda one: one.time)


def _shown(trial: Trial, kind: Kind, rows: list[Row]) -> Iterator[Shown]:
    for row in rows:
        values = {
            span.quantity: _number(span, row.values[_COLUMNS[span.quantity]])
            for span in trial.spans[kind]
        }
        numbers = [number for number in values.values() if number is not None]
        if len(numbers) < len(values):
            continue  # a measurement that failed
        if kind not in trial.limits and any(isinstance(n, Limit) for n in numbers):
            continue
        time = row.time if trial.resolution_s == 1 else row.time.replace(second=0)
        slot = trial.slots[0] if trial.slots else None
        shown = {name: number for name, number in values.items() if number is not None}
        yield Shown(kind, shown, time, slot)


def _number(span: Span, number: Decimal) -> Decimal | Limit | None:
    """Return a number as the device shows it; None where there is none."""
    if number.is_nan():
        return None
    if span.unit == Unit.MMOL_PER_L and number.is_finite():
        number /= _MG_PER_MMOL
    if number > span.high:
        return Limit.HIGH
    if number < span.low:
        return Limit.LOW
    return number.quantize(span.step)
