"""``gateway serve`` as its users run it: a process, its pages, its end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
from click.testing import CliRunner

from gateway.cli import gateway
from protocols.uplink.receipt import Result
from tests.gateway.stations import eventually, glucose, message, sender

_RUN = "from gateway.cli import gateway; gateway()"


@contextmanager
def serving(data: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a gateway; yield it with the first line that it said."""
    command = [sys.executable, "-W", "error", "-c", _RUN, "serve", "--data", str(data)]
    with subprocess.Popen(
        [*command, "--http-port", "0", "--mqtt-port", "0", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


def test_a_reading_goes_from_mqtt_to_http(tmp_path: Path) -> None:
    """The whole way, by nothing but the addresses that the gateway said."""
    with serving(tmp_path, "--json") as (process, line):
        said = json.loads(line)
        assert said.keys() == {"http", "mqtt_host", "mqtt_port"}
        assert httpx.get(said["http"] + "readyz").text == "ready\n"
        with (
            httpx.stream("GET", said["http"] + "api/v1/live") as live,
            sender(said["mqtt_port"]) as station,
        ):
            assert live.status_code == 200
            digest = station.send(message(1, glucose(1, "5.50")))
            assert station.entry(digest).result == Result.STORED
            told = next(one for one in live.iter_lines() if one.startswith("data: "))
        answer = httpx.get(said["http"] + "api/v1/readings")
        assert '"value":5.50,' in answer.text
        assert json.loads(told.removeprefix("data: ")) == {
            "readings": [{"id": "1", "device": "meter-1", "kind": "glucose"}],
            "amendments": [],
        }
        process.send_signal(signal.SIGTERM)
        _, logs = process.communicate(timeout=10)

    events = [json.loads(one) for one in logs.splitlines()]
    assert "batch.stored" in [one["event"] for one in events]
    for private in ("meter-1", "SN-1", "person-7", "5.50", "Sweet"):
        assert private not in logs


def test_stops_within_three_seconds_while_somebody_listens(tmp_path: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with serving(tmp_path, "--json") as (process, line):
            said = json.loads(line)
            with httpx.stream("GET", said["http"] + "api/v1/live") as live:
                lines = live.iter_lines()
                next(lines)
                started_s = time.monotonic()
                process.send_signal(number)
                assert process.wait(10) == 0
                assert time.monotonic() - started_s < 3


def test_a_killed_gateway_comes_back_with_all_it_receipted(tmp_path: Path) -> None:
    with serving(tmp_path, "--json") as (process, line):
        with sender(json.loads(line)["mqtt_port"]) as station:
            for counter in range(1, 6):
                station.entry(station.send(message(counter, glucose(counter))))
        process.kill()
    with serving(tmp_path, "--json") as (_, line):
        answer = httpx.get(json.loads(line)["http"] + "api/v1/readings").json()
    assert [one["sequence"] for one in answer["readings"]] == [1, 2, 3, 4, 5]


def test_keeps_readings_where_the_settings_say(
    tmp_path: Path, postgres_url: str
) -> None:
    settings = tmp_path / "gateway.toml"
    settings.write_text(f'[store]\nurl = "{postgres_url}"\n')
    options = ("--json", "--config", str(settings))
    with serving(tmp_path, *options) as (process, line):
        said = json.loads(line)
        with sender(said["mqtt_port"]) as station:
            for counter in (1, 2):
                sent = station.send(message(counter, glucose(counter)))
                assert station.entry(sent).result == Result.STORED
        answer = httpx.get(said["http"] + "api/v1/readings").json()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0

    assert [one["sequence"] for one in answer["readings"]] == [1, 2]
    assert not (tmp_path / "readings.sqlite").exists()
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM reading").fetchone() == (2,)


def test_says_where_in_one_line_for_people(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, line):
        assert line.startswith("ready: page http://127.0.0.1:")
        assert "MQTT 127.0.0.1:" in line


def test_two_gateways_never_share_a_folder(tmp_path: Path) -> None:
    with serving(tmp_path), serving(tmp_path) as (second, line):
        assert line == ""
        _, said = second.communicate(timeout=10)
        assert second.returncode == 1
        assert said == f"Error: another gateway runs on {tmp_path}\n"


def test_comes_up_without_a_broker_of_others_and_is_not_ready(tmp_path: Path) -> None:
    """The page still shows what is stored; readiness tells the difference."""
    settings = tmp_path / "gateway.toml"
    settings.write_text("[broker]\nembedded = false\nport = 1\n")
    command = [sys.executable, "-c", _RUN, "serve", "--config", str(settings)]
    with subprocess.Popen(
        [*command, "--data", str(tmp_path), "--http-port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        answer = httpx.get(said["http"] + "readyz")
        assert (answer.status_code, "broker" in answer.text) == (503, True)
        process.terminate()
        assert process.wait(5) == 0


def test_an_error_is_one_line_and_status_1(tmp_path: Path) -> None:
    settings = tmp_path / "gateway.toml"
    settings.write_text('[http]\nhost = "0.0.0.0"\n')

    result = CliRunner().invoke(gateway, ["serve", "--config", str(settings)])

    assert result.exit_code == 1
    assert result.output.startswith("Error: http.host '0.0.0.0' is reachable")
    assert result.output.count("\n") == 1


def test_help_gives_an_example_without_loading_the_web() -> None:
    """The command is listed on stations too, where there is no web stack."""
    code = (
        "import sys; from gateway.cli import gateway\n"
        "try: gateway(['serve', '--help'])\n"
        "finally: print([n for n in ('fastapi', 'apsw', 'numba') if n in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "vitalwire gateway serve --data" in ended.stdout
    assert ended.stdout.endswith("[]\n")


def test_the_store_is_readable_by_its_user_only(tmp_path: Path) -> None:
    data = tmp_path / "fresh"
    with serving(data):
        assert eventually((data / "readings.sqlite").exists)
        assert data.stat().st_mode & 0o077 == 0
