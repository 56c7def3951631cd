"""What tests of visits, and of the station's memory, have in common."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers import bioland, taidoc, vivachek
from edge_agent.capture import Station
from edge_agent.outbox import Outbox
from tests.edge_agent.visiting import station_in


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    made = station_in(tmp_path)
    yield made
    made.outbox.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for what a simulated meter might still say: time is real here."""
    for driver in (bioland, taidoc, vivachek):
        monkeypatch.setattr(driver, "_SETTLE_S", 0.001)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "outbox.db"


@pytest.fixture
def outbox(path: Path) -> Iterator[Outbox]:
    opened = Outbox(path)
    yield opened
    opened.close()


@pytest.fixture
def tidy() -> Iterator[None]:
    """Tell what a test leaves open in that test."""
    yield
    gc.collect()
