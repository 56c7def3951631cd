"""Every driver against its simulated device, over real carriers, by the real agent.

BLE devices on bumble behind a private D-Bus, read through bleak and BlueZ's own
interface; serial ones on pseudo-terminals, read through pyserial. What the agent
wrote to its disk is compared with what the displays showed.
"""

from collections import Counter
from pathlib import Path

import pytest

from drivers import registry
from drivers.sdk import GattDriver
from edge_agent.clock import is_synchronised
from edge_agent.outbox import Outbox
from firmware_sim.kit.history import Fact, Reader, lists, many
from firmware_sim.trial_device import find_trial
from protocols.observation import Observation
from protocols.uplink import batch
from tests.integration.parts import agent_status, command, part, until

pytestmark = pytest.mark.integration

_COUNT = 6
_READ_S = 240.0


def _scenario(folder: Path) -> Path:
    """Write a scenario with one device for each driver."""
    lines = []
    for number, name in enumerate(registry.names()):
        is_ble = isinstance(registry.load(name), GattDriver)
        place = (
            f'address = "C0:5A:00:00:00:{number:02X}"' if is_ble else f'port = "{name}"'
        )
        lines.append(
            f'[[device]]\nmodel = "trial"\ndriver = "{name}"\n{place}\n'
            f'series = "span"\ncount = {_COUNT}\n'
        )
    path = folder / "all.toml"
    path.write_text("\n".join(lines))
    return path


def _config(folder: Path, devices: list[dict[str, str]]) -> Path:
    """Write the agent's configuration for what the simulator offers."""
    lines = ['station = "st-1"', "[broker]", "port = 9"]
    for device in devices:
        name, trial = device["name"], find_trial(device["name"])
        lines += ["[[device]]", f'driver = "{name}"', "every_s = 600"]
        lines += [
            f'{key} = "{device[key]}"'
            for key in ("address", "port", "passkey")
            if key in device
        ]
        if trial.model:
            lines.append(f'model = "{trial.model}"')
        if trial.needs_clock:
            lines.append("set_clock = true")
    path = folder / "agent.toml"
    path.write_text("\n".join(lines))
    return path


def _observations(folder: Path) -> dict[str, list[Observation]]:
    """Return what the agent wrote to its disk, by driver."""
    found: dict[str, list[Observation]] = {}
    box = Outbox(folder / "agent" / "outbox.db")
    while (made := box.batches.make("st-1", 0, 256)) is not None:
        for reading in batch.decode(made.message).readings:
            found.setdefault(reading.driver, []).append(reading.observation)
    box.close()
    return found


def test_the_real_agent_reads_every_device(tmp_path: Path) -> None:
    """A link in memory is kind: packets fit, nobody pairs, and nothing takes time."""
    sim = command("sim", "run", str(_scenario(tmp_path)), "--json")
    with part(tmp_path, "sim", [*sim, "--data", str(tmp_path / "sim")]) as devices:
        ready = devices.ready()
        config = _config(tmp_path, ready["devices"])
        agent = command("agent", "run", "--config", str(config))
        bus = {"DBUS_SYSTEM_BUS_ADDRESS": ready["bus"]}
        with part(
            tmp_path, "agent", [*agent, "--data", str(tmp_path / "agent")], **bus
        ) as running:

            def visited() -> bool:
                seen = agent_status(tmp_path).get("devices", {})
                return len(seen) == len(ready["devices"]) and all(
                    one["visits"] + one["failures"] > 0
                    or one["captured"] >= _COUNT
                    for one in seen.values()
                )  # fmt: skip

            until(visited, running.process, _READ_S)
        status = agent_status(tmp_path)["devices"]
    told = _observations(tmp_path)
    problems = []
    for device in ready["devices"]:
        name = device["name"]
        trial, health = (
            find_trial(name),
            status[device.get("address") or device["port"]],
        )
        if trial.needs_clock and not is_synchronised():
            if "this station does not know the time" not in health["problem"]:
                problems.append(f"{name}: {health}")
            continue
        reader = Reader(trial)
        expected: Counter[Fact] = reader.truth(many(trial, _COUNT))
        found = reader.told(told.get(name, []))
        if expected != found:
            lacks, more = lists(expected - found), lists(found - expected)
            problems.append(f"{name}: lacks {lacks}; tells {more}; {health}")

    assert not problems, "\n".join(problems)
