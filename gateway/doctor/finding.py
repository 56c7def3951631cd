"""What one look of the doctor found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found.

    Attributes:
        check: What was looked at.
        state: ``fail`` keeps the gateway from its work, ``warn`` soon may.
        found: What there is.
        advice: What to do next; empty where all is well.
    """

    check: str
    state: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


def ok(check: str, found: str) -> Finding:
    """Return that all is well."""
    return Finding(check, "ok", found)


def warn(check: str, found: str, advice: str) -> Finding:
    """Return that something soon may not be well."""
    return Finding(check, "warn", found, advice)


def fail(check: str, found: str, advice: str) -> Finding:
    """Return that the gateway can't do its work."""
    return Finding(check, "fail", found, advice)
