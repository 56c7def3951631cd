"""Devices whose clock nobody set: equal readings of them look the same."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from drivers import (
    bioland,
    caresens_n,
    contour,
    freestyle_lite,
    freestyle_optium,
    gatt_blood_pressure,
    gatt_pulse_oximeter,
    glucomen_areo,
    microlife,
    omron_eeprom,
    omron_standard,
    onetouch_ultra2,
    taidoc,
    vivachek,
)
from drivers.sdk import GattDriver, Quantity, SerialDriver
from firmware_sim.bench import Action, HangUp
from firmware_sim.devices.bioland import Bioland, BiolandResult
from firmware_sim.devices.caresens_n import CareSensN, CareSensRecord
from firmware_sim.devices.contour import Contour, ContourResult
from firmware_sim.devices.freestyle_lite import FreeStyleLite, LiteResult
from firmware_sim.devices.freestyle_optium import FreeStyleOptium, OptiumResult
from firmware_sim.devices.gatt_blood_pressure import (
    BloodPressureCuff,
    BloodPressureRecord,
)
from firmware_sim.devices.gatt_pulse_oximeter import PulseOximeter, SpotCheckRecord
from firmware_sim.devices.glucomen_areo import Areo, AreoResult
from firmware_sim.devices.microlife import MicrolifeCuff, MicrolifeRecord
from firmware_sim.devices.omron_eeprom import OmronCuff
from firmware_sim.devices.omron_standard import (
    Abilities,
    StandardCuff,
    StandardRecord,
)
from firmware_sim.devices.onetouch_ultra2 import Ultra2, Ultra2Record
from firmware_sim.devices.taidoc import StripRecord, TaiDoc
from firmware_sim.devices.vivachek import VivaChek, VivaChekRecord
from firmware_sim.label import Label
from firmware_sim.omron_memory import HEM_6401T, HEM_7322T, OmronRecord

FACTORY = datetime(2000, 1, 1, 0, 5)  # noqa: DTZ001 - where a clock starts again


@dataclass(frozen=True)
class Unset:
    """A device without a set clock.

    Attributes:
        driver: Reads it.
        make: Makes it, of its records.
        record: Makes a record, always of the same values, by what its clock shows.
        retells: It tells again what it has told.
        counts: It says itself how many records it holds.
    """

    driver: GattDriver | SerialDriver
    make: Callable[[list[Any]], Any]
    record: Callable[[datetime | None], Any]
    retells: bool = True
    counts: bool = True


class Never(datetime):
    """What a clock shows that nobody set: neither a month nor a day."""

    month = day = 0  # type: ignore[assignment]

    def timetuple(self) -> Any:  # noqa: ANN401 - a time.struct_time can't be so
        return (self.year, 0, 0, 0, 0, 0, 0, 1, -1)

    def __format__(self, form: str) -> str:
        return super().__format__(form.replace("%m", "00").replace("%d", "00"))


NEVER = Never(2000, 1, 1)


@dataclass(frozen=True)
class Rereader:
    """A device whose whole memory is read at each visit.

    Attributes:
        driver: Reads it.
        device: Its simulation.
        record: Makes a record, of the time that its clock shows and a number.
    """

    driver: GattDriver | SerialDriver
    device: type[Any]
    record: Callable[[datetime, int], Any]

    def make(self, records: Iterable[Any] = ()) -> Any:  # noqa: ANN401 - any bench
        """Return a device that has stored these, and can be erased."""
        as_new = {"erase": lambda self: self.__init__()}
        return type(self.device.__name__, (self.device,), as_new)(records)


REREADERS = {
    one.driver.id: one
    for one in (
        Rereader(
            bioland.DRIVER,
            Bioland,
            lambda time, number: BiolandResult(time, 100 + number),
        ),
        Rereader(
            caresens_n.DRIVER,
            CareSensN,
            lambda time, number: CareSensRecord(time, 0xA0, 100 + number),
        ),
        Rereader(
            contour.DRIVER,
            Contour,
            lambda time, number: ContourResult(time, Decimal(100 + number)),
        ),
        Rereader(
            freestyle_lite.DRIVER,
            FreeStyleLite,
            lambda time, number: LiteResult(time, b"%03d" % (100 + number)),
        ),
        Rereader(
            freestyle_optium.DRIVER,
            FreeStyleOptium,
            lambda time, number: OptiumResult(time, f"{100 + number}"),
        ),
        Rereader(
            glucomen_areo.DRIVER,
            Areo,
            lambda time, number: AreoResult(time, f"{100 + number}"),
        ),
        Rereader(
            onetouch_ultra2.DRIVER,
            Ultra2,
            lambda time, number: Ultra2Record(time, 100 + number),
        ),
        Rereader(
            vivachek.DRIVER,
            VivaChek,
            lambda time, number: VivaChekRecord(time, 100 + number),
        ),
    )
}


class _Retelling(BloodPressureCuff):
    """A cuff that tells all that it has ever measured, as soon as it is heard."""

    def _tell(self) -> Iterator[Action]:
        for record in self.unsent:
            yield record.indication()
        yield HangUp()


class _Awake(TaiDoc):
    """A meter that does not sleep through the first question, for seconds."""

    def connected(self) -> None:
        super().connected()
        self._awake = True


class _Losing(StandardCuff):
    """A cuff that leaves a record out of the first report of each visit."""

    def connected(self) -> None:
        super().connected()
        self._loses = True

    def _report(self, request: bytes) -> Iterable[Action]:
        sends = [*super()._report(request)]
        if request[0] == 1 and len(sends) > 1 and self._loses:
            self._loses = False
            del sends[-2]
        return sends


def strip_meter(records: list[StripRecord]) -> TaiDoc:
    """Return a meter that keeps no users apart."""
    return _Awake(records, model="4277", serial="4277B00000000042", users=False)


def microlife_cuff(records: list[MicrolifeRecord], user: int = 1) -> MicrolifeCuff:
    """Return a cuff whose clock was never set, with a user's records."""
    return MicrolifeCuff(records, lambda: datetime.now(UTC), user=user, is_set=False)


