"""Tokens and the audit log from the console, on a real store."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.access import Role
from gateway.cli import gateway
from gateway.store.sqlite import SqliteStore
from tests.gateway.people import Clinic


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "gateway"


@pytest.fixture
def kept(folder: Path) -> Iterator[Clinic]:
    """The store beside the commands, as a gateway that runs has it open."""
    folder.mkdir(mode=0o700)
    store = SqliteStore(folder / "readings.sqlite")
    yield Clinic(store)
    store.close()


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(gateway, [*words, "--data", str(folder)])


def test_the_first_token_needs_none(folder: Path) -> None:
    """Somebody has to be the first steward."""
    made = run(folder, "access", "create", "desk", "--role", "steward")

    assert made.exit_code == 0, made.output
    assert made.stdout.startswith("vw_")
    store = SqliteStore(folder / "readings.sqlite")
    clinic = Clinic(store, "")
    clinic.now_ms = 1 + clinic.access.principals.page("", 0, 1)[0].created_ms
    who = clinic.access.authenticate(f"Bearer {made.stdout.strip()}")
    assert (who.name, who.roles) == ("desk", {Role.STEWARD})
    store.close()


def test_tokens_are_listed_and_revoked(kept: Clinic, folder: Path) -> None:
    programme = kept.programme("study")
    made = run(
        folder, "access", "create", "study-1", "--role", "reader", "--tenant", "clinic",
        "--programme", "study", "--days", "30", "--json",
    )  # fmt: skip
    told = json.loads(made.stdout)
    assert told["programme"] == str(programme.id)
    assert told["purpose"] == "TREAT"

    listed = run(folder, "access", "list")
    assert "holds" in listed.stdout
    assert told["token"] not in listed.stdout
    assert run(folder, "access", "revoke", told["id"]).stdout == "study-1: revoked\n"
    again = run(folder, "access", "revoke", told["id"], "--json")
    assert json.loads(again.stdout)["revoked"] is False
    assert "revoked" in run(folder, "access", "list").stdout
    log = run(folder, "audit", "list", "--tenant", "clinic", "--json").stdout
    actions = [json.loads(line)["action"] for line in log.splitlines()]
    assert actions == ["principal.made", "principal.revoked", "principal.revoked"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("access", "create", "x", "--role", "reader"), "--programme"),
        (
            ("access", "create", "x", "--role", "reader", "--programme", "none"),
            "there is none",
        ),
        (("access", "create", "a\nb", "--role", "steward"), "printable"),
        (("access", "revoke", "77"), "no principal 77"),
        (("audit", "verify", "--noted", "clinic:1"), "is no head"),
    ],
)
@pytest.mark.usefixtures("kept")
def test_what_cannot_be_is_said(
    folder: Path, words: tuple[str, ...], says: str
) -> None:
    done = run(folder, *words)

    assert done.exit_code == 1
    assert says in done.output
    assert "Traceback" not in done.output


def test_a_name_that_is_taken_is_said(folder: Path) -> None:
    run(folder, "access", "create", "desk", "--role", "steward")

    again = run(folder, "access", "create", "desk", "--role", "operator")

    assert again.exit_code == 1
    assert "desk" in again.output
    assert "choose another" in again.output


def test_a_log_is_verified_against_what_was_noted(kept: Clinic, folder: Path) -> None:
    patient = kept.patient("P-1")
    who, _ = kept.token(Role.STEWARD, name="desk")
    for _ in range(3):
        kept.access.record(who, "patient.read", patient=patient.id)
    noted = run(folder, "audit", "verify").stdout.split()
    assert [one.split(":")[:2] for one in noted] == [["clinic", "3"]]
    kept.access.record(who, "patient.read", patient=patient.id)

    good = run(folder, "audit", "verify", "--noted", noted[0], "--json")
    assert json.loads(good.stdout)["rows"] == 4
    shown = run(folder, "audit", "list", "--tenant", "clinic", "--patient", "1").stdout
    assert shown.count("patient.read") == 4

    with kept.store.database.change() as change:
        change.rows("UPDATE audit SET name = 'nobody' WHERE sequence = 2")
    bad = run(folder, "audit", "verify")
    assert bad.exit_code == 1
    assert "row 2 of the audit log of tenant 'clinic'" in bad.output


def test_a_record_whose_rows_and_head_are_gone_is_missed(
    kept: Clinic, folder: Path
) -> None:
    patient = kept.patient("P-1")
    who, _ = kept.token(Role.STEWARD, name="desk")
    kept.access.record(who, "patient.read", patient=patient.id)
    noted = run(folder, "audit", "verify").stdout.strip()
    with kept.store.database.change() as change:
        change.rows("DELETE FROM audit")
        change.rows("DELETE FROM audit_head")

    assert run(folder, "audit", "verify").exit_code == 0
    assert run(folder, "audit", "verify", "--noted", noted).exit_code == 1
