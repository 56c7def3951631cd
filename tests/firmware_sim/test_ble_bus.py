"""The agent's side of Bluetooth, bleak and BlueZ's D-Bus, against virtual devices.

Every visit runs bleak unmodified in a process of its own: `ble_visits`.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import pytest
from dbus_fast import Message
from dbus_fast.aio import MessageBus

from firmware_sim import bluez
from firmware_sim.air import Air
from firmware_sim.bench import (
    Action,
    AttError,
    Characteristic,
    HangUp,
    Pairing,
    Security,
    Send,
)
from firmware_sim.ble import Event, Peripheral
from firmware_sim.bus import Bus, NoBus, private_bus
from tests.firmware_sim.ble_visits import (
    ABORT,
    CONTROL,
    HANG_UP,
    METER,
    OPEN,
    PASSKEY,
    RECORD,
    REFUSE,
    SECRET,
    Found,
)

pytestmark = pytest.mark.integration

_CUFF = "D0:C1:38:00:00:02"
_ROOT = Path(__file__).parents[2]
_SERVICE = UUID("00001808-0000-1000-8000-00805f9b34fb")
_OTHER_SERVICE = UUID("7a8d1d2c-53a5-4d27-8c44-0a1f1ab3a001")


class _Bench:
    """A meter with records to report, a request to refuse, and a way to hang up."""

    name = "Meter 42"
    advertised = (_SERVICE,)
    passkey = PASSKEY

    def __init__(self, pairing: Pairing, security: Security) -> None:
        self.pairing = pairing
        self.services: Mapping[UUID, tuple[Characteristic, ...]] = {
            _SERVICE: (
                Characteristic(RECORD, frozenset({"notify"}), security),
                Characteristic(SECRET, frozenset({"read"}), security),
                Characteristic(CONTROL, frozenset({"write", "indicate"}), security),
            ),
            _OTHER_SERVICE: (Characteristic(OPEN, frozenset({"read"})),),
        }
        self.heard: list[str] = []
        self.reporting = asyncio.Event()
        self._aborted = False

    def connected(self) -> None:
        self.heard.append("connected")

    def disconnected(self) -> None:
        self.heard.append("disconnected")

    def read(self, uuid: UUID) -> bytes:
        return {OPEN: b"open", SECRET: b"\x2a\x00"}[uuid]

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        if payload == REFUSE:
            raise AttError(0x81)
        self._aborted = payload == ABORT
        return self._follow(uuid, payload)

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:
        self.heard.append(f"{uuid.time_low:04x} {'on' if on else 'off'}")
        return ()

    def _follow(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        if payload == HANG_UP:
            yield HangUp()
            return
        count = int.from_bytes(payload[1:3], "little")
        for sequence in range(count):
            if self._aborted:
                return
            self.reporting.set()
            yield Send(RECORD, sequence.to_bytes(2, "little") + bytes(15))
        yield Send(uuid, b"\x06\x00" + payload[:1] + b"\x01")


class _World:
    """A meter, perhaps a cuff, and processes that visit them."""

    def __init__(self, folder: Path, bench: _Bench) -> None:
        self.bench = bench
        self.meter = Peripheral(bench, METER)
        self.air = Air()
        self._folder = folder
        self._address = ""

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        self._address = await self._stack.enter_async_context(private_bus(self._folder))
        await self.meter.start(self.air)
        self._stack.push_async_callback(self.meter.stop)
        await self._stack.enter_async_context(bluez.bluez(self._address, self.air))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def visit(self, verb: str, *arguments: str) -> Found:
        """Run one of the functions of `ble_visits`; return what it finds."""
        return await _visit(self._address, verb, *arguments)


async def _visit(bus_address: str, verb: str, *arguments: str) -> Found:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.firmware_sim.ble_visits",
        verb,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=_ROOT,
        env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus_address},
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert b"Traceback" not in err
    assert b"never awaited" not in err
    return json.loads(out)


def _one_visit(folder: Path, bench: _Bench, verb: str, *arguments: str) -> Found:
    """Return what one process finds, and the meter's log."""

    async def run() -> Found:
        async with _World(folder, bench) as world:
            return await world.visit(verb, *arguments), world.meter.log

    return asyncio.run(run())


def _meter(pairing: Pairing = Pairing.PASSKEY) -> _Bench:
    return _Bench(
        pairing,
        Security.AUTHENTICATED if pairing is Pairing.PASSKEY else Security.ENCRYPTED,
    )


