"""The doctor finds what keeps a gateway from its work, and changes nothing."""

import asyncio
import fcntl
import json
import os
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nats
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.broker import Broker, _binary
from gateway.cli import gateway
from gateway.config import Config, NatsConfig, StoreConfig
from gateway.doctor import broker as doctor_broker
from gateway.doctor import findings, server, store
from gateway.doctor.finding import Finding
from gateway.doctor.machine import expiry
from gateway.store import Refused
from gateway.store.postgres import PostgresStore
from gateway.store.sqlite import SqliteStore
from tests.gateway.conftest import _MOSQUITTO, Connect, Mosquitto
from tests.gateway.stations import accepted, eventually, glucose, message, sender

_NOW = datetime(2026, 3, 1, tzinfo=UTC)
_DAY_MS = 86_400_000


def by_check(found: list[Finding]) -> dict[str, Finding]:
    return {one.check: one for one in found}


def written(folder: Path, text: str) -> Path:
    file = folder / "gateway.toml"
    file.write_text(text)
    return file


def test_a_new_machine_has_nothing_to_mend(tmp_path: Path) -> None:
    """Before the first start, too: this is when it is asked first."""
    found = by_check(list(findings(None, tmp_path / "none")))

    assert [one.check for one in found.values() if one.state == "fail"] == []
    assert "first start makes it" in found["store"].found
    assert not (tmp_path / "none").exists()


def test_settings_that_cannot_be_used_end_the_look(tmp_path: Path) -> None:
    file = written(tmp_path, '[http]\nhost = "0.0.0.0"\n')

    (found,) = findings(file, None)

    assert (found.check, found.state) == ("config", "fail")
    assert "http.host '0.0.0.0'" in found.found


def test_an_open_folder_fails(tmp_path: Path) -> None:
    """Everybody on the machine could read every reading."""
    tmp_path.chmod(0o755)

    found = by_check(list(findings(None, tmp_path)))["folder"]

    assert (found.state, found.advice) == (
        "fail", f"it holds patients' data: chmod 700 {tmp_path}",
    )  # fmt: skip


def test_counts_tell_what_is_wrong_with_the_way_in(sqlite_store: SqliteStore) -> None:
    """Quarantine that grows, stations that are silent, letters that are dead."""
    now_ms = 10 * _DAY_MS
    counted = by_check(list(store.counts(sqlite_store.database, now_ms)))
    assert {one.state for one in counted.values()} == {"ok"}

    refused = Refused("topic", None, b"?", b"d" * 32, "no batch", now_ms - 1)
    sqlite_store.commit([accepted(1, glucose(1), received_ms=8 * _DAY_MS), refused])
    with sqlite_store.database.change() as change:
        change.rows(
            "INSERT INTO webhook (tenant, url, secret, kinds, whole, created_ms, "
            "created_by) VALUES ('clinic', 'https://a', 's', '', 0, 1, 'x')"
        )
        change.rows(
            "INSERT INTO stretch (webhook, dead, after_id, due_ms) VALUES (1, 1, 0, 1)"
        )
    counted = by_check(list(store.counts(sqlite_store.database, now_ms)))
    assert {one.check: (one.state, one.found) for one in counted.values()} == {
        "quarantine": ("warn", "1 messages, 1 of them in the last day"),
        "stations": ("warn", "1 of 1 silent for over a day: station-1"),
        "webhooks": ("warn", "1 dead letters"),
    }


