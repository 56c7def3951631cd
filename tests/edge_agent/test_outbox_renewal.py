"""A damaged block under the station's memory: real files, their pages overwritten."""

import errno
import os
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from random import Random

import apsw
import pytest

from edge_agent import outbox_cells, outbox_file, outbox_renewal, records
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
    _renewed(path)
    path.rename(path.with_name("outbox.damaged-then.db"))
    path.with_name("outbox.db-wal").write_bytes(b"the damaged one's")
    kept = path.with_name("outbox.damaged-then.db-wal")
    kept.write_bytes(b"another")

    outbox = Outbox(path)

    assert sequences(outbox) == {7}
    assert not path.with_name("outbox.renewed-then").exists()
    assert kept.read_bytes() == b"another"
    beside = path.with_name("outbox.damaged-then.db-wal~")
    assert beside.read_bytes() == b"the damaged one's"
    outbox.close()


def test_a_renewed_file_is_forgotten_where_the_old_one_is_still_in_use(
    path: Path,
) -> None:
    """All that was captured since it was made would be gone from the outbox."""
    _renewed(path)

    outbox = Outbox(path)

    assert sequences(outbox) == {*range(_COUNT)}
    outbox.close()
    assert not [*path.parent.glob("outbox.renewed-*")]
    assert not [*path.parent.glob("outbox.damaged-*")]


def _renewed(path: Path) -> None:
    """Make what a renewal makes before it puts it in the file's place."""
    made = Outbox(path.with_name("other.db"))
    made.capture(PEER, [reading(7)])
    made.close()
    path.with_name("other.db").rename(path.with_name("outbox.renewed-then"))


def _fail_once(
    monkeypatch: pytest.MonkeyPatch, of: object, name: str, when: Callable[..., bool]
) -> list[object]:
    """Let a call to the system fail once, as on a bad disk; return which one did."""
    real = getattr(of, name)
    failed: list[object] = []

    def call(*args: object) -> object:
        if not failed and when(*args):
            failed.append(args)
            raise OSError(errno.EIO, "Input/output error")
        return real(*args)

    monkeypatch.setattr(of, name, call)
    return failed


@pytest.mark.parametrize("which", ["outbox.db", "outbox.renewed-", "folder"])
def test_a_renewal_that_fails_half_way_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """An empty file in its place would be taken for the station's memory."""
    outbox = Outbox(path)
    damage(path, pages(path, "reading")[5], one_bit)
    outbox._file.db.execute("PRAGMA shrink_memory")
    if which == "folder":
        failed = _fail_once(monkeypatch, os, "fsync", lambda _: not path.exists())
    else:
        failed = _fail_once(
            monkeypatch, Path, "replace", lambda old, _: old.name.startswith(which)
        )

    with pytest.raises(OutboxError, match="Input/output error"):
        outbox.batches.make("s", 1, 500)
    assert len(failed) == 1

    assert outbox.capture(PEER, [reading(_COUNT)]) == 1
    waiting = outbox.counts().waiting
    outbox.close()
    again = Outbox(path)
    assert again.counts().waiting > _COUNT - 40
    assert again.counts().waiting == waiting or which == "outbox.db"
    found = sequences(again)
    assert _COUNT in found
    assert len(found) > _COUNT - 40
    assert len(again.damaged()) == 1
    assert len([*path.parent.glob("outbox.damaged-*.db")]) == 1
    again.close()


