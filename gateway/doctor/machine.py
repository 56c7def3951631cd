"""The machine: folder, disk, clock, compiled kernels, certificates."""

import ctypes
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

# Only what is imported is compiled.
import protocols.uplink.batch  # noqa: F401
from gateway.config import Config
from gateway.doctor.finding import Finding, fail, ok, warn
from protocols import compiled

_FREE_FAIL, _FREE_WARN = 256 << 20, 2 << 30
_EXPIRES_SOON_D = 30
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 512  # more than the kernel's struct timex


def findings(config: Config) -> Iterator[Finding]:
    """Yield what is found on this machine."""
    yield _folder(config.folder)
    yield _space(config.folder)
    yield _clock()
    yield _kernels()
    for name, file in (
        ("broker.ca", config.broker.ca),
        ("http.tls_cert", config.http.tls_cert),
    ):
        if file:
            yield _certificates(name, Path(file))


def expiry(check: str, until: datetime, now: datetime) -> Finding:
    """Return whether a certificate is valid for long enough.

    Args:
        check: What it is of.
        until: When it ends.
        now: The time, with a zone.
    """
    days, advice = (until - now).days, "renew it, and restart what uses it"
    told = f"expires {until:%Y-%m-%d}, in {days} days"
    if until <= now:
        return fail(check, f"expired {until:%Y-%m-%d}", advice)
    return ok(check, told) if days >= _EXPIRES_SOON_D else warn(check, told, advice)


def _folder(folder: Path) -> Finding:
    if not folder.exists():
        return ok("folder", f"{folder} is not there yet; the first start makes it")
    facts = folder.stat()
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        advice = f"run this as its owner, or: chown -R {os.geteuid()} {folder}"
        return fail("folder", f"{folder} can't be written by this user", advice)
    if facts.st_mode & 0o077:
        advice = f"it holds patients' data: chmod 700 {folder}"
        return fail("folder", f"{folder} is open to other users", advice)
    if os.geteuid() and facts.st_uid != os.geteuid():
        advice = f"chown -R {os.geteuid()} {folder}"
        return warn("folder", f"{folder} belongs to another user", advice)
    return ok("folder", str(folder))


def _space(folder: Path) -> Finding:
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    told = f"{free / (1 << 30):.1f} GiB free at {there}"
    advice = (
        "make room or move the folder: without it nothing is confirmed, and stations "
        "keep what they have"
    )
    if free < _FREE_FAIL:
        return fail("disk", told, advice)
    return warn("disk", told, advice) if free < _FREE_WARN else ok("disk", told)


def _clock() -> Finding:
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        state = int(ctypes.CDLL(None).adjtimex(timex))
    except AttributeError:
        return warn("clock", "nobody can tell here", "see that it is set by NTP")
    if state in {-1, _TIME_ERROR}:
        advice = (
            "let chrony or systemd-timesyncd set it (timedatectl shows it): delays, "
            "tokens and certificates are judged by it. In a container ask the host"
        )
        return warn("clock", "not synchronised", advice)
    return ok("clock", "synchronised")


def _kernels() -> Finding:
    try:
        compiled.load()
    except compiled.NotMade:
        advice = "the gateway compiles them when it starts; until then decoding is slow"
        return warn("kernels", "not compiled yet", advice)
    except compiled.Unusable as error:
        return warn("kernels", f"{error}", "decoding is slow until it is mended")
    return ok("kernels", "compiled")


def _certificates(check: str, file: Path) -> Finding:
    """Look at the certificate of a file that expires first."""
    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError) as error:
        return fail(check, f"{file}: {error}", "name a PEM file that can be read")
    until = min(one.not_valid_after_utc for one in found)
    return expiry(check, until, datetime.now(UTC))
