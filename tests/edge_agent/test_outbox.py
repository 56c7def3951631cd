"""The station's memory, through crashes, full disks and lying receipts."""

import gc
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from random import Random
from time import perf_counter, sleep
from typing import Any

import apsw
import pytest

from edge_agent import records
from edge_agent.outbox import Counts, Damaged, Journaled, Outbox, OutboxError
from edge_agent.outbox_batches import Message, Unbatched
from protocols.observation import Observation, Quality, Reading, TimeMethod
from protocols.uplink import batch, envelope
from protocols.uplink.batch import Batch
from protocols.uplink.receipt import Entry, Result
from tests.edge_agent.filling import METER, PEER, reading

_ROOT = Path(__file__).parents[2]
MARK = (METER.id, "test", 7)


@pytest.fixture(autouse=True)
def _tidy() -> Iterator[None]:
    """What a test leaves open is told in that test."""
    yield
    gc.collect()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "outbox.db"


@pytest.fixture
def outbox(path: Path) -> Iterator[Outbox]:
    opened = Outbox(path)
    yield opened
    opened.close()


def stored(path: Path) -> list[Reading]:
    """Return every reading in the file, in order, as another process sees it."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    rows = db.execute("SELECT record FROM reading ORDER BY id").fetchall()
    db.close()
    return [batch.decode(row[0]).readings[0] for row in rows]


def test_a_captured_reading_is_in_the_file_as_it_was(
    outbox: Outbox, path: Path
) -> None:
    sent = [reading(1), reading(2, sequence=None), reading(3)]

    assert outbox.capture(PEER, sent, mark=MARK) == 3

    assert stored(path) == sent
    assert outbox.mark(METER.id, "test") == 7


def test_a_reading_captured_again_is_passed_over(outbox: Outbox, path: Path) -> None:
    """A device tells its memory at every visit; it is sent once."""
    again = replace(
        reading(1), captured_ms=5, utc_ms=9, time_method=TimeMethod.CORRECTED
    )

    assert outbox.capture(PEER, [reading(1), reading(2), reading(1)]) == 2
    assert outbox.capture(PEER, [again, reading(3)]) == 1

    assert stored(path) == [reading(1), reading(2), reading(3)]


def test_a_reading_that_was_sent_and_forgotten_is_not_sent_again(
    outbox: Outbox,
) -> None:
    outbox.capture(PEER, [reading(1)])
    made = outbox.batches.make("s", 1, 256)
    assert made is not None
    digest = envelope.digest(made.message)
    assert outbox.batches.forget([Entry(made.counter, digest, Result.STORED)]) == [1]

    assert outbox.capture(PEER, [reading(1)]) == 0
    assert outbox.counts() == Counts(0, 0, 0, 0, 0, None)


def test_another_value_under_the_same_number_is_another_reading(
    outbox: Outbox, path: Path
) -> None:
    """A meter whose numbers start anew must not be silent."""
    outbox.capture(PEER, [reading(1)])
    other = replace(reading(1), observation=replace(reading(2).observation, sequence=1))

    assert outbox.capture(PEER, [other]) == 1
    assert len(stored(path)) == 2


def test_a_failed_capture_leaves_neither_readings_nor_cursor(
    outbox: Outbox, path: Path
) -> None:
    """The cursor in a transaction of its own would step over what was not written."""
    outbox.capture(PEER, [reading(1)], mark=(METER.id, "test", 1))
    outbox.journal(PEER, "test", [("source", b"\x00\x00\x00\x02")], 5)
    outbox._file.db.execute(
        "CREATE TEMP TRIGGER refuse BEFORE UPDATE ON cursor "
        "BEGIN SELECT RAISE(ABORT, 'the cursor fails'); END"
    )

    with pytest.raises(OutboxError, match="the cursor fails"):
        outbox.capture(PEER, [reading(2)], mark=(METER.id, "test", 3))

    assert stored(path) == [reading(1)]
    assert outbox.mark(METER.id, "test") == 1
    assert outbox.counts().journaled == 1


def test_each_capture_takes_one_of_two_identical_payloads(outbox: Outbox) -> None:
    """A cuff may send the same indication twice; each is accounted for."""
    for at in (5, 6):
        outbox.journal(PEER, "test", [("source", b"\x00\x00\x00\x01")], at)
    outbox.journal("other", "test", [("source", b"\x00\x00\x00\x01")], 7)

    outbox.capture(PEER, [reading(1)])
    assert outbox.journaled(PEER, "test") == [
        Journaled(2, "source", b"\x00\x00\x00\x01", 6)
    ]

    outbox.capture(PEER, [reading(1)])
    assert outbox.journaled(PEER, "test") == []
    assert len(outbox.journaled("other", "test")) == 1


def test_what_cannot_be_read_leaves_the_journal_and_stays(outbox: Outbox) -> None:
    outbox.journal(PEER, "test", [("source", b"\xff")], 5)
    for _ in range(2):
        outbox.keep_undecoded(
            PEER, "test", "source", b"\xff", problem="why", received_ms=5
        )

    assert outbox.counts() == Counts(0, 0, 0, 0, 1, None)


def test_batches_are_of_the_oldest_first_and_the_same_each_time(
    outbox: Outbox,
) -> None:
    """The gateway knows a batch by its bytes: they must not change."""
    outbox.capture(PEER, [reading(n) for n in range(300)])

    first = outbox.batches.make("s", 1000, 256)
    second = outbox.batches.make("s", 2000, 256)

    assert first is not None
    assert second is not None
    assert outbox.batches.make("s", 3000, 256) is None
    found = [batch.decode(made.message) for made in (first, second)]
    assert [(b.station, b.counter, b.made_ms) for b in found] == [
        ("s", 1, 1000), ("s", 2, 2000),
    ]  # fmt: skip
    assert [*found[0].readings, *found[1].readings] == [reading(n) for n in range(300)]
    assert len(found[0].readings) == 256
    assert outbox.batches.waiting(8) == ([], [1, 2])
    assert outbox.batches.waiting(1) == ([], [1])
    assert [outbox.batches.message(counter) for counter in (1, 2, 3)] == [
        first,
        second,
        None,
    ]
    assert outbox.counts() == Counts(300, 2, 0, 0, 0, 1_772_000_000_000)


def _sequences(made: Message | None) -> list[int | None]:
    """Return the numbers of a batch's readings, in order."""
    assert made is not None
    found = batch.decode(made.message).readings
    return [one.observation.sequence for one in found]


