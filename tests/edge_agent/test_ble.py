"""Waits for Bluetooth that never answers, in virtual time.

With a bus and a BlueZ that answer again: tests/integration/test_silent_bluetooth.py.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from bleak.backends.device import BLEDevice
from click.testing import CliRunner

from edge_agent.cli import main
from edge_agent.health import Health
from edge_agent.links import ble
from edge_agent.links.ble import BleLink, NoRadio, Radio, advertisers
from edge_agent.links.pairing import PairingAgent, registered
from edge_agent.outbox import Outbox
from firmware_sim.bus import private_bus
from protocols.gatt.uuid import sig
from protocols.link import LinkLost, Packet
from protocols.observation import LinkSecurity

ADDRESS = "C0:5A:11:00:00:01"
UUID_OF_ONE = UUID(int=1)
MODEL = sig(0x2A24)
_ROOT = Path(__file__).parents[2]
_BLUETOOTHD = """
import asyncio, sys
from firmware_sim.air import Air
from firmware_sim.ble import Peripheral
from firmware_sim.bluez import bluez
from firmware_sim.devices.gatt_glucose import GlucoseMeter
async def run():
    air = Air()
    await Peripheral(GlucoseMeter([]), sys.argv[2]).start(air)
    async with bluez(sys.argv[1], air):
        await asyncio.Event().wait()
asyncio.run(run())
"""


@pytest.fixture
def deaf_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system bus that takes connections and never says a word."""
    path = tmp_path / "bus"
    with socket.socket(socket.AF_UNIX) as bus:
        bus.bind(str(path))
        bus.listen()
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={path}")
        yield


class _Silent:
    """A BLE client whose BlueZ never answers."""

    services = type("Services", (), {"get_characteristic": lambda *_: None})()

    def __init__(self, *_: object, **__: object) -> None:
        pass

    async def wait(self, *_: object, **__: object) -> None:
        await asyncio.Event().wait()

    connect = disconnect = wait
    read_gatt_char = write_gatt_char = start_notify = wait


class _Connected(_Silent):
    async def connect(self, *_: object, **__: object) -> None:
        pass


async def _keep_nothing(_: list[Packet]) -> None:
    pass


def _device() -> BLEDevice:
    return BLEDevice(ADDRESS, "meter", {})


async def _lasts(work: Awaitable[object], error: type[Exception]) -> float:
    """Return how long it takes until it ends by an error, in s."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(error):
        await work
    return loop.time() - start


@pytest.mark.usefixtures("deaf_bus")
async def test_registering_gives_up_on_a_bus_that_never_answers() -> None:
    """The agent hung there at its start, and read no other device either."""

    async def register() -> None:
        async with registered(PairingAgent()):
            pass

    assert 5 < await _lasts(register(), TimeoutError) < 30


@pytest.mark.usefixtures("deaf_bus")
async def test_a_radio_says_that_bluetooth_is_silent_and_tries_again() -> None:
    """A station without Bluetooth has other devices to read; people must know."""
    told: list[str] = []
    running = asyncio.ensure_future(Radio(told.append).run())
    await asyncio.sleep(60)
    running.cancel()
    await asyncio.wait({running})

    assert running.cancelled()
    assert len(told) >= 3
    assert all("does not answer" in one and "systemctl" in one for one in told)


async def test_a_radio_says_that_there_is_no_bus_and_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent ended with status 1; now it waits for what is being started."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'none'}")
    told: list[str] = []
    running = asyncio.ensure_future(Radio(told.append).run())
    await asyncio.sleep(20)
    running.cancel()
    await asyncio.wait({running})

    assert running.cancelled()
    assert len(told) >= 3
    assert all("no Bluetooth" in one for one in told)


@pytest.mark.usefixtures("deaf_bus")
async def test_looking_for_one_device_tells_why_it_can_not() -> None:
    """A technician would press the keys of a meter that nobody looks for."""

    async def find() -> None:
        async with ble.open_radio() as radio:
            await radio.find(ADDRESS, 30.0)

    assert await _lasts(find(), NoRadio) < 30


@pytest.mark.usefixtures("deaf_bus")
async def test_a_scan_for_people_ends() -> None:
    """`vitalwire scan` would stand there for ever."""
    assert 5 < await _lasts(advertisers(5.0), NoRadio) < 30


@pytest.mark.parametrize(
    "ask",
    [
        lambda link: link.read(UUID_OF_ONE),
        lambda link: link.write(UUID_OF_ONE, b"\x01"),
        lambda link: link.subscribe(UUID_OF_ONE),
    ],
)
async def test_what_is_asked_of_a_device_is_given_up(
    ask: Callable[[BleLink], Awaitable[object]],
) -> None:
    """A visit would hold its device until the agent is started anew."""
    link = BleLink(
        _Silent(),  # type: ignore[arg-type]
        asyncio.Queue(),
        LinkSecurity.NONE,
        _keep_nothing,
        lambda _: None,
    )

    # A device has 30 s for its answer, and BlueZ then says that it gave none.
    assert 30 < await _lasts(ask(link), LinkLost) < 60


@pytest.mark.parametrize("client", [_Silent, _Connected])
async def test_a_visit_neither_connects_nor_hangs_up_for_ever(
    client: type[_Silent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the radio, so no other device could be visited."""
    monkeypatch.setattr(ble, "BleakClient", client)
    radio = Radio()

    async def visit() -> None:
        connecting = radio.connect(
            _device(), None, _keep_nothing, lambda _: None, pair=False
        )
        async with connecting:
            raise LinkLost("over")

    assert 1 < await _lasts(visit(), LinkLost) < 60


def test_a_status_tells_of_bluetooth(tmp_path: Path) -> None:
    """People look there first."""
    Outbox(tmp_path / "outbox.db").close()
    health = Health(tmp_path)
    health.tell_bluetooth("Bluetooth does not answer")
    shown = CliRunner().invoke(main, ["agent", "status", "--data", str(tmp_path)])

    assert "bluetooth                Bluetooth does not answer" in shown.output


@pytest.mark.scale
@pytest.mark.integration
def test_a_bluetoothd_that_is_started_anew_ends_the_links_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visit that waits for what is measured would wait for ever: nobody tells it."""

    async def read(radio: Radio, then: Callable[[BleLink], Awaitable[None]]) -> None:
        async with asyncio.timeout(90):
            seen = await radio.seen(ADDRESS)
            linking = radio.connect(
                seen, "123456", _keep_nothing, lambda _: None, pair=True
            )
            async with linking as link:
                assert await link.read(MODEL) == b"Glucose meter"
                await then(link)

    async def run() -> None:
        async with private_bus(tmp_path) as bus:
            monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus)
            async with ble.open_radio() as radio, _bluetoothd(bus) as one:

                async def lose(link: BleLink) -> None:
                    one.kill()
                    await one.wait()
                    await held.enter_async_context(_bluetoothd(bus))
                    with pytest.raises(LinkLost, match="hung up"):
                        await link.receive()

                async def leave(_: BleLink) -> None:
                    pass

                async with AsyncExitStack() as held:
                    await read(radio, lose)
                    await read(radio, leave)

    asyncio.run(run())


@asynccontextmanager
async def _bluetoothd(bus: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a BlueZ that has a meter on the air; it can be killed."""
    words = sys.executable, "-c", _BLUETOOTHD, bus, ADDRESS
    process = await asyncio.create_subprocess_exec(*words, cwd=_ROOT)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
