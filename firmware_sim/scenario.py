"""Scenario files: which devices there are, and what their memories hold.

A scenario is TOML with one ``[[device]]`` for each; those in ``scenarios`` are
examples, and docs/reference/scenarios.md lists every key. The truth, what a station
must have read from a device in the end, is told from its records, not from the bytes
that it sends.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from firmware_sim.bench import GattBench
from firmware_sim.conditions import Conditions, enter, rebooted
from firmware_sim.devices.gatt_blood_pressure import (
    BloodPressureCuff,
    BloodPressureRecord,
)
from firmware_sim.devices.gatt_glucose import TRIAL as GLUCOSE_TRIAL
from firmware_sim.devices.gatt_glucose import GlucoseMeter, GlucoseRecord
from firmware_sim.devices.onetouch_ultraeasy import CAPACITY, UltraEasy, UltraEasyRecord
from firmware_sim.faults import Faults, faulty
from firmware_sim.label import Label
from firmware_sim.series import Row, find, measurements
from firmware_sim.simulated import (
    Address,
    Count,
    OnSerialPort,
    OverBluetooth,
    Record,
    Simulated,
    tell,
)
from firmware_sim.trial_device import HostClock, TrialDevice
from protocols.config import ConfigError
from protocols.config import read as read_config

SCENARIOS = Path(__file__).parent / "scenarios"
DEMO = SCENARIOS / "demo.toml"

# UCI "Diabetes", codes of the glucose rows: before and after each meal.
_MEALS = {58: 1, 60: 1, 62: 1, 64: 1, 59: 2, 61: 2, 63: 2}

_USERS = 2  # of a cuff whose users took turns
_NO_CAPACITY = "how much it holds is not known"
_NO_NUMBERS = "it numbers no readings"

_Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=26)]
_Ascii: TypeAlias = Annotated[str, Meta(pattern=r"\A[!-~]{1,20}\Z")]


class _Base(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="model"
):
    """What every device has.

    Attributes:
        name: What it advertises, or what it is called.
        serial: Its serial number.
        series: A packaged series, or a CSV file beside the scenario.
        series_device: Which device's rows of the series it has stored.
        count: How many of them, from the first; None is all.
        shift_days: Days by which they are moved, so that an old series looks
            like one of today; a multiple of 7 keeps its weekdays.
        clock_offset_s: Its clock minus this computer's local time, in s.
        faults: What goes wrong with its radio or cable.
        conditions: What state it is in.
    """

    name: _Text
    serial: _Ascii
    series: str
    series_device: str
    count: Count | None = None
    shift_days: int = 0
    clock_offset_s: int = 0
    faults: Faults = Faults()
    conditions: Conditions = Conditions()

    @property
    def model(self) -> str:
        """What the scenario calls this kind of device."""
        return str(self.__struct_config__.tag)

    def rows(self, folder: Path) -> list[Row]:
        """Read its series; raise `ConfigError` where that fails."""
        path = find(self.series, folder)
        rows = list(measurements(path, self.series_device, self.count))
        if not rows and self.count != 0:
            raise ConfigError(f"{path}: no rows of {self.series_device}")
        shift = timedelta(days=self.shift_days)
        return [replace(row, time=row.time + shift) for row in rows]

    def stored(self, rows: list[Row]) -> tuple[list[Row], HostClock]:
        """Return what it has stored of its rows, and its clock."""
        found, by = rebooted(rows, self.conditions.rebooted_clock)
        offset = timedelta(seconds=self.clock_offset_s) + by
        return found, HostClock(offset, found[-1].time if by else None)


class GlucoseMeterDevice(_Base, frozen=True, kw_only=True, tag="glucose-meter"):
    """A glucose meter over Bluetooth.

    Attributes:
        address: Static random from ``C0`` on, anything else public.
        passkey: The six digits printed on it.
        first_sequence: The sequence number of its oldest record.
        time_offset_min: Minutes from its internal clock to the one it shows;
            the series holds what it showed.
        meals: Whether it tells the meals of a series that has a ``mealcode``.
    """

    address: Address
    passkey: Annotated[str, Meta(pattern=r"\A[0-9]{6}\Z")] = "123456"
    first_sequence: Annotated[int, Meta(ge=0, le=65535)] = 1
    time_offset_min: Annotated[int, Meta(ge=-32768, le=32767)] = 0
    meals: bool = False

    def simulate(self, folder: Path) -> OverBluetooth:
        """Return the device with its records.

        Raises:
            ConfigError: Its series cannot be read, or it can't be in a condition.
            ValueError: A value is none that it can send.
        """
        numbered = self.first_sequence != 1
        self.conditions.check(
            self.name,
            {
                "full_memory": _NO_CAPACITY,
                "mixed_slots": "it keeps no user slots apart",
                **({"sequence_wrap": "first_sequence numbers it"} if numbered else {}),
            },
        )
        rows, clock = self.stored(self.rows(folder))
        records = [self._record(number, row) for number, row in enumerate(rows)]
        for record in records:
            list(record.notifications())  # raises where one cannot be sent
        bench = GlucoseMeter(
            records,
            name=self.name,
            label=Label("Glucose meter", self.serial),
            passkey=int(self.passkey),
            clock=clock,
        )
        wrapped = enter(bench, self.conditions, GLUCOSE_TRIAL.conditions)
        truth = [self._truth(record) for record in bench.records]
        return _over_bluetooth(self, wrapped, truth)

    def _record(self, number: int, row: Row) -> GlucoseRecord:
        return GlucoseRecord(
            sequence=(self.first_sequence + number) & 0xFFFF,
            base_time=row.time - timedelta(minutes=self.time_offset_min),
            value=row["value"],
            offset_min=self.time_offset_min,
            meal=_MEALS.get(int(row.values.get("mealcode", 0))) if self.meals else None,
        )

    def _truth(self, record: GlucoseRecord) -> Record:
        time = record.user_facing_time
        values = {"glucose": (record.value, record.unit)}
        return tell(self.serial, "glucose", time, record.sequence, values)


class CuffDevice(_Base, frozen=True, kw_only=True, tag="blood-pressure-cuff"):
    """A blood-pressure cuff over Bluetooth.

    Attributes:
        address: Static random from ``C0`` on, anything else public.
        user: The user slot of all its records; None is not told.
    """

    address: Address
    user: Annotated[int, Meta(ge=0, le=255)] | None = None

    def simulate(self, folder: Path) -> OverBluetooth:
        """Return the device with its records.

        Raises:
            ConfigError: Its series cannot be read, or it can't be in a condition.
            ValueError: A value is none that it can send.
        """
        impossible = {"full_memory": _NO_CAPACITY, "sequence_wrap": _NO_NUMBERS}
        if self.user is not None:
            impossible["mixed_slots"] = "user names one for all"
        self.conditions.check(self.name, impossible)
        rows, _ = self.stored(self.rows(folder))
        _refuse_twins(self.name, rows)
        records = [self._record(number, row) for number, row in enumerate(rows)]
        for record in records:
            record.indication()  # raises where one cannot be sent
        bench = BloodPressureCuff(
            records,
            name=self.name,
            label=Label("Blood pressure cuff", self.serial),
        )
        truth = [self._truth(record) for record in records]
        return _over_bluetooth(self, enter(bench, self.conditions, {}), truth)

    def _record(self, number: int, row: Row) -> BloodPressureRecord:
        mixed = 1 + number % _USERS if self.conditions.mixed_slots else None
        return BloodPressureRecord(
            systolic=row["value"],
            diastolic=row["value2"],
            time=row.time,
            pulse_rate=row.values.get("value3"),
            user=mixed if self.user is None else self.user,
            status=0,
        )

    def _truth(self, record: BloodPressureRecord) -> Record:
        values: dict[str, tuple[object, str]] = {
            "systolic": (record.systolic, "mm[Hg]"),
            "diastolic": (record.diastolic, "mm[Hg]"),
        }
        if record.pulse_rate is not None:
            values["pulse-rate"] = (record.pulse_rate, "/min")
        return tell(self.serial, "blood-pressure", record.time, None, values)


class UltraEasyDevice(_Base, frozen=True, kw_only=True, tag="ultraeasy"):
    """A OneTouch UltraEasy on a pseudo-terminal.

    Attributes:
        port: Where it is plugged in, a path from the folder of the run.
    """

    port: Annotated[str, Meta(min_length=1)]
    count: Annotated[int, Meta(ge=0, le=CAPACITY)] | None = None

    def simulate(self, folder: Path) -> OnSerialPort:
        """Return the device with its records.

        Raises:
            ConfigError: Its series cannot be read, or it can't be in a condition.
            ValueError: A value is none that it can send.
        """
        impossible = {
            "sequence_wrap": _NO_NUMBERS,
            "mixed_slots": "it keeps no user slots apart",
            "low_battery": "it tells nothing of its battery",
            "bond_lost": "nobody bonds with it",
        }
        every = self.rows(folder)
        if len(every) < CAPACITY:
            impossible["full_memory"] = f"{len(every)} rows do not fill {CAPACITY}"
        self.conditions.check(self.name, impossible)
        is_full = self.conditions.full_memory
        rows, clock = self.stored(every[-CAPACITY:] if is_full else every)
        _refuse_twins(self.name, rows)
        if len(rows) > CAPACITY:
            problem = f"{len(rows)} records do not fit into {CAPACITY}; set count"
            raise ConfigError(f"{self.name}: {problem}")
        records = [UltraEasyRecord(row.time, row["value"]) for row in rows]
        for record in records:
            record.encode()  # raises where one cannot be sent
        bench = UltraEasy(records, serial=self.serial, clock=clock)
        truth = [self._truth(record) for record in records]
        return OnSerialPort(self, faulty(bench, self.faults), truth, self.port)

    def _truth(self, record: UltraEasyRecord) -> Record:
        values = {"glucose": (record.mg_per_dl, "mg/dL")}
        return tell(self.serial, "glucose", record.time, None, values)


Device: TypeAlias = GlucoseMeterDevice | CuffDevice | UltraEasyDevice | TrialDevice


class Scenario(Struct, frozen=True, forbid_unknown_fields=True):
    """A scenario file.

    Attributes:
        device: The devices, in the order of the file.
    """

    device: list[Device]


def load(path: Path = DEMO) -> list[Simulated]:
    """Read a scenario and make its devices.

    Args:
        path: A file, or the name of one of `SCENARIOS`.

    Raises:
        ConfigError: The file or a series cannot be read, a value is not one
            that the device can hold, or two devices share what must be their own.
    """
    packaged = SCENARIOS / f"{path}.toml"
    if not path.is_file() and packaged.is_file():
        path = packaged
    try:
        scenario = read_config(path.read_text("utf-8"), Scenario, str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    for own in ("serial", "address", "port"):
        values = [getattr(device, own, None) for device in scenario.device]
        for value in values:
            if value and values.count(value) > 1:
                raise ConfigError(f"{path}: two devices have the {own} {value}")
    try:
        return [device.simulate(path.parent) for device in scenario.device]
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _over_bluetooth(
    device: GlucoseMeterDevice | CuffDevice, bench: GattBench, truth: list[Record]
) -> OverBluetooth:
    bench, lost = faulty(bench, device.faults), device.conditions.bond_lost
    return OverBluetooth(device, bench, truth, device.address, lost)


def _refuse_twins(name: str, rows: list[Row]) -> None:
    """Refuse rows that a device without sequence numbers cannot keep apart."""
    seen: set[tuple[datetime, tuple[tuple[str, Decimal], ...]]] = set()
    for row in rows:
        key = row.time, tuple(row.values.items())
        if key in seen:
            raise ConfigError(f"{name}: two records of {row.time} are the same")
        seen.add(key)
