"""What tests of visits have in common."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers import bioland, taidoc, vivachek
from edge_agent.capture import Station
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
