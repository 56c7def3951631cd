"""A station that was offline for long: all of it comes, once, in little memory."""

from collections import Counter
from pathlib import Path
from statistics import median

import pytest

from bench import backlog

pytestmark = pytest.mark.integration

_READINGS = 20_000


def test_a_backlog_drains_exactly_once_and_with_flat_memory(tmp_path: Path) -> None:
    """`make bench` does the same with a million."""
    backlog.fill(tmp_path, _READINGS)

    found = backlog.drain(tmp_path)

    assert found.numbers == Counter(range(_READINGS))
    # All but the ends of it go in full batches.
    assert found.messages <= _READINGS // 256 + 3
    early = median(found.rss_kb[: len(found.rss_kb) // 4 + 1])
    assert max(found.rss_kb) < early + 16 * 1024
