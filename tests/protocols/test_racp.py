"""The download dialogue against a memory that loses, wraps, forgets and resets.

The device below reads and writes the control point's bytes by itself; nothing
of ``firmware_sim`` and none of our encoders is in it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from protocols.errors import DecodeError, Fault
from protocols.gatt.racp import (
    Count,
    Download,
    Incomplete,
    OpCode,
    Operator,
    Request,
    Response,
    decode_answer,
)

_SUCCESS, _OPERATOR, _OPERAND, _NONE, _FILTER = 1, 4, 5, 6, 9
_MOST_REQUESTS = 24

Lost = Callable[[], bool]


def never() -> bool:
    """Lose nothing."""
    return False


def only(*numbers: int) -> Lost:
    """Lose the notifications with these numbers, counted from 1."""
    count = iter(range(1, 1 << 20))
    return lambda: next(count) in numbers


@dataclass
class Memory:
    """A meter's memory, oldest first: number, and which result it really is."""

    stored: list[tuple[int, int]] = field(default_factory=list)
    refuses: dict[tuple[int, int], int] = field(default_factory=dict)
    empty_count_is_refused: bool = False
    taken: int = 0
    next_number: int = 0

    def take(self, count: int = 1) -> None:
        """Store results under the next numbers; 0 follows 65535."""
        for _ in range(count):
            self.stored.append((self.next_number, self.taken))
            self.taken += 1
            self.next_number = (self.next_number + 1) % 65536

    def ask(self, asked: bytes) -> tuple[list[tuple[int, int]], bytes]:
        """Return the records and the indication that answer a request."""
        op, operator = asked[0], asked[1]
        if (value := self.refuses.get((op, operator))) is not None:
            return [], bytes([6, 0, op, value])
        assert op in {1, 4}, "nothing but reports and counts, never a deletion"
        if operator == 3:
            assert (asked[2], len(asked)) == (1, 5)
            least = asked[3] + 256 * asked[4]
            meant = [record for record in self.stored if record[0] >= least]
        else:
            assert len(asked) == 2
            meant = {1: self.stored, 5: self.stored[:1], 6: self.stored[-1:]}[operator]
        if op == 4 and not (self.empty_count_is_refused and not meant):
            return [], bytes([5, 0, len(meant) % 256, len(meant) // 256])
        return meant, bytes([6, 0, op, _SUCCESS if meant else _NONE])


def run(
    memory: Memory,
    download: Download,
    is_lost: Lost = never,
    *,
    between: Callable[[int], None] = lambda _: None,
) -> set[tuple[int, int]]:
    """Hold the dialogue; add to the download's record of what came.

    Args:
        memory: The device.
        download: The dialogue.
        is_lost: Asked for each notification.
        between: Called before each request with its number, from 1.
    """
    came: set[tuple[int, int]] = set()
    try:
        for number in range(1, _MOST_REQUESTS):
            if download.request is None:
                return came
            between(number)
            records, answer = memory.ask(download.request.encode())
            for record in records:
                if not is_lost():
                    came.add(record)
                    download.record(record[0])
            download.end(decode_answer(answer))
    except Incomplete as error:
        error.came = came  # type: ignore[attr-defined]
        raise
    pytest.fail("it never ends")


def stored(numbers: Iterable[int], **more: object) -> Memory:
    """Return a memory with these numbers."""
    listed = list(numbers)
    memory = Memory([(n, at) for at, n in enumerate(listed)], **more)  # type: ignore[arg-type]
    memory.taken = len(listed)
    memory.next_number = (listed[-1] + 1) % 65536 if listed else 0
    return memory


@pytest.mark.parametrize(
    ("numbers", "since", "asked"),
    [
        ([], None, ""),
        ([], 7, "0106"),
        ([3, 4, 5], None, "0105 0101"),
        ([3, 4, 5], 5, "0106"),
        ([3, 4, 5], 4, "0106 0103010400"),
        ([0x1FE, 0x1FF, 0x200], 0x1FE, "0106 010301fe01"),
        ([1, 2], 5, "0106 0105 0101"),  # reset, or swapped
        ([65534, 65535, 0, 1], 65534, "0106 0105 0101"),  # wrapped
        ([65535, 0], 65535, "0106 0105 0101"),
    ],
)
def test_it_asks_for_what_is_new_and_no_more(
    numbers: list[int], since: int | None, asked: str
) -> None:
    """The bytes of each report asked for, by the specification's own table."""
    memory, sent = stored(numbers), []
    download = Download(since)

    def note(_: int) -> None:
        assert download.request is not None
        sent.append(download.request.encode().hex())

    came = run(memory, download, between=note)

    assert [each for each in sent if each.startswith("01")] == asked.split()
    assert download.mark == (numbers[-1] if numbers else since)
    assert {n for n, _ in came} >= {n for n in numbers if n > (since or -1)}


@pytest.mark.parametrize("lost", range(1, 9))
def test_whichever_notification_is_lost_it_comes_in_the_end(lost: int) -> None:
    """An answer of success is no proof: what got lost on the way is asked for again."""
    memory = stored(range(10, 16))
    download = Download(11)

    came = run(memory, download, only(lost))

    assert {n for n, _ in came} == {11, 12, 13, 14, 15}
    assert download.mark == 15


def test_what_never_comes_is_told_and_keeps_its_place() -> None:
    """A hole must not be stepped over: the mark stays before it."""
    memory = stored(range(1, 6))
    download = Download(None)
    numbers = iter([1, *range(1, 6), *range(2, 6), *range(1, 6)])

    with pytest.raises(Incomplete, match="the device counts 5 records, 4 came in 3"):
        run(memory, download, lambda: next(numbers) == 3)

    assert download.mark == 2


@pytest.mark.parametrize("value", [2, 3, 4, _OPERAND, _FILTER])
def test_a_meter_without_the_filter_is_asked_for_everything(value: int) -> None:
    """Many meters know only "all": they must be readable too."""
    memory = stored([8, 9, 10], refuses={(4, 3): value, (1, 3): value})
    download = Download(8)

    came = run(memory, download)

    assert {n for n, _ in came} == {8, 9, 10}
    assert download.mark == 10


@pytest.mark.parametrize(
    ("refuses", "text"),
    [
        ({(4, 1): 10}, "refuses its records: server busy"),
        ({(4, 1): 0x33}, "refuses its records: code 51"),
        ({(1, 1): 7}, "refuses its records: abort unsuccessful"),
    ],
)
def test_a_refusal_is_told_by_its_name(
    refuses: dict[tuple[int, int], int], text: str
) -> None:
    """Silence would look like an empty memory."""
    memory = stored([1, 2], refuses=refuses)
    with pytest.raises(Incomplete, match=text):
        run(memory, Download(None))


def test_a_meter_that_counts_more_than_it_has_is_not_asked_for_ever() -> None:
    """A broken count must end in an error, after three attempts."""
    memory = stored([1, 2])
    plain = memory.ask
    reports: list[str] = []

    def ask(asked: bytes) -> tuple[list[tuple[int, int]], bytes]:
        if asked[0] == 1:
            reports.append(asked.hex())
        records, answer = plain(asked)
        return records, b"\x05\x00\xff\xff" if asked[0] == 4 else answer

    memory.ask = ask  # type: ignore[method-assign]
    with pytest.raises(Incomplete, match="counts 65535 records, 2 came"):
        run(memory, Download(None))

    assert reports == ["0105", "0101", "0103010200", "0101"]


def test_a_new_result_does_not_stand_for_a_lost_one() -> None:
    """A test taken while the meter is read must not hide a lost notification.

    The count is asked before the records; a record stored in between makes up
    the number, and the lost one would never be asked for again.
    """
    memory = stored(range(11, 16))
    download = Download(10)

    def between(number: int) -> None:
        if number == 3:  # the newest and the count were asked; the report is next
            memory.take()

    came = run(memory, download, only(4), between=between)  # 11, 12, *13*, 14, ...

    assert {n for n, _ in came} == {11, 12, 13, 14, 15, 16}


def test_the_highest_number_as_mark_is_survived_when_the_newest_is_lost() -> None:
    """Behind 65535 comes 0, and no filter value 65536: two bytes hold no more."""
    memory = stored([65534, 65535, 0, 1])
    download = Download(65535)

    came = run(memory, download, only(1))

    assert {n for n, _ in came} >= {0, 1}
    assert download.mark == 1


@pytest.mark.parametrize("since", [40, 65_530])
def test_a_lost_newest_record_does_not_hide_a_reset(since: int) -> None:
    """Without the newest number, "nothing from 41 on" proves nothing."""
    memory = stored(range(3))
    download = Download(since)

    came = run(memory, download, only(1))

    assert {n for n, _ in came} == {0, 1, 2}
    assert download.mark == 2


def test_a_reset_is_seen_where_the_newest_cannot_be_asked_for() -> None:
    """A meter without operator 6 must not be silent for ever after a reset."""
    memory = stored(range(3), refuses={(1, 6): _OPERATOR})
    download = Download(40)

    came = run(memory, download)

    assert {n for n, _ in came} == {0, 1, 2}


class Visits(RuleBasedStateMachine):
    """Visits to one meter over its life; what is here is all behind the mark."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory()
        self.mark: int | None = None
        self.known: set[tuple[int, int]] = set()

    @rule(start=st.sampled_from([0, 1, 32_700, 65_500, 65_530]), refuse=st.booleans())
    def swap(self, start: int, *, refuse: bool) -> None:
        """Begin with another meter, unread."""
        self.memory = Memory(next_number=start, empty_count_is_refused=refuse)
        self.mark, self.known = None, set()

    @rule(count=st.integers(1, 30))
    def take(self, count: int) -> None:
        """Measure."""
        self.memory.take(count)

    @rule(at=st.integers(0, 29))
    def forget(self, at: int) -> None:
        """Lose a record: the newest, the oldest, or one that leaves a gap."""
        if self.memory.stored:
            del self.memory.stored[at % len(self.memory.stored)]

    @rule(without=st.booleans())
    def learn(self, *, without: bool) -> None:
        """Know the filter, or not."""
        ways = {(4, 3): _FILTER, (1, 3): _FILTER}
        self.memory.refuses = ways if without else {}

    @rule(data=st.data(), taken=st.integers(1, 3))
    def reset(self, data: st.DataObject, taken: int) -> None:
        """Start the numbers anew, as a new battery does, and come at once."""
        if self.mark is not None and self.mark > taken:
            self.memory.stored.clear()
            self.memory.next_number = 0
            self.memory.take(taken)
            self.visit(data)
            self.visit_undisturbed()

    @rule()
    def visit_undisturbed(self) -> None:
        """Read everything."""
        download = Download(self.mark)
        self.known |= run(self.memory, download)
        self._ended(download)

    @rule(data=st.data())
    def visit(self, data: st.DataObject) -> None:
        """Read with losses; perhaps in vain, yet never wrongly complete."""
        rate = data.draw(st.sampled_from([0.1, 0.5, 0.9]))
        random = data.draw(st.randoms(use_true_random=False))
        download = Download(self.mark)
        try:
            self.known |= run(self.memory, download, lambda: random.random() < rate)
        except Incomplete as error:
            self.known |= error.came  # type: ignore[attr-defined]
            if download.mark is not None:
                self.mark = download.mark
        else:
            self._ended(download)

    def _ended(self, download: Download) -> None:
        self.mark = download.mark
        assert self.known >= set(self.memory.stored)
        if self.memory.stored:
            assert self.mark == self.memory.stored[-1][0]

    @invariant()
    def nothing_up_to_the_mark_is_missing(self) -> None:
        """What is behind the mark will not be asked for again."""
        numbers = [number for number, _ in self.memory.stored]
        if self.mark in numbers:
            done = self.memory.stored[: numbers.index(self.mark) + 1]
            assert self.known >= set(done)


Visits.TestCase.settings = settings(
    max_examples=150, stateful_step_count=25, deadline=None
)
TestVisits = Visits.TestCase


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        ("05 00 2a", Count(42)),
        ("05 00 2c 01", Count(300)),
        ("05 00 ff ff", Count(65535)),
        ("05 00 01 00 01 00", Count(65537)),
        ("06 00 01 01", Response(1, 1)),
        ("06 00 01 06", Response(1, 6)),
        ("06 00 04 f0", Response(4, 0xF0)),
        ("06 00 01 01 99", Response(1, 1)),  # a later version may append
    ],
)
def test_an_answer_is_read_by_its_bytes(payload: str, answer: Count | Response) -> None:
    assert decode_answer(bytes.fromhex(payload)) == answer


@pytest.mark.parametrize(
    ("payload", "fault", "field", "offset"),
    [
        ("", Fault.TRUNCATED, "op code", 0),
        ("01 01", Fault.NOT_A_RESPONSE, "op code", 0),
        ("06", Fault.TRUNCATED, "operator", 1),
        ("06 01 01 01", Fault.BAD_FIELD, "operator", 1),
        ("06 00 01", Fault.TRUNCATED, "response value", 3),
        ("05 00", Fault.TRUNCATED, "count", 2),
        ("05 00 01 02 03", Fault.TRUNCATED, "count", 2),
        ("05 00 01 02 03 04 05", Fault.BAD_LENGTH, "count", 2),
    ],
)
def test_what_is_no_answer_is_refused_at_its_byte(
    payload: str, fault: Fault, field: str, offset: int
) -> None:
    """A request echoed, or an answer cut short, must not end a download."""
    with pytest.raises(DecodeError) as caught:
        decode_answer(bytes.fromhex(payload))

    found = caught.value
    assert (found.fault, found.field, found.offset) == (fault, field, offset)


def test_a_request_is_encoded_low_byte_first() -> None:
    request = Request(OpCode.REPORT_STORED_RECORDS, Operator.GREATER_OR_EQUAL, 0x1234)

    assert request.encode() == bytes.fromhex("01 03 01 34 12")


def test_no_record_behind_the_mark_may_be_told_as_none_found() -> None:
    """Some answer a count with zero, some with "no records found"."""
    download = Download(3)
    download.record(9)
    download.end(Response(1, 1))
    assert download.request == Request(
        OpCode.REPORT_NUMBER_OF_STORED_RECORDS, Operator.GREATER_OR_EQUAL, 3
    )
    download.end(Response(4, _NONE))
    # Not even the record at the mark: it is asked what there is at all.
    assert download.request == Request(
        OpCode.REPORT_NUMBER_OF_STORED_RECORDS, Operator.ALL_RECORDS
    )
    download.end(Response(4, _NONE))
    assert download.request is None


@pytest.mark.parametrize("new", [5, 10])
def test_a_reset_meter_that_counted_past_the_mark_is_read_whole(new: int) -> None:
    """The record at the mark is another one now, so nothing before it is known."""
    download = Download(5, stamp=77)
    memory = stored(range(1, new + 1))

    came = run(memory, download)

    assert {n for n, _ in came} == {*range(1, new + 1)}
    assert download.mark == new


def test_what_is_repeated_does_not_stand_for_what_is_lost() -> None:
    """A meter that does not filter repeats what is known, and may lose what is not."""
    memory = stored(range(1, 16))
    plain = memory.ask

    def ask(asked: bytes) -> tuple[list[tuple[int, int]], bytes]:
        records, answer = plain(asked)
        return (memory.stored if asked[:2] == b"\x01\x03" else records), answer

    memory.ask = ask  # type: ignore[method-assign]
    came = run(memory, Download(10), only(1 + 13))

    assert {n for n, _ in came} >= {*range(10, 16)}


def test_no_mark_moves_before_its_own_record_was_seen() -> None:
    """A link lost in between would leave a mark that skips a reset meter's records."""
    download = Download(5, stamp=77)
    download.record(9, 1)
    download.record(6, 1)
    assert (download.mark, download.mark_stamp) == (5, 77)
    download.record(5, 1)
    assert download.mark is None


def test_a_count_in_place_of_records_is_refused() -> None:
    download = Download(None)
    download.end(Count(2))
    download.end(Response(1, _OPERATOR))
    with pytest.raises(Incomplete, match="answers with a count, 2, instead of records"):
        download.end(Count(2))


def test_a_busy_meter_is_told_where_it_was_asked_for_what_is_new() -> None:
    download = Download(3)
    download.record(9)
    download.end(Response(1, 1))
    with pytest.raises(Incomplete, match="server busy"):
        download.end(Response(4, 10))


def test_records_are_never_deleted() -> None:
    """``02 01`` empties a meter; what is not sealed away gets sent one day."""
    request = Request(OpCode.DELETE_STORED_RECORDS, Operator.ALL_RECORDS)

    with pytest.raises(ValueError, match="never deleted"):
        request.encode()
