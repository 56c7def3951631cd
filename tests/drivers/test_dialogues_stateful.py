"""Whole dialogues over a line that delays, doubles, loses and mixes up answers.

An answer taken for another question's is another record's glucose, so that is
what is looked for: with answers that name their question, with answers that do
not and are told apart by silence, and with the UltraEasy's two sequence bits.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from drivers.conversation import Ask, Conversation, NoReply
from drivers.onetouch_ultraeasy import _Conversation as UltraEasyConversation
from firmware_sim.virtual_time import VirtualTimeLoop
from tests.drivers.wires import Later, Wire, frames

_T = 1.0  # s, how long an answer is waited for
_SETTLE_S = 0.05
_BYTE_S = 0.001
_ANY = TypeVar("_ANY")


@dataclass(frozen=True)
class Fate:
    """What becomes of one answer.

    Attributes:
        delay_s: When it comes.
        copies: How often; 0 is never.
        apart_s: How much later each copy comes.
        cut: How many of its bytes come; None is all.
        noise: What comes right before it.
    """

    delay_s: float = 0.0
    copies: int = 1
    apart_s: float = 0.0
    cut: int | None = None
    noise: bytes = b""

    def of(self, answer: bytes) -> list[tuple[float, bytes]]:
        """Return what arrives, and when."""
        data = self.noise + answer[: self.cut]
        return [(self.delay_s + n * self.apart_s, data) for n in range(self.copies)]


def fates(longest_s: float, apart_s: float) -> st.SearchStrategy[list[Fate]]:
    """Return what becomes of a few answers in a row; those behind come well."""
    one = st.builds(
        Fate,
        st.floats(0.0, longest_s),
        st.sampled_from([0, 1, 1, 2, 3]),
        st.floats(0.0, apart_s),
        st.sampled_from([None, None, None, 0, 1, 3, 5]),
        st.sampled_from([b"", b"", b"\0", b"#", b"\x02", b"#x"]),
    )
    return st.lists(one, max_size=6)


class Dialogue(RuleBasedStateMachine):
    """One connection, in a time of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.fates: deque[Fate] = deque()
        self.asked = 0

    def teardown(self) -> None:
        self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, _ANY]) -> _ANY | None:
        """Return what it returns; None if no answer came."""
        try:
            return self.loop.run_until_complete(coroutine)
        except NoReply:
            return None

    def fate(self) -> Fate:
        """Return what becomes of the next answer."""
        return self.fates.popleft() if self.fates else Fate()

    @rule(seconds=st.floats(0.0, 5.0))
    def pause(self, seconds: float) -> None:
        """Do something else."""
        self.loop.run_until_complete(asyncio.sleep(seconds))


class NamedAnswers(Dialogue):
    """Answers that name their question; they may come in any order, ever so late."""

    def __init__(self) -> None:
        super().__init__()
        self.talk = Conversation(Wire(self.hear), frames())

    def hear(self, data: bytes) -> Later:
        """Answer a question with its own name."""
        return self.fate().of(b"#" + data + b".")

    @rule(fates=fates(10 * _T, 3.0))
    def ask(self, fates: list[Fate]) -> None:
        """Ask; whatever is answered answers this."""
        self.fates = deque(fates)
        self.asked += 1
        name = b"%04d" % self.asked
        question = Ask("", name, lambda found: found if found == name else None)

        answer = self.run(self.talk.ask(question, timeout_s=_T))

        assert answer in {None, name}
        assert answer is not None or fates


