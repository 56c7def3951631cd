"""The station's memory: what is captured, told again, and met."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.outbox import Counts, Journaled, Outbox, OutboxError
from protocols.observation import Observation, TimeMethod
from protocols.uplink import envelope
from protocols.uplink.receipt import Entry, Result
from tests.edge_agent.filling import MARK, METER, PEER, reading, stored

pytestmark = pytest.mark.usefixtures("tidy")


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
