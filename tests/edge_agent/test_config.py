"""The agent's configuration: what is wrong in it is told with its place."""

from dataclasses import replace
from math import inf
from pathlib import Path

import msgspec
import pytest

from edge_agent.batching import FREE, METERED
from edge_agent.config import Broker, Config, Device, Uplink, load
from edge_agent.urgency import Limits, Urgent
from protocols.config import ConfigError

WHOLE = """
station = "s-1"
tenant = "clinic"
timezone = "Asia/Shanghai"
[broker]
host = "gw.local"
port = 8883
protocol = "5"
[uplink]
metered = true
delay_s = 60
[urgent]
glucose = [60, inf]
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
        uplink=Uplink(metered=True, delay_s=60.0),
        urgent=Urgent(glucose=Limits(60, inf)),
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
        ("every_s", "every", ", line 21: Object contains unknown field `every`"),
        ('"012345"', "12345", ", line 17: Expected `str | null`, got `int`"),
        ('"012345"', '"12345"', "passkey of C0:FF:EE:00:00:01 is not six digits"),
        ('port = "/dev/ttyUSB0"', "", "needs either an address or a port"),
        ("every_s = 60", 'address = "C0"', "needs either an address or a port"),
        ("Asia/Shanghai", "Asia/Nowhere", "Asia/Nowhere"),
        ("Asia/Shanghai", "../../etc/passwd", "etc/passwd"),
        ("Asia/Shanghai", "", "ZoneInfo"),
        ("Asia/Shanghai", "Asia", "Asia"),
        ("[broker]", "[broker", "line 5"),
        ("metered = true", 'metered = "yes"', ", line 10: Expected `bool`, got `str`"),
        ("metered", "metred", ", line 10: Object contains unknown field `metred`"),
        ("delay_s = 60", "delay_s = -1", ", line 11: Expected `float` >= 0.0"),
        ("delay_s = 60", "delay_s = nan", ", line 11: Expected `float` >= 0.0"),
        ("delay_s = 60", "delay_s = 1e9", ", line 11: Expected `float` <= 86400.0"),
        ("delay_s = 60", "batch_readings = 0", ", line 11: Expected `int` >= 1"),
        ("delay_s = 60", "window = 65", ", line 11: Expected `int` <= 64"),
        (
            "delay_s = 60",
            "window = 1.5",
            ", line 11: Expected `int | null`, got `float`",
        ),
        (
            "[60, inf]",
            "[60]",
            ", line 13: Expected `array` of at least length 2, got 1",
        ),
        ("[60, inf]", "[60, 50]", ", line 13: [60.0, 50.0] are no limits; write the"),
        ("[60, inf]", "[60, nan]", ", line 13: [60.0, nan] are no limits"),
        ("[60, inf]", "54", ", line 13: Expected `array`, got `int`"),
        ("glucose =", "sugar =", ", line 13: Object contains unknown field `sugar`"),
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


def test_an_address_is_the_same_however_it_is_written(tmp_path: Path) -> None:
    """What was journaled of a cuff, and its key, are found by it."""
    text = 'station = "s"\n[[device]]\ndriver = "x"\naddress = "c0:ff:ee:00:00:0a"\n'

    assert _load(tmp_path, text).device[0].peer == "C0:FF:EE:00:00:0A"
    port = text.replace("address", "port").replace("c0:", "/dev/c0:")
    assert _load(tmp_path, port).device[0].peer == "/dev/c0:ff:ee:00:00:0a"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give another file with --config"):
        load(tmp_path / "none.toml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is no text file"):
        load(tmp_path / "binary")


def test_the_least_file_is_one_line(tmp_path: Path) -> None:
    assert _load(tmp_path, 'station = "s"') == Config("s")


def test_what_is_not_chosen_follows_from_the_link() -> None:
    """A technician says what the link costs, and need not know the rest."""
    assert Uplink().policy == FREE
    assert Uplink(metered=True).policy == METERED
    chosen = Uplink(metered=True, batch_readings=16, delay_s=0.0, window=3).policy
    assert chosen == replace(METERED, batch_readings=16, delay_s=0.0, window=3)


def _keys(of: type, table: str = "") -> list[str]:
    """Return every key of a configuration as the reference writes it."""
    keys = []
    for one in msgspec.structs.fields(of):
        kind = Device if one.name == "device" else one.type
        if isinstance(kind, type) and kind in (Broker, Uplink, Urgent, Device):
            name = f"[[{one.name}]]" if kind is Device else f"[{one.name}]"
            keys += _keys(kind, f"`{name}` ")
        else:
            keys.append(f"| {table}`{one.name}` | ")
    return keys


def test_every_key_stands_in_the_reference() -> None:
    """A technician has no other place to find it."""
    page = Path(__file__).parents[2] / "docs/reference/configuration.md"
    text = page.read_text().partition("## The gateway")[0]

    assert [key for key in _keys(Config) if key not in text] == []
    assert "| `[urgent]` `glucose` | " in _keys(Config)
