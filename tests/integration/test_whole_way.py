"""The whole way of a reading, on real parts, each a process of its own.

Devices on bumble behind a private D-Bus, the agent through bleak and pyserial, a
real broker, the gateway and its store. What the devices hold is known from the
scenario; what is stored is asked from the gateway's API.
"""

import json
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from edge_agent import demo
from tests.gateway.conftest import Mosquitto
from tests.integration.parts import agent_status, command, part, until

pytestmark = pytest.mark.integration

_READINGS = 400 + 222 + 373


def _sim(folder: Path) -> list[str]:
    return command("sim", "run", "--data", str(folder / "sim"), "--json")


def _embedded(folder: Path) -> list[str]:
    ports = ("--http-port", "0", "--mqtt-port", "0")
    data = str(folder / "gateway")
    return command("gateway", "serve", "--data", data, *ports, "--json")


def _captured(folder: Path) -> int:
    devices = agent_status(folder).get("devices", {}).values()
    return sum(device["captured"] for device in devices)


def _rows(page: str, sim: dict[str, Any]) -> list[demo.Row]:
    names = {device["serial"]: device["name"] for device in sim["devices"]}
    return demo.compare(demo._truth(), demo._stored(page), names)


def _stored_all(page: str) -> bool:
    return len(demo._stored(page)) >= _READINGS


def test_every_reading_is_stored_once_and_a_second_run_adds_none(
    tmp_path: Path,
) -> None:
    """The demo is the main job: pair, read, forward, store, check, exit."""
    for _ in range(2):
        shown = subprocess.run(
            command("demo", "--once", "--json", "--data", str(tmp_path)),
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert shown.returncode == 0, shown.stderr
        rows = json.loads(shown.stdout)["devices"]
        assert [(row["held"], row["stored"]) for row in rows] == [
            (400, 400),
            (222, 222),
            (373, 373),
        ]
        assert not any(row["missing"] + row["doubled"] + row["changed"] for row in rows)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path, keeps=False)
    broker.start()
    yield broker
    broker.kill()


def _gateway(folder: Path, port: int, protocol: str) -> list[str]:
    config = folder / "gateway.toml"
    config.write_text(
        f'[broker]\nembedded = false\nhost = "127.0.0.1"\nport = {port}\n'
        f'protocol = "{protocol}"\n[http]\nport = 0\n'
    )
    data = str(folder / "gateway")
    return command(
        "gateway", "serve", "--config", str(config), "--data", data, "--json"
    )


def _agent(folder: Path, sim: dict[str, Any], port: int, protocol: str) -> list[str]:
    config = folder / "agent.toml"
    text = demo._agent_config(
        sim["devices"], {"mqtt_host": "127.0.0.1", "mqtt_port": port}
    )
    config.write_text(text.replace("[broker]", f'[broker]\nprotocol = "{protocol}"'))
    data = str(folder / "agent")
    return command("agent", "run", "--config", str(config), "--data", data)


@pytest.mark.parametrize(
    "protocol", ["3.1.1", pytest.param("5", marks=pytest.mark.scale)]
)
def test_nothing_is_lost_when_the_broker_is_killed_and_wiped(
    tmp_path: Path, mosquitto: Mosquitto, protocol: str
) -> None:
    """The broker has acknowledged every batch, and then loses all of them.

    While no gateway listens the agent sends, the broker says PUBACK, and is
    killed with all it holds. A station that took PUBACK for safety has lost them.
    """
    with ExitStack() as held:
        sim = held.enter_context(part(tmp_path, "sim", _sim(tmp_path))).ready()
        agent = _agent(tmp_path, sim, mosquitto.port, protocol)
        bus = {"DBUS_SYSTEM_BUS_ADDRESS": sim["bus"]}
        held.enter_context(part(tmp_path, "agent", agent, **bus))
        until(lambda: _captured(tmp_path) >= _READINGS)
        time.sleep(1.0)  # for the PUBACKs to come; that they do is the point

        mosquitto.kill()
        mosquitto.start()
        gateway = _gateway(tmp_path, mosquitto.port, protocol)
        page = held.enter_context(part(tmp_path, "gateway", gateway)).ready()["http"]
        until(lambda: _stored_all(page.rstrip("/")))

        assert all(row.is_exact for row in _rows(page.rstrip("/"), sim))
        until(lambda: agent_status(tmp_path)["outbox"]["waiting"] == 0)


