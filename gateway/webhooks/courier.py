"""Tells webhooks, each in order of arrival, until they have confirmed it.

A message is sent again until it is answered with 2xx, at growing distances. What it
holds becomes a dead letter when it has been tried for long enough, so that what came
later is not held up for ever, and can be tried again by hand. Revisions are told like
readings, in an order of their own.
"""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from gateway.access import Access, Unauthorised
from gateway.exact import encode
from gateway.store import StoreRefused, StoreUnavailable
from gateway.webhooks import Order, Taken, Webhooks
from gateway.webhooks.message import Composer, Message, principal
from gateway.webhooks.post import Unreachable, post
from gateway.webhooks.signature import headers
from gateway.webhooks.target import Refused, Targets

_LOOK_S = 1.0
_LEASE_MS = 60_000
_AT_A_TIME = 8
_MESSAGES = 20
_FIRST_WAIT_S = 5.0
_LONGEST_WAIT_S = 3_600.0
_DOUBLINGS = 10  # past the longest wait; after a thousand no float would hold it

_ABOUT = {"Content-Type": "application/json", "User-Agent": "vitalwire-gateway"}

_log = logging.getLogger(__name__)


class Courier:
    """Works on stretches that are due, a few at a time.

    Args:
        hooks: Whom to tell.
        composer: What to tell.
        access: Where it is written down what was told.
        targets: Where webhooks may lead.
        give_up_ms: For how long a reading, or a revision, is tried, in ms.
        deadline_s: For one message and its answer; well below the 60 s for which a
            stretch is taken.
        now_ms: The clock, ms since 1970 UTC.
        chance: Returns a random number, 0 to 1.
    """

    def __init__(
        self,
        hooks: Webhooks,
        composer: Composer,
        access: Access,
        targets: Targets,
        *,
        give_up_ms: int,
        deadline_s: float = 15.0,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._hooks, self._composer = hooks, composer
        self._access, self._targets = access, targets
        self._give_up_ms, self._now_ms, self._chance = give_up_ms, now_ms, chance
        self._deadline_s = deadline_s
        self._holder = secrets.token_hex(8)
        self._free = _AT_A_TIME

    async def run(self) -> None:
        """Tell whoever is to be told, until cancelled."""
        async with asyncio.TaskGroup() as work:
            while True:
                await self.start(work)
                await asyncio.sleep(_LOOK_S)

    async def start(self, work: asyncio.TaskGroup) -> int:
        """Take what is due now, and start to work on it.

        Args:
            work: What the work is started in.

        Returns:
            How many stretches were taken: none while the store is away, and no more at
            a time than the courier works on.
        """
        try:
            taken = await asyncio.to_thread(self._take)
        except StoreUnavailable:
            return 0
        for one in taken:
            self._free -= 1
            work.create_task(self._apart(one))
        return len(taken)

    def _take(self) -> list[Taken]:
        now_ms = self._now_ms()
        return self._hooks.take(
            self._holder,
            last=self._composer.last(),
            now_ms=now_ms,
            until_ms=now_ms + _LEASE_MS,
            most=self._free,
        )

    async def _apart(self, taken: Taken) -> None:
        """Work on a stretch so that a fault of ours in it stops no other webhook's."""
        (error,) = await asyncio.gather(self._work(taken), return_exceptions=True)
        if error is not None:
            hook = taken.webhook.id
            _log.error("webhook.broken", extra={"webhook": hook}, exc_info=error)
            await asyncio.to_thread(self._broken, taken)

    async def _work(self, taken: Taken) -> None:
        try:
            for left in reversed(range(_MESSAGES)):
                following = await self._tell(taken, on=left > 0)
                if following is None:
                    return
                taken = following
        except StoreUnavailable:
            # The lease ends by itself, and the message is sent again.
            _log.warning("webhook.postponed", extra={"webhook": taken.webhook.id})
        finally:
            self._free += 1

    async def _tell(self, taken: Taken, *, on: bool) -> Taken | None:
        """Send what follows in a stretch.

        Returns:
            The rest of it; None if there is none, or it is given back.
        """
        if not await asyncio.to_thread(self._holds, taken):
            return None
        message = await asyncio.to_thread(
            self._composer.next, taken.webhook, taken.stretch
        )
        if message.told:
            if not await asyncio.to_thread(self._begin, taken, message):
                return None
            problem, wait_s = await self._send(taken, message)
            if problem:
                await asyncio.to_thread(self._failed, taken, problem, wait_s)
                return None
        return await asyncio.to_thread(self._told, taken, message.reached, on)

    def _holds(self, taken: Taken) -> bool:
        """Whether the webhook's maker may still ask; if not, it is put off.

        It goes on if the clock was wrong: a token that has ended holds no more.
        """
        try:
            self._access.check_holds(taken.webhook.principal)
        except Unauthorised as ended:
            problem = f"its maker may not be told any more: {ended}"
            now_ms = self._now_ms()
            due_ms = now_ms + round(_LONGEST_WAIT_S * 1000)
            hook = taken.webhook.id
            _log.warning("webhook.stopped", extra={"webhook": hook, "reason": problem})
            self._hooks.failed(
                self._holder, taken.stretch, problem, now_ms=now_ms, due_ms=due_ms
            )
            return False
        return True

    def _begin(self, taken: Taken, message: Message) -> bool:
        """Write down what is about to be told, and where it ends."""
        who, told = principal(taken.webhook), message.told
        what = f"{len(told)}: {told[0].id} to {told[-1].id}"
        if message.about != Order.READINGS:
            what = f"{message.about} {what}"
        *others, last = dict.fromkeys(one.patient for one in told)
        for patient in others:
            self._access.record(who, "webhook.told", patient=patient, what=what)
        with self._access.recorded(
            who, "webhook.told", patient=last, what=what
        ) as change:
            now_ms = self._now_ms()
            return self._hooks.begin(
                change,
                self._holder,
                taken.stretch.id,
                reached=message.reached,
                now_ms=now_ms,
                until_ms=now_ms + _LEASE_MS,
            )

    async def _send(self, taken: Taken, message: Message) -> tuple[str, float]:
        """Send a message; return what was wrong, and how long to wait at least."""
        hook, sent_ms = taken.webhook, self._now_ms()
        body = encode(
            {
                "type": message.type,
                "timestamp": datetime.fromtimestamp(sent_ms / 1000, UTC),
                "data": message.data,
            }
        )
        # The same each time that the same part of the order is sent.
        part = f"{taken.stretch.after}_{message.reached}"
        if message.about != Order.READINGS:
            part = f"{message.about}_{part}"
        number = f"msg_{hook.id}_{part}"
        signed = headers(taken.secret, number, sent_ms // 1000, body)
        try:
            async with asyncio.timeout(self._deadline_s):
                target = self._targets.check(hook.url)
                addresses = await self._targets.find(target)
                answer = await post(target, addresses, _ABOUT | signed, body)
        except TimeoutError:
            return f"no answer within {self._deadline_s:g} s", 0.0
        except Refused as refused:
            return f"the URL {refused}", 0.0
        except Unreachable as error:
            return str(error), 0.0
        if 200 <= answer.status < 300:
            return "", 0.0
        return f"answered {answer.status}", float(answer.retry_after_s or 0)

    def _failed(self, taken: Taken, problem: str, wait_s: float) -> None:
        hook, stretch, now_ms = taken.webhook, taken.stretch, self._now_ms()
        if stretch.failing_ms is not None:
            since_ms = now_ms - self._give_up_ms
            if stretch.failing_ms <= since_ms:
                through = self._composer.expired(hook, stretch, since_ms)
                if through is not None:
                    self._hooks.give_up(self._holder, stretch, through, problem)
                    _log.error("webhook.dead", extra={"webhook": hook.id})
        doubled = 2 ** min(stretch.attempts, _DOUBLINGS)
        back_off_s = min(_FIRST_WAIT_S * doubled, _LONGEST_WAIT_S)
        # Not all at once, when many have failed together.
        back_off_s *= 0.5 + 0.5 * self._chance()
        due_s = max(back_off_s, min(wait_s, _LONGEST_WAIT_S))
        _log.warning("webhook.failed", extra={"webhook": hook.id, "reason": problem})
        self._hooks.failed(
            self._holder,
            stretch,
            problem,
            now_ms=now_ms,
            due_ms=now_ms + round(due_s * 1000),
        )

    def _broken(self, taken: Taken) -> None:
        now_ms = self._now_ms()
        with suppress(StoreRefused, StoreUnavailable):  # the lease ends by itself
            self._hooks.failed(
                self._holder,
                taken.stretch,
                "the gateway failed at it: its log says how",
                now_ms=now_ms,
                due_ms=now_ms + _LEASE_MS,
            )

    def _told(self, taken: Taken, reached: int, on: bool) -> Taken | None:  # noqa: FBT001 - by `to_thread`
        stretch = taken.stretch
        last = self._composer.last()[stretch.about]
        on = on and (stretch.through is not None or last > reached)
        if not self._hooks.told(
            self._holder, stretch, reached, now_ms=self._now_ms(), on=on
        ):
            return None
        rest = replace(
            stretch, after=reached, reached=None, attempts=0, failing_ms=None
        )
        return replace(taken, stretch=rest)
