"""Questions and answers over a line that is slow, lossy and repeats itself."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest

from drivers.conversation import Ask, Conversation, GattStream, NoReply
from protocols.errors import DecodeError, Fault
from protocols.link import LinkLost, Packet
from protocols.stream import Damaged, Frames
from tests.drivers.wires import Later, Wire, frames

_T = 2.0  # s, how long an answer is waited for
_SETTLE_S = 0.05


def ask(name: str) -> Ask[bytes, bytes]:
    """Return a question of which any message may be the answer."""
    return Ask(name, name.encode(), lambda message: message)


def ask_exactly(name: str) -> Ask[bytes, bytes]:
    """Return a question whose answer carries its name."""

    def answer(message: bytes) -> bytes | None:
        return message if message.startswith(name.encode()) else None

    return Ask(name, name.encode(), answer)


def echo(data: bytes) -> Later:
    return [(0.0, b"#" + data.ljust(4, b"-") + b".")]


def in_turn(*answers: Later) -> Callable[[bytes], Later]:
    """Return a script: what comes for each write, one after another."""
    left = iter(answers)
    return lambda _: next(left, [])


async def test_a_question_is_written_once_and_its_answer_returned() -> None:
    wire = Wire(echo)

    assert await Conversation(wire, frames()).ask(ask("time")) == b"time"
    assert wire.written == [(0.0, b"time")]
    assert wire.noted == []


async def test_an_answer_may_come_in_pieces() -> None:
    """A radio cuts what is longer than its packet."""
    wire = Wire(in_turn([(0.1, b"#ti"), (0.2, b"m"), (0.3, b"e.")]))

    assert await Conversation(wire, frames()).ask(ask("time")) == b"time"


async def test_a_question_is_asked_again_where_no_answer_comes() -> None:
    """A lost byte must cost seconds, not the visit."""
    wire = Wire(in_turn([], [], [(0.5, b"#time.")]))

    assert await Conversation(wire, frames()).ask(ask("time")) == b"time"
    assert wire.written == [(0.0, b"time"), (2.0, b"time"), (4.0, b"time")]


async def test_a_device_that_does_not_answer_is_named_with_its_question() -> None:
    """A technician must see which question it was."""
    wire = Wire()

    with pytest.raises(NoReply, match=r"no answer to the clock in 3 x 1\.5 s"):
        await Conversation(wire, frames()).ask(ask("clock"), timeout_s=1.5, attempts=3)
    assert len(wire.written) == 3


async def test_what_answers_something_else_is_passed_over_and_counted() -> None:
    """A late answer to an earlier question is none to this one."""
    wire = Wire(in_turn([(0.1, b"#old1."), (0.2, b"#new1.")]))

    answer = await Conversation(wire, frames()).ask(ask_exactly("new"))

    assert answer == b"new1"
    assert wire.noted == [b"old1"]


async def test_damage_is_counted_and_the_answer_behind_it_is_found() -> None:
    """A failing cable must be seen in the figures before it is silent."""
    wire = Wire(in_turn([(0.1, b"\xff\xff#time.")]))

    assert await Conversation(wire, frames()).ask(ask("time")) == b"time"
    assert wire.noted == [Damaged(b"\xff\xff", "noise")]


async def test_an_answer_behind_a_stray_start_is_found_when_time_is_up() -> None:
    """It is there already: to ask again would cost time, and repeat answers."""

    def size(data: bytes) -> int:
        return 9 if data[1:2] == b"#" else 6

    wire = Wire(in_turn([(0.1, b"##time.")]))
    decoder = Frames(b"#", size, lambda data: data[1:5])

    assert await Conversation(wire, decoder).ask(ask("time")) == b"time"
    assert len(wire.written) == 1
    assert wire.noted == [Damaged(b"#", "given up")]


async def test_what_came_before_the_question_is_no_answer_to_it() -> None:
    """A device that sends its last result unasked must not answer the next question."""
    wire = Wire(in_turn([(0.1, b"#old1.#old2.")], [(0.1, b"#new1.")]))
    talk = Conversation(wire, frames())
    await talk.ask(ask("old"))

    assert await talk.ask(ask("new")) == b"new1"
    assert wire.noted == [b"old2"]


async def test_an_answer_that_comes_twice_is_not_taken_for_the_next_one() -> None:
    """Without a name in the answer only silence tells; else glucose 1 is glucose 2."""
    wire = Wire(in_turn([(0.1, b"#old1."), (0.14, b"#old1.")], [(0.1, b"#new1.")]))
    talk = Conversation(wire, frames(), settle_s=_SETTLE_S)
    await talk.ask(ask("old"))

    assert await talk.ask(ask("new")) == b"new1"
    assert wire.noted == [b"old1"]


async def test_a_device_is_heard_out_before_the_first_question() -> None:
    """A port that was just opened may hold what an earlier visit asked for."""
    wire = Wire(echo)
    wire.send([(0.04, b"#old1.")])

    answer = await Conversation(wire, frames(), settle_s=_SETTLE_S).ask(ask("new"))

    assert answer == b"new-"
    assert wire.noted == [b"old1"]


@pytest.mark.parametrize("work_s", [2.1, 3.0, 3.9, 5.5, 7.9])
async def test_a_device_that_is_slower_than_the_patience_is_never_a_record_behind(
    work_s: float,
) -> None:
    """It works through every repeated question, one after another.

    Its second answer to one question comes when the next is already asked, and
    says nothing of what it answers.
    """
    free = 0.0

    def script(data: bytes) -> Later:
        nonlocal free
        now = asyncio.get_running_loop().time()
        free = max(now, free) + work_s
        return [(free - now, b"#" + data + b".")]

    talk = Conversation(Wire(script), frames(), settle_s=_SETTLE_S)

    answers = [await talk.ask(ask(f"rec{n}"), timeout_s=_T) for n in range(6)]

    assert answers == [f"rec{n}".encode() for n in range(6)]


async def test_the_late_answer_to_a_question_given_up_is_not_taken_for_the_next() -> (
    None
):
    """A driver may do without an answer, as to the clock, and go on."""
    wire = Wire(in_turn([(2.5, b"#old1.")], [(1.0, b"#new1.")]))
    talk = Conversation(wire, frames(), settle_s=_SETTLE_S)
    with pytest.raises(NoReply):
        await talk.ask(ask("old"), timeout_s=_T, attempts=1)

    assert await talk.ask(ask("new")) == b"new1"
    assert wire.noted == [b"old1"]


async def test_a_question_answered_at_once_costs_the_next_one_no_time() -> None:
    """Five hundred records, each with a time-out's pause, would take an hour."""
    wire = Wire(echo)
    talk = Conversation(wire, frames(), settle_s=_SETTLE_S)
    for n in range(3):
        await talk.ask(ask(f"rec{n}"))

    assert [at for at, _ in wire.written] == pytest.approx([0.05, 0.1, 0.15])


