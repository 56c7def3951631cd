"""The agent's side of Bluetooth, bleak and BlueZ's D-Bus, against virtual devices.

Every test runs bleak unmodified in a process of its own, which is this file
once more, started as a script with the name of one of the functions below
`_Person`; what it finds comes back as JSON.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import pytest
from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bleak.exc import BleakDBusError, BleakError, BleakGATTProtocolError
from dbus_fast import BusType, Message
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusObjectPath, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method

from firmware_sim import bluez
from firmware_sim.bench import (
    Action,
    AttError,
    Characteristic,
    HangUp,
    Pairing,
    Security,
    Send,
)
from firmware_sim.ble import Air, Event, Peripheral
from firmware_sim.bus import NoBus, private_bus

pytestmark = pytest.mark.integration

_METER = "A4:C1:38:00:00:01"
_CUFF = "D0:C1:38:00:00:02"
_PASSKEY = 123456
_ROOT = Path(__file__).parents[2]


def _sig(number: int) -> UUID:
    return UUID(f"{number:08x}-0000-1000-8000-00805f9b34fb")


_SERVICE, _OTHER_SERVICE = _sig(0x1808), UUID("7a8d1d2c-53a5-4d27-8c44-0a1f1ab3a001")
_OPEN, _SECRET, _RECORD, _CONTROL = (
    _sig(0x2A24),
    _sig(0x2A51),
    _sig(0x2A18),
    _sig(0x2A52),
)
_REPORT, _REFUSE, _HANG_UP = b"\x01", b"\x02", b"\x03"


class _Bench:
    """A meter with records to report, a request to refuse, and a way to hang up."""

    name = "Meter 42"
    advertised = (_SERVICE,)
    passkey = _PASSKEY

    def __init__(self, pairing: Pairing, security: Security) -> None:
        self.pairing = pairing
        self.services: Mapping[UUID, tuple[Characteristic, ...]] = {
            _SERVICE: (
                Characteristic(_RECORD, frozenset({"notify"}), security),
                Characteristic(_SECRET, frozenset({"read"}), security),
                Characteristic(_CONTROL, frozenset({"write", "indicate"}), security),
            ),
            _OTHER_SERVICE: (Characteristic(_OPEN, frozenset({"read"})),),
        }
        self.heard: list[str] = []

    def connected(self) -> None:
        self.heard.append("connected")

    def disconnected(self) -> None:
        self.heard.append("disconnected")

    def read(self, uuid: UUID) -> bytes:
        return {_OPEN: b"open", _SECRET: b"\x2a\x00"}[uuid]

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        if payload == _REFUSE:
            raise AttError(0x81)
        return self._follow(uuid, payload)

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:
        self.heard.append(f"{uuid.time_low:04x} {'on' if on else 'off'}")
        return ()

    def _follow(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        if payload == _HANG_UP:
            yield HangUp()
            return
        count = int.from_bytes(payload[1:3], "little")
        for sequence in range(count):
            yield Send(_RECORD, sequence.to_bytes(2, "little") + bytes(15))
        yield Send(uuid, b"\x06\x00\x01\x01")


class _Person(ServiceInterface):
    """The pairing agent: types in the six digits it was given."""

    def __init__(self, passkey: int) -> None:
        super().__init__("org.bluez.Agent1")
        self.asked: list[str] = []
        self._passkey = passkey

    @dbus_method(name="RequestPasskey")
    def request_passkey(self, device: DBusObjectPath) -> DBusUInt32:
        self.asked.append(device)
        return self._passkey

    @dbus_method(name="RequestConfirmation")
    def request_confirmation(
        self, device: DBusObjectPath, _passkey: DBusUInt32
    ) -> None:
        self.asked.append(device)

    @dbus_method(name="Cancel")
    def cancel(self) -> None:
        self.asked.append("cancelled")


async def _person(stack: AsyncExitStack, passkey: int) -> _Person:
    """Register an agent as the system's default; it leaves with the stack."""
    bus = MessageBus(bus_type=BusType.SYSTEM)
    await bus.connect()
    stack.callback(bus.disconnect)
    person = _Person(passkey)
    bus.export("/person", person)
    for member, signature, body in (
        ("RegisterAgent", "os", ["/person", "KeyboardDisplay"]),
        ("RequestDefaultAgent", "o", ["/person"]),
    ):
        await bus.call(
            Message(
                destination="org.bluez",
                path="/org/bluez",
                interface="org.bluez.AgentManager1",
                member=member,
                signature=signature,
                body=body,
            )
        )
    return person


async def _find(address: str) -> BLEDevice:
    device = await BleakScanner.find_device_by_address(address, timeout=5.0)
    if device is None:
        raise LookupError(address)
    return device


