"""``vitalwire bench ingest``: that it counts what is there, and nothing else."""

import asyncio
import json
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edge_agent.cli import main
from gateway.bench import growth, run, servers
from gateway.bench.cli import table
from gateway.bench.fleet import PATTERNS, READINGS, Fleet
from gateway.store import Filter
from protocols import compiled
from protocols.observation import key
from protocols.uplink.batch import Batch, decode

_FAULTY = (sys.executable, str(Path(__file__).with_name("faulty_gateway.py")))
_postgres = pytest.mark.skipif(
    servers.postgres_programs() is None, reason="PostgreSQL is not here"
)
_KEYS = {
    "store", "readings", "readings_per_s", "limit_per_s", "ratio", "lost", "doubled",
    "peers", "cpu_us_per_reading", "rss_mb",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    asyncio.run(compiled.warm())


def _quiet(_text: str) -> None:
    return


def test_a_message_is_what_its_station_would_send() -> None:
    """A speed found with bytes that no station sends says nothing."""
    fleet = Fleet(stations=3, groups=36)
    for group, block, counter in ((0, 0, 1), (17, 3, 41), (35, 9, 120)):
        sent = fleet.message(group, block, counter)
        told = decode(sent.payload)
        assert list(told.readings) == fleet.readings(group, block)
        assert len(told.readings) == READINGS
        station = fleet.station(group).station
        again = Batch(station, counter, told.made_ms, told.readings)
        assert again.encode(fast=True) == sent.payload


def test_no_reading_and_no_counter_is_told_twice() -> None:
    """Else the store would rightly keep fewer than were sent."""
    fleet = Fleet(stations=3, groups=12)
    batches = [(one, decode(one.payload)) for one in fleet.messages(range(2))]
    keys = Counter(key(each) for _, batch in batches for each in batch.readings)
    assert len(keys) == sum(keys.values()) == 24 * READINGS
    assert Counter((batch.station, batch.counter) for _, batch in batches) == Counter(
        (f"bench-{s}", n) for s in range(3) for n in range(1, 9)
    )


@pytest.mark.parametrize(
    "store",
    ["sqlite", pytest.param("postgres", marks=[_postgres, pytest.mark.scale])],
)
def test_rows_stored_beforehand_are_those_that_the_store_would_write(
    store: str, tmp_path: Path
) -> None:
    """Growth would be measured on something else than what grows."""
    fleet = Fleet(stations=7, groups=42)
    groups = 4 * PATTERNS

    def check(folder: Path, address: str) -> None:
        growth.fill(folder, address, fleet, groups)
        with closing(growth.open_store(folder, address)) as found:
            after = (4 * groups + 25) * READINGS
            told = [each.reading for each in found.readings(Filter(), after, READINGS)]
            assert told == fleet.readings(25, 4)
            devices = found.devices(0, 1_000)
            assert [each.device.id for each in devices] == [
                f"bench-{number}" for number in range(4 * groups)
            ]
            assert {tally.readings for each in devices for tally in each.tallies} == {
                growth.PER_GROUP // 4
            }
            day = Filter(
                station="bench-4",
                since_ms=growth.START_MS,
                until_ms=growth.START_MS + 86_400_000,
            )
            of_day = found.readings(day, 0, 1_000)
            assert {each.station.station for each in of_day} == {"bench-4"}
            assert len(of_day) == 16 * len(range(4, groups, 7))

    if store == "postgres":
        with servers.scratch() as folder, servers.postgres(folder) as (_, address):
            check(folder, address)
    else:
        check(tmp_path, "")


@pytest.mark.integration
def test_every_reading_that_was_sent_is_counted_once() -> None:
    """The figures stand beside a proof that nothing was dropped to reach them."""
    command = ["bench", "ingest", "--stations", "5", "--seconds", "1.5", "--json"]
    said = CliRunner().invoke(main, command)
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    _check(found, "sqlite")
    assert "making messages" in said.stderr
    assert found["peers"].keys() == {"naive", "naive-batched", "telegraf-like"}


@_postgres
@pytest.mark.integration
@pytest.mark.scale
def test_so_it_is_in_postgresql() -> None:
    """Its server is started by the bench, and what it says is asked past the store."""
    plan = run.Plan("postgres", stations=5, seconds=0.5, rounds=1, peers=False)
    found = run.measure(plan, _quiet)
    _check(found, "postgres")
    assert found["limits"]["without_index_per_s"] > 0


def _check(found: dict[str, Any], store: str) -> None:
    assert found.keys() >= _KEYS
    assert found["store"] == store
    assert found["readings"] > 0
    assert found["readings"] % READINGS == 0
    faults = ("lost", "doubled", "wrong", "unanswered")
    assert [found[name] for name in faults] == [0, 0, 0, 0]
    assert run.is_success(found)
    assert found["ratio"] > 0
    assert table(found).count("\n") > 10


@pytest.mark.integration
def test_a_gateway_that_loses_doubles_or_changes_a_reading_is_found_out() -> None:
    """A count that finds no fault must be able to find one."""
    plan = run.Plan(
        "sqlite", stations=5, seconds=0.5, rounds=1, peers=False, gateway=_FAULTY
    )
    found = run.measure(plan, _quiet)
    assert (found["lost"], found["doubled"], found["wrong"]) == (1, 1, 1)
    assert not run.is_success(found)


@pytest.mark.integration
def test_a_gateway_that_cannot_run_is_told_in_one_line() -> None:
    """Its own log lies in a folder that is gone by then."""
    plan = run.Plan(
        "sqlite",
        seconds=0.5,
        peers=False,
        gateway=(sys.executable, "-c", "raise SystemExit('no luck')"),
    )
    with pytest.raises(servers.CannotMeasure, match="does not start: no luck"):
        run.measure(plan, _quiet)
