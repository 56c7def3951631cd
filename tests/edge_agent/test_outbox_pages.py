"""A damaged first page, or log, of the station's memory: its bytes really overwritten.

The log is that of an agent that was killed: a power cut, say, and the card it came on.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from edge_agent import outbox_file, outbox_pages, records
from edge_agent.health import Health
from edge_agent.outbox import Damaged, Outbox, OutboxError
from tests.edge_agent.filling import METER, PEER, reading
from tests.edge_agent.test_outbox_renewal import (
    damage,
    one_bit,
    pages,
    sequences,
    told,
    zeros,
)

_ROOT = Path(__file__).parents[2]
_PAGE = 4096
_FRAME = 24 + _PAGE
_COUNT = 24
_FILL = """
import os, signal, sys
from pathlib import Path
from edge_agent.outbox import Outbox
from tests.edge_agent.filling import METER, PEER, reading
outbox = Outbox(Path(sys.argv[1]))
outbox.serve("home", "s")
outbox.meet(PEER, METER)
outbox.key(PEER)
for number in range(int(sys.argv[2])):
    if number == int(sys.argv[3]):
        outbox._file.db.execute("PRAGMA wal_checkpoint")  # the log begins anew
    outbox.journal(PEER, "test", [("source", number.to_bytes(4, "big"))], 5)
    outbox.capture(PEER, [reading(number)], mark=(METER.id, "test", number))
    if number % 5 == 4:
        outbox.batches.make("s", 1, 4)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _killed(folder: Path, count: int, anew: int) -> dict[str, bytes]:
    """Return the file and the log of an agent that was killed."""
    path = folder / "outbox.db"
    ended = subprocess.run(
        [sys.executable, "-c", _FILL, str(path), str(count), str(anew)],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    return {end: path.with_name(path.name + end).read_bytes() for end in ("", "-wal")}


@pytest.fixture(scope="module", params=["first", "anew"])
def killed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Return file and log: all is in the log, or it was begun anew over an old one."""
    anew = {"first": -1, "anew": 12}[request.param]
    return _killed(tmp_path_factory.mktemp("killed"), _COUNT, anew)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def _write(path: Path, found: dict[str, bytes]) -> None:
    for end, content in found.items():
        path.with_name(path.name + end).write_bytes(content)


def _commits(log: bytes) -> list[int]:
    """Return where the frames that end a commit begin, of this log alone."""
    frames = range(32, len(log) - _FRAME + 1, _FRAME)
    ours = [at for at in frames if log[at + 8 : at + 16] == log[16:24]]
    return [at for at in ours if log[at + 4 : at + 8] != bytes(4)]


def _flip(at: int) -> Callable[[bytearray, int], None]:
    def flip(log: bytearray, frame: int) -> None:
        log[frame + at] ^= 0x10

    return flip


def _no_commit(log: bytearray, frame: int) -> None:
    log[frame + 4 : frame + 8] = bytes(4)


def _no_block(log: bytearray, frame: int) -> None:
    block = frame // _PAGE * _PAGE
    log[block : block + _PAGE] = bytes(_PAGE)


def _other_block(log: bytearray, frame: int) -> None:
    block = frame // _PAGE * _PAGE
    log[block : block + _PAGE] = Random(1).randbytes(_PAGE)


def _head(at: int) -> Callable[[bytearray, int], None]:
    def flip(log: bytearray, _: int) -> None:
        log[at] ^= 0x10

    return flip


def _first_block(log: bytearray, _: int) -> None:
    log[:_PAGE] = bytes(_PAGE)


def _first_blocks(log: bytearray, _: int) -> None:
    log[: 3 * _PAGE] = bytes(3 * _PAGE)


_DAMAGES = {
    "number": _flip(3),
    "commit": _flip(7),
    "commit, far": _flip(4),
    "no commit": _no_commit,
    "salt": _flip(8),
    "checksum": _flip(20),
    "page": _flip(24 + 4000),
    "no block": _no_block,
    "other block": _other_block,
    "magic": _head(0),
    "page size": _head(10),
    "salt of the log": _head(17),
    "checksum of the log": _head(30),
    "first block": _first_block,
    "first blocks": _first_blocks,
}


def test_what_a_killed_agent_leaves_is_whole(
    path: Path, killed: dict[str, bytes]
) -> None:
    """An old log's frames behind the new one's are no loss."""
    _write(path, killed)

    outbox = Outbox(path)

    assert sequences(outbox) == {*range(_COUNT)}
    assert outbox.damaged() == []
    assert max(counter for counter, _ in told(outbox)) < 20
    outbox.close()


@pytest.mark.parametrize("back", [2, 8])
@pytest.mark.parametrize("how", _DAMAGES)
def test_no_commit_is_lost_in_silence_behind_a_damaged_frame(
    path: Path, killed: dict[str, bytes], how: str, back: int
) -> None:
    """SQLite passes over all behind it and says nothing; counters would come again."""
    _write(path, killed)
    outbox = Outbox(path)
    sent = {
        counter: message
        for counter in range(1, 10)
        if (message := outbox.batches.message(counter))
    }
    outbox.close()
    log = bytearray(killed["-wal"])
    _DAMAGES[how](log, _commits(killed["-wal"])[-back])
    damaged = {"": killed[""], "-wal": bytes(log)}
    _write(path, damaged)

    outbox = Outbox(path)

    (lost,) = outbox.damaged()
    assert "could not read some of its log" in lost
    found = told(outbox)
    for counter, _ in found:
        if counter in sent:
            assert outbox.batches.message(counter) == sent[counter]
        else:
            assert counter > 1 << 40
    assert len(sequences(outbox)) >= _COUNT - 2
    kept = path.with_name(lost.partition(": ")[0])
    assert kept.read_bytes() == damaged[""]
    assert kept.with_name(kept.name + "-wal").read_bytes() == damaged["-wal"]
    # What its device tells again is heard, whatever is known as seen.
    again = [reading(number) for number in range(_COUNT)]
    assert outbox.capture(PEER, again) == _COUNT
    assert sequences(outbox) == {*range(_COUNT)}
    outbox.close()


def test_all_of_a_log_is_there_whose_checksum_alone_is_wrong(
    path: Path, killed: dict[str, bytes]
) -> None:
    log = bytearray(killed["-wal"])
    _flip(16)(log, _commits(log)[2])
    _write(path, {"": killed[""], "-wal": bytes(log)})

    outbox = Outbox(path)

    assert sequences(outbox) == {*range(_COUNT)}
    assert outbox.mark(METER.id, "test") == _COUNT - 1
    assert outbox.device(PEER) == METER
    outbox.close()


def _unended(log: bytearray, _: int, end: int) -> None:
    log[end:] = bytes(len(log) - end)


def _cut_off(log: bytearray, begin: int, _: int) -> None:
    del log[begin + 2 * _FRAME + 100 :]


def _half_written(log: bytearray) -> int:
    """Leave of the last commit nothing but what it ends with; return where that is."""
    *_, before, last = _commits(log)
    for frame in range(before + _FRAME, last, _FRAME):
        log[frame + 24 : frame + _FRAME] = bytes(_PAGE)
    return last


def _block_missing(log: bytearray, begin: int, _: int) -> None:
    _no_block(log, begin + _FRAME)


def _first_missing(log: bytearray, begin: int, _: int) -> None:
    block_end = begin // _PAGE * _PAGE + _PAGE  # what was there before it stays
    log[begin:block_end] = bytes(block_end - begin)


@pytest.mark.parametrize("how", [_unended, _cut_off, _block_missing, _first_missing])
def test_a_last_commit_that_a_power_cut_broke_off_is_no_damage(
    path: Path, killed: dict[str, bytes], how: Callable[[bytearray, int, int], None]
) -> None:
    """Nobody was told of it; its blocks come to the disk in any order."""
    log = bytearray(killed["-wal"])
    *_, before, last = _commits(log)
    assert last - before > 3 * _FRAME
    how(log, before + _FRAME, last)
    _write(path, {"": killed[""], "-wal": bytes(log)})

    outbox = Outbox(path)

    assert outbox.damaged() == []
    assert sequences(outbox) == {*range(_COUNT - 1)}
    outbox.close()
    again = Outbox(path)
    assert again.damaged() == []
    again.close()


def test_a_commit_that_was_broken_off_is_not_read_from_a_damaged_file_either(
    path: Path, killed: dict[str, bytes]
) -> None:
    """Half of it would stand over what was told before."""
    log = bytearray(killed["-wal"])
    _half_written(log)
    _write(path, {"": b"\1" + killed[""][1:], "-wal": bytes(log)})
    with closing(apsw.Connection(str(path))) as looker:
        with suppress(apsw.NotADBError):  # who looks at it keeps SQLite off the log
            looker.execute("SELECT 1 FROM sqlite_schema")

        outbox = Outbox(path)

    for lost in outbox.damaged():  # none where its first page stands in the log too
        assert "could not read some pages, of which nothing is missing" in lost
    assert sequences(outbox) == {*range(_COUNT - 1)}
    outbox.close()


def test_what_was_not_committed_is_not_read_from_a_damaged_log(
    path: Path, killed: dict[str, bytes]
) -> None:
    """Nor is it told to anybody; and half of it would garble what was."""
    log = bytearray(killed["-wal"])
    last = _half_written(log)
    _no_commit(log, last)
    _flip(20)(log, _commits(log)[-3])
    _write(path, {"": killed[""], "-wal": bytes(log)})

    outbox = Outbox(path)

    assert "could not read some of its log; " in outbox.damaged()[0]
    assert sequences(outbox) == {*range(_COUNT - 1)}
    outbox.close()


@pytest.mark.parametrize("how", ["checksum", "commit, far"])
def test_a_file_that_grew_in_a_damaged_log_is_read_to_its_end(
    path: Path, how: str
) -> None:
    """And no further, which might take for ever."""
    outbox, random = Outbox(path), Random(1)
    for number in range(60):
        raw = random.randbytes(4_000), random.randbytes(1_500)
        assert outbox.capture(PEER, [reading(number, raw=raw)]) == 1
    file, log = path.read_bytes(), path.with_name("outbox.db-wal").read_bytes()
    outbox.close()
    assert path.stat().st_size > len(file) + 100 * _PAGE
    damaged = bytearray(log)
    _DAMAGES[how](damaged, _commits(log)[-5])
    _write(path, {"": file, "-wal": bytes(damaged)})
    db, version = outbox_pages.mended(path, outbox_file._schemas(), None)
    assert version == len(outbox_file._STEPS)
    assert 100 < len([*db.pages()]) < 1_000
    db.close()

    outbox = Outbox(path)

    assert sequences(outbox) == {*range(60)}
    outbox.close()


def test_a_damaged_head_is_told_of_a_log_with_one_commit(path: Path) -> None:
    """It was flushed before any frame was written: this is no power cut's work."""
    outbox = Outbox(path)
    outbox.capture(PEER, [reading(1)], mark=("d", "t", 0))
    outbox.close()
    opened = apsw.Connection(str(path))
    opened.execute("UPDATE cursor SET mark = 1")
    log = path.with_name("outbox.db-wal").read_bytes()
    assert len(log) == 32 + _FRAME
    whole = path.read_bytes()
    opened.close()
    _write(path, {"": whole, "-wal": b"\0" + log[1:]})

    outbox = Outbox(path)

    assert "could not read some of its log" in outbox.damaged()[0]
    assert outbox.mark("d", "t") == 1
    outbox.close()


def test_looking_at_a_damaged_log_leaves_it_to_be_mended(
    path: Path, killed: dict[str, bytes]
) -> None:
    log = bytearray(killed["-wal"])
    _flip(20)(log, _commits(log)[-4])
    _write(path, {"": killed[""], "-wal": bytes(log)})

    Outbox(path, read_only=True).close()

    outbox = Outbox(path)
    assert sequences(outbox) == {*range(_COUNT)}
    outbox.close()


class _BadFile(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int], bad: range) -> None:  # noqa: ANN401
        super().__init__("unix", name, flags)
        self._bad = bad

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        if offset < self._bad.stop and self._bad.start < offset + amount:
            error = apsw.IOError("Input/output error")
            error.extendedresult = apsw.SQLITE_IOERR_CORRUPTFS  # as SQLite says EIO
            raise error
        return super().xRead(amount, offset)


