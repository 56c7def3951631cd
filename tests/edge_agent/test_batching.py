"""When batches are made: nothing waits longer than it may, and nothing urgent waits."""

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from edge_agent.batching import (
    FREE,
    METERED,
    Make,
    Policy,
    UnderWay,
    Wait,
    Waiting,
    decide,
)
from edge_agent.outbox import Outbox
from protocols.uplink import batch, envelope
from protocols.uplink.receipt import Entry, Result
from tests.edge_agent.filling import PEER, reading

NONE = UnderWay(0, 0)
FULL = UnderWay(8, 8)


@pytest.mark.parametrize(
    ("policy", "waiting", "under_way", "said"),
    [
        # Nothing waits.
        (FREE, Waiting(0, 0, 0.0), NONE, Wait()),
        (METERED, Waiting(0, 0, 9999.0), FULL, Wait()),
        # The first reading goes at once; while it is on its way others gather.
        (FREE, Waiting(0, 1, 0.0), NONE, Make(256)),
        (FREE, Waiting(0, 1, 0.5), UnderWay(0, 1), Wait(1.5)),
        (FREE, Waiting(0, 1, 0.5), UnderWay(1, 0), Make(256)),
        (FREE, Waiting(0, 255, 2.0), UnderWay(0, 1), Make(256)),
        (FREE, Waiting(0, 256, 0.0), UnderWay(0, 7), Make(256)),
        (FREE, Waiting(0, 256, 9.0), UnderWay(0, 8), Wait()),
        # Where it costs, they gather always.
        (METERED, Waiting(0, 1, 0.0), NONE, Wait(900.0)),
        (METERED, Waiting(0, 1023, 899.0), NONE, Wait(1.0)),
        (METERED, Waiting(0, 1024, 0.0), NONE, Make(1024)),
        (METERED, Waiting(0, 1, 900.0), NONE, Make(1024)),
        (METERED, Waiting(0, 1024, 999.0), UnderWay(0, 2), Wait()),
        (replace(METERED, delay_s=0.0), Waiting(0, 1, 0.0), NONE, Make(1024)),
        # An alarm goes at once, whatever else is under way.
        (FREE, Waiting(1, 256, 9.0), UnderWay(7, 8), Make(256)),
        (METERED, Waiting(1, 0, 0.0), UnderWay(1, 2), Make(1024)),
        (FREE, Waiting(1, 256, 9.0), UnderWay(8, 0), Wait()),
    ],
)
def test_link_backlog_and_urgency_decide(
    policy: Policy, waiting: Waiting, under_way: UnderWay, said: Make | Wait
) -> None:
    assert decide(policy, waiting, under_way) == said


class Station(RuleBasedStateMachine):
    """A real outbox that is emptied by the policy, on a clock that a test sets."""

    @initialize(
        metered=st.booleans(),
        size=st.integers(1, 12),
        delay_s=st.sampled_from([0.0, 2.0, 900.0]),
        window=st.integers(1, 3),
    )
    def open(self, *, metered: bool, size: int, delay_s: float, window: int) -> None:
        """Start with nothing waiting."""
        self.held = ExitStack()
        folder = Path(self.held.enter_context(tempfile.TemporaryDirectory()))
        self.box = Outbox(folder / "outbox.db")
        self.held.callback(self.box.close)
        self.box._file.db.pragma("synchronous", "OFF")
        self.policy = Policy(size, delay_s, window, metered, 20.0, 30, fast=not metered)
        self.now_s = 0.0
        self.captured_at: list[float] = []
        self.alarming: set[int] = set()
        self.sent: list[int] = []
        self.under_way: dict[int, bytes] = {}
        self.wait: Wait = Wait()

    @rule(alarms=st.lists(st.booleans(), min_size=1, max_size=30))
    def capture(self, alarms: list[bool]) -> None:
        """Write readings down, some of them alarming."""
        first = len(self.captured_at)
        self.alarming |= {first + at for at, alarm in enumerate(alarms) if alarm}
        self.captured_at += [self.now_s] * len(alarms)
        readings = [
            replace(reading(first + at), captured_ms=int(self.now_s * 1000))
            for at in range(len(alarms))
        ]
        self.box.capture(PEER, readings, urgent=lambda s: s.sequence in self.alarming)
        self.ask()

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0, 600.0]))
    def pass_time(self, seconds: float) -> None:
        """Let time pass, and ask whenever the policy said to."""
        end_s = self.now_s + seconds
        while self.wait.seconds is not None and self.now_s + self.wait.seconds <= end_s:
            assert self.wait.seconds > 0
            self.now_s += self.wait.seconds
            self.ask()
        self.now_s = end_s
        self.ask()

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), result=st.sampled_from(Result))
    def settle(self, data: st.DataObject, result: Result) -> None:
        """Let the gateway answer for a batch."""
        counter = data.draw(st.sampled_from(sorted(self.under_way)))
        message = self.under_way.pop(counter)
        found = self.box.batches.forget(
            [Entry(counter, envelope.digest(message), result)]
        )
        assert found == ([counter] if result == Result.STORED else [])
        self.ask()

    @invariant()
    def is_kept(self) -> None:
        """What is promised of the window, of urgency, of delay and of sizes."""
        urgent, others = self.box.batches.waiting(99)
        assert max(len(urgent), len(others)) <= self.policy.window
        waiting = set(range(len(self.captured_at))) - {*self.sent}
        if waiting & self.alarming:
            assert len(urgent) == self.policy.window
        elif waiting and len(others) < self.policy.window:
            assert len(waiting) < self.policy.batch_readings
            waited_s = self.now_s - min(self.captured_at[one] for one in waiting)
            assert waited_s < self.policy.delay_s
            assert others or self.policy.gathers_alone

    def ask(self) -> None:
        """Do what the policy says, as often as it says something."""
        while isinstance(step := decide(self.policy, *self.seen()), Make):
            made = self.box.batches.make("s", 0, step.readings)
            assert made is not None
            numbers = [
                one.observation.sequence or 0
                for one in batch.decode(made.message).readings
            ]
            assert 1 <= len(numbers) <= self.policy.batch_readings
            assert made.urgent is ({*numbers} <= self.alarming)
            assert made.urgent or not {*numbers} & self.alarming
            waiting = set(range(len(self.captured_at))) - {*self.sent}
            if made.urgent:
                alarms = sorted(waiting & self.alarming, reverse=True)
                assert numbers == alarms[: len(numbers)]
            else:
                assert numbers == sorted(waiting)[: len(numbers)]
            self.sent += numbers
            self.under_way[made.counter] = made.message
        self.wait = step

    def seen(self) -> tuple[Waiting, UnderWay]:
        """Return what the policy is asked with."""
        found = self.box.batches.unbatched(self.policy.batch_readings)
        urgent, others = self.box.batches.waiting(self.policy.window)
        waiting = Waiting(
            found.urgent, found.others, self.now_s - found.oldest_ms / 1000
        )
        return waiting, UnderWay(len(urgent), len(others))

    def teardown(self) -> None:
        """Let the gateway store all, and see that each was sent exactly once."""
        with self.held:
            while self.under_way or len(self.sent) < len(self.captured_at):
                for counter, message in [*self.under_way.items()]:
                    stored = Entry(counter, envelope.digest(message), Result.STORED)
                    self.box.batches.forget([stored])
                    del self.under_way[counter]
                self.now_s += self.policy.delay_s
                self.ask()
            assert sorted(self.sent) == [*range(len(self.captured_at))]


Station.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None
)
TestStation = Station.TestCase
