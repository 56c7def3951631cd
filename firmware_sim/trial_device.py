"""The device that a driver is proven on, as a device of a scenario."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from firmware_sim import patient
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
        offset_s: By how much it is ahead, in s.
    """

    def __init__(self, offset_s: int = 0) -> None:
        super().__init__(datetime.now(UTC).astimezone().replace(tzinfo=None))
        self._offset = timedelta(seconds=offset_s)

    def __call__(self) -> datetime:
        """Tell the local time that the device shows."""
        local = datetime.now(UTC).astimezone().replace(microsecond=0, tzinfo=None)
        return local + self._offset


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
    """

    driver: str
    address: Address | None = None
    port: Annotated[str, Meta(min_length=1)] | None = None
    series: Literal["patient", "span"] = "patient"
    seed: int = 1
    days: Annotated[int, Meta(ge=1, le=366)] = 14
    count: Count | None = None
    clock_offset_s: int = 0
    faults: Faults = Faults()

    serial: ClassVar = ""
    model: ClassVar = "trial"

    @property
    def name(self) -> str:
        """What it is called here."""
        return self.driver

    def simulate(self, _folder: Path) -> Simulated:
        """Return the device with its records.

        Raises:
            ConfigError: There is no such driver, or it has no place.
        """
        trial = find_trial(self.driver)
        shown = self.shown(trial)
        bench = trial.make(shown, HostClock(self.clock_offset_s))
        if self.faults != Faults():
            bench = faulty(bench, self.faults)
        truth = [_truth_of(self.driver, trial, one) for one in shown]
        if self.port is not None and self.address is None:
            return OnSerialPort(self, bench, truth, self.port)
        if self.address is not None and self.port is None:
            return OverBluetooth(self, bench, truth, self.address)
        raise ConfigError(f"{self.driver} needs either an address or a port")

    def shown(self, trial: Trial) -> list[Shown]:
        """Return what the device has shown, oldest first."""
        if self.series == "span":
            found = many(trial, self.count or _SPAN_COUNT)
        else:
            midnight = HostClock()().replace(hour=0, minute=0, second=0)
            start = midnight - timedelta(days=self.days)
            found = _measured(trial, self.seed, self.days, start)[: self.count]
        return found[-(trial.capacity or len(found)) :]


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