def test_a_batch_is_no_larger_than_was_asked_for(outbox: Outbox) -> None:
    outbox.capture(PEER, [reading(n) for n in range(10)])

    assert _sequences(outbox.batches.make("s", 1, 3)) == [0, 1, 2]
    assert _sequences(outbox.batches.make("s", 1, 100)) == [*range(3, 10)]


@pytest.mark.parametrize("seed", range(4))
def test_readings_of_any_length_fill_messages_in_order(
    outbox: Outbox, seed: int
) -> None:
    """Halves would send a slow link twice the messages; one too long, none at all."""
    random = Random(seed)
    long = [
        reading(
            n,
            raw=tuple(
                random.randbytes(random.choice((4, 400, 4096)))
                for _ in range(random.randint(1, 8))
            ),
        )
        for n in range(60)
    ]
    assert outbox.capture(PEER, long) == 60
    made = []
    while (message := outbox.batches.make("s" * 64, 1, 1024)) is not None:
        made.append(message.message)

    told = [batch.decode(message).readings for message in made]
    assert [one for readings in told for one in readings] == long
    assert all(len(message) <= 65_536 for message in made)
    # One reading more, and it would not have fitted.
    for readings, following in pairwise(told):
        with pytest.raises(ValueError, match="is over"):
            Batch("s" * 64, 1, 1, (*readings, following[0])).encode()


def test_an_alarming_reading_overtakes_all_others(outbox: Outbox) -> None:
    """Behind a backlog of years it would come when it no longer helps."""
    outbox.capture(PEER, [reading(n) for n in range(300)])
    outbox.batches.make("s", 1, 256)
    alarming = {101, 305, 309}
    outbox.capture(
        PEER,
        [reading(n) for n in (305, 306, 309)],
        urgent=lambda seen: seen.sequence in alarming,
    )
    assert outbox.batches.unbatched(256) == Unbatched(2, 45, 257, 1_772_000_000_256)

    first, second = outbox.batches.make("s", 1, 256), outbox.batches.make("s", 1, 256)

    assert first is not None
    assert _sequences(first) == [309, 305]
    assert _sequences(second) == [*range(256, 300), 306]
    assert outbox.batches.waiting(8) == ([2], [1, 3])
    assert outbox.batches.message(2) == first
    assert first.urgent
    assert outbox.batches.unbatched(256) == Unbatched(0, 0, None, 0)


def test_counting_what_waits_ends_at_a_full_batch(outbox: Outbox) -> None:
    """Before each batch it is asked how much waits: of a million, too."""
    outbox.capture(PEER, [reading(n) for n in range(50)], urgent=lambda _: True)
    outbox.capture(PEER, [reading(n) for n in range(50, 100)])

    assert outbox.batches.unbatched(20) == Unbatched(20, 20, 51, 1_772_000_000_050)


@contextmanager
def _traced(outbox: Outbox) -> Iterator[dict[str, int]]:
    """Note each statement that is run, and how many steps SQLite takes for it."""
    found: dict[str, int] = {}

    def told(event: dict[str, Any]) -> None:
        taken = event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]
        found[event["sql"]] = found.get(event["sql"], 0) + taken

    outbox._file.db.trace_v2(apsw.SQLITE_TRACE_PROFILE, told)
    yield found
    outbox._file.db.trace_v2(0)