async def test_a_device_that_never_stops_sending_is_given_up() -> None:
    """It would else keep the station from all other devices for ever."""
    wire = Wire()
    wire.send((0.01 * n, b"#spam.") for n in range(3_000))

    with pytest.raises(NoReply):
        await Conversation(wire, frames(), settle_s=_SETTLE_S).ask(ask("time"))
    assert wire.written == []


async def test_a_link_that_is_lost_ends_the_question_at_once() -> None:
    """To go on asking would cost minutes, and name the wrong cause."""
    wire = Wire()
    wire.drop(0.5)

    with pytest.raises(LinkLost):
        await Conversation(wire, frames()).ask(ask("time"))
    assert asyncio.get_running_loop().time() == pytest.approx(0.5)


async def test_a_refusal_is_told_at_once() -> None:
    """What the device says that it will not do is not asked for again."""

    def refuse(_: bytes) -> bytes:
        raise DecodeError("answer", "status", "is refused", b"no--", 0)

    wire = Wire(echo)
    with pytest.raises(DecodeError):
        await Conversation(wire, frames()).ask(Ask("time", b"time", refuse))
    assert len(wire.written) == 1


async def test_what_a_codec_cannot_read_is_no_answer() -> None:
    """The late answer to another question must not end the visit."""

    def read(message: bytes) -> bytes:
        if message != b"time":
            raise DecodeError("answer", "name", "is another", message, 0)
        return message.upper()

    wire = Wire(in_turn([(0.1, b"#date."), (0.2, b"#time.")]))
    question = Ask.reading("time", b"time", read)

    assert await Conversation(wire, frames()).ask(question) == b"TIME"
    assert wire.noted == [b"date"]


