"""Messages that could not be read, looked at and replayed from a shell."""

import json
from pathlib import Path

from click.testing import CliRunner

from gateway.cli import gateway
from gateway.delivery import Message, open_message
from gateway.store import Filter
from gateway.store.sqlite import SqliteStore
from tests.gateway.stations import START_MS, STATION, glucose, message

DAMAGED = b"\x00 no batch"


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
    assert "not deterministically encoded" in str(done[1]["outcome"])
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
