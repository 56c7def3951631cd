"""When a batch is made, and of how many readings: the policy, and no doing.

What a message costs decides how long a reading waits for others. On a free link it
goes at once, or gathers others while a batch before it is on its way. On a metered
link it always gathers others. A full batch waits for nothing, and an urgent reading
for nothing but other urgent ones that no receipt has come for.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """What an operator may choose.

    Attributes:
        batch_readings: The most readings of one batch.
        delay_s: The longest that a reading waits for others, in s.
        window: The most batches without a receipt at a time, and as many urgent ones.
        gathers_alone: Whether a reading waits also while no batch is on its way.
        resend_s: How long after the broker took a batch it is sent again, in s.
        keepalive_s: How long the connection may be silent, in s.
        fast: Whether time, here and at the gateway, matters more than bytes.
    """

    batch_readings: int
    delay_s: float
    window: int
    gathers_alone: bool
    resend_s: float
    keepalive_s: int
    fast: bool


FREE = Policy(
    256, 2.0, 8, gathers_alone=False, resend_s=20.0, keepalive_s=30, fast=True
)
# Often slow too: an urgent batch must not queue behind many others.
METERED = Policy(
    1024, 900.0, 2, gathers_alone=True, resend_s=120.0, keepalive_s=240, fast=False
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Readings that are in no batch yet.

    Attributes:
        urgent: How many must not wait.
        others: How many may; counting may end at a full batch.
        oldest_s: How long the oldest of the others waits, in s.
    """

    urgent: int
    others: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class UnderWay:
    """Batches that no receipt has come for.

    Attributes:
        urgent: How many of urgent readings.
        others: How many of others.
    """

    urgent: int
    others: int


@dataclass(frozen=True, slots=True)
class Make:
    """Make a batch now, of at most so many readings; urgent ones come first."""

    readings: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Make none before so many s, or None: before something changes."""

    seconds: float | None = None


def decide(policy: Policy, waiting: Waiting, under_way: UnderWay) -> Make | Wait:
    """Say what to do now; ask again after doing it, and after every change."""
    if waiting.urgent:
        # Whatever else is under way: urgent batches have a window of their own.
        is_open = under_way.urgent < policy.window
        return Make(policy.batch_readings) if is_open else Wait()
    if not waiting.others or under_way.others >= policy.window:
        return Wait()
    gathers = policy.gathers_alone or under_way.others > 0
    left_s = policy.delay_s - waiting.oldest_s if gathers else 0.0
    if waiting.others < policy.batch_readings and left_s > 0:
        return Wait(left_s)
    return Make(policy.batch_readings)
