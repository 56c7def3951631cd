"""The ``vitalwire`` command, as a technician and a program see it."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from edge_agent import cli, health
from edge_agent.outbox import Outbox
from edge_agent.read import line, show
from protocols.gatt.time import DateTime
from protocols.observation import Quantity, State, Unit, Value
from tests.edge_agent.filling import PEER, reading
from tests.protocols.test_uplink import FIRST, PRESSURE

_ROOT = Path(__file__).parents[2]
_GLUCOSE = "1b 04 00 e4 07 07 0e 0b 06 05 5a 02 77 b0 f8 00 00"


def run(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli.main, words, input=stdin)


def _process(*words: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "edge_agent", *words],
        cwd=_ROOT,
        input=stdin,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )


def _commands(group: click.Group, name: str = "") -> list[tuple[str, click.Command]]:
    found = []
    for each, command in group.commands.items():
        full = f"{name} {each}".strip()
        if isinstance(command, click.Group):
            found += _commands(command, full)
        else:
            found.append((full, command))
    return found


COMMANDS = _commands(cli.main)


def test_these_are_the_commands_of_the_agent() -> None:
    assert {name for name, _ in COMMANDS} >= {
        "decode", "agent run", "agent status", "scan", "read", "demo",
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name, _ in COMMANDS])
def test_every_command_has_help_with_an_example_that_is_its_own(name: str) -> None:
    """Help without an example sends everybody to the source."""
    found = run(*name.split(), "--help")

    assert found.exit_code == 0
    assert re.search(rf"Examples?:\n +vitalwire {name}\b", found.stdout)


def test_help_names_every_command_with_a_word_on_it() -> None:
    found = run("--help")

    assert found.exit_code == 0
    for name in ("agent", "decode", "demo", "gateway", "read", "scan", "sim"):
        assert re.search(rf"^  {name} +\S", found.stdout, re.MULTILINE), name


def test_the_command_starts_without_what_it_does_not_need() -> None:
    """A quarter of a second for a decode; numba alone would take a whole one."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys, edge_agent.cli; print(*sys.modules)"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {"numba", "bleak", "fastapi", "numpy", "paho", "dbus_fast", "bumble"}

    assert not heavy & {name.partition(".")[0] for name in done.stdout.split()}


def test_decode_prints_exact_decimals_as_json() -> None:
    """0.00119 kg/L must not become 0.0011899999."""
    found = run("decode", "gatt.glucose_measurement", _GLUCOSE, "--json")

    assert found.exit_code == 0
    assert '"concentration": 0.00119,' in found.stdout
    shown = json.loads(found.stdout)
    assert shown["sequence_number"] == 4
    assert shown["user_facing_time"] == "2020-07-14T21:08:05"
    assert found.stderr == ""


@pytest.mark.parametrize(
    "text", [_GLUCOSE, _GLUCOSE.replace(" ", ""), _GLUCOSE.replace(" ", ":").upper()]
)
def test_decode_takes_hex_as_it_is_copied(text: str) -> None:
    found = run("decode", "gatt.glucose_measurement", text)

    assert found.exit_code == 0
    assert re.search(r"^mg_per_dl +119$", found.stdout, re.MULTILINE)


def test_decode_takes_options() -> None:
    found = run(
        "decode", "gatt.racp", "06000101", "--option", "role=response", "--json"
    )

    assert found.exit_code == 0
    assert json.loads(found.stdout)["response"] == "success"


def test_the_kinds_can_be_listed_for_people_and_programs() -> None:
    text, shown = run("decode", "--list"), run("decode", "--list", "--json")

    found = json.loads(shown.stdout)
    assert [row.split()[0] for row in text.stdout.splitlines()] == list(found)
    assert found["gatt.racp"]["role"] == ["any", "request", "response"]
    assert found["gatt.battery_level"] == {}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("gatt.battery_level", "65"),
            "Error: Battery Level: 'level' is 101, above 100 percent at byte 0 of [65]",
        ),
        (
            ("gatt.date_time", "e2 07 04"),
            (
                "Error: Date Time: 'date time, month to second' needs 5 bytes, "
                "1 remain at byte 2 of [e2 07 04]"
            ),
        ),
        (
            ("gatt.date", "00"),
            "Error: no kind 'gatt.date'; 'vitalwire decode --list' names all",
        ),
        (
            ("gatt.racp", "0101", "--option", "x=y"),
            "Error: gatt.racp has no option 'x'; its options: dialect, role",
        ),
        (
            ("gatt.racp", "0101", "--option", "role=z"),
            "Error: option 'role' of gatt.racp is any or request or response, not 'z'",
        ),
    ],
)
def test_our_errors_are_one_line_with_field_offset_and_bytes(
    words: tuple[str, ...], told: str
) -> None:
    """One line on stderr, nothing on stdout, status 1."""
    found = run("decode", *words)

    assert (found.exit_code, found.stdout, found.stderr) == (1, "", told + "\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "give KIND and HEX, or --list, or --lines"),
        (("gatt.racp",), "give KIND and HEX"),
        (("gatt.racp", "0101", "--option", "role"), "'role' is not KEY=VALUE"),
        (("gatt.racp", "0101", "--nothing"), "No such option"),
    ],
)
def test_what_was_typed_wrongly_is_told_with_status_2(
    words: tuple[str, ...], told: str
) -> None:
    found = run("decode", *words)

    assert (found.exit_code, found.stdout) == (2, "")
    assert told in found.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0g", "'g' at 1 is not hex"),
        ("0", "half a byte is not hex"),
        ("é" * 9999, "at 0"),
    ],
)
def test_what_is_no_hex_is_told_in_one_short_line(text: str, told: str) -> None:
    found = run("decode", "gatt.racp", text)

    assert (found.exit_code, found.stdout, found.stderr.count("\n")) == (1, "", 1)
    assert told in found.stderr
    assert len(found.stderr) < 100


