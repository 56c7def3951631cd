"""A damaged block under the station's memory: real files, their pages overwritten."""

import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from random import Random

import apsw
import pytest

from edge_agent import outbox_renewal, records
from edge_agent.outbox import Damaged, Outbox, OutboxError
from protocols.observation import Reading
from protocols.uplink import batch, envelope
from protocols.uplink.receipt import Entry, Result
from tests.edge_agent.filling import METER, PEER, reading

_PAGE = 4096
_COUNT = 300


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return an outbox with readings in two batches and in none, closed."""
    path = tmp_path / "outbox.db"
    outbox = Outbox(path)
    outbox.serve("home", "s")
    outbox.meet(PEER, METER)
    outbox.key(PEER)
    for first in range(0, _COUNT, 50):
        readings = [reading(number) for number in range(first, first + 50)]
        outbox.capture(PEER, readings, mark=(METER.id, "test", first))
    outbox.batches.make("s", 1, 40)
    outbox.batches.make("s", 1, 40)
    outbox.journal(PEER, "test", [("source", b"\x01\x02")], 5)
    outbox.close()
    return path


def pages(path: Path, name: str) -> list[int]:
    """Return the numbers of a table's pages at the end of its tree, in order."""
    db = apsw.Connection(str(path))
    query = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'"
    found = [int(row[0] or 0) for row in db.execute(f"{query} ORDER BY path", (name,))]
    db.close()
    return found


def zeros(page: bytearray) -> None:
    page[:] = bytes(len(page))


def one_bit(page: bytearray) -> None:
    page[3] ^= 0x40  # of the number of cells


def fewer_cells(page: bytearray) -> None:
    """SQLite reads on, and says nothing of what is behind them."""
    page[4] = 2


def damage(path: Path, page: int, how: Callable[[bytearray], None]) -> None:
    """Overwrite a page of the file on the disk; 1 is the first."""
    with path.open("r+b") as file:
        file.seek((page - 1) * _PAGE)
        found = bytearray(file.read(_PAGE))
        how(found)
        file.seek((page - 1) * _PAGE)
        file.write(found)


def told(outbox: Outbox) -> list[tuple[int, tuple[Reading, ...]]]:
    """Return the counter and the readings of every batch that goes out."""
    while outbox.batches.make("s", 1, 256) is not None:
        pass
    urgent, others = outbox.batches.waiting(1_000)
    sent = [outbox.batches.message(counter) for counter in [*urgent, *others]]
    return [(one.counter, batch.decode(one.message).readings) for one in sent if one]


def sequences(outbox: Outbox) -> set[int | None]:
    return {one.observation.sequence for _, sent in told(outbox) for one in sent}


@pytest.mark.parametrize("how", [zeros, one_bit, fewer_cells])
@pytest.mark.parametrize("which", [0, 5, -1])
def test_a_damaged_page_of_readings_holds_no_other_back(
    path: Path, which: int, how: Callable[[bytearray], None]
) -> None:
    """All behind it would wait for ever, and the agent not even start."""
    before = path.read_bytes()
    damage(path, pages(path, "reading")[which], how)
    damaged = path.read_bytes()

    outbox = Outbox(path)

    lost = _COUNT - outbox.counts().waiting
    assert (0 < lost < 40) is (how is zeros)
    found = sequences(outbox)
    assert found <= {*range(_COUNT)}
    assert len(found) >= _COUNT - lost
    if which == 0 or not lost:
        # Of what is lost there all is in a batch, which goes out as it was.
        assert found == {*range(_COUNT)}
    if not lost:
        # Nor is any in two batches, though the gateway would know it again.
        assert sum(len(readings) for _, readings in told(outbox)) == _COUNT
    (told_of,) = outbox.damaged()
    name, _, what = told_of.partition(": ")
    nothing = "some pages, of which nothing is missing"
    missing = f"{lost} of the rows of reading" if lost else nothing
    assert what.startswith(f"could not read {missing}; replace the card")
    assert (path.with_name(name)).read_bytes() == damaged != before
    assert outbox.mark(METER.id, "test") == 250
    assert outbox.counts().journaled == 1
    outbox.close()
    again = Outbox(path)
    assert len(again.damaged()) == 1
    again.close()
    path.with_name(name).unlink()
    looker = Outbox(path, read_only=True)
    assert looker.damaged() == []
    looker.close()


@pytest.mark.parametrize("patience", [20_000, 2])
def test_what_stands_between_and_behind_damaged_pages_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: int
) -> None:
    """A card that wears out damages many; and looking for rows comes to an end.

    Long readings go on in other pages, so they are found by their table only.
    """
    monkeypatch.setattr(outbox_renewal, "_MOST_FAILURES", patience)
    path, random = tmp_path / "outbox.db", Random(1)
    outbox = Outbox(path)
    for number in range(80):
        raw = (random.randbytes(4000), random.randbytes(1500))
        outbox.capture(PEER, [reading(number, raw=raw)])
    outbox.close()
    leaves = pages(path, "reading")
    assert len(leaves) > 10
    for which in (1, -2) if patience > 2 else (1,):
        damage(path, leaves[which], zeros)

    outbox = Outbox(path)

    lost = 80 - outbox.counts().waiting
    each = 80 / len(leaves)
    assert lost < 3 * each
    assert f"could not read {lost} of the rows of reading" in outbox.damaged()[0]
    outbox.close()


