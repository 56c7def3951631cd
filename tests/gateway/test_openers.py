"""Messages opened in a thread, and in other processes behind a backlog."""

import os
import signal
from collections.abc import Iterator
from multiprocessing import active_children

import pytest

from gateway.delivery import Message
from gateway.openers import Openers
from gateway.store import Accepted, Delivery, Refused
from tests.gateway.stations import START_MS, STATION, eventually, glucose, message

SENT = [
    Message.of(STATION.up("batch"), payload, START_MS)
    for payload in (message(1, glucose(1)), b"?", message(2, glucose(2), glucose(3)))
]
MANY = 1_000


@pytest.fixture
def openers() -> Iterator[Openers]:
    found = Openers("", processes=1)
    yield found
    found.close()
    assert eventually(lambda: not active_children())


def _told(openers: Openers, backlog: int) -> list[Delivery]:
    openers.adapt(backlog)
    opened = openers.result(openers.open(SENT), SENT)
    assert all(one.began_ns <= one.ended_ns for one in opened)
    return [one.delivery for one in opened]


def _is_elsewhere(openers: Openers) -> bool:
    """Whether messages are opened in another process by now."""
    _told(openers, MANY)
    return bool(active_children()) and all(one.done() for one in openers._ready)


def test_another_process_says_the_same(openers: Openers) -> None:
    """A reading changed on its way between processes would be stored so."""
    here = _told(openers, len(SENT))
    assert [type(one) for one in here] == [Accepted, Refused, Accepted]
    assert not active_children()

    assert eventually(lambda: _is_elsewhere(openers), 60)
    assert _told(openers, MANY) == here


def test_what_was_down_has_its_processes_before_the_first_message() -> None:
    """A backlog waits for a gateway that starts; processes take a second to come."""
    openers = Openers("", processes=1, behind=True)
    try:
        assert openers._ready, "begun with it"
        assert eventually(lambda: all(one.done() for one in openers._ready), 60)
        assert len(_told(openers, len(SENT))) == len(SENT)
        assert openers._processes is not None, "it waits for what else comes"
    finally:
        openers.close()
    assert eventually(lambda: not active_children())


def test_processes_end_a_minute_after_the_backlog_also_where_nothing_comes(
    openers: Openers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that starts has them, and most wait for nothing."""
    monkeypatch.setattr("gateway.openers._IDLE_S", 0.0)
    openers.adapt(MANY)
    assert openers._processes is not None
    openers.adapt(0)
    assert openers._processes is None


def test_a_process_that_dies_loses_no_message(openers: Openers) -> None:
    """The kernel kills the largest when memory runs out."""
    assert eventually(lambda: _is_elsewhere(openers), 60)
    here = _told(openers, MANY)
    (worker,) = active_children()

    os.kill(worker.pid or 0, signal.SIGSTOP)
    openers.adapt(MANY)
    opening = openers.open(SENT)
    os.kill(worker.pid or 0, signal.SIGKILL)

    assert [one.delivery for one in openers.result(opening, SENT)] == here
    assert _told(openers, MANY) == here