class NamelessAnswers(Dialogue):
    """Answers that say nothing of their question; less than two time-outs late.

    Copies come within the silence that is waited for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.talk = Conversation(Wire(self.hear), frames(), settle_s=_SETTLE_S)

    def hear(self, data: bytes) -> Later:
        """Answer, in the order of the questions or in another one."""
        return self.fate().of(b"#" + data + b".")

    @rule(fates=fates(1.95 * _T, 0.4 * _SETTLE_S), attempts=st.integers(1, 4))
    def ask(self, fates: list[Fate], attempts: int) -> None:
        """Ask; the driver would take anything for the answer."""
        self.fates = deque(fates)
        self.asked += 1
        name = b"%04d" % self.asked
        question = Ask("", name, lambda found: found)

        answer = self.run(self.talk.ask(question, timeout_s=_T, attempts=attempts))

        assert answer in {None, name}
        assert answer is not None or fates


class Meter:
    """An UltraEasy's end of the line by its document: two bits, and what was sent.

    It reads and writes the bytes by itself; nothing of ours is in it.
    """

    def __init__(self) -> None:
        self.sends = self.expects = 0
        self.answer = b""
        self.heard: list[int] = []

    def hear(self, data: bytes) -> list[bytes]:
        """Return the frames that answer one frame."""
        link, message = data[2], data[3:-3]
        if link & 8:
            self.sends = self.expects = 0
            self.answer = b""
            return [self.frame(0x0C, b"")]
        if self.answer and (link >> 1 & 1) != self.sends:
            self.sends ^= 1
            self.answer = b""
        if link & 4 or not message:
            return []
        if link & 1 == self.expects:
            self.expects ^= 1
            self.heard.append(int.from_bytes(message[2:], "little"))
            self.answer = b"\x05\x06" + message[2:]
        if not self.answer:
            return []
        bits = self.sends | self.expects << 1
        return [self.frame(4 | bits, b""), self.frame(bits, self.answer)]

    def frame(self, link: int, message: bytes) -> bytes:
        """Return a frame for the wire."""
        body = bytes([2, len(message) + 6, link]) + message + b"\x03"
        crc = 0xFFFF
        for byte in body:
            crc ^= byte << 8
            for _ in range(8):
                crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
        return body + crc.to_bytes(2, "little")


class SequenceBits(Dialogue):
    """The UltraEasy's line: nothing overtakes, all else may happen to a frame."""

    def __init__(self) -> None:
        super().__init__()
        self.meter = Meter()
        self.wire = Wire(self.hear)
        self.free = 0.0
        self.talk: UltraEasyConversation | None = None

    def hear(self, data: bytes) -> Later:
        """Return what arrives, one behind the other, as a cable has it."""
        now, arrives = self.loop.time(), []
        for answer in self.meter.hear(data):
            for delay_s, piece in self.fate().of(answer):
                self.free = max(self.free + _BYTE_S, now + delay_s)
                arrives.append((self.free - now, piece))
        return arrives

    @rule()
    @precondition(lambda self: self.talk is None)
    def visit(self) -> None:
        """Open the port; the agent rested, and dropped what had come meanwhile."""
        self.loop.run_until_complete(asyncio.sleep(15))
        self.wire = Wire(self.hear)
        self.talk = UltraEasyConversation(self.wire)  # type: ignore[arg-type]

    @rule(fates=fates(4 * _T, 3.0))
    @precondition(lambda self: self.talk is not None)
    def ask(self, fates: list[Fate]) -> None:
        """Ask for a record; an answer is that record, and no other."""
        assert self.talk is not None
        self.fates = deque(fates)
        self.asked += 1
        index = self.asked.to_bytes(2, "little")
        is_idle = self.free <= self.loop.time() and not fates

        answer = self.run(self.talk.ask(b"\x05\x1f" + index))

        assert answer in {None, b"\x05\x06" + index}
        assert answer is not None or not is_idle
        if answer is None:
            self.talk = None  # a driver's session ends so
        else:
            assert self.meter.heard.count(self.asked) == 1


for _machine in (NamedAnswers, NamelessAnswers, SequenceBits):
    _machine.TestCase.settings = settings(
        max_examples=100, stateful_step_count=20, deadline=None, derandomize=True
    )

TestNamedAnswers = NamedAnswers.TestCase
TestNamelessAnswers = NamelessAnswers.TestCase
TestSequenceBits = SequenceBits.TestCase
