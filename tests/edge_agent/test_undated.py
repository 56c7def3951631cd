"""Meters that tell their whole memory at each visit, and keep no date.

Nothing but its place tells an undated reading from an equal one, and places move.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drivers import glucomen_areo
from drivers.sdk import Checkpoint, Event, LinkLost, NoReply, Observation, Terms
from edge_agent.capture import Station
from firmware_sim.devices.glucomen_areo import Areo, AreoResult
from protocols.observation import key
from protocols.uplink import batch
from tests.edge_agent.unset import NEVER, REREADERS, Rereader
from tests.edge_agent.visiting import read, station_in

_ROOM = 10
_DATE = datetime(2026, 3, 1, 7, 30)  # noqa: DTZ001 - a wall clock

pytestmark = pytest.mark.usefixtures("hasty")
rereaders = pytest.mark.parametrize("meter", REREADERS.values(), ids=REREADERS)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each simulated device room for 10 records."""
    for meter in REREADERS.values():
        for made in meter.device.__mro__:
            if hasattr(module := sys.modules[made.__module__], "CAPACITY"):
                monkeypatch.setattr(module, "CAPACITY", _ROOM)


def visit(station: Station, meter: Rereader, device: Any, **more: Any) -> int:  # noqa: ANN401
    """Read a device, and return how many readings the station has."""
    read(station, meter.driver, device, **more)
    return station.outbox.counts().waiting


def keys(station: Station) -> set[tuple[object, ...]]:
    """Return what the readings that wait are known by, everywhere."""
    made = station.outbox.batches.make("s-1", 0, 256)
    assert made is not None
    return {key(one) for one in batch.decode(made.message).readings}


@rereaders
def test_equal_readings_are_as_many_as_were_taken(
    station: Station, meter: Rereader
) -> None:
    device = meter.make()
    for count in range(1, 8):
        device.store(meter.record(NEVER, 0))

        assert visit(station, meter, device) == count
        assert visit(station, meter, device) == count


@rereaders
@pytest.mark.usefixtures("small")
def test_a_full_memory_that_forgets_its_oldest_loses_no_new_one(
    station: Station, meter: Rereader
) -> None:
    """Its places move; by them 15 of 30 were told."""
    device = meter.make()
    found = []
    for number in range(30):
        device.store(meter.record(NEVER, number % 7))
        found.append(visit(station, meter, device))

    assert found == [*range(1, 31)]


@rereaders
@pytest.mark.parametrize("count", range(1, _ROOM - 3))
@pytest.mark.usefixtures("small")
def test_a_full_memory_may_move_by_all_but_four_records(
    station: Station, meter: Rereader, count: int
) -> None:
    device = meter.make([meter.record(NEVER, number) for number in range(_ROOM)])
    visit(station, meter, device)
    for number in range(count):
        device.store(meter.record(NEVER, 20 + number))

    assert visit(station, meter, device) == _ROOM + count


@rereaders
@pytest.mark.usefixtures("small")
def test_a_memory_that_is_filled_up_between_visits_is_not_told_anew(
    station: Station, meter: Rereader
) -> None:
    device = meter.make([meter.record(NEVER, number) for number in range(_ROOM - 2)])
    visit(station, meter, device)
    for number in range(4):
        device.store(meter.record(NEVER, 20 + number))

    assert visit(station, meter, device) == _ROOM + 2


@rereaders
@pytest.mark.usefixtures("small")
def test_an_equal_one_is_new_where_an_older_one_is_gone(
    station: Station, meter: Rereader
) -> None:
    """The newest records are the same as before, and the oldest are not."""
    dated = [meter.record(_DATE + timedelta(days=n), 50) for n in range(5)]
    device = meter.make([*dated, *[meter.record(NEVER, 0)] * 5])
    for count in range(_ROOM, _ROOM + 5):
        assert visit(station, meter, device) == count
        device.store(meter.record(NEVER, 0))


@rereaders
def test_equal_readings_behind_an_erasure_that_a_visit_saw_are_new(
    station: Station, meter: Rereader
) -> None:
    """By their places they are those from before it: 2 of 4 were told."""
    device = meter.make()
    for count in (2, 4):
        device.store(meter.record(NEVER, 0))
        device.store(meter.record(NEVER, 0))
        assert visit(station, meter, device) == count
        device.erase()
        assert visit(station, meter, device) == count


@rereaders
def test_fewer_equal_readings_than_before_are_new(
    station: Station, meter: Rereader
) -> None:
    """Nobody saw the memory empty, but nothing else makes them fewer."""
    device = meter.make([meter.record(NEVER, 0)] * 5)
    visit(station, meter, device)
    device.erase()
    for _ in range(4):
        device.store(meter.record(NEVER, 0))

    assert visit(station, meter, device) == 9


@rereaders
def test_what_comes_into_an_empty_memory_is_told_once(
    station: Station, meter: Rereader
) -> None:
    device = meter.make()
    assert visit(station, meter, device) == 0
    device.store(meter.record(NEVER, 0))

    assert visit(station, meter, device) == 1
    assert visit(station, meter, device) == 1


@rereaders
def test_dated_readings_among_them_are_told_once_too(
    station: Station, meter: Rereader
) -> None:
    """Two of one minute with one value are two, at every visit the same two."""
    device = meter.make()
    times = [NEVER, _DATE, NEVER, _DATE, _DATE + timedelta(days=1), NEVER]
    for count, time in enumerate(times, 1):
        device.store(meter.record(time, 0))
        visit(station, meter, device)

        assert visit(station, meter, device) == count


