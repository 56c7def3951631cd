"""Settings: strict, and safe where nobody set any."""

from pathlib import Path

import pytest

from gateway.config import Config, check, load
from protocols.config import ConfigError


def of(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    return check(load(file))


def test_no_file_is_needed() -> None:
    config = check(load(None))

    assert config.broker.embedded
    assert (config.broker.host, config.http.host) == ("127.0.0.1", "127.0.0.1")


def test_reads_all_settings(tmp_path: Path) -> None:
    config = of(
        tmp_path,
        'tenant = "clinic"\ndata = "kept"\n[http]\nport = 0\n'
        "[broker]\nembedded = false\n"
        'host = "mqtt.example"\nport = 8883\ntls = true\nca = "ca.pem"\n'
        'username = "gateway"\npassword_file = "secret"\nprotocol = "5"\n',
    )

    assert config.folder == tmp_path / "kept"
    assert config.broker.ca == str(tmp_path / "ca.pem")
    assert config.broker.password_file == str(tmp_path / "secret")
    assert (config.tenant, config.http.port, config.broker.protocol) == (
        "clinic",
        0,
        "5",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[http]\nhost = "0.0.0.0"', "no access control"),
        ('[http]\nhost = "gateway.example"', "no access control"),
        ('[broker]\nhost = "192.168.1.2"', "lets everybody in"),
        ('[broker]\nhost = "::"', "lets everybody in"),
        ("[broker]\ntls = true", "embedded = false"),
        ('[broker]\nprotocol = "5"', r"speaks MQTT 3\.1\.1"),
        ('[broker]\nembedded = false\nhost = "b.example"\nport = 0', "port 0"),
        (
            '[broker]\nembedded = false\nhost = "b.example"\nusername = "u"',
            "in the clear",
        ),
        ('tenant = "a/b"', "tenant 'a/b'"),
        ("[http]\nport = 65536", "line 2"),
        ("[http]\nhots = 1", "hots"),
        ("= 1", "line 1"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        of(tmp_path, text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        load(tmp_path / "absent.toml")
