"""The agent's configuration: what is wrong in it is told with its place."""

from pathlib import Path

import pytest

from edge_agent.config import Broker, Config, Device, load
from protocols.config import ConfigError

WHOLE = """
station = "s-1"
tenant = "clinic"
timezone = "Asia/Shanghai"
[broker]
host = "gw.local"
port = 8883
protocol = "5"
[[device]]
driver = "gatt-glucose"
address = "C0:FF:EE:00:00:01"
passkey = "012345"
[[device]]
driver = "onetouch-ultraeasy"
port = "/dev/ttyUSB0"
every_s = 60
"""


def _load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "vitalwire.toml"
    path.write_text(text)
    return load(path)


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    """With a passkey's leading zero, which a number would lose."""
    found = _load(tmp_path, WHOLE)

    assert found == Config(
        station="s-1",
        tenant="clinic",
        timezone="Asia/Shanghai",
        broker=Broker(host="gw.local", port=8883, protocol="5"),
        device=(
            Device("gatt-glucose", address="C0:FF:EE:00:00:01", passkey="012345"),
            Device("onetouch-ultraeasy", port="/dev/ttyUSB0", every_s=60.0),
        ),
    )
    assert [device.peer for device in found.device] == [
        "C0:FF:EE:00:00:01",
        "/dev/ttyUSB0",
    ]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"s-1"', '"s 1"', "station 's 1' is not 1 to 64 of A-Z a-z 0-9 -"),
        ('"s-1"', '"+"', "station '+' is not"),
        ('"clinic"', '"a/b"', "tenant 'a/b' is not"),
        ('"s-1"', "1", ", line 2: Expected `str`, got `int`"),
        ('station = "s-1"', "", "missing required field `station`"),
        ("8883", '"8883"', ", line 7: Expected `int`, got `str`"),
        ('"5"', '"4"', ", line 8: Invalid enum value '4'"),
        ("host =", "hots =", ", line 6: Object contains unknown field `hots`"),
        ("every_s", "every", ", line 16: Object contains unknown field `every`"),
        ('"012345"', "12345", ", line 12: Expected `str | null`, got `int`"),
        ('"012345"', '"12345"', "passkey of C0:FF:EE:00:00:01 is not six digits"),
        ('port = "/dev/ttyUSB0"', "", "needs either an address or a port"),
        ("every_s = 60", 'address = "C0"', "needs either an address or a port"),
        ("Asia/Shanghai", "Asia/Nowhere", "Asia/Nowhere"),
        ("Asia/Shanghai", "../../etc/passwd", "etc/passwd"),
        ("Asia/Shanghai", "", "ZoneInfo"),
        ("Asia/Shanghai", "Asia", "Asia"),
        ("[broker]", "[broker", "line 5"),
        ("every_s = 60", "every_s = -5", "every_s"),
        ("every_s = 60", "every_s = nan", "every_s"),
    ],
)
def test_a_mistake_is_told_with_its_file(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    """Never a traceback, never a silent default, never a busy loop."""
    assert old in WHOLE
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, WHOLE.replace(old, new, 1))

    text = str(caught.value)
    assert text.startswith(str(tmp_path / "vitalwire.toml"))
    assert told in text
    assert "\n" not in text


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give another file with --config"):
        load(tmp_path / "none.toml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is no text file"):
        load(tmp_path / "binary")


def test_the_least_file_is_one_line(tmp_path: Path) -> None:
    assert _load(tmp_path, 'station = "s"') == Config("s")