def test_lines_are_answered_one_by_one_in_order() -> None:
    """A program that sends a thousand captures must match answers to questions."""
    asked = [
        '{"kind": "gatt.battery_level", "hex": "4b"}',
        "",
        '{"kind": "gatt.battery_level", "hex": "65"}',
        '{"kind": "gatt.racp", "hex": "06000101", "options": {"role": "response"}}',
        '{"kind": "gatt.racp", "hex": "0101", "options": {"role": "response"}}',
        '{"kind": "gatt.racp", "hex": "0101", "options": null}',
        '{"kind": "gatt.racp", "hex": "0101", "options": [1]}',
        '{"kind": "gatt.none", "hex": ""}',
        '{"kind": "gatt.racp", "hex": "0g"}',
        '{"kind": "gatt.racp"}',
        '{"kind": 1, "hex": "00"}',
        "[]",
        "{",
        '"text"',
        '{"kind": "ieee11073.sfloat", "hex": "c8e0"}',
    ]
    found = run("decode", "--lines", stdin="\n".join(asked))

    assert (found.exit_code, found.stderr) == (0, "")
    answers = [json.loads(row) for row in found.stdout.splitlines()]
    assert len(answers) == len(asked)
    assert answers[0] == {"ok": True, "value": {"percent": 75}}
    assert not answers.pop(1)["ok"]  # an empty line is no object, and is answered too
    assert answers[1] == {
        "ok": False,
        "error": {
            "error": "out_of_range",
            "what": "Battery Level",
            "field": "level",
            "offset": 0,
            "problem": "is 101, above 100 percent",
            "bytes": "65",
        },
    }
    assert [answer["ok"] for answer in answers] == [
        True, False, True, False, True, *[False] * 8, True,
    ]  # fmt: skip
    assert answers[3]["error"]["error"] == "not_a_response"
    for answer in answers[5:13]:
        assert answer["error"]["error"] == "bad_request"
        assert answer["error"]["problem"]
    assert '"value": 2.00}' in found.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "bad",
    [
        b"\xff\xfe\x00",
        b'{"kind": "\\ud800", "hex": ""}',
        b'{"kind": "gatt.racp", "hex": "0101", "options": {"\\udfff": "x"}}',
        b"[" * 100_000,
        b'{"kind": "gatt.racp", "hex": "' + b"00" * 100_000 + b'"}',
        b"1" * 10_000,
        b'{"kind": "gatt.string", "hex": "1b5b324a"}',
        b"NaN",
    ],
    ids=[
        "no-utf-8",
        "surrogate",
        "surrogate-option",
        "nested",
        "long",
        "digits",
        "escape",
        "nan",
    ],
)
def test_no_line_stops_the_lines_behind_it(bad: bytes) -> None:
    """One damaged capture among a thousand must cost one answer."""
    good = b'{"kind": "gatt.battery_level", "hex": "4b"}'

    done = _process("decode", "--lines", stdin=b"\n".join([good, bad, good, b""]))

    assert b"Traceback" not in done.stderr
    answers = [json.loads(row) for row in done.stdout.splitlines()]
    right = {"ok": True, "value": {"percent": 75}}
    assert (done.returncode, len(answers)) == (0, 3)
    assert (answers[0], answers[2]) == (right, right)


def test_a_terminal_is_not_driven_by_a_device() -> None:
    """A device's name may hold escape sequences; a table must not pass them on."""
    words = ["decode", "gatt.string", b"\x1b[2J\x07name".hex()]
    found = CliRunner().invoke(cli.main, words, color=True)  # as to a terminal

    assert found.exit_code == 0
    assert "name" in found.stdout
    assert "\x1b" not in found.stdout