def spot(time: datetime | None) -> SpotCheckRecord:
    """Return a spot check whose time is nobody's."""
    return SpotCheckRecord(Decimal(97), Decimal(72), time, clock_not_set=True)


def _upper_arm(time: datetime | None) -> BloodPressureRecord:
    return BloodPressureRecord(Decimal(120), Decimal(80), time)


def _omron(time: datetime | None) -> StandardRecord:
    return StandardRecord(time, Decimal(120), Decimal(80))


def _strip(_: datetime | None, user: int = 0) -> StripRecord:
    return StripRecord(None, Quantity.GLUCOSE, 105, user=user)


def _microlife(_: datetime | None) -> MicrolifeRecord:
    return MicrolifeRecord(120, 80, 70, None)


def _slot(_: datetime | None) -> OmronRecord:
    return OmronRecord(None, 120, 80, 70)


def _cuff(**able: Any) -> Callable[[list[Any]], StandardCuff]:  # noqa: ANN401
    return partial(StandardCuff, able=Abilities(**able))


_standard = partial(Unset, omron_standard.DRIVER, record=_omron)
_pressure = partial(Unset, gatt_blood_pressure.DRIVER, record=_upper_arm)
_oximeter = partial(Unset, gatt_pulse_oximeter.DRIVER, record=spot)
_beurer = partial(_Retelling, label=Label("BM54", "", "Beurer"))

UNSET = {
    "taidoc": Unset(taidoc.DRIVER, strip_meter, _strip),
    "taidoc-users": Unset(taidoc.DRIVER, _Awake, partial(_strip, user=1)),
    "microlife": Unset(microlife.DRIVER, microlife_cuff, _microlife),
    "omron-memory": Unset(
        omron_eeprom.DRIVER, partial(OmronCuff, layout=HEM_7322T), _slot
    ),
    "omron-memory-one": Unset(
        omron_eeprom.DRIVER, partial(OmronCuff, layout=HEM_6401T), _slot
    ),
    "cuff": _pressure(BloodPressureCuff, retells=False, counts=False),
    "beurer": _pressure(_beurer, counts=False),
    "memory": _oximeter(partial(PulseOximeter, has_memory=True)),
    "oximeter": _oximeter(
        partial(PulseOximeter, has_memory=False), retells=False, counts=False
    ),
    "omron": _standard(_cuff(records=True)),
    "omron-all": _standard(_cuff(records=True, numbers=False)),
    "omron-unnumbered": _standard(_cuff(records=True, newest=False)),
    "omron-losing": _standard(partial(_Losing, able=Abilities(records=True))),
    "omron-users": _standard(_cuff(records=True, users=True)),
    "omron-unasked": _standard(_cuff(), retells=False, counts=False),
}

UNSET |= {
    name: Unset(one.driver, one.make, lambda _, one=one: one.record(NEVER, 0))
    for name, one in REREADERS.items()
}
