"""Batches of what waits in the station's memory, and the receipts that end them."""

import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import apsw
import pytest

from edge_agent import records
from edge_agent.outbox import Counts, Outbox, OutboxError
from edge_agent.outbox_batches import Message, Unbatched
from protocols.observation import Quality, Reading
from protocols.uplink import batch, envelope
from protocols.uplink.batch import Batch
from protocols.uplink.receipt import Entry, Result
from tests.edge_agent.filling import MARK, METER, PEER, reading, sequences, stored

pytestmark = pytest.mark.usefixtures("tidy")


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


def test_a_batch_is_no_larger_than_was_asked_for(outbox: Outbox) -> None:
    outbox.capture(PEER, [reading(n) for n in range(10)])

    assert sequences(outbox.batches.make("s", 1, 3)) == [0, 1, 2]
    assert sequences(outbox.batches.make("s", 1, 100)) == [*range(3, 10)]


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
    assert sequences(first) == [309, 305]
    assert sequences(second) == [*range(256, 300), 306]
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

    assert sequences(outbox.batches.make("s", 1, 256)) == [0, 2, 3, 4]
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
    assert (made.counter, made.urgent, sequences(made)) == (2, True, [2, 1, 0])
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

    assert sequences(outbox.batches.make("s", 1, 256)) == [2]

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
    assert sequences(outbox.batches.make("s", 1, 256)) == [1]
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

    assert sorted(n for one in made for n in sequences(one) if n is not None) == [
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
    assert (made.counter, sequences(made)) == (2, [2])


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