def test_what_was_lost_is_captured_if_its_device_tells_it_again(path: Path) -> None:
    """A meter remembers it; as seen it would be passed over, and be lost for good."""
    damage(path, pages(path, "reading")[-1], zeros)
    outbox = Outbox(path)
    lost = {*range(_COUNT)} - sequences(outbox)
    assert lost

    outbox.capture(PEER, [reading(number) for number in range(_COUNT)])

    assert sequences(outbox) == {*range(_COUNT)}
    outbox.close()


def _whole(path: Path) -> dict[int, tuple[Reading, ...]]:
    outbox = Outbox(path)
    found = dict(told(outbox))
    outbox.close()
    return found


@pytest.mark.parametrize("seed", range(2))
def test_no_page_of_the_file_stops_the_station_whichever_it_is(
    path: Path, seed: int
) -> None:
    """Also the first page, and those of the indexes, the marks and the counters.

    No counter comes again with other bytes: the gateway would tell of a fork. No
    reading is made up, and none is missing without a word.
    """
    whole, random = path.read_bytes(), Random(seed)
    outbox = Outbox(path, read_only=True)
    sent = {counter: outbox.batches.message(counter) for counter in (1, 2)}
    outbox.close()
    every = {reading(number) for number in range(_COUNT)}
    total = len(whole) // _PAGE
    assert total > 20
    for page in range(1, total + 1):
        for old in path.parent.glob("outbox.d*"):
            old.unlink()
        path.write_bytes(whole)

        def scatter(found: bytearray) -> None:
            for _ in range(6):
                found[random.randrange(12)] = random.randrange(256)

        damage(path, page, zeros if seed == 0 else scatter)

        outbox = Outbox(path)
        problem = outbox.damaged()
        found = told(outbox)
        for counter, readings in found:
            if counter in sent:
                assert outbox.batches.message(counter) == sent[counter]
            else:
                assert counter > 2
            assert {*readings} <= every
        missing = len(every - {one for _, readings in found for one in readings})
        assert not missing or re.search("reading|anything", problem[0]), page
        assert outbox.capture(PEER, [reading(_COUNT)]) == 1
        outbox.key(PEER)
        outbox.close()


@pytest.mark.parametrize("version", [1, 3])
def test_a_damaged_file_of_an_earlier_version_is_brought_to_this_one(
    tmp_path: Path, version: int
) -> None:
    """An update is when many a station is started again after years."""
    path = tmp_path / "outbox.db"
    old = apsw.Connection(str(path))
    for step in ("outbox.sql", "outbox_2.sql", "outbox_3.sql")[:version]:
        old.execute(files("edge_agent").joinpath(step).read_text())
    old.executemany(
        "INSERT INTO reading (captured_ms, record) VALUES (?, ?)",
        [(1, records.to_record(reading(number))) for number in range(_COUNT)],
    )
    old.execute("INSERT INTO device VALUES ('c0:ff:ee:00:00:01', 'i', '', '', '', '')")
    old.pragma("user_version", version)
    old.close()
    damage(path, pages(path, "reading")[5], one_bit)

    outbox = Outbox(path)

    lost = _COUNT - outbox.counts().waiting
    assert 0 < lost < 40
    assert f"could not read {lost} of the rows of reading; " in outbox.damaged()[0]
    assert len(sequences(outbox)) == _COUNT - lost
    assert outbox.device(PEER) is not None
    outbox.close()


def test_damage_that_is_met_during_a_run_costs_one_try(path: Path) -> None:
    """The agent would try every second for ever, and be sent nothing of what it has."""
    outbox = Outbox(path)
    damage(path, pages(path, "reading")[5], one_bit)
    outbox._file.db.execute("PRAGMA shrink_memory")

    with pytest.raises(Damaged, match=r"is damaged: .*malformed"):
        outbox.batches.make("s", 1, 500)

    made = outbox.batches.make("s", 1, 500)
    assert made is not None
    assert made.counter == 3
    assert len(outbox.damaged()) == 1
    entry = Entry(3, envelope.digest(made.message), Result.STORED)
    assert outbox.batches.forget([entry]) == [3]
    assert outbox.capture(PEER, [reading(_COUNT)]) == 1
    outbox.close()


def test_a_renewal_that_a_power_cut_broke_off_is_ended_by_the_next_start(
    path: Path,
) -> None:
    """The log of the damaged file, played back into the new one, would damage it."""
    new = path.with_name("outbox.renewed-then")
    other = path.with_name("other.db")
    made = Outbox(other)
    made.capture(PEER, [reading(7)])
    made.close()
    other.rename(new)
    path.with_name("outbox.db-wal").write_bytes(b"the damaged one's")

    outbox = Outbox(path)

    assert sequences(outbox) == {7}
    assert not new.exists()
    kept = path.with_name("outbox.damaged-then.db-wal")
    assert kept.read_bytes() == b"the damaged one's"
    assert path.with_name("outbox.damaged-then.db").exists()
    outbox.close()


def test_a_damaged_file_without_room_for_another_stays_as_it_is(path: Path) -> None:
    damage(path, pages(path, "reading")[5], one_bit)
    damaged = path.read_bytes()
    path.with_name("outbox.part").mkdir()  # in the new one's way

    with pytest.raises(OutboxError, match="is damaged, and no other can be made"):
        Outbox(path)

    assert path.read_bytes() == damaged
    path.with_name("outbox.part").rmdir()
    outbox = Outbox(path)
    assert outbox.counts().waiting > 200
    outbox.close()