def test_a_scan_finds_names_and_services(tmp_path: Path) -> None:
    """A driver is chosen by them; the second scan must see what the first did."""

    async def run() -> Found:
        benches = {METER: _meter(), _CUFF: _meter()}
        async with bluez.radio(tmp_path, benches) as bus:
            return await _visit(bus, "scan")

    every = {
        METER: ["Meter 42", [str(_SERVICE)], "public"],
        _CUFF: ["Meter 42", [str(_SERVICE)], "random"],
    }
    assert asyncio.run(run()) == [every, every]


def test_an_unpaired_central_reads_only_what_is_open(tmp_path: Path) -> None:
    """Real meters refuse the same; the agent has to pair on exactly this error."""
    not_paired = ["org.bluez.Error.NotPermitted", "Not paired"]
    found, _ = _one_visit(tmp_path, _meter(), "read_unpaired")
    assert found == ["open", not_paired, not_paired, not_paired, True]


@pytest.mark.parametrize("pairing", list(Pairing))
def test_pairing_needs_an_agent(tmp_path: Path, pairing: Pairing) -> None:
    """A default installation has none, and even just-works pairing fails without."""
    found, _ = _one_visit(tmp_path, _meter(pairing), "pair_without_agent")
    assert found == ["org.bluez.Error.AuthenticationFailed", "Authentication Failed"]


def test_a_mistyped_passkey_can_be_typed_again(tmp_path: Path) -> None:
    """People mistype; the second attempt must not be poisoned by the first."""
    found, _ = _one_visit(tmp_path, _meter(), "pair_wrong_then_right")
    failed = ["org.bluez.Error.AuthenticationFailed", "Authentication Failed"]
    assert found == [failed, [], "2a00", 2]


def test_a_mistyped_passkey_fails_the_connection(tmp_path: Path) -> None:
    """In bleak pairing comes first; it must not be left half connected."""
    found, _ = _one_visit(tmp_path, _meter(), "pair_wrong_at_connect")
    failed = ["org.bluez.Error.AuthenticationFailed", "Authentication Failed"]
    assert found == [failed, False]


@pytest.mark.parametrize(
    ("pairing", "asked"), [(Pairing.PASSKEY, 1), (Pairing.JUST_WORKS, 0)]
)
def test_a_bond_outlives_the_connection(
    tmp_path: Path, pairing: Pairing, asked: int
) -> None:
    """A meter pairs once in its life; every later visit only encrypts."""

    async def run() -> Found:
        async with _World(tmp_path, _meter(pairing)) as world:
            first = await world.visit("pair")
            return first, await world.visit("read_again"), world.meter.log

    first, again, log = asyncio.run(run())
    assert (first, again) == (["2a00", asked], "2a00")
    assert [event.what for event in log] == [
        *("connected", "encrypted", "paired", "read", "disconnected"),
        *("connected", "encrypted", "read", "disconnected"),
    ]


def test_a_bond_that_the_meter_lost_is_an_error_until_unpaired(tmp_path: Path) -> None:
    """Nothing may hang; the way out is the one that BlueZ offers."""

    async def run() -> Found:
        async with bluez.radio(tmp_path, {METER: _meter()}, {METER: 2}) as bus:
            await _visit(bus, "pair")
            kept = await _visit(bus, "read_again")
            return kept, *await _visit(bus, "connect_stale")

    kept, failure, lasted_s, again = asyncio.run(run())
    assert kept == "2a00"
    assert failure[0] == "TimeoutError"
    assert lasted_s < 4.0
    assert again == ["2a00", 1]


@pytest.mark.parametrize("pairing", [Pairing.PASSKEY, Pairing.JUST_WORKS])
def test_a_download_is_complete_and_in_order(tmp_path: Path, pairing: Pairing) -> None:
    """The indication is the end; nothing may come after it or be missing before."""
    found, log = _one_visit(tmp_path, _meter(pairing), "download", "100")
    assert found["numbers"] == list(range(100))
    assert found["answers"] == [["06000101", 100]]
    assert [event.what for event in log].count("notified") == 100


def test_a_report_can_be_aborted(tmp_path: Path) -> None:
    """The meter is asked for a record when it can be sent, not all in advance."""
    found, _ = _one_visit(tmp_path, _meter(), "download", "30000", "10")
    count = len(found["numbers"])
    assert found["numbers"] == list(range(count))
    assert 10 <= count < 30000
    assert found["answers"] == [["06000401", count]]


