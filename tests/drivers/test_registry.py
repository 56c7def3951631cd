"""Which driver a name stands for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers import registry


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package that brings a driver of its own, and one of our names."""
    facts = tmp_path / "other-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: other\nVersion: 1.0\n"
    )
    (facts / "entry_points.txt").write_text(
        "[vitalwire.drivers]\n"
        "gatt-glucose = drivers.maibobo:DRIVER\n"
        "other = drivers.maibobo:DRIVER\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for found in (registry._found, registry._ours):
        found.cache_clear()
    yield
    monkeypatch.undo()
    for found in (registry._found, registry._ours):
        found.cache_clear()


@pytest.mark.usefixtures("plug_in")
def test_a_plug_in_brings_drivers_and_takes_none_of_our_names() -> None:
    """A station would read a meter by another's driver, and nobody had said so."""
    assert registry.load("other").id == "maibobo"
    assert registry.load("gatt-glucose").id == "gatt-glucose"
    assert {"other", "gatt-glucose", "omron-standard"} <= {*registry.names()}