def test_status_without_an_agent_says_what_to_do(tmp_path: Path) -> None:
    found = run("agent", "status", "--data", str(tmp_path / "none"))

    assert found.exit_code == 1
    assert found.stderr.startswith("Error: no agent has run in ")
    assert found.stderr.count("\n") == 1


def test_status_shows_the_agent_and_what_waits(tmp_path: Path) -> None:
    """How many readings are still on this station, and of no person."""
    box = Outbox(tmp_path / "outbox.db")
    box.capture(PEER, [reading(1), reading(2)])
    (tmp_path / "status.json").write_text('{"pid": 4194305, "broker": "connected"}')

    found = run("agent", "status", "--data", str(tmp_path), "--json")
    text = run("agent", "status", "--data", str(tmp_path))
    box.close()

    assert found.exit_code == 0
    assert json.loads(found.stdout) == {
        "running": False,
        "pid": 4_194_305,
        "broker": "connected",
        "outbox": {
            "waiting": 2,
            "batches": 0,
            "refused": 0,
            "journaled": 0,
            "undecoded": 0,
            "oldest_ms": 1_772_000_000_001,
            "journaled_of": [],
            "damaged": [],
        },
    }
    assert re.search(r"^  waiting +2$", text.stdout, re.MULTILINE)
    assert re.search(
        r"^  oldest +2026-02-2\dT\S+ \(\d+ d ago\)$", text.stdout, re.MULTILINE
    )


@pytest.mark.parametrize(
    ("ago_s", "told"),
    [
        (0, "0 s ago"),
        (59.9, "59 s ago"),
        (200, "3 min ago"),
        (3_600, "1 h ago"),
        (86_399, "23 h ago"),
        (5 * 86_400, "5 d ago"),
        (-90, "1 min ahead of this clock"),
    ],
)
def test_status_tells_people_times_of_their_place(
    monkeypatch: pytest.MonkeyPatch, ago_s: float, told: str
) -> None:
    """Nobody sees that the last visit was an hour ago in seconds since 1970."""
    now_s = 1_772_350_200.5  # 2026-03-01T07:30:00.5Z
    when_s = now_s - ago_s
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        found = health.for_people(
            {
                "pid": 7,
                "started_at": when_s,
                "devices": {
                    "C0:1": {"visited_at": when_s},
                    "C0:2": {"visited_at": None},
                },
                "outbox": {"waiting": 2, "oldest_ms": round(when_s * 1000)},
            },
            now_s,
        )
    finally:
        monkeypatch.undo()
        time.tzset()

    zone = timezone(timedelta(hours=5, minutes=30))
    then = datetime(2026, 3, 1, 13, 0, tzinfo=zone) - timedelta(seconds=ago_s - 0.5)
    text = f"{then.isoformat(timespec='seconds')} ({told})"
    assert found == {
        "pid": 7,
        "started": text,
        "devices": {"C0:1": {"visited": text}, "C0:2": {"visited": "-"}},
        "outbox": {"waiting": 2, "oldest": text},
    }


@pytest.mark.parametrize("seconds", ["1e300", "1e14", "NaN"])
def test_status_with_a_time_that_is_none_is_shown(tmp_path: Path, seconds: str) -> None:
    """What is wrong with a file must not keep the rest of it from a technician."""
    Outbox(tmp_path / "outbox.db").close()
    (tmp_path / "status.json").write_text(f'{{"pid": 1, "started_at": {seconds}}}')

    found = run("agent", "status", "--data", str(tmp_path))

    assert found.exit_code == 0
    assert f"started                  {float(seconds)}\n" in found.stdout
    assert re.search(r"^  oldest +-$", found.stdout, re.MULTILINE)


def test_status_of_a_memory_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"pid": 1}')

    done = _process("agent", "status", "--data", str(tmp_path))

    assert b"Traceback" not in done.stderr
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)


def test_status_of_a_damaged_memory_says_what_to_do(tmp_path: Path) -> None:
    """Its other lines are worth most just then; and a station that runs mends it."""
    (tmp_path / "status.json").write_text('{"pid": 4194305, "broker": "connected"}')
    box = Outbox(tmp_path / "outbox.db")
    box.capture(PEER, [reading(number) for number in range(100)])
    ((root,),) = box._file.db.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'reading_by_batch'"
    ).fetchall()
    assert isinstance(root, int)
    box.close()
    with (tmp_path / "outbox.db").open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(bytes(12))

    found = run("agent", "status", "--data", str(tmp_path), "--json")

    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["broker"] == "connected"
    assert json.loads(found.stdout)["outbox"] == {
        "problem": (
            "the outbox is damaged: database disk image is malformed; "
            "mend it by 'vitalwire agent run'"
        )
    }

    Outbox(tmp_path / "outbox.db").close()  # as an agent opens it

    text = run("agent", "status", "--data", str(tmp_path)).stdout
    assert re.search(r"^  waiting +100$", text, re.MULTILINE)
    assert re.search(
        r"^  damaged +outbox\.damaged-\S+\.db: could not", text, re.MULTILINE
    )