async def _failure(work: Any) -> list[Any]:
    """Return the kind of the error that ``work`` ends in, and what it says."""
    try:
        await work
    except BleakGATTProtocolError as error:
        return ["ATT", error.code.value]
    except BleakDBusError as error:
        return [error.dbus_error, error.dbus_error_details]
    except (BleakError, TimeoutError) as error:
        return [type(error).__name__, str(error)]
    return []


async def scan() -> Any:
    """Scan twice, as an agent does that lives for years."""
    found = []
    for _ in range(2):
        seen = await BleakScanner.discover(timeout=0.4, return_adv=True)
        found.append(
            {
                address: [
                    device.name,
                    sorted(advertisement.service_uuids),
                    device.details["props"]["AddressType"],
                ]
                for address, (device, advertisement) in seen.items()
            }
        )
    return found


async def read_unpaired() -> Any:
    """Read what is open and what is not, without pairing."""
    async with BleakClient(await _find(_METER)) as client:
        return [
            (await client.read_gatt_char(str(_OPEN))).decode(),
            await _failure(client.read_gatt_char(str(_SECRET))),
            await _failure(client.start_notify(str(_RECORD), lambda *_: None)),
            await _failure(client.write_gatt_char(str(_CONTROL), _REPORT)),
            client.is_connected,
        ]


async def pair_without_agent() -> Any:
    """Pair with nobody to ask."""
    async with BleakClient(await _find(_METER)) as client:
        return await _failure(client.pair())


async def pair_wrong_then_right() -> Any:
    """Mistype the passkey on one connection, and type it right on the same one."""
    async with AsyncExitStack() as stack:
        person = await _person(stack, _PASSKEY + 1)
        async with BleakClient(await _find(_METER)) as client:
            wrong = await _failure(client.pair())
            person._passkey = _PASSKEY
            right = await _failure(client.pair())
            secret = await client.read_gatt_char(str(_SECRET))
    return [wrong, right, secret.hex(), len(person.asked)]


async def pair_wrong_at_connect() -> Any:
    """Mistype the passkey where bleak pairs before it connects."""
    async with AsyncExitStack() as stack:
        await _person(stack, _PASSKEY + 1)
        client = BleakClient(await _find(_METER), pair=True)
        return [await _failure(client.connect()), client.is_connected]


async def pair() -> Any:
    """Pair while connecting, read, leave."""
    async with AsyncExitStack() as stack:
        person = await _person(stack, _PASSKEY)
        async with BleakClient(await _find(_METER), pair=True) as client:
            secret = await client.read_gatt_char(str(_SECRET))
        return [secret.hex(), len(person.asked)]


async def read_again() -> Any:
    """Read as a bonded central, with no agent and no pairing."""
    async with BleakClient(await _find(_METER)) as client:
        return (await client.read_gatt_char(str(_SECRET))).hex()


async def connect_stale() -> Any:
    """Connect with a bond that the meter has lost; then unpair and pair."""
    device = await _find(_METER)
    begun = time.monotonic()
    failure = await _failure(BleakClient(device, timeout=2.0).connect())
    lasted = time.monotonic() - begun
    await BleakClient(device).unpair()
    return [failure, lasted, await pair()]


async def download(count: str) -> Any:
    """Subscribe, ask for records, and take them all."""
    records: list[bytes] = []
    answers: list[tuple[str, int]] = []
    answered = asyncio.Event()

    def answer(_: object, value: bytearray) -> None:
        answers.append((value.hex(), len(records)))
        answered.set()

    async with AsyncExitStack() as stack:
        await _person(stack, _PASSKEY)
        client = BleakClient(await _find(_METER), pair=True)
        await stack.enter_async_context(client)
        await client.start_notify(str(_CONTROL), answer)
        await client.start_notify(
            str(_RECORD), lambda _, value: records.append(bytes(value))
        )
        begun = time.monotonic()
        ask = _REPORT + int(count).to_bytes(2, "little")
        await client.write_gatt_char(str(_CONTROL), ask, response=True)
        async with asyncio.timeout(60):
            await answered.wait()
        lasted = time.monotonic() - begun
    numbers = [int.from_bytes(record[:2], "little") for record in records]
    return {"numbers": numbers, "answers": answers, "lasted_s": lasted}


async def ask_unsubscribed() -> Any:
    """Ask for a record as a bonded central that did not subscribe this time."""
    async with BleakClient(await _find(_METER)) as client:
        ask = _REPORT + b"\x01\x00"
        failure = await _failure(client.write_gatt_char(str(_CONTROL), ask))
        await client.read_gatt_char(str(_OPEN))
        await asyncio.sleep(0.1)
        return failure


async def refuse() -> Any:
    """Write what the meter refuses."""
    async with AsyncExitStack() as stack:
        await _person(stack, _PASSKEY)
        async with BleakClient(await _find(_METER), pair=True) as client:
            write = client.write_gatt_char(str(_CONTROL), _REFUSE, response=True)
            return await _failure(write)