def test_nothing_captured_is_lost_or_doubled_when_all_are_killed(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """Power cuts at any moment: what was captured goes on where it was.

    The meters tell again what the agent did not come to write down. The cuff
    does not: BlueZ confirms for a dead agent, and no station can know of it. So
    for the cuff only what was captured is claimed.
    """
    with ExitStack() as held:
        sim = held.enter_context(part(tmp_path, "sim", _sim(tmp_path))).ready()
        bus = {"DBUS_SYSTEM_BUS_ADDRESS": sim["bus"]}
        agent = _agent(tmp_path, sim, mosquitto.port, "3.1.1")
        gateway = _gateway(tmp_path, mosquitto.port, "3.1.1")
        for delay_s in (0.7, 0.9, 1.1, 1.3):
            with (
                part(tmp_path, "agent", agent, **bus) as one,
                part(tmp_path, "gateway", gateway) as other,
            ):
                time.sleep(delay_s)
                one.kill()
                other.kill()
        held.enter_context(part(tmp_path, "agent", agent, **bus))
        page = held.enter_context(part(tmp_path, "gateway", gateway)).ready()["http"]

        def rows() -> dict[str, demo.Row]:
            return {row.device: row for row in _rows(page.rstrip("/"), sim)}

        until(lambda: rows()["meter+00012345"].missing == 0)
        until(lambda: rows()["UltraEasy"].missing == 0)
        until(lambda: rows()["Cuff 0815"].stored == _seen_of_cuff(tmp_path))
        assert not any(row.doubled or row.changed for row in rows().values())


def _seen_of_cuff(folder: Path) -> int:
    """Return how many of the cuff's readings the outbox ever captured."""
    with closing(sqlite3.connect(folder / "agent" / "outbox.db")) as outbox:
        found = outbox.execute("SELECT count(*) FROM seen WHERE device LIKE '%815'")
        count: int = found.fetchone()[0]
        return count


def test_the_page_shows_every_reading_and_hears_of_new_ones(tmp_path: Path) -> None:
    """What people look at is drawn by a real browser from what is really stored."""
    with ExitStack() as held:
        gateway = held.enter_context(part(tmp_path, "gateway", _embedded(tmp_path)))
        ready = gateway.ready()
        browser = held.enter_context(sync_playwright()).chromium.launch(
            executable_path=which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page()
        problems: list[str] = []
        page.on("console", lambda said: problems.append(said.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(ready["http"])
        page.get_by_text("live", exact=True).wait_for()

        sim = held.enter_context(part(tmp_path, "sim", _sim(tmp_path))).ready()
        agent = _agent(tmp_path, sim, ready["mqtt_port"], "3.1.1")
        bus = {"DBUS_SYSTEM_BUS_ADDRESS": sim["bus"]}
        held.enter_context(part(tmp_path, "agent", agent, **bus))

        for name, stored, points in (
            ("LifeScan OneTouch UltraEasy", 373, 373),
            ("vitalwire simulation Glucose meter", 400, 400),
            ("vitalwire simulation Blood pressure cuff", 222, 3 * 222),
        ):
            row = page.get_by_role("row", name=re.compile(rf"{name}.*\b{stored}\b"))
            row.wait_for(timeout=60_000)
            page.get_by_role("button", name=name).click()
            page.get_by_role("button", name="All", exact=True).click()
            drawn = page.locator(".scatterlayer .point")
            until(lambda drawn=drawn, points=points: drawn.count() == points)
        assert problems == []
        browser.close()
