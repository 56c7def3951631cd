"""Asking a device one question at a time, over any stream of bytes."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from protocols.errors import DecodeError, Fault
from protocols.link import GattLink, Stream
from protocols.stream import Damaged

M = TypeVar("M")
A = TypeVar("A")

_ANSWER_S = 2.0
_ATTEMPTS = 4
_MOST_UNASKED = 1_000  # in one visit; a device that says more never stops


class NoReply(Exception):
    """The device is there and does not answer."""


class Decoder(Protocol[M]):
    """What makes messages of a stream; `protocols.stream` has two."""

    def feed(self, data: bytes) -> list[M | Damaged]:
        """Add received bytes; return everything they complete, in order."""

    def resync(self) -> list[M | Damaged]:
        """Give up on what is being waited for; return what stands behind it."""


@dataclass(frozen=True, slots=True)
class Ask(Generic[M, A]):
    """A question, and how its answer is told from all else that may come.

    Attributes:
        name: What is asked for, as a technician would say it.
        data: The bytes that ask for it.
        answer: Returns what a message answers, or None if it is no answer.
    """

    name: str
    data: bytes
    answer: Callable[[M], A | None]

    @classmethod
    def reading(cls, name: str, data: bytes, read: Callable[[M], A]) -> "Ask[M, A]":
        """Return a question whose answer is what a codec can read.

        Where the codec finds that the device refuses, asking again is of no use,
        and the refusal is raised.

        Args:
            name: As in `Ask`.
            data: As in `Ask`.
            read: Reads an answer; raises `DecodeError` for what is none.
        """

        def answer(message: M) -> A | None:
            try:
                return read(message)
            except DecodeError as error:
                if error.fault == Fault.DEVICE_ERROR:
                    raise
                return None

        return cls(name, data, answer)


class Conversation(Generic[M]):
    """Asks one question at a time over a stream, again where no answer comes.

    What nobody asked for is noted on the link, so that the agent counts it.
    A protocol whose answers do not say what they answer needs ``settle_s``:
    before each question the stream must have been silent for so long, lest a
    late answer be taken for the next one. After a question that was repeated, or
    given up, other answers may still come: a device that took so long for one may
    take as long for the next, so it must be silent for ``timeout_s`` longer.

    Args:
        link: An open port, or a `GattStream`.
        decoder: What makes messages of its bytes.
        settle_s: How long to listen before each question, in s.
    """

    def __init__(
        self, link: Stream, decoder: Decoder[M], *, settle_s: float | None = None
    ) -> None:
        self._link, self._decoder, self._settle_s = link, decoder, settle_s
        self._waiting: deque[M] = deque()
        self._owed_s = 0.0  # how long another answer may still take
        self._unasked = 0

    async def ask(
        self,
        question: Ask[M, A],
        *,
        timeout_s: float = _ANSWER_S,
        attempts: int = _ATTEMPTS,
    ) -> A:
        """Send a question until its answer arrives.

        Args:
            question: What to ask.
            timeout_s: How long to wait after each sending, in s.
            attempts: How often to send it.

        Raises:
            NoReply: No answer to any of the attempts.
            LinkLost: The connection is gone.
        """
        await self.settle()
        loop = asyncio.get_running_loop()
        start = loop.time()
        for attempt in range(attempts):
            await self._link.write(question.data)
            answer = await self._listen(question, timeout_s)
            if answer is not None:
                if attempt:
                    self._owed_s = loop.time() - start + timeout_s
                return answer
        self._owed_s = loop.time() - start + timeout_s
        raise NoReply(
            f"no answer to the {question.name} in {attempts} x {timeout_s:g} s"
        )

    async def tell(self, data: bytes) -> None:
        """Send something that is not answered.

        Raises:
            LinkLost: The connection is gone.
        """
        await self._link.write(data)

    async def hear(self, timeout_s: float) -> M:
        """Return the next message, asked for or not.

        Args:
            timeout_s: How long to wait for it, in s.

        Raises:
            NoReply: None came.
            LinkLost: The connection is gone.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self._waiting:
                    self._take(self._decoder.feed(await self._link.read()))
        while not self._waiting and (events := self._decoder.resync()):
            self._take(events)
        if not self._waiting:
            raise NoReply(f"nothing came for {timeout_s:g} s")
        return self._waiting.popleft()

    async def settle(self) -> None:
        """Let pass what no question is waiting for any more.

        Raises:
            NoReply: It never ends.
            LinkLost: The connection is gone.
        """
        if self._settle_s is not None:
            while True:
                try:
                    message = await self.hear(max(self._settle_s, self._owed_s))
                except NoReply:
                    break
                self._pass_over(message)
            self._owed_s = 0.0
        while self._waiting:
            self._pass_over(self._waiting.popleft())

    async def _listen(self, question: Ask[M, A], timeout_s: float) -> A | None:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while True:
            try:
                message = await self.hear(end - loop.time())
            except NoReply:
                return None
            if (answer := question.answer(message)) is not None:
                return answer
            self._pass_over(message)

    def _pass_over(self, message: M) -> None:
        """Have a message counted that answers nothing; not without end."""
        self._link.note(message)
        self._unasked += 1
        if self._unasked > _MOST_UNASKED:
            raise NoReply(f"{_MOST_UNASKED} messages came that nobody asked for")

    def _take(self, events: list[M | Damaged]) -> None:
        for event in events:
            if isinstance(event, Damaged):
                self._link.note(event)
            else:
                self._waiting.append(event)


class GattStream:
    """Two characteristics of a BLE device as one stream of bytes.

    Subscribe to what it receives first. Packets of other characteristics are
    noted on the link.

    Args:
        link: An open connection.
        sends: The characteristic to write to.
        receives: The characteristic that notifies.
    """

    def __init__(self, link: GattLink, sends: UUID, receives: UUID) -> None:
        self._link, self._sends, self._receives = link, sends, receives

    async def read(self) -> bytes:
        """Return the next packet's bytes; wait for it.

        Raises:
            LinkLost: The connection is gone.
        """
        while True:
            packet = await self._link.receive()
            if packet.uuid == self._receives and packet.payload:
                return packet.payload
            self._link.note(packet)

    async def write(self, data: bytes) -> None:
        """Send ``data`` as one packet.

        Raises:
            Refused: The device refused it.
            LinkLost: The connection is gone.
        """
        await self._link.write(self._sends, data)

    def note(self, event: object) -> None:
        """Have the agent count something that no one asked for, as damage."""
        self._link.note(event)