def test_a_meter_that_is_switched_off_ends_a_download(tmp_path: Path) -> None:
    """A flat battery is a lost link to bleak, not a wait without end."""

    async def run() -> Found:
        bench = _meter()
        async with _World(tmp_path, bench) as world:
            visit = asyncio.create_task(world.visit("wait_for_the_end"))
            await bench.reporting.wait()
            await world.meter.stop()
            found = await visit
            await world.meter.start(world.air)
            return found, await world.visit("read_again"), bench.heard[-1]

    assert asyncio.run(run()) == (False, "2a00", "disconnected")


def test_a_subscription_outlives_the_connection_of_a_bonded_central(
    tmp_path: Path,
) -> None:
    """A bonded meter remembers its CCCDs, and tells nobody when they apply again."""

    async def run() -> Found:
        async with _World(tmp_path, _meter()) as world:
            await world.visit("pair")
            await world.visit("download", "1")
            return await world.visit("ask_unsubscribed"), world

    found, world = asyncio.run(run())
    assert found == []
    whats = [event.what for event in world.meter.log]
    last = whats[len(whats) - whats[::-1].index("connected") :]
    assert last.count("notified") == last.count("indicated") == 1
    assert "enabled" not in last


def test_an_att_error_keeps_its_code(tmp_path: Path) -> None:
    """Control points answer with codes that mean something to the driver."""
    found, log = _one_visit(tmp_path, _meter(), "refuse")
    assert found == ["ATT", 0x81]
    assert Event("refused", CONTROL, b"\x81") in log


def test_the_meter_hangs_up(tmp_path: Path) -> None:
    """Meters end a visit themselves; bleak must hear of it."""
    bench = _meter()
    found, log = _one_visit(tmp_path, bench, "hang_up")
    assert found == [
        False,
        ["BleakError", "Service Discovery has not been performed yet"],
    ]
    assert [event.what for event in log][-2:] == ["hung up", "disconnected"]
    assert bench.heard[0] == "connected"
    assert bench.heard[-1] == "disconnected"


def test_a_daemon_that_lags_behind_gets_every_signal(tmp_path: Path) -> None:
    """On a busy machine the socket fills up, and dbus-fast hung up: no BlueZ at all."""
    count = 2000  # of over 300 bytes: three times what a socket holds

    async def run() -> list[int]:
        async with private_bus(tmp_path) as address:
            bus, other = Bus(bus_address=address), MessageBus(bus_address=address)
            await bus.connect()
            await other.connect()
            heard: list[int] = []
            all_came = asyncio.Event()

            def hear(message: Message) -> None:
                if message.member == "Number":
                    heard.append(message.body[0])
                    if len(heard) == count:
                        all_came.set()

            other.add_message_handler(hear)
            await _daemon_call(other, "AddMatch", "interface='org.vitalwire.Test'")
            pid = await _daemon_call(
                other, "GetConnectionUnixProcessID", "org.freedesktop.DBus"
            )
            os.kill(pid, signal.SIGSTOP)
            try:
                for number in range(count):
                    body = [number, bytes(200)]
                    signal_ = "/x", "org.vitalwire.Test", "Number", "uay", body
                    await asyncio.sleep(0)
                    bus.send(Message.new_signal(*signal_))
            finally:
                os.kill(pid, signal.SIGCONT)
            async with asyncio.timeout(20):
                await all_came.wait()
            for one in (bus, other):
                one.disconnect()
                await one.wait_for_disconnect()  # type: ignore[no-untyped-call]
            return heard

    assert asyncio.run(run()) == list(range(count))


async def _daemon_call(bus: MessageBus, member: str, argument: str) -> Any:  # noqa: ANN401
    name = "org.freedesktop.DBus"
    reply = await bus.call(
        Message(
            destination=name,
            path="/org/freedesktop/DBus",
            interface=name,
            member=member,
            signature="s",
            body=[argument],
        )
    )
    return reply.body[0] if reply.body else None


def test_a_missing_daemon_is_told_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator needs the package's name, not a traceback."""

    async def run() -> None:
        async with private_bus(tmp_path):
            pass

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoBus, match="apt install dbus"):
        asyncio.run(run())


def test_a_long_folder_still_has_a_bus(tmp_path: Path) -> None:
    """A socket's path holds 107 bytes; folders of tests and of users are longer."""
    folder = tmp_path / ("long" * 40)
    folder.mkdir()

    async def run() -> str:
        async with private_bus(folder) as address:
            bus = await MessageBus(bus_address=address).connect()
            bus.disconnect()
            return address

    assert asyncio.run(run()).startswith("unix:path=")