def test_status_names_the_devices_whose_payloads_wait(tmp_path: Path) -> None:
    """Of a device that is not configured any more nobody would ever capture them."""
    box = Outbox(tmp_path / "outbox.db")
    for driver, peer in (("test", PEER), ("test", "/dev/x"), ("other", PEER)):
        box.journal(peer, driver, [("source", b"1"), ("source", b"2")], 5)
    box.close()
    status = {"pid": 4194305, "devices": {PEER: {"driver": "test"}}}
    (tmp_path / "status.json").write_text(json.dumps(status))

    found = run("agent", "status", "--data", str(tmp_path), "--json")

    again = ": configure it so again, and they are captured"
    assert json.loads(found.stdout)["outbox"]["journaled_of"] == [
        f"2 of test at /dev/x{again}",
        f"2 of other at {PEER}{again}",
        f"2 of test at {PEER}",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "give another file with --config"),
        ("station = 1", "line 1: Expected `str`, got `int`"),
        ('station = "s"\n[[device]]\ndriver = "x"\nport = "p"', "no driver 'x'"),
        (
            'station = "s"\n[[device]]\ndriver = "gatt-glucose"\nport = "p"',
            "p: the driver gatt-glucose needs an address",
        ),
        (
            (
                'station = "s"\n[[device]]\ndriver = "onetouch-ultraeasy"\n'
                'address = "C0:00:00:00:00:01"'
            ),
            "C0:00:00:00:00:01: the driver onetouch-ultraeasy needs a port",
        ),
        (
            'station = "s"\n[broker]\nusername = "u"\npassword_file = "/none"',
            "can't use its password_file",
        ),
    ],
)
def test_an_agent_that_cannot_run_says_why_in_one_line(
    tmp_path: Path, text: str | None, told: str
) -> None:
    path = tmp_path / "vitalwire.toml"
    if text is not None:
        path.write_text(text)

    words = ("--config", str(path), "--data", str(tmp_path / "data"))
    done = _process("agent", "run", *words)

    stderr = done.stderr.decode()
    assert "Traceback" not in stderr
    assert (done.returncode, stderr.count("\n")) == (1, 1), stderr
    assert told in stderr


def test_a_second_agent_says_that_there_is_one(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.db")
    path = tmp_path / "vitalwire.toml"
    path.write_text('station = "s"')

    done = _process("agent", "run", "--config", str(path), "--data", str(tmp_path))
    box.close()

    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"another agent owns" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("gatt-blood-pressure", "C0:FF:EE:00:00:01"), "say --take to do it"),
        (("none", "x"), "no driver 'none'; installed: and-cuff, "),
        (("onetouch-ultraeasy", "nowhere"), "can't open nowhere"),
    ],
)  # fmt: skip
def test_a_device_that_cannot_be_read_is_told_in_one_line(
    words: tuple[str, ...], told: str
) -> None:
    done = _process("read", *words)

    stderr = done.stderr.decode()
    assert "Traceback" not in stderr
    assert (done.returncode, stderr.count("\n")) == (1, 1), stderr
    assert told in stderr


def test_a_reading_is_shown_with_its_unit_or_its_reason() -> None:
    """A technician must see NO VALUE as such, and no number in its place."""
    assert line(FIRST.observation) == (
        "2026-03-01T13:00:00   glucose            glucose 120 mg/dL (0.00120 kg/L)"
    )
    assert line(PRESSURE.observation) == (
        "0000-00-00T07:30:00   blood-pressure     "
        "systolic 120.00992 mm[Hg] (16.0 kPa)  diastolic no value  "
        "pulse-rate above range"
    )
    pressure = show(PRESSURE.observation)
    assert pressure["device_time"] == str(DateTime(0, 0, 0, 7, 30, 0))
    values = pressure["values"]
    assert isinstance(values, list)
    assert [value["state"] for value in values] == [
        State.MEASURED.name.lower(), "no_value", "above_range",
    ]  # fmt: skip


def test_a_limit_beside_hi_is_never_printed_as_the_value() -> None:
    """600 beside HI is where the meter ends, not what it measured."""
    limit = Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(600), State.ABOVE_RANGE)

    (shown,) = show(replace(FIRST.observation, values=(limit,)))["values"]  # type: ignore[misc]

    assert (shown["value"], shown["limit"], shown["state"]) == (
        None,
        Decimal(600),
        "above_range",
    )