class _BadDisk(apsw.VFS):
    """Fails to read a block of one file, under whatever name."""

    def __init__(self, path: Path, block: int) -> None:
        self._bad = path.stat().st_ino, range(block * _PAGE, (block + 1) * _PAGE)
        super().__init__("bad-disk", "unix", makedefault=True)

    def xOpen(  # noqa: N802
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        called = name.filename() if isinstance(name, apsw.URIFilename) else name
        there = Path(called) if called else None
        if there and there.exists() and there.stat().st_ino == self._bad[0]:
            return _BadFile(name, flags, self._bad[1])
        return super().xOpen(name, flags)


@pytest.fixture
def bad_disk() -> Iterator[Callable[[Path, int], None]]:
    """Return what lets a block of a file fail."""
    made: list[apsw.VFS] = []
    yield lambda path, block: made.append(_BadDisk(path, block))
    apsw.set_default_vfs("unix")
    for vfs in made:
        vfs.unregister()


@pytest.mark.parametrize("block", [0, 9])
def test_a_log_on_a_bad_block_gives_up_no_more_than_that(
    path: Path,
    killed: dict[str, bytes],
    bad_disk: Callable[[Path, int], None],
    block: int,
) -> None:
    """SQLite opens nothing at all then, though the file itself is whole."""
    _write(path, killed)
    bad_disk(path.with_name("outbox.db-wal"), block)

    outbox = Outbox(path)

    assert sequences(outbox) == {*range(_COUNT)}
    assert "could not read some of its log" in outbox.damaged()[0]
    outbox.close()


@pytest.fixture
def closed(path: Path) -> Path:
    """Return an outbox with readings, one batch and one of each secret, closed."""
    outbox = Outbox(path)
    outbox.serve("home", "s")
    outbox.capture(PEER, [reading(number) for number in range(100)])
    outbox.batches.make("s", 1, 40)
    outbox.key(PEER)
    outbox.keep_clock(METER.id, "its clock")
    outbox.close()
    return path


def _state(path: Path) -> list[object]:
    outbox = Outbox(path)
    kept = outbox.key(PEER), outbox.clock_before(METER.id), outbox.batches.message(1)
    found = [*kept, sequences(outbox)]
    outbox.check_room()  # by writing
    outbox.close()
    return found


_HEAD_BITS = {
    "magic": (0, 0x01),
    "page size": (16, 0x20),
    "write version": (18, 0x01),
    "write version, newer": (18, 0x04),
    "read version": (19, 0x04),
    "reserved": (20, 0x08),
    "payload": (21, 0x01),
    "pages": (31, 0x01),
    "free list": (35, 0x04),
    "schema format": (47, 0x01),
    "vacuum": (55, 0x04),
    "encoding": (59, 0x02),
    "version 7": (63, 0x01),
    "version 2": (63, 0x04),
    "version 4": (63, 0x02),
    "a version far beyond": (60, 0x01),
    "a negative version": (60, 0x80),
}


@pytest.mark.parametrize("what", _HEAD_BITS)
def test_a_wrong_bit_of_the_files_head_costs_nothing(closed: Path, what: str) -> None:
    """It would be told to be of a newer vitalwire, or all readings be given up."""
    before = _state(closed)
    at, bit = _HEAD_BITS[what]

    def flip(page: bytearray) -> None:
        page[at] ^= bit

    damage(closed, 1, flip)

    assert _state(closed) == before
    outbox = Outbox(closed, read_only=True)
    for lost in outbox.damaged():
        assert "could not read some pages, of which nothing is missing" in lost
    outbox.close()


def test_a_file_that_may_only_be_read_is_not_taken_for_a_damaged_one(
    closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The advice would be to replace the card."""

    def read_only(page: bytearray) -> None:
        page[18] = 3

    damage(closed, 1, read_only)
    monkeypatch.setattr(os, "access", lambda *_: False)

    outbox = Outbox(closed)

    assert outbox.damaged() == []
    with pytest.raises(OutboxError, match="readonly"):
        outbox.check_room()
    outbox.close()


def _one_letter(page: bytearray) -> None:
    page[page.index(b"captured_ms")] ^= 0x01


def _one_root(page: bytearray) -> None:
    page[page.index(b"readingreading") + len("readingreading")] ^= 0x04


@pytest.mark.parametrize("how", [zeros, _one_letter, _one_root])
def test_what_lies_behind_a_lost_first_page_is_read(
    closed: Path, how: Callable[[bytearray], None]
) -> None:
    """It says where each table begins; a new file's says the same."""
    before = _state(closed)
    damage(closed, 1, how)

    assert _state(closed) == before

    outbox = Outbox(closed, read_only=True)
    assert "could not read its first page; " in outbox.damaged()[0]
    outbox.close()


def test_a_garbled_schema_is_told_by_who_looks_at_it(closed: Path) -> None:
    """The advice would be to update vitalwire, or none."""
    damage(closed, 1, _one_letter)

    with pytest.raises(Damaged, match="what it begins with is no outbox's"):
        Outbox(closed, read_only=True)


def test_a_file_whose_tables_were_commented_otherwise_is_ours(path: Path) -> None:
    """All stations would be told to replace their card, by an update."""
    old = apsw.Connection(str(path))
    for schema in outbox_file._schemas():
        old.execute(re.sub(r" *--.*", "  -- other words", schema))
    old.pragma("user_version", len(outbox_file._STEPS))
    old.close()

    outbox = Outbox(path)

    assert outbox.damaged() == []
    outbox.close()


def test_what_lies_behind_a_first_page_on_a_bad_block_is_read(
    closed: Path, bad_disk: Callable[[Path, int], None]
) -> None:
    before = _state(closed)
    bad_disk(closed, 0)

    assert _state(closed) == before


def test_a_bad_block_is_passed_over_where_readings_are_looked_for(
    closed: Path, bad_disk: Callable[[Path, int], None]
) -> None:
    """It would end the agent, at every start."""
    leaves = pages(closed, "reading")
    damage(closed, leaves[1], one_bit)
    bad_disk(closed, leaves[2] - 1)

    outbox = Outbox(closed)

    lost = 100 - outbox.counts().waiting
    assert 0 < lost < 40
    assert f"could not read {lost} of the rows of reading; " in outbox.damaged()[0]
    outbox.close()


@pytest.mark.parametrize("version", range(1, 6))
def test_readings_of_an_updated_station_lie_behind_a_lost_first_page_too(
    path: Path, version: int
) -> None:
    """Where later versions' tables begin is not known then, and is told as lost."""
    old = apsw.Connection(str(path))
    for schema in outbox_file._schemas()[:version]:
        old.execute(schema)
    old.executemany(
        "INSERT INTO reading (captured_ms, record) VALUES (?, ?)",
        [(1, records.to_record(reading(number))) for number in range(100)],
    )
    old.pragma("user_version", version)
    old.close()
    Outbox(path).close()
    damage(path, 1, zeros)

    outbox = Outbox(path)

    assert sequences(outbox) == {*range(100)}
    assert "could not read its first page" in outbox.damaged()[0]
    outbox.close()


def test_what_is_left_of_a_file_that_was_cut_off_is_read(closed: Path) -> None:
    with closed.open("r+b") as file:
        file.truncate(12 * _PAGE)

    outbox = Outbox(closed)

    lost = 100 - len(sequences(outbox))
    assert 0 < lost < 100
    assert "of reading" in outbox.damaged()[0]
    outbox.close()


def test_a_new_first_page_is_known_from_that_of_another_version() -> None:
    """By its tables a newer file is told from one whose version is garbled."""
    made, _, first = outbox_pages.made_by(outbox_file._schemas())

    assert made[-1] not in made[:-1]
    assert first[100] == 13  # all tables are named in the first page: a leaf


@pytest.mark.parametrize("how", [Path.unlink, Path.write_bytes], ids=["gone", "empty"])
def test_a_memory_that_is_gone_is_told_where_an_agent_ran(
    closed: Path, how: Callable[..., object]
) -> None:
    """A new one would be begun, and nobody know what was waiting in it."""
    Health(closed.parent).save()
    how(closed, *([b""] if how == Path.write_bytes else []))

    outbox = Outbox(closed)

    (lost,) = outbox.damaged()
    assert "could not read anything; " in lost
    outbox.capture(PEER, [reading(1)])
    made = outbox.batches.make("s", 1, 256)
    assert made is not None
    assert made.counter > 1 << 40
    outbox.close()
    again = Outbox(closed)
    assert len(again.damaged()) == 1
    again.close()


def test_what_a_log_holds_is_read_beside_an_empty_file(
    path: Path, killed: dict[str, bytes]
) -> None:
    """SQLite removes the log at the first look."""
    _write(path, {"": b"", "-wal": killed["-wal"]})

    outbox = Outbox(path)

    assert len(outbox.damaged()) == 1
    found = sequences(outbox)
    assert found >= {*range(_COUNT - 5, _COUNT)}
    outbox.close()


def test_a_first_start_is_told_nothing(path: Path) -> None:
    path.touch()

    outbox = Outbox(path)

    assert outbox.damaged() == []
    outbox.close()


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_memory_on_a_read_only_disk_can_be_looked_at(
    path: Path,
    killed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_killed: bool,
) -> None:
    """A worn card turns so; what waits on it is asked for just then."""
    _write(path, killed)
    if not is_killed:
        Outbox(path).close()
    # Nothing can be written beside it.
    path.with_name("outbox.db-shm").symlink_to("nowhere/at/all")
    with pytest.raises(OutboxError, match="unable to open"):
        Outbox(path, read_only=True)

    class ReadOnly:
        f_flag = os.ST_RDONLY

    monkeypatch.setattr(os, "statvfs", lambda _: ReadOnly)

    outbox = Outbox(path, read_only=True)

    assert outbox.counts().waiting == _COUNT
    outbox.close()


def test_a_batch_that_a_bad_block_took_from_the_logs_end_keeps_its_counter(
    path: Path, tmp_path: Path
) -> None:
    """It looks as if a power cut had broken it off, and may have been sent."""
    outbox = Outbox(path)
    outbox.serve("home", "s")
    outbox.capture(PEER, [reading(number) for number in range(10)])
    made = outbox.batches.make("s", 1, 256)
    log = bytearray(path.with_name("outbox.db-wal").read_bytes())
    log[_commits(bytes(log))[-1] + 24] ^= 1
    found = {"": path.read_bytes(), "-wal": bytes(log)}
    outbox.close()
    again = tmp_path / "again" / "outbox.db"
    again.parent.mkdir()
    _write(again, found)

    outbox = Outbox(again)

    assert outbox.damaged() == []
    assert outbox.capture(PEER, [reading(number) for number in range(10)]) == 10
    anew = outbox.batches.make("s", 1, 256)
    assert made is not None
    assert anew is not None
    assert anew.counter > made.counter
    outbox.close()


def test_the_log_of_a_file_that_is_linked_to_is_looked_at(
    path: Path, tmp_path: Path, killed: dict[str, bytes]
) -> None:
    """SQLite writes it beside the file itself, on another disk, say."""
    log = bytearray(killed["-wal"])
    log[_commits(killed["-wal"])[3] + 24] ^= 1
    (tmp_path / "card").mkdir()
    _write(tmp_path / "card" / "outbox.db", {"": killed[""], "-wal": bytes(log)})
    path.symlink_to(tmp_path / "card" / "outbox.db")

    outbox = Outbox(path)

    assert "could not read some of its log" in outbox.damaged()[0]
    outbox.close()


@pytest.mark.parametrize("what", ["VACUUM", "ANALYZE"])
def test_a_file_that_somebody_put_in_order_is_whole(closed: Path, what: str) -> None:
    """Its tables begin elsewhere then, and stand in another order."""
    before = _state(closed)
    with closing(apsw.Connection(str(closed))) as db:
        db.execute(what)

    outbox = Outbox(closed)

    assert outbox.damaged() == []
    outbox.close()
    assert _state(closed) == before


def test_a_full_disk_is_no_damage(
    path: Path, killed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite can't make its own file beside it; people would throw the outbox away."""
    _write(path, killed)

    def full(*_: object) -> object:
        error = apsw.IOError("IOERR_SHMSIZE: disk I/O error")
        error.extendedresult = apsw.SQLITE_IOERR_SHMSIZE  # type: ignore[attr-defined]
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(outbox_pages, "schema_of", full)
        with pytest.raises(OutboxError, match="IOERR_SHMSIZE"):
            Outbox(path)

    outbox = Outbox(path)
    assert outbox.damaged() == []
    assert sequences(outbox) == {*range(_COUNT)}
    outbox.close()


def test_a_write_that_the_disk_refused_has_the_log_looked_at_anew(path: Path) -> None:
    """Whole in it, behind what comes later, it would look like a lost commit."""
    outbox = Outbox(path)
    before = outbox._file.db

    with pytest.raises(OutboxError), outbox._file.transaction():
        raise apsw.IOError("IOERR_FSYNC: disk I/O error")

    assert outbox.capture(PEER, [reading(1)]) == 1
    assert outbox._file.db is not before
    assert sequences(outbox) == {1}
    outbox.close()