def test_a_first_page_that_can_not_be_renewed_at_once_is_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection would stay closed until somebody starts the agent anew."""
    monkeypatch.setattr(outbox_file, "_AGAIN_S", 0.0)
    outbox = Outbox(path)
    damage(path, 1, zeros)
    outbox._file.db.execute("PRAGMA shrink_memory")
    path.with_name("outbox.part").mkdir()  # in the new one's way
    for _ in range(3):
        with pytest.raises(Damaged, match="no other can be made"):
            outbox.batches.make("s", 1, 500)
    path.with_name("outbox.part").rmdir()

    with pytest.raises(Damaged, match="is damaged: "):
        outbox.batches.make("s", 1, 500)

    assert outbox.capture(PEER, [reading(_COUNT)]) == 1
    assert sequences(outbox) == {*range(_COUNT + 1)}
    outbox.close()
    with pytest.raises(OutboxError, match="closed"):
        outbox.counts()


def test_a_closed_outbox_stays_closed_after_a_renewal_that_failed(path: Path) -> None:
    """Whoever comes late would write to it while another agent owns it."""
    outbox = Outbox(path)
    damage(path, 1, zeros)
    outbox._file.db.execute("PRAGMA shrink_memory")
    path.with_name("outbox.part").mkdir()
    with pytest.raises(Damaged):
        outbox.counts()

    outbox.close()

    with pytest.raises(OutboxError, match="closed"):
        outbox.counts()


def test_a_row_that_is_too_big_for_the_new_file_holds_no_other_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A garbled length may be anything, and no start would come to its end."""
    path = tmp_path / "outbox.db"
    outbox = Outbox(path)
    raw = Random(1).randbytes(4_000), Random(2).randbytes(2_000)
    outbox.capture(PEER, [reading(1), reading(2, raw=raw), reading(3)])
    assert outbox.counts().waiting == 3
    outbox.close()

    def limit(db: apsw.Connection) -> None:
        if db.filename.endswith("outbox.part"):
            db.limit(apsw.SQLITE_LIMIT_LENGTH, 5_000)  # as 1 GB is

    monkeypatch.setattr(apsw, "connection_hooks", [limit])
    outbox_renewal.renew(path, outbox_file._schemas(), 0)

    outbox = Outbox(path)
    assert sequences(outbox) == {1, 3}
    assert "could not read 1 of the rows of reading; " in outbox.damaged()[0]
    outbox.close()


def test_a_text_that_is_none_any_more_costs_one_try(path: Path) -> None:
    """The agent would end with a traceback each time it meets the device."""
    outbox = Outbox(path)
    outbox._file.db.execute("UPDATE device SET model = CAST(x'ff' AS TEXT)")

    with pytest.raises(Damaged, match="can't decode byte 0xff"):
        outbox.device(PEER)

    assert outbox.device(PEER) is None
    assert "could not read 1 of the rows of device; " in outbox.damaged()[0]
    assert sequences(outbox) == {*range(_COUNT)}
    outbox.close()


def test_a_length_that_is_none_any_more_costs_one_try(path: Path) -> None:
    """The same reading would be asked for each second, and never come."""
    outbox = Outbox(path)
    outbox._file.db.limit(apsw.SQLITE_LIMIT_LENGTH, 50)  # as over 1 GB is

    with pytest.raises(Damaged, match="too big"):
        outbox.batches.make("s", 1, 500)

    assert sequences(outbox) == {*range(_COUNT)}
    outbox.close()


def test_looking_for_rows_ends_where_a_number_is_none_that_was_asked_for(
    path: Path,
) -> None:
    """It would be looked for between the same two numbers again and again."""

    def twice(page: bytearray) -> None:
        cells = [int.from_bytes(page[at : at + 2], "big") for at in (16, 18)]
        page[cells[0] + 2 : cells[0] + 4] = b"\x80\x01"  # its number: 1
        kind = page.index(5, cells[1] + 5, cells[1] + 12)
        page[kind] = 13 + 2 * 6  # a text, and it is none

    damage(path, pages(path, "reading")[5], twice)

    outbox = Outbox(path)

    assert outbox.counts().waiting >= _COUNT - 2
    assert len(outbox.damaged()) == 1
    outbox.close()


def test_looking_for_rows_ends_where_there_are_none(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are more numbers than any start could try."""
    monkeypatch.setattr(outbox_renewal, "_MOST_FAILURES", 1 << 62)
    path.write_bytes(b"this is no database, whatever its name says" * 200)

    outbox = Outbox(path)

    assert "could not read anything; " in outbox.damaged()[0]
    outbox.close()


def test_a_column_that_became_a_text_is_passed_over(path: Path) -> None:
    """One bit of its type, and no start would ever come to its end."""

    def text(page: bytearray) -> None:
        cell = int.from_bytes(page[16:18], "big")
        kind = page.index(5, cell + 5, cell + 12)  # of captured_ms: 6 bytes, a number
        page[kind] = 13 + 2 * 6

    damage(path, pages(path, "reading")[5], text)

    outbox = Outbox(path)

    assert outbox.counts().waiting == _COUNT - 1
    assert "could not read 1 of the rows of reading; " in outbox.damaged()[0]
    outbox.close()


def test_only_records_of_missing_readings_are_decoded(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a million that wait a start would take minutes for one bad page."""
    decoded = []
    real = records.from_record

    def from_record(record: bytes) -> Reading:
        decoded.append(record)
        return real(record)

    monkeypatch.setattr(records, "from_record", from_record)

    whole = path.read_bytes()
    found = [whole[at : at + _PAGE] for at in range(0, len(whole), _PAGE)]
    ((number, _, record),) = outbox_cells.find(found, {200})

    assert number == 200
    assert decoded == [record]


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
