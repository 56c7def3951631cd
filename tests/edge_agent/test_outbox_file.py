"""The file of the station's memory: kills, full disks, owners, older versions."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from random import Random
from time import sleep

import apsw
import pytest

from edge_agent import records
from edge_agent.outbox import Damaged, Outbox, OutboxError
from edge_agent.outbox_batches import Message
from protocols.uplink import envelope
from protocols.uplink.batch import Batch
from protocols.uplink.receipt import Entry, Result
from tests.edge_agent.filling import MARK, METER, PEER, reading, sequences, stored

_ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("tidy")


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
    assert sequences(box.batches.make("s", 1, 256)) == [2]
    assert box.batches.forget([Entry(1, envelope.digest(sent), Result.STORED)]) == [1]
    assert box.counts().waiting == 1
    box.close()