async def hang_up() -> Any:
    """Ask the meter to hang up, and wait for bleak to say so."""
    gone = asyncio.Event()
    async with AsyncExitStack() as stack:
        await _person(stack, _PASSKEY)
        client = BleakClient(
            await _find(_METER), lambda _: gone.set(), pair=True, timeout=5.0
        )
        await client.connect()
        await client.write_gatt_char(str(_CONTROL), _HANG_UP, response=True)
        async with asyncio.timeout(5):
            await gone.wait()
        after = await _failure(client.read_gatt_char(str(_OPEN)))
        return [client.is_connected, after]


class _World:
    """A meter, perhaps a cuff, and processes that visit them."""

    def __init__(self, folder: Path, bench: _Bench) -> None:
        self.bench = bench
        self.meter = Peripheral(bench, _METER)
        self._folder = folder
        self._address = ""

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        self._address = await self._stack.enter_async_context(
            private_bus(self._folder)
        )
        air = Air()
        await self.meter.start(air)
        self._stack.push_async_callback(self.meter.stop)
        await self._stack.enter_async_context(bluez.bluez(self._address, air))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def visit(self, verb: str, *arguments: str) -> Any:
        """Run one of the functions above in a process of its own."""
        return await _visit(self._address, verb, *arguments)


async def _visit(bus_address: str, verb: str, *arguments: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        verb,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "DBUS_SYSTEM_BUS_ADDRESS": bus_address,
            "PYTHONPATH": str(_ROOT),
        },
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert b"Traceback" not in err
    assert b"never awaited" not in err
    return json.loads(out)


def _one_visit(folder: Path, bench: _Bench, verb: str, *arguments: str) -> Any:
    """Return what one process finds, and the meter's log."""

    async def run() -> Any:
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

    async def run() -> Any:
        benches = {_METER: _meter(), _CUFF: _meter()}
        async with bluez.radio(tmp_path, benches) as bus:
            return await _visit(bus, "scan")

    every = {
        _METER: ["Meter 42", [str(_SERVICE)], "public"],
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
    """bleak has none, and even just-works pairing fails without."""
    found, _ = _one_visit(tmp_path, _meter(pairing), "pair_without_agent")
    assert found == ["org.bluez.Error.AuthenticationFailed", "Authentication Failed"]


def test_a_mistyped_passkey_can_be_typed_again(tmp_path: Path) -> None:
    """People mistype; the second attempt must not be poisoned by the first."""
    found, _ = _one_visit(tmp_path, _meter(), "pair_wrong_then_right")
    failed = ["org.bluez.Error.AuthenticationFailed", "Authentication Failed"]
    assert found == [failed, [], "2a00", 2]


def test_a_mistyped_passkey_fails_the_connection(tmp_path: Path) -> None:
    """bleak pairs before it connects, and must not be left half connected."""
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

    async def run() -> Any:
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

    async def run() -> Any:
        async with _World(tmp_path, _meter()) as world:
            await world.visit("pair")
            world.meter.forget_bonds()
            return await world.visit("connect_stale")

    failure, lasted_s, again = asyncio.run(run())
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


def test_a_subscription_outlives_the_connection_of_a_bonded_central(
    tmp_path: Path,
) -> None:
    """A bonded meter remembers its CCCDs, and tells nobody when they apply again."""

    async def run() -> Any:
        async with _World(tmp_path, _meter()) as world:
            await world.visit("pair")
            await world.visit("download", "1")
            return await world.visit("ask_unsubscribed"), world

    found, world = asyncio.run(run())
    assert found == []
    assert [e.what for e in world.meter.log][-4:-1] == ["write", "notified", "indicated"]


def test_an_att_error_keeps_its_code(tmp_path: Path) -> None:
    """Control points answer with codes that mean something to the driver."""
    found, log = _one_visit(tmp_path, _meter(), "refuse")
    assert found == ["ATT", 0x81]
    assert Event("refused", _CONTROL, b"\x81") in log


def test_the_meter_hangs_up(tmp_path: Path) -> None:
    """Meters end a visit themselves; bleak must hear of it."""
    bench = _meter()
    found, log = _one_visit(tmp_path, bench, "hang_up")
    assert found == [False, ["BleakError", "Not connected"]]
    assert [event.what for event in log][-2:] == ["hung up", "disconnected"]
    assert bench.heard[0] == "connected"
    assert bench.heard[-1] == "disconnected"


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
            return await MessageBus(bus_address=address).connect() and address

    assert asyncio.run(run()).startswith("unix:path=")


if __name__ == "__main__":
    _verb, *_arguments = sys.argv[1:]
    sys.stdout.write(json.dumps(asyncio.run(globals()[_verb](*_arguments))))
