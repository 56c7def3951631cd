"""A station whose Bluetooth hangs, or dies: each part a process of its own.

A stopped process answers nothing and hangs up on nobody, as a bluetoothd does that
waits for its controller, or a bus without memory. Half of the tests take minutes in
sum, and run by ``make scale``.
"""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_agent import demo
from tests.integration.parts import Part, agent_status, command, part, until

pytestmark = pytest.mark.integration

_METER, _PORT = "00012345", "SIM000001"
_ADDRESS = "C0:5A:11:00:00:01"
_AIR = f"""\
[[device]]
model = "glucose-meter"
name = "meter"
serial = "{_METER}"
address = "{_ADDRESS}"
passkey = "314159"
series = "smbg_uci"
series_device = "uci-28"
count = 20
"""
_WIRE = f"""\
[[device]]
model = "ultraeasy"
name = "UltraEasy"
serial = "{_PORT}"
port = "ultraeasy"
series = "smbg_uci"
series_device = "uci-02"
count = 20
"""
_SILENT = "Bluetooth does not answer"


class _Station:
    """An agent with a meter on the air and one on a port, and what it tells of them."""

    def __init__(self, folder: Path, held: ExitStack) -> None:
        self._folder, self._held = folder, held
        gateway = command("gateway", "serve", "--data", str(folder / "gateway"))
        gateway += ["--http-port", "0", "--mqtt-port", "0", "--json"]
        self._served = held.enter_context(part(folder, "gateway", gateway)).ready()
        self._wire = held.enter_context(self._simulated("wire", _WIRE)).ready()
        (port,) = self._wire["devices"]
        self._peers = {_METER: _ADDRESS, _PORT: port["port"]}

    def air(self) -> Part:
        """Start the meter on the air, and a bus with BlueZ."""
        return self._held.enter_context(self._simulated("air", _AIR))

    def agent(self, air: dict[str, Any]) -> Part:
        """Start the agent."""
        devices = air["devices"] + self._wire["devices"]
        text = demo._agent_config(devices, self._served)
        config = self._folder / "agent.toml"
        config.write_text(text.replace("[[device]]", "[[device]]\nevery_s = 0.5"))
        agent = command("agent", "run", "--config", str(config))
        agent += ["--data", str(self._folder / "agent")]
        bus = {"DBUS_SYSTEM_BUS_ADDRESS": air["bus"]}
        return self._held.enter_context(part(self._folder, "agent", agent, **bus))

    def stored(self, serial: str) -> int:
        """Return how many of a device's readings the gateway has."""
        page = str(self._served["http"]).rstrip("/")
        return Counter(fact[0] for fact in demo._stored(page))[serial]

    @property
    def bluetooth(self) -> str:
        """What the status says of it."""
        return str(agent_status(self._folder).get("bluetooth", ""))

    def visited(self, serial: str, times: int = 1) -> None:
        """Wait until the agent has read a device to its end so often from now on."""
        peer = self._peers[serial]
        before = self._visits(peer)
        until(lambda: self._visits(peer) >= before + times, seconds=120)

    def _visits(self, peer: str) -> int:
        devices = agent_status(self._folder).get("devices", {})
        visits: int = devices.get(peer, {}).get("visits", 0)
        return visits

    @property
    def log(self) -> str:
        """What the agent has logged."""
        return (self._folder / "agent.log").read_text()

    @contextmanager
    def _simulated(self, name: str, scenario: str) -> Iterator[Part]:
        file = self._folder / f"{name}.toml"
        file.write_text(scenario)
        run = command("sim", "run", str(file), "--data", str(self._folder / name))
        with part(self._folder, name, [*run, "--json"]) as one:
            yield one


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _daemon(sim: Part) -> int:
    """Return the D-Bus daemon that a simulator started."""
    pid = sim.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    (daemon,) = map(int, children)
    return daemon


@pytest.mark.parametrize(
    "who", ["bluetoothd", pytest.param("bus", marks=pytest.mark.scale)]
)
def test_an_agent_starts_while_bluetooth_is_silent(tmp_path: Path, who: str) -> None:
    """It hung for ever, and the meter on the cable was not read either."""
    with ExitStack() as held:
        station = _Station(tmp_path, held)
        air = station.air()
        ready = air.ready()
        with _stopped(air.process.pid if who == "bluetoothd" else _daemon(air)):
            station.agent(ready)
            until(lambda: station.stored(_PORT) == 20)
            until(lambda: station.bluetooth.startswith(_SILENT))
            assert "systemctl restart bluetooth" in station.bluetooth
            assert f"bluetooth: {_SILENT}" in station.log
            assert station.stored(_METER) == 0
        until(lambda: station.stored(_METER) == 20)
        assert station.bluetooth == "ready"
        assert "Traceback" not in station.log


@pytest.mark.scale
@pytest.mark.parametrize("who", ["bluetoothd", "bus"])
def test_an_agent_outlasts_a_bluetooth_that_falls_silent(
    tmp_path: Path, who: str
) -> None:
    """In a scan, a visit or a rest: the port is read on, and the meter again after."""
    with ExitStack() as held:
        station = _Station(tmp_path, held)
        air = station.air()
        station.agent(air.ready())
        station.visited(_METER)
        for _ in range(2):
            with _stopped(air.process.pid if who == "bluetoothd" else _daemon(air)):
                until(lambda: station.bluetooth.startswith(_SILENT), seconds=120)
                station.visited(_PORT, 2)
            station.visited(_METER)
            assert station.bluetooth == "ready"
        assert "Traceback" not in station.log


@pytest.mark.scale
def test_an_agent_outlives_the_bus_and_pairs_on_the_next(tmp_path: Path) -> None:
    """It ended with status 1; and who is not registered anew can pair with nothing."""
    with ExitStack() as held:
        station = _Station(tmp_path, held)
        air = station.air()
        ready = air.ready()
        agent = station.agent(ready)
        station.visited(_METER)
        air.process.terminate()
        air.process.wait(20)
        until(lambda: station.bluetooth.startswith("no Bluetooth"), agent.process)
        assert "systemctl status bluetooth" in station.bluetooth
        assert station.air().ready() == ready  # the bus is where it was
        station.visited(_METER)
        assert "Traceback" not in station.log


@pytest.mark.scale
def test_an_agent_outlives_a_bus_that_dies_while_it_is_asked(tmp_path: Path) -> None:
    """The call that is under way ends by an error that nothing took: status 1."""
    with ExitStack() as held:
        station = _Station(tmp_path, held)
        air = station.air()
        ready = air.ready()
        ready["devices"][0]["address"] = "C0:5A:11:00:00:09"  # is looked for, for ever
        agent = station.agent(ready)
        until(lambda: station.bluetooth == "ready")
        with _stopped(air.process.pid):
            until(lambda: station.bluetooth.startswith(_SILENT), seconds=120)
            os.kill(_daemon(air), signal.SIGKILL)
            until(lambda: station.bluetooth.startswith("no Bluetooth"), agent.process)
            station.visited(_PORT)
        assert "Traceback" not in station.log


@pytest.mark.scale
def test_an_agent_stops_while_bluetooth_is_silent(tmp_path: Path) -> None:
    """What waits for an answer must not outwait the person who stops it."""
    with ExitStack() as held:
        station = _Station(tmp_path, held)
        air = station.air()
        agent = station.agent(air.ready())
        station.visited(_METER)
        with _stopped(air.process.pid):
            until(lambda: station.bluetooth.startswith(_SILENT), seconds=120)
            agent.process.terminate()
            assert agent.process.wait(10) == 0
        assert "Traceback" not in station.log