def test_a_damaged_or_newer_store_fails(tmp_path: Path) -> None:
    found = SqliteStore(tmp_path / "readings.sqlite")
    found.commit([accepted(1, *map(glucose, range(300)))])
    found.database.rows("PRAGMA user_version")
    found.close()
    file = tmp_path / "readings.sqlite"
    good = file.read_bytes()
    tmp_path.chmod(0o700)
    assert by_check(list(findings(None, tmp_path)))["integrity"].state == "ok"

    file.write_bytes(good[:60] + (9_999).to_bytes(4) + good[64:])
    newer = by_check(list(findings(None, tmp_path)))["store"]
    assert (newer.state, newer.advice) == ("fail", "install the newer gateway again")

    half = len(good) // 2
    file.write_bytes(good[:half] + bytes(8_192) + good[half + 8_192 :])
    looked = by_check(list(findings(None, tmp_path)))
    assert "fail" in {looked[name].state for name in ("store", "integrity")
                      if name in looked}  # fmt: skip


def test_it_looks_while_the_gateway_runs(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    """And takes no lock that a commit would wait for."""
    sqlite_store.commit([accepted(1, glucose(1))])
    found = store.findings(Config(data=str(tmp_path)))
    next(found)
    sqlite_store.commit([accepted(2, glucose(2))])
    assert {one.state for one in found} <= {"ok", "warn"}
    assert sqlite_store.last() == 2


@pytest.mark.parametrize(
    ("days", "state"), [(-1, "fail"), (0, "fail"), (29, "warn"), (30, "ok")]
)
def test_certificates_are_told_before_they_expire(days: int, state: str) -> None:
    assert expiry("x", _NOW + timedelta(days=days), _NOW).state == state


def test_a_certificate_in_a_file_is_looked_at(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "clinic")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(_NOW - timedelta(days=9))
        .not_valid_after(_NOW - timedelta(days=2))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    from cryptography.hazmat.primitives.serialization import Encoding

    (tmp_path / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").touch()
    file = written(tmp_path, '[http]\ntls_cert = "cert.pem"\ntls_key = "key.pem"\n')

    found = by_check(list(findings(file, tmp_path / "data")))["http.tls_cert"]

    assert (found.state, found.found) == ("fail", "expired 2026-02-27")


def test_a_broker_that_is_not_there_fails(tmp_path: Path) -> None:
    file = written(tmp_path, "[broker]\nembedded = false\nport = 1\n")

    found = by_check(list(findings(file, tmp_path / "data")))["broker"]

    assert found.state == "fail"
    assert found.found.startswith("127.0.0.1:1 can't be reached")


@pytest.mark.integration
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_a_broker_that_lets_us_in_is_well_and_loses_no_message(
    mosquitto: Mosquitto,
    sqlite_store: SqliteStore,
    connect: Connect,
    tmp_path: Path,
    protocol: str,
) -> None:
    """What comes while the doctor looks is the gateway's all the same."""
    assert connect(mosquitto.port, sqlite_store, protocol=protocol).wait_connected(15)
    file = written(
        tmp_path,
        f'[broker]\nembedded = false\nport = {mosquitto.port}\nprotocol = "{protocol}"',
    )
    with sender(mosquitto.port, protocol=protocol) as station:
        digests = [station.send(message(n, glucose(n))) for n in range(1, 20)]
        found = by_check(list(findings(file, tmp_path / "data")))["broker"]
        for digest in digests:
            station.entry(digest)
    assert found.state == "ok"
    assert f"MQTT {protocol}" in found.found


@pytest.mark.integration
def test_a_broker_that_refuses_us_is_told(tmp_path: Path) -> None:
    """Wrong password or no right: two different things to mend."""
    folder = tmp_path / "broker"
    folder.mkdir()
    secret = tmp_path / "password"
    secret.write_text("wrong\n")
    broker = Mosquitto(folder)
    text = broker._file.read_text().replace("allow_anonymous true", "")
    broker._file.write_text(f"{text}allow_anonymous false\n")
    file = written(
        tmp_path,
        f"[broker]\nembedded = false\nport = {broker.port}\n"
        'username = "gateway"\npassword_file = "password"\n',
    )
    try:
        broker._process = doctor_process(broker)
        found = by_check(list(findings(file, tmp_path / "data")))["broker"]
    finally:
        broker.kill()
    assert found.state == "fail"
    assert "refuses the gateway" in found.found
    assert "password_file" in found.advice


def doctor_process(broker: Mosquitto) -> object:
    """Start a broker that lets nobody in, which `Mosquitto.start` would wait for."""
    if _MOSQUITTO is None:
        pytest.skip("the Debian package mosquitto is not installed")
    process = subprocess.Popen(
        [_MOSQUITTO, "-c", str(broker._file)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", broker.port)) == 0

    assert eventually(listens)
    return process


def test_a_stream_of_a_cluster_is_looked_at(tmp_path: Path) -> None:
    """And made by nobody but the gateway."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"nats://127.0.0.1:{port}"
    config = Config(source="jetstream", nats=NatsConfig(servers=(url,)))

    def found() -> Finding:
        (one,) = doctor_broker.findings(config)
        return one

    async def publish() -> None:
        client = await nats.connect(url)
        stream = client.jetstream()
        await stream.add_stream(name="vitalwire", subjects=["vw.1.*.*.up.>"])
        await stream.publish("vw.1.clinic.station-1.up.batch", b"one")
        await client.close()

    assert (found().state, found().found.startswith(url)) == ("fail", True)
    server = subprocess.Popen(
        [_binary(), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(tmp_path)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert eventually(lambda: found().state == "ok")
        assert found().found == f"{url}; the first gateway makes the stream"
        asyncio.run(publish())
        assert found().found == "1 messages wait in vitalwire"
    finally:
        server.kill()
        server.wait()


@pytest.mark.integration
def test_a_store_on_a_server_is_looked_at(
    postgres_url: str, postgres_store: PostgresStore
) -> None:
    postgres_store.commit([accepted(1, glucose(1), received_ms=1)])
    config = Config(store=StoreConfig(url=postgres_url))

    found = by_check(list(server.findings(config, store.counts)))

    assert (found["store"].state, found["vacuum"].state) == ("ok", "ok")
    assert found["stations"].found == "1 of 1 silent for over a day: station-1"
    gone = Config(store=StoreConfig(url="postgresql://nobody@127.0.0.1:1/none"))
    (failed,) = server.findings(gone, store.counts)
    assert (failed.check, failed.state) == ("store", "fail")


def test_the_embedded_broker_is_asked_only_while_a_gateway_runs(tmp_path: Path) -> None:
    tmp_path.joinpath("lock").touch()
    assert not doctor_broker._running(tmp_path)
    config = Config(data=str(tmp_path))
    (found,) = doctor_broker.findings(config)
    assert found.state == "ok"


def test_the_embedded_broker_is_asked_at_the_port_that_it_has(
    broker: Broker, tmp_path: Path
) -> None:
    """A port given as an option, or chosen free, is in no settings."""
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (found,) = doctor_broker.findings(Config(data=str(tmp_path)))
        broker.stop()
        (failed,) = doctor_broker.findings(Config(data=str(tmp_path)))

    assert (found.state, failed.state) == ("ok", "fail")
    assert found.found.endswith(f"127.0.0.1:{broker.port}")


def test_the_command_ends_by_what_it_found(tmp_path: Path) -> None:
    """Scripts look at nothing else: 0 with warnings, 1 with a failure."""
    run = CliRunner().invoke
    well = run(gateway, ["doctor", "--data", str(tmp_path / "new"), "--json"])
    lines = [json.loads(line) for line in well.stdout.splitlines()]
    assert well.exit_code == 0
    assert {frozenset(line) for line in lines} == {
        frozenset({"check", "state", "found", "advice"})
    }
    tmp_path.chmod(0o777)
    ill = run(gateway, ["doctor", "--data", str(tmp_path)])
    assert ill.exit_code == 1
    assert f"fail  folder        {tmp_path} is open to other users\n" in ill.stdout
    assert "-> it holds patients' data" in ill.stdout
    assert os.access(tmp_path, os.W_OK)
