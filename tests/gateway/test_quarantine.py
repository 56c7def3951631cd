"""Messages that could not be read: looked at, replayed and deleted from a shell."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.audit import Audit
from gateway.cli import gateway
from gateway.delivery import Message, open_message
from gateway.store import Filter, Quarantined, Store
from gateway.store.sqlite import SqliteStore
from tests.gateway.stations import START_MS, STATION, glucose, message

DAMAGED = b"\x00 no batch"


@dataclass
class Place:
    """A store, and the words by which a command finds it."""

    store: Store
    words: list[str]

    def keep(self, *payloads: bytes, topic: str = STATION.up("batch")) -> None:
        """Take in messages as a gateway that could read none of them."""
        for payload in payloads:
            came = Message.of(topic, payload, START_MS)
            self.store.commit([open_message(came, tenant="another")])

    def delete(self, *words: str, answer: str | None = None) -> Result:
        command = ["quarantine", "delete", *words, *self.words]
        return CliRunner().invoke(gateway, command, input=answer)

    @property
    def kept(self) -> list[Quarantined]:
        return self.store.quarantine(0, 10)

    def record(self, tenant: str) -> list[tuple[str, str]]:
        """Return what a tenant's log says was done."""
        audit = Audit(self.store.database, lambda: 0)
        audit.verify(tenant)
        return [(one.action, one.what) for one in audit.entries(tenant, 0, 10)]


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each test with it holds for both engines."""
    store = request.getfixturevalue(f"{request.param}_store")
    if request.param == "sqlite":
        return Place(store, ["--data", str(tmp_path)])
    settings = tmp_path / "gateway.toml"
    url = request.getfixturevalue("postgres_url")
    settings.write_text(f'[store]\nurl = "{url}"\n')
    return Place(store, ["--config", str(settings), "--data", str(tmp_path)])


def _keep(folder: Path, *payloads: bytes) -> None:
    """Take in messages as a gateway that could read none of them."""
    store = SqliteStore(folder / "readings.sqlite")
    for payload in payloads:
        came = Message.of(STATION.up("batch"), payload, START_MS)
        refused = open_message(came, tenant="another")
        store.commit([refused])
    store.close()


def _run(folder: Path, *words: str) -> tuple[int, list[dict[str, object]]]:
    command = ["quarantine", *words, "--data", str(folder), "--json"]
    result = CliRunner().invoke(gateway, command)
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()]


def test_a_message_is_replayed_once_it_can_be_read(tmp_path: Path) -> None:
    """What was kept for its reason is not lost: it is stored, and only once."""
    _keep(tmp_path, message(1, glucose(1), glucose(2)), DAMAGED)

    exit_code, done = _run(tmp_path, "replay", "--all")

    assert exit_code == 1
    assert [one["stored"] for one in done] == [True, False]
    assert done[0]["outcome"] == "stored: 2 new, 0 known, 0 amended"
    assert "is damaged at byte 1" in str(done[1]["outcome"])
    assert [one["id"] for one in _run(tmp_path, "replay", "--all")[1]] == [2]
    assert _run(tmp_path, "replay", "1") == (
        0,
        [{"id": 1, "stored": True, "outcome": "stored: 0 new, 2 known, 0 amended"}],
    )
    store = SqliteStore(tmp_path / "readings.sqlite")
    assert len(store.readings(Filter(), 0, 10)) == 2
    store.close()


def test_it_is_listed_and_shown_with_its_bytes(tmp_path: Path) -> None:
    _keep(tmp_path, DAMAGED)

    exit_code, (listed,) = _run(tmp_path, "list")
    assert exit_code == 0
    assert (listed["id"], listed["topic"], listed["size"]) == (
        1,
        STATION.up("batch"),
        len(DAMAGED),
    )
    assert (listed["replayed"], listed["outcome"]) == (None, None)
    exit_code, (shown,) = _run(tmp_path, "show", "1")
    assert shown["message"] == DAMAGED.hex()


def test_what_is_not_there_is_said_without_a_traceback(tmp_path: Path) -> None:
    _keep(tmp_path)
    shown = CliRunner().invoke(
        gateway, ["quarantine", "show", "7", "--data", str(tmp_path)]
    )
    assert (shown.exit_code, shown.stderr) == (
        1,
        "Error: no message 7 is in quarantine\n",
    )
    nothing = CliRunner().invoke(gateway, ["quarantine", "replay"])
    assert nothing.exit_code == 2


def test_a_wrong_folder_is_not_taken_for_an_empty_gateway(tmp_path: Path) -> None:
    """An empty list would say that all is well, and a new store would stay behind."""
    folder = tmp_path / "other"
    told = CliRunner().invoke(gateway, ["quarantine", "list", "--data", str(folder)])

    assert told.exit_code == 1
    assert f"there is no store at {folder}/readings.sqlite: name its" in told.stderr
    assert not folder.exists()


def test_a_message_is_deleted_and_who_did_it_is_on_record(place: Place) -> None:
    """What lies there of an erased patient would else lie there for good."""
    batch = message(3, glucose(1), glucose(2))
    place.keep(batch, DAMAGED)
    place.keep(b"noise", topic="somebody/elses")

    done = place.delete("1", "3", "--why", "patient 17 was erased", "--yes", "--json")

    assert done.exit_code == 0, done.output
    told = [json.loads(line) for line in done.stdout.splitlines()]
    seen = ("id", "topic", "size", "batch", "readings", "overwritten")
    overwritten = place.store.database.engine == "sqlite"
    assert [tuple(one[name] for name in seen) for one in told] == [
        (1, STATION.up("batch"), len(batch), 3, 2, overwritten),
        (3, "somebody/elses", 5, None, None, overwritten),
    ]
    assert told[0]["reason"] == "this gateway does not serve 'clinic'"
    assert [one.message for one in place.kept] == [DAMAGED]
    why = "patient 17 was erased"
    what = f"message 1 of station-1, {len(batch)} bytes: {why}"
    assert place.record("clinic") == [("quarantine.deleted", what)]
    what = f"message 3 of no station, 5 bytes: {why}"
    assert place.record("") == [("quarantine.deleted", what)]


def test_nothing_is_deleted_that_nobody_agreed_to(place: Place) -> None:
    """Readings that are stored nowhere else are lost with their message."""
    place.keep(message(3, glucose(1)), DAMAGED)
    before = place.kept

    for answer in ("n\n", "\n", None):
        asked = place.delete("1", "2", "--why", "not ours", answer=answer)
        assert (asked.exit_code, asked.stdout) == (1, "")
        assert "[not replayed]  " in asked.stderr
        assert "batch 3 of 1 readings" in asked.stderr
        assert f"{len(DAMAGED)} bytes that can't be read here" in asked.stderr
    # One that is not there may be a slip of the finger, so that all may be others.
    none = place.delete("1", "7", "--why", "not ours", "--yes")
    assert (none.exit_code, none.stderr) == (
        1,
        "Error: no message 7 is in quarantine\n",
    )
    assert place.kept == before
    assert place.record("clinic") == []

    done = place.delete("1", "1", "--why", "not ours", answer="y\n")
    assert (done.exit_code, done.stdout.count("\n")) == (0, 1)
    assert [one.id for one in place.kept] == [2]
    assert len(place.record("clinic")) == 1


@pytest.mark.parametrize("why", [None, "", "  ", "two\nlines", "x" * 257])
def test_without_a_reason_nothing_is_deleted(place: Place, why: str | None) -> None:
    """Who finds a gap in the record later has only the reason to go by."""
    place.keep(DAMAGED)

    given = [] if why is None else ["--why", why]
    done = place.delete("1", *given, "--yes")

    assert done.exit_code == 2
    assert "--why" in done.stderr
    assert len(place.kept) == 1
    assert place.delete("--why", "not ours", "--yes").exit_code == 2


def test_a_message_that_is_sent_again_has_another_number(place: Place) -> None:
    """Whoever walks the list keeps the last number, and would never see it."""
    place.keep(DAMAGED)
    assert place.delete("1", "--why", "not ours", "--yes").exit_code == 0

    place.keep(DAMAGED)

    assert [(one.id, one.deliveries) for one in place.kept] == [(2, 1)]


def test_no_byte_of_a_deleted_message_remains_in_the_file(tmp_path: Path) -> None:
    """SQLite only gives the room of what is deleted free."""
    marks = [b"ZEPHYRINE-%04d" % at for at in range(300)]
    _keep(tmp_path, *marks)

    def left() -> int:
        whole = b"".join(one.read_bytes() for one in tmp_path.iterdir())
        return sum(mark in whole for mark in marks)

    assert left() == len(marks)
    numbers = [str(at) for at in range(1, 300)]
    exit_code, done = _run(tmp_path, "delete", *numbers, "--why", "erased", "--yes")

    assert (exit_code, len(done), left()) == (0, 299, 1)
