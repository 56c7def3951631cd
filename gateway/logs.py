"""Logs as events: a name, and what belongs to it. Never a payload or a person."""

import json
import logging
import sys
from datetime import UTC, datetime

_KNOWN = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime"}


class _Lines(logging.Formatter):
    """One line of text each: time, level, event, and its fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        line = f"{_time(record)} {record.levelname} {record.getMessage()}{fields}"
        return line if not record.exc_info else f"{line}\n{_trace(self, record)}"


class _Json(logging.Formatter):
    """One JSON object each."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            told["trace"] = _trace(self, record)
        return json.dumps(told, default=str)


def start(*, as_json: bool) -> None:
    """Send all logs of this process to its standard error."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(_Json() if as_json else _Lines())
    logging.basicConfig(level=logging.INFO, handlers=[stream], force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {
        name: value for name, value in record.__dict__.items() if name not in _KNOWN
    }


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info else ""
