"""Settings: strict, and safe where nobody set any."""

from pathlib import Path

import msgspec
import pytest

from gateway.config import Config, load
from protocols.config import ConfigError

_STREAM = 'source = "jetstream"\n[store]\nurl = "postgresql:///readings"\n'


def of(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    return load(file)


def test_no_file_is_needed() -> None:
    config = load(None)

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
        ('[http]\nhost = "0.0.0.0"', r"http\.access"),
        ('[http]\nhost = "gateway.example"', r"http\.access"),
        ('[http]\naccess = "token"\ntls_cert = "c"', r"http\.tls_key need each other"),
        ('[webhooks]\nnetworks = ["10.0.0.1/8"]', r"webhooks\.networks: .*host bits"),
        ("[webhooks]\ngive_up_hours = 0", "line 2"),
        ('[broker]\nhost = "192.168.1.2"', "lets everybody in"),
        ('[broker]\nhost = "::"', "lets everybody in"),
        ("[broker]\ntls = true", "embedded = false"),
        ('[broker]\nprotocol = "5"', r"speaks MQTT 3\.1\.1"),
        ('[broker]\nembedded = false\nhost = "b.example"\nport = 0', "port 0"),
        (
            '[broker]\nembedded = false\nhost = "b.example"\nusername = "u"',
            "in the clear",
        ),
        ('[broker]\nshared = "g"', "takes a broker of MQTT 5"),
        ('[broker]\nembedded = false\nshared = "g"', "takes a broker of MQTT 5"),
        (
            '[broker]\nembedded = false\nprotocol = "5"\nshared = "g/+"',
            r"broker\.shared 'g/\+'",
        ),
        (
            '[broker]\nembedded = false\nprotocol = "5"\nshared = "g"',
            r"broker\.shared is for several gateways.*set store\.url",
        ),
        ("[broker]\nreceive_maximum = 0", "line 2"),
        ('[nats]\nservers = ["nats://a:4222"]', 'needs source = "jetstream"'),
        (f"{_STREAM}[broker]\nport = 1", r"\[broker\] has no use"),
        (_STREAM, r"nats\.servers is missing"),
        (f'{_STREAM}[nats]\nservers = ["a:4222"]', "'a:4222' is no URL"),
        (f'{_STREAM}[nats]\nservers = ["http://a"]', "'http://a' is no URL"),
        (
            f'{_STREAM}[nats]\nservers = ["nats://a"]\ncredentials = "c"',
            "in the clear to a",
        ),
        (f'{_STREAM}[nats]\nservers = ["nats://u:p@a"]', "in the clear to a"),
        (f'{_STREAM}[nats]\nservers = ["nats://a"]\nca = "c"', "tls://"),
        (f'{_STREAM}[nats]\nservers = ["nats://a"]\nstream = "a.b"', "'a.b' is not"),
        (f'{_STREAM}[nats]\nservers = ["nats://a"]\nreplicas = 2', "line 6"),
        (
            'source = "jetstream"\n[nats]\nservers = ["nats://a"]',
            r'"jetstream" is for several gateways.*set store\.url',
        ),
        ('tenant = "a/b"', "tenant 'a/b'"),
        ("[http]\nport = 65536", "line 2"),
        ('[store]\nurl = "sqlite:///file"', r"store\.url is no address"),
        ('[store]\nurl = "postgresql://[host/db"', r"store\.url"),
        ('[store]\nurl = "postgresql://u:p@/db"', "holds a password"),
        ('[store]\nurl = "postgresql:///db?password=p"', "holds a password"),
        ('[store]\nurl = "postgresql://u@db.example/readings"', "in the clear"),
        ('[store]\npassword_file = "secret"', r"needs a store\.url"),
        ("[http]\nhots = 1", "hots"),
        ("= 1", "line 1"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        of(tmp_path, text)


def test_files_are_looked_for_beside_the_one_that_names_them(tmp_path: Path) -> None:
    """A service is started in a folder of nobody's choice."""
    stream = of(
        tmp_path,
        'source = "jetstream"\n[nats]\nservers = ["tls://nats.example:4222"]\n'
        'ca = "nats.pem"\ncredentials = "gateway.creds"\n'
        '[store]\nurl = "postgresql:///readings"\npassword_file = "secret"\n'
        '[http]\ntls_cert = "cert.pem"\ntls_key = "/etc/key.pem"\n',
    )

    assert (stream.nats.ca, stream.nats.credentials, stream.store.password_file) == (
        str(tmp_path / "nats.pem"),
        str(tmp_path / "gateway.creds"),
        str(tmp_path / "secret"),
    )
    assert stream.http.tls_cert == str(tmp_path / "cert.pem")
    assert stream.http.tls_key == "/etc/key.pem"


def test_a_commands_options_stand_in_place_of_the_settings(tmp_path: Path) -> None:
    """All of them are checked together: what an option breaks is refused, too."""
    file = tmp_path / "gateway.toml"
    file.write_text('data = "kept"\n[http]\nport = 1\n[broker]\nport = 2\n')

    config = load(file, tmp_path / "other", http_port=3, mqtt_port=0)

    assert config.sqlite == tmp_path / "other" / "readings.sqlite"
    assert (config.http.port, config.broker.port) == (3, 0)
    file.write_text("[broker]\nembedded = false\n")
    with pytest.raises(ConfigError, match=r"broker\.port 0 needs"):
        load(file, mqtt_port=0)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        load(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///readings",
        "postgresql://gateway@127.0.0.1:5433/readings",
        "postgres://gateway@/readings?host=/run/postgresql",
        "postgresql://gateway@a.example,b.example/readings?sslmode=verify-full",
    ],
)
def test_a_store_on_a_server_needs_its_address_alone(tmp_path: Path, url: str) -> None:
    config = of(tmp_path, f'[store]\nurl = "{url}"\npassword_file = "secret"\n')

    assert config.store.url == url
    assert config.store.password_file == str(tmp_path / "secret")


def test_one_of_a_group_needs_no_folder_of_its_own(tmp_path: Path) -> None:
    """Its settings are those of all others, and so may be the file."""
    store = '[store]\nurl = "postgresql:///readings"\n'
    group = '[broker]\nembedded = false\nprotocol = "5"\nshared = "gateways"\n'
    nats = (
        '[nats]\nservers = ["tls://a:4222", "tls://b"]\nca = "c"\ncredentials = "d"\n'
    )

    shared, pulling = of(tmp_path, store + group), of(tmp_path, _STREAM + nats)

    assert (shared.grouped, shared.embedded) == (True, False)
    assert (pulling.grouped, pulling.embedded) == (True, False)
    assert pulling.nats.ca == str(tmp_path / "c")
    assert pulling.nats.credentials == str(tmp_path / "d")
    assert not load(None).grouped


def _keys(of: type[msgspec.Struct], table: str = "") -> list[str]:
    """Return every key of a configuration as the reference writes it."""
    keys = []
    for one in msgspec.structs.fields(of):
        if isinstance(one.type, type) and issubclass(one.type, msgspec.Struct):
            keys += _keys(one.type, f"`[{one.name}]` ")
        else:
            keys.append(f"| {table}`{one.name}` | ")
    return keys


def test_every_key_stands_in_the_reference() -> None:
    """An operator has no other place to find it."""
    page = Path(__file__).parents[2] / "docs/reference/configuration.md"
    text = page.read_text().partition("## The gateway")[2]

    assert [key for key in _keys(Config) if key not in text] == []
    assert "| `[nats]` `servers` | " in _keys(Config)