async def test_a_codec_that_reads_a_refusal_ends_the_asking() -> None:
    """Asked four times, a device that says no would cost eight seconds."""

    def read(message: bytes) -> bytes:
        raise DecodeError("answer", "status", "is no", message, 0, Fault.DEVICE_ERROR)

    wire = Wire(echo)
    with pytest.raises(DecodeError, match="is no"):
        await Conversation(wire, frames()).ask(Ask.reading("time", b"time", read))
    assert len(wire.written) == 1


async def test_what_is_told_is_not_waited_for() -> None:
    """An acknowledgement has no answer."""
    wire = Wire()
    await Conversation(wire, frames(), settle_s=_SETTLE_S).tell(b"ack")

    assert wire.written == [(0.0, b"ack")]


async def test_messages_are_heard_in_their_order_asked_for_or_not() -> None:
    """A download of many frames, that was asked for once."""
    wire = Wire(in_turn([(0.1, b"#rec1.#rec2."), (0.2, b"#rec3.")]))
    talk = Conversation(wire, frames())
    await talk.tell(b"all")

    assert [await talk.hear(_T) for _ in range(3)] == [b"rec1", b"rec2", b"rec3"]
    with pytest.raises(NoReply, match="nothing came for 2 s"):
        await talk.hear(_T)
    assert asyncio.get_running_loop().time() == pytest.approx(2.2)


async def test_noise_alone_does_not_prolong_the_waiting() -> None:
    """A hot cable would else hold a station in one question for ever."""
    wire = Wire()
    wire.send((0.01 * n, b"\xff") for n in range(1_000))

    with pytest.raises(NoReply):
        await Conversation(wire, frames()).hear(_T)
    assert asyncio.get_running_loop().time() == pytest.approx(_T)


_SENDS, _RECEIVES, _OTHER = UUID(int=1), UUID(int=2), UUID(int=3)


class Characteristics:
    """A `GattLink` as far as a stream needs one."""

    def __init__(self, *packets: Packet) -> None:
        self._packets = iter(packets)
        self.written: list[tuple[UUID, bytes]] = []
        self.noted: list[object] = []

    def has(self, uuid: UUID) -> bool:
        return uuid in {_SENDS, _RECEIVES}

    async def read(self, uuid: UUID) -> bytes:
        raise NotImplementedError(str(uuid))

    async def write(self, uuid: UUID, payload: bytes) -> None:
        self.written.append((uuid, payload))

    async def subscribe(self, uuid: UUID) -> None:
        raise NotImplementedError(str(uuid))

    async def receive(self) -> Packet:
        try:
            return next(self._packets)
        except StopIteration:
            raise LinkLost("the connection is gone") from None

    def note(self, event: object) -> None:
        self.noted.append(event)


async def test_two_characteristics_are_one_stream() -> None:
    """What another characteristic notifies must not be taken for a piece of it."""
    other, empty = Packet(_OTHER, b"x"), Packet(_RECEIVES, b"")
    link = Characteristics(
        Packet(_RECEIVES, b"#ti"), other, empty, Packet(_RECEIVES, b"me.")
    )
    stream = GattStream(link, _SENDS, _RECEIVES)

    assert await Conversation(stream, frames()).ask(ask("time")) == b"time"
    assert link.written == [(_SENDS, b"time")]
    assert link.noted == [other, empty]


async def test_a_connection_that_is_lost_ends_the_stream() -> None:
    """Silence and loss are told apart: only one of them is asked again."""
    stream = GattStream(Characteristics(), _SENDS, _RECEIVES)
    with pytest.raises(LinkLost):
        await stream.read()


async def test_a_stream_has_its_damage_counted_by_the_link() -> None:
    link = Characteristics()
    damage = Damaged(b"\0", "noise")
    GattStream(link, _SENDS, _RECEIVES).note(damage)

    assert link.noted == [damage]
