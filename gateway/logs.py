"""Logs as events: a name, and what belongs to it. Never a payload or a person.

Only the fields below are ever written, and of an error only its type and where it was
raised: a text that some library made of a value may hold the value. So of what
libraries log the text stays out too, but for the constant part of it.
"""

import json
import logging
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from traceback import StackSummary, walk_tb
from types import TracebackType

# What an event may say. None of these holds what was measured, of whom, or by what.
FIELDS = frozenset({
    "again_in_s", "amended", "code", "counter", "deliveries", "error", "expires",
    "known", "messages", "new", "outcome", "port", "quarantined", "readings", "reason",
    "role", "rows", "seconds", "shed", "size", "source", "station", "status", "stream",
    "tenant", "waiting", "webhook",
})  # fmt: skip

_OURS = ("gateway", "protocols")
_STANDARD = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime"}
_LONGEST = 300
_MOST_FRAMES = 12

_log = logging.getLogger(__name__)


class _Lines(logging.Formatter):
    """One line of text each: time, level, event, and its fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        told = _told(record)
        head = f"{told.pop('time')} {record.levelname} {told.pop('event')}"
        del told["level"]
        return head + "".join(f" {name}={_word(value)}" for name, value in told.items())


class _Json(logging.Formatter):
    """One JSON object each."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_told(record))


def start(*, as_json: bool) -> None:
    """Send all logs of this process to its standard error, and its deaths too."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(_Json() if as_json else _Lines())
    logging.basicConfig(level=logging.INFO, handlers=[stream], force=True)
    for name in ("uvicorn", "httpx", "nats", "opentelemetry"):
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.excepthook = _died
    threading.excepthook = lambda args: _died(
        args.exc_type, args.exc_value, args.exc_traceback
    )


def _died(
    kind: type[BaseException],
    error: BaseException | None,
    trace: TracebackType | None,
) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    _log.critical("thread.died", exc_info=(kind, error or kind(), trace))


def _told(record: logging.LogRecord) -> dict[str, object]:
    """Return all that is written of a record."""
    told: dict[str, object] = {
        "time": _time(record),
        "level": record.levelname.lower(),
    }
    if record.name.partition(".")[0] in _OURS:
        told["event"] = str(record.msg)
        told |= _fields(record)
    else:
        told |= {"event": "library", "library": record.name}
        told["where"] = f"{record.filename}:{record.lineno}"
        # Without arguments the text may be made of values already.
        if record.args:
            told["text"] = str(record.msg)[:_LONGEST]
    if record.exc_info and record.exc_info[1] is not None:
        told["trace"] = list(_trace(record.exc_info[1]))
    return told


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    """Yield the fields that may be written; of others only that there were some."""
    left_out = 0
    for name, value in record.__dict__.items():
        if name in _STANDARD:
            continue
        if name not in FIELDS:
            left_out += 1
        elif isinstance(value, str):
            yield name, value[:_LONGEST]
        elif value is None or isinstance(value, bool | int | float):
            yield name, value
        else:
            yield name, type(value).__name__
    if left_out:
        yield "left_out", left_out


def _trace(error: BaseException | None) -> Iterator[str]:
    """Yield an error and its causes, each with where it was raised, innermost last."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        frames = StackSummary.extract(walk_tb(error.__traceback__), lookup_lines=False)
        places = [f"{frame.filename}:{frame.lineno}" for frame in frames]
        yield " ".join([type(error).__qualname__, *places[-_MOST_FRAMES:]])
        error = error.__cause__ or error.__context__


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _word(value: object) -> str:
    """Return a value for a line of text: quoted where a blank could mislead."""
    text = str(value)
    plain = text.isprintable() and not any(mark in text for mark in ' "=')
    return text if plain and text else json.dumps(text)