@rereaders
def test_a_clock_that_is_set_back_doubles_nothing(
    station: Station, meter: Rereader
) -> None:
    """By its first and its last date a driver may take the memory for turned round."""
    times = [NEVER, *(_DATE + timedelta(days=n) for n in (3, 4, 5))]
    device = meter.make([meter.record(time, 0) for time in times])
    visit(station, meter, device)
    device.store(meter.record(_DATE, 0))
    device.store(meter.record(NEVER, 1))

    assert visit(station, meter, device) == 6


@rereaders
def test_a_visit_that_is_broken_off_doubles_nothing_and_loses_nothing(
    station: Station, meter: Rereader
) -> None:
    """Told without the checkpoint they would come once more, under other names."""
    times = [NEVER, _DATE, NEVER]
    device = meter.make([meter.record(time, 0) for time in times])
    visit(station, meter, device)
    for number in range(4):
        device.store(meter.record(NEVER, number))
        device.store(meter.record(_DATE + timedelta(days=number + 1), 0))
    ended = []
    for cut in (*range(1, 30), *range(30, 500, 20)):
        with suppress(LinkLost, NoReply):
            ended.append(visit(station, meter, device, lost_after=cut))
            break

    assert visit(station, meter, device) == 11
    assert ended in ([], [11])


@rereaders
@pytest.mark.parametrize("behind", range(7))
def test_an_agent_that_is_stopped_in_front_of_the_checkpoint_doubles_nothing(
    station: Station, meter: Rereader, behind: int
) -> None:
    plain = meter.driver.session
    assert plain is not None

    async def stopped(link: Any, terms: Terms) -> AsyncGenerator[Event, None]:  # noqa: ANN401
        told = 0
        async for event in plain(link, terms):
            if isinstance(event, Observation | Checkpoint):
                told += 1
            if told > behind:
                raise asyncio.CancelledError
            yield event

    device = meter.make([meter.record(NEVER, 0)])
    visit(station, meter, device)
    for time in (NEVER, _DATE, NEVER, NEVER):
        device.store(meter.record(time, 0))
    with suppress(asyncio.CancelledError):
        read(station, replace(meter.driver, session=stopped), device)  # type: ignore[arg-type]

    assert visit(station, meter, device) == 5


@rereaders
def test_as_long_as_none_is_gone_another_station_tells_the_same_readings(
    station: Station, meter: Rereader, tmp_path: Path
) -> None:
    """Nor does one whose outbox was lost tell the gateway any twice."""
    device, other = meter.make(), station_in(tmp_path / "other")
    for number in (0, 0, 1, 0):
        device.store(meter.record(NEVER, number))
        visit(station, meter, device)
    visit(other, meter, device)

    found = keys(other)
    other.outbox.close()
    assert found == keys(station)
    assert len(found) == 4


@rereaders
def test_what_an_earlier_version_told_is_known_again(
    station: Station, meter: Rereader
) -> None:
    """It told them at each visit by their places, and left no mark."""
    plain = meter.driver.session
    assert plain is not None

    async def before(link: Any, terms: Terms) -> AsyncGenerator[Event, None]:  # noqa: ANN401
        async for one in plain(link, replace(terms, mark=None)):
            if not isinstance(one, Checkpoint):
                yield one

    times = [NEVER, _DATE, NEVER, NEVER]
    device = meter.make([meter.record(time, 0) for time in times])
    earlier = replace(meter.driver, session=before, undated_once=False)  # type: ignore[arg-type]
    for _ in range(2):
        read(station, earlier, device)
    assert station.outbox.counts().waiting == 4

    assert visit(station, meter, device) == 4
    device.store(meter.record(NEVER, 0))
    assert visit(station, meter, device) == 5


@rereaders
@pytest.mark.usefixtures("small")
def test_at_which_end_a_memory_grows_need_not_be_known(
    station: Station, meter: Rereader
) -> None:
    """No document tells it of some; each visit would have told all anew."""
    held: list[Any] = []
    for number in range(2 * _ROOM):
        held = [meter.record(NEVER, number % 7), *held][:_ROOM]

        assert visit(station, meter, meter.make(held)) == number + 1


@rereaders
def test_dates_that_turn_a_memory_round_double_nothing(
    station: Station, meter: Rereader
) -> None:
    """Only these tell some drivers which end of it is the oldest."""
    held: list[Any] = []
    for number in range(7):
        time = _DATE + timedelta(days=number) if number in (3, 4, 5) else NEVER
        held = [meter.record(time, number), *held]

        assert visit(station, meter, meter.make(held)) == number + 1


def test_a_glucomen_that_keeps_silent_of_ketone_has_forgotten_none(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ketones would be told anew as soon as it answers again."""
    monkeypatch.setattr(glucomen_areo, "_KETONE_S", 0.1)
    meter = REREADERS["glucomen-areo"]
    glucose, ketone = (
        AreoResult(NEVER, "100"),
        AreoResult(NEVER, "1.0", "Ket", "mmol/L"),
    )
    device = Areo([glucose, ketone, ketone])
    assert visit(station, meter, device) == 3
    device._has_ketone = False
    device.store(glucose)
    assert visit(station, meter, device) == 4
    device._has_ketone = True
    device.store(ketone)

    assert visit(station, meter, device) == 5
