"""A killed agent: what was written down, and what the device tells again, is one.

Each test kills a visit at one write to the station's disk after the other.
"""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from drivers.sdk import LinkLost, Packet
from edge_agent import capture
from firmware_sim.link import SimGattLink
from tests.edge_agent.unset import FACTORY, UNSET, Unset
from tests.edge_agent.visiting import Journaling, Killed, killed_at, read, station_in

pytestmark = pytest.mark.usefixtures("hasty")


class _Ahead(Journaling):
    """A link by which all that comes is written down before the driver sees the first.

    As where a device is faster than the driver.
    """

    def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **more)
        self._written: deque[Packet] = deque()

    async def receive(self) -> Packet:
        while not self._written:
            came = [await SimGattLink.receive(self)]
            with suppress(TimeoutError, LinkLost):
                while True:
                    async with asyncio.timeout(0.001):
                        came.append(await SimGattLink.receive(self))
            await self.journal(came)
            self._written.extend(came)
        return self._written.popleft()


@dataclass(frozen=True)
class How:
    """What the visits are like, of which some are killed.

    Attributes:
        time: What the device's clock shows.
        rounds: How many readings are taken before each visit, and whether that one is
            killed. No reading: what the device says itself that it holds is erased.
        kind: The link.
        full: How many readings are written down together.
    """

    time: datetime | None
    rounds: tuple[tuple[int, bool], ...]
    kind: type[Journaling] = Journaling
    full: int = 64


_FIRST, _LATER, _TWICE = ((6, True),), ((3, False), (3, True)), ((3, True), (3, True))
_ERASED = ((3, False), (0, False), (3, True))


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(How(None, _FIRST), marks=pytest.mark.scale),
        How(None, _LATER),
        pytest.param(How(None, _TWICE), marks=pytest.mark.scale),
        How(None, _ERASED),
        How(FACTORY, _LATER, _Ahead),
        How(FACTORY, _TWICE, _Ahead, 2),
    ],
    ids=["first", "later", "twice", "erased", "ahead", "piecemeal"],
)
@pytest.mark.parametrize("unset", UNSET.values(), ids=UNSET)
def test_wherever_the_agent_is_killed_equal_readings_are_as_many_as_were_taken(
    unset: Unset, how: How, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written down, and is told again too, was captured twice."""
    monkeypatch.setattr(capture, "_FULL", how.full)
    for number in range(100):
        station = station_in(tmp_path / str(number))
        device = unset.make([])
        visit = partial(read, station, unset.driver, device, kind=how.kind)
        is_killed = False
        for count, is_mortal in how.rounds:
            if not count and unset.counts:
                device.erase()
            for _ in range(count):
                device.store(unset.record(how.time))
            with killed_at(station, number if is_mortal else 1_000):
                try:
                    visit()
                except Killed:
                    is_killed = True
        visit()
        visit()

        found = station.outbox.counts()
        station.outbox.close()
        assert (found.waiting, found.journaled) == (6, 0), f"killed at {number}"
        if not is_killed:
            return
    pytest.fail("it was killed each time")
