"""What a device refuses at one visit comes at a later one, on the station's disk.

Through the agent's own capturing and outbox, for only there it shows whether a mark
stands over a reading that did not come.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from drivers import (
    microlife,
    omron_eeprom,
    onetouch_ultraeasy,
    onetouch_verio_ble,
    onetouch_verio_iq,
)
from drivers.sdk import GattDriver, NoReply, SerialDriver
from firmware_sim.devices.microlife import MicrolifeCuff, MicrolifeRecord
from firmware_sim.devices.omron_eeprom import OmronCuff
from firmware_sim.devices.onetouch_ultraeasy import UltraEasy, UltraEasyRecord
from firmware_sim.devices.onetouch_verio_ble import VerioBle, VerioBleRecord
from firmware_sim.devices.onetouch_verio_iq import VerioIq, VerioRecord
from firmware_sim.omron_memory import HEM_6410T, HEM_7155T, Layout, OmronRecord
from tests.edge_agent.visiting import read, station_in

START = datetime(2026, 3, 1, 7, 30)  # noqa: DTZ001 - a wall clock


def at(number: int) -> datetime:
    return START + timedelta(hours=number)


class _Meter:
    """One device, and a station that visits it again and again."""

    def __init__(
        self,
        folder: Path,
        driver: GattDriver | SerialDriver,
        device: Any,  # noqa: ANN401 - a bench of either kind
    ) -> None:
        self._driver, self._device = driver, device
        self._station = station_in(folder)

    def visit(self) -> str:
        """Visit; return how it failed, and nothing if it went well."""
        try:
            read(self._station, self._driver, self._device)
        except NoReply as error:
            return str(error)
        return ""

    @property
    def captured(self) -> int:
        """How many readings are on the disk."""
        return self._station.outbox.counts().waiting

    def close(self) -> None:
        self._station.outbox.close()


@dataclass(frozen=True)
class Case:
    """A device that holds six readings, and how it is made to refuse.

    Attributes:
        driver: Reads it.
        make: Makes the device.
        refuse: Makes it refuse.
        give: Makes it give all again.
        store: Has it measure once more, the number of hours after the start.
        came: How many of the six come at the visit at which it refuses.
        says: What is told of that.
    """

    driver: GattDriver | SerialDriver
    make: Callable[[], Any]
    refuse: Callable[[Any], None]
    give: Callable[[Any], None]
    store: Callable[[Any, int], None]
    came: int
    says: str


def _refusing(*which: int) -> Callable[[Any], None]:
    return lambda device: setattr(device, "refused", frozenset(which))


def _verio() -> VerioBle:
    return VerioBle([VerioBleRecord(at(n), 90 + n) for n in range(6)])


def _verio_iq() -> VerioIq:
    return VerioIq([VerioRecord(at(n), 90 + n) for n in range(6)])


def _ultra_easy() -> UltraEasy:
    return UltraEasy([UltraEasyRecord(at(n), Decimal(90 + n)) for n in range(6)])


def _omron(layout: Layout = HEM_7155T, second: int = 2) -> OmronCuff:
    """Make a cuff of two users, or of one."""
    first = [OmronRecord(at(n), 120 + n, 80, 70) for n in range(6 - second)]
    more = [OmronRecord(at(n), 150 + n, 80, 70, user=2) for n in range(second)]
    return OmronCuff([*first, *more], layout)


class _Holes(MicrolifeCuff):
    """A cuff one of whose places is empty for a while."""

    hole = False

    def _history(self) -> bytes:
        whole = super()._history()
        return whole[:58] + bytes(10) + whole[68:] if self.hole else whole


def _microlife() -> _Holes:
    records = [MicrolifeRecord(120 + n, 80, 70, at(n)) for n in range(6)]
    return _Holes(records, lambda: at(100))


VERIO = partial(
    Case,
    driver=onetouch_verio_ble.DRIVER,
    make=_verio,
    give=_refusing(),
    store=lambda meter, n: meter.store(VerioBleRecord(at(n), 90 + n)),
)
OMRON = partial(
    Case,
    driver=omron_eeprom.DRIVER,
    make=_omron,
    give=_refusing(),
    store=lambda cuff, n: cuff.store(OmronRecord(at(n), 120 + n, 80, 70)),
)
CASES = {
    "verio-all-but-three": VERIO(
        refuse=_refusing(*range(1, 4)),
        came=3,
        says="the meter counts 6 records and gave 3; record 3: 'status' is 0x07",
    ),
    "verio-one-of-all": VERIO(
        refuse=_refusing(4), came=5, says="counts 6 records and gave 5; record 4"
    ),
    "verio-the-newest": VERIO(
        refuse=_refusing(6), came=5, says="counts 6 records and gave 5; record 6"
    ),
    "ultraeasy": Case(
        driver=onetouch_ultraeasy.DRIVER,
        make=_ultra_easy,
        refuse=_refusing(5),
        give=_refusing(),
        store=lambda meter, n: meter.store(UltraEasyRecord(at(n), Decimal(90 + n))),
        came=5,
        says="record 5: 'status' is 05 07, not 05 06",
    ),
    "verio-iq": Case(
        driver=onetouch_verio_iq.DRIVER,
        make=_verio_iq,
        refuse=_refusing(5),
        give=_refusing(),
        store=lambda meter, n: meter.store(VerioRecord(at(n), 90 + n)),
        came=5,
        says="record 5: 'status' is 0x07, not allowed",
    ),
    "microlife": Case(
        driver=microlife.DRIVER,
        make=_microlife,
        refuse=lambda cuff: setattr(cuff, "hole", True),
        give=lambda cuff: setattr(cuff, "hole", False),
        store=lambda cuff, n: cuff.store(MicrolifeRecord(120 + n, 80, 70, at(n))),
        came=5,
        says="the cuff counts 6 records and gave 5",
    ),
    # Slots of 16 bytes from 0x0098 on, the first user's third one; and its newest.
    "omron-a-slot": OMRON(
        refuse=_refusing(0xB8),
        came=5,
        says="does not give its memory at 0x00b8: code 5",
    ),
    "omron-the-newest": OMRON(
        refuse=_refusing(0xC8),
        came=5,
        says="does not give its memory at 0x00c8: code 5",
    ),
    "omron-the-second-user's": OMRON(
        refuse=_refusing(0x458), came=5, says="does not give its memory at 0x0458"
    ),
    # Slots of 32 bytes, read in two pieces; the second one of the first block.
    "omron-half-a-slot": OMRON(
        make=partial(_omron, HEM_6410T, 0),
        refuse=_refusing(0x5590 + 6 * 32 + 16),
        came=6,
        says="does not give its memory at 0x5660: code 5",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_refused_at_one_visit_comes_at_the_next(
    case: Case, tmp_path: Path
) -> None:
    """A mark over it would have it lost for good, and nobody told."""
    device = case.make()
    meter = _Meter(tmp_path, case.driver, device)
    case.refuse(device)

    assert case.says in meter.visit()
    assert meter.captured == case.came

    case.give(device)
    assert meter.visit() == ""
    assert meter.captured == 6
    meter.close()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_refused_for_long_holds_nothing_new_back(
    case: Case, tmp_path: Path
) -> None:
    """One record that is damaged must not be the last one that a station reads."""
    device = case.make()
    meter = _Meter(tmp_path, case.driver, device)
    case.refuse(device)

    assert meter.visit()
    case.store(device, 20)
    assert meter.visit()
    before = meter.captured
    case.store(device, 21)
    assert meter.visit()
    assert meter.captured == before + 1

    case.give(device)
    assert meter.visit() == ""
    assert meter.captured == 8
    meter.close()