def _send(outbox: Outbox, most: int, result: Result) -> None:
    """Make a batch, send it, and act on its receipt."""
    outbox.batches.unbatched(20)
    made = outbox.batches.make("s", 1, most)
    assert made is not None
    outbox.batches.waiting(8)
    assert outbox.batches.message(made.counter) == made
    entry = Entry(made.counter, envelope.digest(made.message), result)
    outbox.batches.forget([entry])


def _work(path: Path, waiting: int, *, urgent: bool) -> dict[str, int]:
    """Return what it takes to capture and send a few readings where others wait."""
    outbox = Outbox(path)
    before = [reading(n) for n in range(waiting)]
    outbox.capture(PEER, before, urgent=lambda _: urgent)
    for _ in range(waiting // 50):
        _send(outbox, 1, Result.QUARANTINED)
    with _traced(outbox) as found:
        outbox.capture(PEER, [reading(waiting)], mark=MARK, urgent=lambda _: urgent)
        _send(outbox, 20, Result.STORED)
        _send(outbox, 20, Result.QUARANTINED)
        outbox.counts()
    outbox.close()
    return found


@pytest.mark.parametrize("urgent", [True, False])
def test_no_query_reads_all_that_waits(tmp_path: Path, *, urgent: bool) -> None:
    """With a million readings each would take a second, at every batch."""
    few, many = (
        _work(tmp_path / f"{waiting}" / "outbox.db", waiting, urgent=urgent)
        for waiting in (100, 2_000)
    )

    assert few == many


def test_what_waits_is_counted_without_its_records(outbox: Outbox) -> None:
    """Else all of a backlog is read from the card whenever a broker is met."""
    with _traced(outbox) as found:
        outbox.counts()

    (counts,) = [query for query in found if "count(*) FROM reading" in query]
    plan = [row[3] for row in outbox._file.db.execute("EXPLAIN QUERY PLAN " + counts)]
    first, *_ = [step for step in plan if step.startswith("SCAN reading")]
    assert "COVERING INDEX" in first, plan


def test_long_readings_are_not_all_read_for_one_batch(outbox: Outbox) -> None:
    """A backlog of waveforms would take the memory of a small board."""
    random = Random(1)
    raw = tuple(random.randbytes(4_000) for _ in range(8))

    def peak(first: int, count: int) -> int:
        waiting = [reading(n, raw=raw) for n in range(first, first + count)]
        outbox.capture(PEER, waiting)
        tracemalloc.start()
        outbox.batches.make("s", 1, count)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(0, 2)  # what is imported once
    few = peak(2, 9)

    assert peak(11, 40) < 1.2 * few


def test_a_record_that_can_no_more_be_read_stops_no_other(outbox: Outbox) -> None:
    """A bad block under one reading must not hold all others on the station."""
    outbox.capture(PEER, [reading(n) for n in range(5)])
    outbox._file.db.execute("UPDATE reading SET record = x'00ff' WHERE id = 2")

    assert _sequences(outbox.batches.make("s", 1, 256)) == [0, 2, 3, 4]
    assert outbox.batches.make("s", 1, 256) is None
    assert (outbox.counts().waiting, outbox.counts().undecoded) == (4, 1)
    row = outbox._file.db.execute("SELECT payload FROM undecoded").fetchone()
    assert row == (b"\x00\xff",)


@pytest.mark.parametrize("column", ["message", "digest"])
def test_a_batch_that_can_no_more_be_read_is_made_anew(
    outbox: Outbox, column: str
) -> None:
    """It would be sent for ever, for no receipt names what the outbox knows it by."""
    outbox.capture(PEER, [reading(n) for n in range(3)], urgent=lambda _: True)
    outbox.batches.make("s", 1, 256)
    damage = f"UPDATE batch SET {column} = CAST(x'00ff' || substr({column}, 3) AS BLOB)"
    outbox._file.db.execute(damage)

    assert outbox.batches.message(1) is None

    assert outbox.batches.waiting(8) == ([], [])
    made = outbox.batches.make("s", 2, 256)
    assert made is not None
    assert (made.counter, made.urgent, _sequences(made)) == (2, True, [2, 1, 0])
    assert outbox.batches.message(2) == made


def _of_another_version(outbox: Outbox) -> bytes:
    """Change the version of the first record's envelope; return what it was."""
    record = stored_records(outbox)[0]
    newer = record.replace(b"\xa4\x00\x02", b"\xa4\x00\x19\x03\xe7", 1)
    assert newer != record
    outbox._file.db.execute("UPDATE reading SET record = ? WHERE id = 1", (newer,))
    return record


def test_a_record_of_another_version_stops_no_other(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    """It is one flipped bit, and would hold all others on the station."""
    outbox.capture(PEER, [reading(1), reading(2)])
    _of_another_version(outbox)

    assert _sequences(outbox.batches.make("s", 1, 256)) == [2]

    assert (outbox.counts().waiting, outbox.counts().undecoded) == (1, 1)
    assert "reading.undecoded id=1: " in caplog.text
    assert "'version' is 999, and 2 is the newest known" in caplog.text


def test_a_record_of_a_newer_vitalwire_goes_out_after_the_update(
    outbox: Outbox,
) -> None:
    """After a step back to an older one all of them would be kept apart for ever."""
    outbox.serve("home", "s")
    outbox.capture(PEER, [reading(1)])
    record = _of_another_version(outbox)
    assert outbox.batches.make("s", 1, 256) is None
    outbox.serve("home", "s")
    assert (outbox.counts().waiting, outbox.counts().undecoded) == (0, 1)

    # The version that could not be read is now one that can.
    outbox._file.db.execute("UPDATE undecoded SET payload = ?", (record,))
    outbox.serve("home", "s")

    assert outbox.counts().undecoded == 0
    assert _sequences(outbox.batches.make("s", 1, 256)) == [1]
    assert outbox.counts().oldest_ms == reading(1).captured_ms


def test_what_was_set_aside_is_never_sent_for_another_tenant(outbox: Outbox) -> None:
    """It would show a patient's reading to somebody else's clinic."""
    outbox.serve("home", "s")
    outbox.capture(PEER, [reading(1)])
    record = _of_another_version(outbox)
    assert outbox.batches.make("s", 1, 256) is None
    outbox._file.db.execute("UPDATE undecoded SET payload = ?", (record,))

    outbox.serve("clinic", "s")
    outbox.serve("clinic", "s")

    assert (outbox.counts().waiting, outbox.counts().undecoded) == (0, 1)


def stored_records(outbox: Outbox) -> list[bytes]:
    """Return every record as it is stored, in order."""
    return [row[0] for row in outbox._file.db.execute("SELECT record FROM reading")]


def test_others_go_on_while_a_batch_is_encoded(outbox: Outbox) -> None:
    """On a small board encoding takes long; a cuff does not wait for it."""
    # A machine may stand still by itself, and does not do so each time.
    assert min(_longest_pause(outbox, start) for start in (0, 2000, 4000)) < 0.5


def _longest_pause(outbox: Outbox, start: int) -> float:
    """Return for what part of the making of a batch others had to wait at once."""
    outbox.capture(PEER, [reading(start + n) for n in range(2000)])
    asked = [perf_counter()]
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            outbox.counts()
            asked.append(perf_counter())

    other = threading.Thread(target=ask)
    other.start()
    try:
        began = perf_counter()
        outbox.batches.make("s", 1, 2000)
        took_s = perf_counter() - began
    finally:
        stop.set()
        other.join()
    longest_s = max(later - sooner for sooner, later in pairwise(asked))
    return longest_s / took_s


def test_two_that_make_batches_never_put_a_reading_into_both(outbox: Outbox) -> None:
    outbox.capture(PEER, [reading(n) for n in range(200)])
    made: list[Message] = []

    def make() -> None:
        while (message := outbox.batches.make("s", 1, 5)) is not None:
            made.append(message)

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(n for one in made for n in _sequences(one) if n is not None) == [
        *range(200)
    ]


def test_a_batch_that_was_overtaken_and_forgotten_is_made_anew(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the forgotten one's counter it would go out with what is stored already."""
    outbox.capture(PEER, [reading(1), reading(2)])
    fit = records.fit

    def overtaken(
        station: str,
        counter: int,
        made_ms: int,
        readings: Sequence[Reading],
        *,
        fast: bool,
    ) -> tuple[int, bytes]:
        monkeypatch.undo()
        sooner = outbox.batches.make("s", 1, 1)
        assert sooner is not None
        stored = Entry(0, envelope.digest(sooner.message), Result.STORED)
        outbox.batches.forget([stored])
        return fit(station, counter, made_ms, readings, fast=fast)

    monkeypatch.setattr(records, "fit", overtaken)
    made = outbox.batches.make("s", 2, 256)

    assert made is not None
    assert (made.counter, _sequences(made)) == (2, [2])


def test_it_is_closed_behind_what_is_being_written(path: Path) -> None:
    """A stop in the middle of a capture would end in a traceback."""
    outbox = Outbox(path)
    entered, go_on = threading.Event(), threading.Event()
    ended: list[int] = []

    def is_urgent(_: Observation) -> bool:
        entered.set()
        return go_on.wait(10)

    writing = threading.Thread(
        target=lambda: ended.append(
            outbox.capture(PEER, [reading(1)], urgent=is_urgent)
        )
    )
    writing.start()
    assert entered.wait(10)
    closing = threading.Thread(target=outbox.close)
    closing.start()
    closing.join(0.1)
    assert closing.is_alive()
    go_on.set()
    writing.join(10)
    closing.join(10)

    assert ended == [1]
    assert stored(path) == [reading(1)]
    with pytest.raises(OutboxError, match="closed"):
        outbox.counts()


def test_room_that_was_given_back_is_used_again(outbox: Outbox, path: Path) -> None:
    """A station offline for a week must not fill its card a bit more each time."""
    sizes = []
    for start in range(0, 1000, 250):
        raw = (Random(start).randbytes(2000),)
        outbox.capture(PEER, [reading(n, raw=raw) for n in range(start, start + 250)])
        while (made := outbox.batches.make("s", 1, 1024)) is not None:
            stored = Entry(0, envelope.digest(made.message), Result.STORED)
            outbox.batches.forget([stored])
        outbox._file.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        sizes.append(path.stat().st_size)

    assert sizes[-1] < 1.2 * sizes[0]


def test_a_receipt_forgets_exactly_the_bytes_that_it_names(
    outbox: Outbox, path: Path
) -> None:
    """A counter alone proves nothing: it may be of another life of this station."""
    outbox.capture(PEER, [reading(1)])
    first = outbox.batches.make("s", 1, 256)
    outbox.capture(PEER, [reading(2)])
    second = outbox.batches.make("s", 2, 256)
    assert first is not None
    assert second is not None
    digest = envelope.digest(first.message)

    wrong = bytes([digest[0] ^ 1]) + digest[1:]
    assert outbox.batches.forget([Entry(first.counter, wrong, Result.STORED)]) == []
    assert outbox.batches.forget([Entry(0, bytes(32), Result.QUARANTINED)]) == []
    assert stored(path) == [reading(1), reading(2)]

    assert outbox.batches.forget([Entry(first.counter, digest, Result.STORED)]) == [1]
    assert stored(path) == [reading(2)]
    assert outbox.batches.waiting(8) == ([], [second.counter])
    assert outbox.batches.message(first.counter) is None
    assert outbox.batches.forget([Entry(first.counter, digest, Result.STORED)]) == []


def test_what_the_gateway_refused_stays_here(outbox: Outbox, path: Path) -> None:
    """It may be our mistake: nothing is thrown away on a refusal."""
    outbox.capture(PEER, [reading(1)])
    made = outbox.batches.make("s", 1, 256)
    assert made is not None
    refused = Entry(1, envelope.digest(made.message), Result.QUARANTINED, "why")

    assert outbox.batches.forget([refused]) == []

    assert stored(path) == [reading(1)]
    assert outbox.batches.waiting(8) == ([], [])
    assert outbox.counts() == Counts(1, 0, 1, 0, 0, 1_772_000_000_001)
    assert outbox.batches.forget([replace(refused, result=Result.STORED)]) == [1]
    assert stored(path) == []


def test_counters_are_never_given_twice(outbox: Outbox) -> None:
    """A forgotten batch's counter must not come again with other bytes."""
    counters = []
    for number in range(3):
        outbox.capture(PEER, [reading(number)])
        made = outbox.batches.make("s", 1, 256)
        assert made is not None
        counters.append(made.counter)
        outbox.batches.forget(
            [Entry(made.counter, envelope.digest(made.message), Result.STORED)]
        )
    assert counters == [1, 2, 3]


def test_no_counter_is_given_twice_by_an_older_block_of_the_counters(
    outbox: Outbox,
) -> None:
    """Where the disk lost the last write of it, no batch could ever be made again."""
    outbox.capture(PEER, [reading(n) for n in range(3)])
    for counter in (1, 2):
        made = outbox.batches.make("s", 1, 1)
        assert made is not None
        assert made.counter == counter
    outbox._file.db.execute("UPDATE sqlite_sequence SET seq = 1 WHERE name = 'batch'")

    made = outbox.batches.make("s", 1, 1)

    assert made is not None
    assert made.counter == 3


def test_a_device_is_remembered_by_where_it_was_met(outbox: Outbox) -> None:
    assert outbox.device(PEER) is None
    outbox.meet(PEER, METER)
    outbox.meet(PEER, replace(METER, firmware="2.0"))

    assert outbox.device(PEER) == replace(METER, firmware="2.0")
    assert outbox.mark(METER.id, "test") is None


def test_threads_share_it_without_a_loss(outbox: Outbox, path: Path) -> None:
    """Visits and uplink write from threads of their own."""
    threads = [
        threading.Thread(
            target=lambda start=start: [
                outbox.capture(PEER, [reading(n)]) for n in range(start, start + 20)
            ]
        )
        for start in (0, 100, 200)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {r.observation.sequence for r in stored(path)} == {
        *range(20), *range(100, 120), *range(200, 220),
    }  # fmt: skip


def test_a_second_owner_is_refused_and_a_looker_is_not(
    outbox: Outbox, path: Path
) -> None:
    """Two agents on one memory would send everything twice."""
    outbox.capture(PEER, [reading(1)])

    with pytest.raises(OutboxError, match=r"another agent owns .*; stop it first"):
        Outbox(path)

    looker = Outbox(path, read_only=True)
    assert looker.counts().waiting == 1
    with pytest.raises(OutboxError, match="readonly"):
        looker.capture(PEER, [reading(2)])
    looker.close()


def test_it_opens_again_after_it_was_closed(path: Path) -> None:
    first = Outbox(path)
    first.capture(PEER, [reading(1)], mark=MARK)
    first.close()
    second = Outbox(path)
    assert (second.counts().waiting, second.mark(METER.id, "test")) == (1, 7)
    second.close()


def test_only_its_owner_may_read_the_file(outbox: Outbox, path: Path) -> None:
    """Readings are of a person; another user of the machine has no business there."""
    outbox.capture(PEER, [reading(1)])

    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_newer_outbox_is_refused_and_left_as_it_is(path: Path) -> None:
    """An older vitalwire must not write into what it does not understand."""
    Outbox(path).close()
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE newer (a TEXT) STRICT")
    db.pragma("user_version", 99)
    db.close()

    for read_only in (False, True):
        with pytest.raises(OutboxError, match="is of version 99, made by a newer"):
            Outbox(path, read_only=read_only)

    db = apsw.Connection(str(path))
    assert db.pragma("user_version") == 99
    db.close()


def test_a_file_that_is_no_outbox_is_told_in_our_words_and_kept(path: Path) -> None:
    """Whatever it was, devices are read; and nobody's file is thrown away."""
    path.parent.mkdir()
    found = b"this is no database, whatever its name says" * 200
    path.write_bytes(found)

    with pytest.raises(Damaged, match=r"outbox\.db: file is not a database"):
        Outbox(path, read_only=True)
    assert path.read_bytes() == found

    outbox = Outbox(path)
    (told,) = outbox.damaged()
    name, _, lost = told.partition(": ")
    assert lost.startswith("could not read anything; ")
    assert path.with_name(name).read_bytes() == found
    assert outbox.capture(PEER, [reading(1)]) == 1
    # What counter the last one came to is not known.
    made = outbox.batches.make("s", 1, 256)
    assert made is not None
    assert made.counter > 1 << 40
    outbox.close()


def test_a_missing_file_is_told_in_our_words(path: Path) -> None:
    with pytest.raises(OutboxError, match=r"outbox\.db"):
        Outbox(path, read_only=True)


def test_a_folder_that_cannot_be_written_to_is_told_in_our_words(path: Path) -> None:
    """A card that has gone read-only would end the agent with a traceback."""
    path.with_suffix(".lock").mkdir(parents=True)  # in its way

    with pytest.raises(OutboxError, match=r"can't open .*outbox\.db: .*directory"):
        Outbox(path)


def test_nothing_told_is_lost_by_kill_9(path: Path) -> None:
    """30 deaths at any moment: what `capture` returned for is in the file.

    Readings, cursor and journal must agree too: they go in together.
    """
    random = Random(9)
    told, start = 0, 0
    for _ in range(30):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.edge_agent.filling", str(path), str(start)],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, "it did not start"
        sleep(random.uniform(0, 0.06))
        process.send_signal(signal.SIGKILL)
        lines = [first, *process.stdout.read().splitlines(keepends=True)]
        process.stdout.close()
        process.wait()
        told = max(told, *(int(line) for line in lines if line.endswith("\n")))

        db = apsw.Connection(str(path))
        assert db.pragma("integrity_check") == "ok"
        mark = db.execute("SELECT mark FROM cursor").fetchall()[0][0]
        journal = {row[0] for row in db.execute("SELECT payload FROM journal")}
        db.close()
        numbers = [r.observation.sequence for r in stored(path)]
        assert mark >= told
        assert numbers == list(range(mark + 1))
        # Of three journal rows of each payload one is left by its capture.
        assert {(n).to_bytes(4, "big") for n in range(0, mark, 2)} <= journal
        start = mark + 1
    assert told > 60


_FULL_DISK = """
import resource, sys
from pathlib import Path
import apsw
from edge_agent.outbox import Outbox, OutboxError
from tests.edge_agent.filling import METER, PEER, reading
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
outbox = Outbox(Path(sys.argv[1]))
size = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
done, failed = -1, 0
for number in range(2000):
    try:
        outbox.capture(PEER, [reading(number)], mark=(METER.id, "test", number))
    except OutboxError as error:
        failed += 1
        print("failed", type(error).__name__)
        break
    done = number
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
outbox.capture(PEER, [reading(done + 1)], mark=(METER.id, "test", done + 1))
print("done", done, failed)
"""


@pytest.mark.parametrize("kb", [400, 900])
def test_a_full_disk_is_an_error_and_loses_nothing(path: Path, kb: int) -> None:
    """What could not be written is told; what was told stays; room heals it."""
    ended = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(path), str(kb * 1024)],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    _, done, failed = ended.stdout.splitlines()[-1].split()
    assert (int(failed), int(done) > 0) == (1, True)

    assert [r.observation.sequence for r in stored(path)] == [*range(int(done) + 2)]
    outbox = Outbox(path)
    assert outbox.mark(METER.id, "test") == int(done) + 1
    outbox.close()


def test_every_commit_is_flushed(outbox: Outbox) -> None:
    """Without it a power cut takes back what was told as captured."""
    assert outbox._file.db.pragma("synchronous") == 2
    assert outbox._file.db.pragma("journal_mode") == "wal"


def test_a_renamed_station_sends_its_readings_under_its_new_name(
    outbox: Outbox,
) -> None:
    """A batch names its station; under the old one the gateway refuses it for ever."""
    outbox.serve("home", "old")
    outbox.capture(PEER, [reading(1)])
    outbox.batches.make("old", 0, 256)

    outbox.serve("home", "new")

    assert outbox.batches.waiting(8) == ([], [])
    made = outbox.batches.make("new", 0, 256)
    assert made is not None
    assert batch.decode(made.message).station == "new"
    assert len(batch.decode(made.message).readings) == 1


def test_what_was_refused_is_tried_again_at_the_next_start(outbox: Outbox) -> None:
    """A gateway that was too old, or another tenant's, may have refused it."""
    outbox.serve("home", "s")
    outbox.capture(PEER, [reading(1)])
    made = outbox.batches.make("s", 0, 256)
    assert made is not None
    refused = Entry(0, envelope.digest(made.message), Result.QUARANTINED, "too new")
    outbox.batches.forget([refused])
    assert outbox.batches.waiting(8) == ([], [])

    outbox.serve("home", "s")

    assert outbox.batches.waiting(8) == ([], [made.counter])
    assert outbox.batches.message(made.counter) == made


def test_another_tenant_does_not_get_what_waits(outbox: Outbox) -> None:
    """Both would store it, each as its own."""
    outbox.serve("home", "s")
    outbox.capture(PEER, [reading(1)])

    with pytest.raises(OutboxError, match="1 readings of tenant 'home' wait"):
        outbox.serve("clinic", "s")


def _unfit(part: str) -> Reading:
    """Return a reading of which no message can hold a part."""
    found = reading(2)
    if part == "device":
        return replace(found, device=replace(METER, id="x" * 129))
    noted = {"context": (("note", "x" * 300),), "raw": (bytes(70_000),)}
    return replace(found, observation=replace(found.observation, **{part: noted[part]}))


@pytest.mark.parametrize("part", ["device", "context", "raw"])
def test_a_reading_that_no_message_can_hold_is_kept_apart_and_stops_no_other(
    outbox: Outbox, path: Path, part: str
) -> None:
    """Captured, it would stand before all others and block the station for ever."""
    bad, good = _unfit(part), [reading(1), reading(3)]

    assert outbox.capture(PEER, [good[0], bad, good[1]], mark=MARK) == 2

    assert stored(path) == good
    assert (outbox.counts().undecoded, outbox.mark(METER.id, "test")) == (1, 7)
    (payload,) = outbox._file.db.execute("SELECT payload FROM undecoded").fetchone()
    assert payload == b"".join(bad.observation.raw)
    made = outbox.batches.make("s", 1, 256)
    assert made is not None
    assert [*batch.decode(made.message).readings] == good


def test_a_reading_that_fits_only_without_its_flags_fails_no_visit(
    outbox: Outbox,
) -> None:
    """Flagged, it would be too long in the midst of each capture, and none succeed."""
    random = Random(1)

    def text() -> str:
        return "".join(chr(random.randrange(0x4E00, 0x9FA5)) for _ in range(256))

    context = tuple((text(), text()) for _ in range(32))
    noise = random.randbytes(1 << 15)

    def of(number: int, size: int) -> Reading:
        frames = [noise[at : min(at + 4_096, size)] for at in range(0, size, 4_096)]
        return reading(number, context=context, raw=(*frames,))

    most = 13_000 + records._MOST_BYTES - len(records.to_record(of(100, 13_000)))
    visit = [of(100 + at, most + 2 - at) for at in range(20)]

    def judge(_: bytes | None, some: Sequence[Reading]) -> tuple[list[Quality], bytes]:
        return [~Quality.NONE] * len(some), b""

    kept = outbox.capture(PEER, [*visit, reading(1)], judge=judge)

    assert 8 < kept < 18
    assert outbox.counts().undecoded == 21 - kept
    told: list[Reading] = []
    while (made := outbox.batches.make("s", 1, 256)) is not None:
        told += batch.decode(made.message).readings
    assert {one.quality for one in told} == {~Quality.NONE}
    assert len(told) == kept


def test_a_full_memory_is_told_before_a_cuff_is_asked(outbox: Outbox) -> None:
    """A cuff that is connected to on a full disk gives all it has to nobody."""
    pages = outbox._file.db.pragma("page_count")
    outbox._file.db.pragma("max_page_count", pages)

    with pytest.raises(OutboxError, match="full"):
        outbox.check_room()
    outbox._file.db.pragma("max_page_count", pages + 100)
    outbox.check_room()
    assert outbox.counts().journaled == 0


def test_a_device_has_one_secret_with_this_station_for_ever(tmp_path: Path) -> None:
    """With another key an Omron cuff would have to be paired by hand again."""
    box = Outbox(tmp_path / "outbox.db")
    one, two = box.key("C0:FF:EE:00:00:01"), box.key("C0:FF:EE:00:00:02")
    again = box.key("C0:FF:EE:00:00:01")
    box.close()
    reopened = Outbox(tmp_path / "outbox.db")

    assert len(one) == len(two) == 16
    assert one != two
    assert again == one == reopened.key("C0:FF:EE:00:00:01")
    reopened.close()


def test_a_memory_of_the_first_version_is_kept(tmp_path: Path) -> None:
    """An update must not cost a reading that still waits on the station."""
    path = tmp_path / "outbox.db"
    schema = files("edge_agent").joinpath("outbox.sql").read_text()
    old = apsw.Connection(str(path))
    old.execute(schema)
    old.execute("INSERT INTO device VALUES ('peer', 'id', 'm', 'o', 's', 'f')")
    old.pragma("user_version", 1)
    old.close()

    box = Outbox(path)

    known = box.device("peer")
    assert known is not None
    assert known.id == "id"
    assert len(box.key("peer")) == 16
    box.close()


def test_addresses_of_a_memory_of_version_4_are_found_in_capitals(
    tmp_path: Path,
) -> None:
    """Written otherwise in the configuration, what a cuff told was never captured."""
    path = tmp_path / "outbox.db"
    box = Outbox(path)
    box.meet(PEER, METER)
    key = box.key(PEER)
    box.meet(PEER.lower(), replace(METER, firmware="2.0"))
    box.meet("/dev/ttyUSB0", METER)
    newer = box.key(PEER.lower())
    for peer in (PEER, PEER.lower(), "/dev/ttyUSB0"):
        box.journal(peer, "test", [("source", peer.encode())], 5)
        box.keep_undecoded(
            peer, "test", "source", b"\xff", problem="why", received_ms=5
        )
    box._file.db.execute("DROP TABLE clock")
    box._file.db.pragma("user_version", 4)
    box.close()
    assert newer != key

    box = Outbox(path)

    assert box.device(PEER) == replace(METER, firmware="2.0")
    assert box.key(PEER) == newer
    assert [row.payload for row in box.journaled(PEER, "test")] == [
        PEER.encode(),
        PEER.lower().encode(),
    ]
    assert box.journaled_of() == [("/dev/ttyUSB0", "test", 1), (PEER, "test", 2)]
    assert box.device("/dev/ttyUSB0") == METER
    assert box.counts().undecoded == 3
    box.close()


def test_what_waits_in_a_memory_of_version_2_is_sent(tmp_path: Path) -> None:
    """An update comes to stations that hold readings and batches under way."""
    path = tmp_path / "outbox.db"
    old = apsw.Connection(str(path))
    for step in ("outbox.sql", "outbox_2.sql"):
        old.execute(files("edge_agent").joinpath(step).read_text())
    sent = Batch("s", 1, 0, (reading(1),)).encode()
    old.execute(
        "INSERT INTO batch VALUES (1, ?, ?, NULL)", (sent, envelope.digest(sent))
    )
    for number, counter in ((1, 1), (2, None)):
        record = records.to_record(reading(number))
        old.execute(
            "INSERT INTO reading VALUES (?, ?, 0, ?)", (number, counter, record)
        )
    old.pragma("user_version", 2)
    old.close()

    box = Outbox(path)

    assert box.batches.waiting(8) == ([], [1])
    assert box.batches.message(1) == Message(1, urgent=False, message=sent)
    assert _sequences(box.batches.make("s", 1, 256)) == [2]
    assert box.batches.forget([Entry(1, envelope.digest(sent), Result.STORED)]) == [1]
    assert box.counts().waiting == 1
    box.close()
