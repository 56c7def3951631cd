"""What is logged, and what never is."""

import ast
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import logs

_ROOT = Path(__file__).parents[2]
_MODULES = sorted((_ROOT / "gateway").rglob("*.py"))
_SECRET = "Wilhelmine-Q7"


def told(as_json: bool, name: str, message: str, *args: object, **more: object) -> str:
    """Return what a record is written as."""
    formatter = logs._Json() if as_json else logs._Lines()
    record = logging.getLogger(name).makeRecord(
        name, logging.ERROR, "made.py", 7, message, args, None, extra=more
    )
    return formatter.format(record)


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield every call of a logger in the gateway, with where it stands."""
    for path in _MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "_log"
            ):
                yield f"{path.relative_to(_ROOT)}:{node.lineno}", node


def test_an_event_is_its_name_and_its_fields() -> None:
    line = told(True, "gateway.ingest", "batch.stored", station="station-1", new=3)

    assert json.loads(line).items() >= {
        ("level", "error"), ("event", "batch.stored"), ("station", "station-1"),
        ("new", 3),
    }  # fmt: skip
    text = told(False, "gateway.x", "store.unavailable", reason="disk = full", code=28)
    assert text.endswith('ERROR store.unavailable reason="disk = full" code=28')


@pytest.mark.parametrize("as_json", [True, False])
def test_what_nobody_allowed_is_left_out(as_json: bool) -> None:
    """A reading put into a log by mistake would stay in it for years."""
    line = told(as_json, "gateway.x", "odd", patient=_SECRET, reason=(_SECRET,))

    assert _SECRET not in line
    assert "left_out" in line
    assert "tuple" in line


def test_a_line_is_one_line_whatever_is_said() -> None:
    """A reason with a line end could otherwise forge the next event."""
    text = told(False, "gateway.x", "odd", reason="a\n2026-01-01 ERROR forged")

    assert "\n" not in text


@pytest.mark.parametrize("as_json", [True, False])
def test_an_error_tells_where_and_never_what(as_json: bool) -> None:
    """Texts of errors quote what they failed on."""
    formatter = logs._Json() if as_json else logs._Lines()
    try:
        try:
            int(_SECRET)
        except ValueError as error:
            raise RuntimeError(_SECRET) from error
    except RuntimeError:
        info = sys.exc_info()
    record = logging.LogRecord("uvicorn.error", 40, "a.py", 1, "died\n", (), info)

    line = formatter.format(record)

    assert _SECRET not in line
    assert "RuntimeError" in line
    assert "ValueError" in line
    assert Path(__file__).name in line


def test_of_a_library_only_the_constant_text_is_kept() -> None:
    """Libraries put whole objects into what they log."""
    whole = told(True, "asyncio", f"Task failed: {_SECRET}")
    parts = told(True, "paho", "lost %s", _SECRET)

    assert _SECRET not in whole + parts
    assert json.loads(whole)["where"] == "made.py:7"
    assert json.loads(parts)["text"] == "lost %s"


def test_a_thread_that_dies_is_logged_like_everything_else() -> None:
    """Python itself would print the error's text."""
    code = (
        "from threading import Thread; from gateway import logs\n"
        "logs.start(as_json=True)\n"
        f"thread = Thread(target=lambda: int('{_SECRET}')); thread.start()\n"
        f"thread.join(); int('{_SECRET}')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=False, cwd=_ROOT,
    )  # fmt: skip

    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["thread.died"] * 2
    assert ended.returncode == 1
    assert _SECRET not in ended.stderr + ended.stdout


def test_every_event_has_a_constant_name() -> None:
    """A name made of values is no name, and may be somebody's."""
    wrong = [
        where
        for where, call in log_calls()
        if len(call.args) != 1
        or not isinstance(call.args[0], ast.Constant)
        or " " in str(call.args[0].value)
    ]
    assert not wrong


def test_every_field_of_an_event_may_be_written() -> None:
    """What is left out would be missed only when it is needed."""
    named = [
        (where, key.value)
        for where, call in log_calls()
        for keyword in call.keywords
        for node in ast.walk(keyword.value)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    ]

    assert named
    assert not [one for one in named if one[1] not in logs.FIELDS]
