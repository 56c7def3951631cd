"""What the agent does behind its start."""

import asyncio
import gc
from pathlib import Path

import pytest

from edge_agent import app
from edge_agent.health import Health


def test_garbage_is_looked_for_behind_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command puts it off; without it a station would grow for months."""
    monkeypatch.setattr(app, "_START_S", 0.0)
    monkeypatch.setattr(app, "let_go", lambda: None)
    gc.disable()
    try:
        asyncio.run(app._start(Health(tmp_path)))
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.enable()
