"""One visit of a person with bleak and a pairing agent, as a process of its own.

``python -m tests.firmware_sim.ble_visits VERB …`` runs one of the functions
below, with bleak unmodified, on the bus that ``DBUS_SYSTEM_BUS_ADDRESS`` names,
and prints what it finds as JSON.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias
from uuid import UUID

from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bleak.exc import BleakDBusError, BleakError, BleakGATTProtocolError
from dbus_fast import BusType, Message
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusObjectPath, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method

Found: TypeAlias = Any  # what a process found, as JSON

METER = "A4:C1:38:00:00:01"
PASSKEY = 123456
OPEN, SECRET, RECORD, CONTROL = (
    UUID(f"{number:08x}-0000-1000-8000-00805f9b34fb")
    for number in (0x2A24, 0x2A51, 0x2A18, 0x2A52)
)
REPORT, REFUSE, HANG_UP, ABORT = b"\x01", b"\x02", b"\x03", b"\x04"


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


async def _failure(work: Awaitable[object]) -> list[object]:
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


async def scan() -> Found:
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


async def read_unpaired() -> Found:
    """Read what is open and what is not, without pairing."""
    async with BleakClient(await _find(METER)) as client:
        return [
            (await client.read_gatt_char(str(OPEN))).decode(),
            await _failure(client.read_gatt_char(str(SECRET))),
            await _failure(client.start_notify(str(RECORD), lambda *_: None)),
            await _failure(client.write_gatt_char(str(CONTROL), REPORT)),
            client.is_connected,
        ]


async def pair_without_agent() -> Found:
    """Pair with nobody to ask."""
    async with BleakClient(await _find(METER)) as client:
        return await _failure(client.pair())


async def pair_wrong_then_right() -> Found:
    """Mistype the passkey on one connection, and type it right on the same one."""
    async with AsyncExitStack() as stack:
        person = await _person(stack, PASSKEY + 1)
        async with BleakClient(await _find(METER)) as client:
            wrong = await _failure(client.pair())
            person._passkey = PASSKEY
            right = await _failure(client.pair())
            secret = await client.read_gatt_char(str(SECRET))
    return [wrong, right, secret.hex(), len(person.asked)]


async def pair_wrong_at_connect() -> Found:
    """Mistype the passkey where bleak pairs before it connects."""
    async with AsyncExitStack() as stack:
        await _person(stack, PASSKEY + 1)
        client = BleakClient(await _find(METER), pair=True)
        return [await _failure(client.connect()), client.is_connected]


async def pair() -> Found:
    """Pair while connecting, read, leave."""
    async with AsyncExitStack() as stack:
        person = await _person(stack, PASSKEY)
        async with BleakClient(await _find(METER), pair=True) as client:
            secret = await client.read_gatt_char(str(SECRET))
        return [secret.hex(), len(person.asked)]


async def read_again() -> Found:
    """Read as a bonded central, with no agent and no pairing."""
    async with BleakClient(await _find(METER)) as client:
        return (await client.read_gatt_char(str(SECRET))).hex()


async def connect_stale() -> Found:
    """Connect with a bond that the meter has lost; then unpair and pair."""
    device = await _find(METER)
    begun = time.monotonic()
    failure = await _failure(BleakClient(device, timeout=2.0).connect())
    lasted = time.monotonic() - begun
    await BleakClient(device).unpair()
    return [failure, lasted, await pair()]


async def download(count: str, abort_after: str = "0") -> Found:
    """Subscribe, ask for records, and take them all or some."""
    records: list[bytes] = []
    answers: list[tuple[str, int]] = []
    answered, enough = asyncio.Event(), asyncio.Event()

    def answer(_: object, value: bytearray) -> None:
        answers.append((value.hex(), len(records)))
        answered.set()

    def take(_: object, value: bytearray) -> None:
        records.append(bytes(value))
        if len(records) == int(abort_after):
            enough.set()

    async with AsyncExitStack() as stack:
        await _person(stack, PASSKEY)
        client = BleakClient(await _find(METER), pair=True)
        await stack.enter_async_context(client)
        await client.start_notify(str(CONTROL), answer)
        await client.start_notify(str(RECORD), take)
        begun = time.monotonic()
        ask = REPORT + int(count).to_bytes(2, "little")
        await client.write_gatt_char(str(CONTROL), ask, response=True)
        async with asyncio.timeout(60):
            if int(abort_after):
                await enough.wait()
                await client.write_gatt_char(str(CONTROL), ABORT, response=True)
            await answered.wait()
        lasted = time.monotonic() - begun
    numbers = [int.from_bytes(record[:2], "little") for record in records]
    return {"numbers": numbers, "answers": answers, "lasted_s": lasted}


async def wait_for_the_end() -> Found:
    """Ask for more records than there is time for."""
    gone = asyncio.Event()
    async with AsyncExitStack() as stack:
        await _person(stack, PASSKEY)
        client = BleakClient(await _find(METER), lambda _: gone.set(), pair=True)
        await client.connect()
        await client.start_notify(str(RECORD), lambda *_: None)
        ask = REPORT + b"\xff\xff"
        await client.write_gatt_char(str(CONTROL), ask, response=True)
        async with asyncio.timeout(20):
            await gone.wait()
        return client.is_connected


async def ask_unsubscribed() -> Found:
    """Ask for a record as a bonded central that did not subscribe this time."""
    async with BleakClient(await _find(METER)) as client:
        ask = REPORT + b"\x01\x00"
        failure = await _failure(client.write_gatt_char(str(CONTROL), ask))
        await client.read_gatt_char(str(OPEN))
        await asyncio.sleep(0.1)
        return failure


async def refuse() -> Found:
    """Write what the meter refuses."""
    async with AsyncExitStack() as stack:
        await _person(stack, PASSKEY)
        async with BleakClient(await _find(METER), pair=True) as client:
            write = client.write_gatt_char(str(CONTROL), REFUSE, response=True)
            return await _failure(write)


async def hang_up() -> Found:
    """Ask the meter to hang up, and wait for bleak to say so."""
    gone = asyncio.Event()
    async with AsyncExitStack() as stack:
        await _person(stack, PASSKEY)
        client = BleakClient(
            await _find(METER), lambda _: gone.set(), pair=True, timeout=5.0
        )
        await client.connect()
        await client.write_gatt_char(str(CONTROL), HANG_UP, response=True)
        async with asyncio.timeout(5):
            await gone.wait()
        after = await _failure(client.read_gatt_char(str(OPEN)))
        return [client.is_connected, after]


if __name__ == "__main__":
    _verb, *_arguments = sys.argv[1:]
    sys.stdout.write(json.dumps(asyncio.run(globals()[_verb](*_arguments))))
