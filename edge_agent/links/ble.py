"""BLE devices as drivers' links, through bleak and BlueZ.

One scanner, and one connection being set up, at a time: BlueZ answers a second
one with ``InProgress``. Pairing is asked for on connecting, for the first read
of an encrypted value would start it too, and may hang.

bleak waits for BlueZ without an end. What is asked of a device is given up here after
a while. A discovery is not: it would begin when BlueZ answers at last, and BlueZ would
refuse any other of ours. That it does not answer is said, and it is waited for.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from contextlib import asynccontextmanager, suppress
from itertools import count
from uuid import UUID

from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakDBusError, BleakError, BleakGATTProtocolError
from dbus_fast import DBusError
from dbus_fast.errors import DBusFastError

from edge_agent.links.pairing import BlueZ, PairingAgent, registered
from protocols.link import LinkLost, Packet, Refused
from protocols.observation import LinkSecurity

_log = logging.getLogger(__name__)

_SCAN_SLICE_S = 5.0
_SLICES_PER_HANG_UP = 6  # a connection that an agent left may be made after it died
_CONNECT_S = 30.0
_CHECK_S = 30.0
_LATE_S = 10.0  # beyond what BlueZ itself grants
_GATT_S = 40.0  # Core 5.4, 3.F.3.3.3: a device has 30 s for its answer
_STOP_S = 2.0
_NOT_PERMITTED = "org.bluez.Error.NotPermitted"
_INSUFFICIENT_AUTHENTICATION = 0x05
_NO_RADIO = "no Bluetooth ({}); is bluetoothd running? see 'systemctl status bluetooth'"
_NO_BUS = "the system bus hung up"
_NO_ANSWER = "Bluetooth does not answer; try 'sudo systemctl restart bluetooth'"
_FAULTS = BleakError, DBusFastError, EOFError, OSError


Journal = Callable[[list[Packet]], Awaitable[None]]
Note = Callable[[object], None]


class NoRadio(Exception):
    """BlueZ can't be reached, or has no adapter that is switched on."""


class BleLink:
    """An open connection to a BLE device, its services known.

    Attributes:
        security: How far the other end could be another device.
    """

    def __init__(
        self,
        client: BleakClient,
        coming: "asyncio.Queue[Packet | None]",
        security: LinkSecurity,
        journal: Journal,
        note: Note,
    ) -> None:
        self.security = security
        self.note = note
        self._client = client
        self._services = client.services  # bleak forgets them with the connection
        self._journal = journal
        self._coming = coming
        self._arrived: asyncio.Queue[Packet | None] = asyncio.Queue()

    async def pump(self) -> None:
        """Journal what comes, all that waits at once, and only then hand it out."""
        waiting: list[Packet | None] = []
        try:
            while None not in waiting:
                waiting = [await self._coming.get()]
                while not self._coming.empty():
                    waiting.append(self._coming.get_nowait())
                await self._journal([packet for packet in waiting if packet])
                for packet in waiting:
                    self._arrived.put_nowait(packet)
        finally:
            self._arrived.put_nowait(None)  # also where the journal failed

    def has(self, uuid: UUID) -> bool:
        """Whether the device has the characteristic."""
        return self._services.get_characteristic(uuid) is not None

    async def read(self, uuid: UUID) -> bytes:
        """Return the characteristic's value."""
        async with _errors(uuid):
            return bytes(await self._client.read_gatt_char(uuid))

    async def write(self, uuid: UUID, payload: bytes) -> None:
        """Write the characteristic, with a response where it gives one."""
        found = self._services.get_characteristic(uuid)
        response = found is None or "write" in found.properties
        async with _errors(uuid):
            await self._client.write_gatt_char(uuid, payload, response=response)

    async def subscribe(self, uuid: UUID) -> None:
        """Enable the characteristic's notifications or indications."""

        def take(_: BleakGATTCharacteristic, payload: bytearray) -> None:
            self._coming.put_nowait(Packet(uuid, bytes(payload)))

        async with _errors(uuid):
            await self._client.start_notify(uuid, take)

    async def receive(self) -> Packet:
        """Return the next packet in order of arrival; wait for it."""
        packet = await self._arrived.get()
        if packet is None:
            self._arrived.put_nowait(None)
            raise LinkLost("the device hung up, or is out of reach")
        return packet


@asynccontextmanager
async def open_radio() -> AsyncIterator["Radio"]:
    """Provide the station's radio, and let it run for as long as it is held."""
    radio = Radio()
    running = asyncio.ensure_future(radio.run())
    try:
        yield radio
    finally:
        running.cancel()
        await asyncio.wait({running})


async def advertisers(seconds: float) -> list[tuple[BLEDevice, AdvertisementData]]:
    """Return every device that advertises within ``seconds``.

    Raises:
        NoRadio: There is no Bluetooth.
    """
    try:
        async with asyncio.timeout(seconds + _LATE_S):
            found = await BleakScanner.discover(seconds, return_adv=True)
    except TimeoutError as error:
        raise NoRadio(_NO_ANSWER) from error
    except _FAULTS as error:
        raise NoRadio(_NO_RADIO.format(str(error) or _NO_BUS)) from error
    return list(found.values())


@asynccontextmanager
async def _errors(uuid: UUID) -> AsyncIterator[None]:
    """Turn bleak's errors, and its silence, into those that a driver knows."""
    try:
        async with asyncio.timeout(_GATT_S):
            yield
    except TimeoutError as error:
        raise LinkLost(_NO_ANSWER) from error
    except BleakGATTProtocolError as error:
        raise Refused(uuid, error.code) from error
    except BleakDBusError as error:
        if error.dbus_error == _NOT_PERMITTED:
            raise Refused(uuid, _INSUFFICIENT_AUTHENTICATION) from error
        raise LinkLost(str(error)) from error
    except (BleakError, DBusError, EOFError, OSError) as error:
        raise LinkLost(str(error)) from error


async def _finish(pump: "asyncio.Future[None]") -> None:
    """Let a pump hand out what came; not for ever, if the agent is to stop."""
    try:
        async with asyncio.timeout(_STOP_S if _is_stopping() else None):
            await pump
    except TimeoutError:
        _log.error("journal.lost: packets of a device could not be written down")


def _is_stopping() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Radio:
    """The station's one Bluetooth radio, shared by the tasks of its devices."""

    def __init__(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """Prepare to run.

        Args:
            tell: Called with ``ready``, or with why there is no Bluetooth.
        """
        self._tell_others = tell
        self._problem = ""
        self._failed = asyncio.Event()
        self._agent = PairingAgent()
        self._busy = asyncio.Lock()
        self._awaited: dict[str, asyncio.Future[BLEDevice]] = {}
        self._authenticated: set[str] = set()  # since the agent started
        self._wanted = asyncio.Event()
        self._links: set[asyncio.Queue[Packet | None]] = set()
        self._bluez = ""

    async def run(self, left: Container[str] = ()) -> None:
        """Look for the devices that are awaited, for ever, whatever BlueZ does.

        Args:
            left: Addresses to which an agent that was killed may have left links.
                A device that is connected does not advertise.
        """
        while True:
            try:
                async with registered(self._agent) as bluez:
                    self._meet(bluez)
                    await _hang_up(bluez, left)
                    left = ()
                    await self._scan(bluez)
            except TimeoutError:
                self._tell(_NO_ANSWER)
            except _FAULTS as error:
                self._tell(_NO_RADIO.format(str(error) or _NO_BUS))
            await asyncio.sleep(_SCAN_SLICE_S)

    async def seen(self, address: str) -> BLEDevice:
        """Return the device at ``address`` as soon as it advertises."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[BLEDevice] = loop.create_future()
        self._awaited[address.upper()] = found
        self._wanted.set()
        try:
            return await found
        finally:
            self._awaited.pop(address.upper(), None)

    async def find(self, address: str, seconds: float) -> BLEDevice:
        """Look for one device.

        Raises:
            LinkLost: It did not advertise within ``seconds``.
            NoRadio: There is no Bluetooth.
        """
        seen = asyncio.ensure_future(self.seen(address))
        failed = asyncio.ensure_future(self._failed.wait())
        both = {seen, failed}
        try:
            await asyncio.wait(
                both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if seen.done():
                return seen.result()
            if failed.done():
                raise NoRadio(self._problem)
            raise LinkLost(
                f"{address} did not advertise in {seconds:g} s; is it awake?"
            )
        finally:
            for one in both:
                one.cancel()
            await asyncio.wait(both)

    @asynccontextmanager
    async def connect(
        self,
        device: BLEDevice,
        passkey: str | None,
        journal: Journal,
        note: Note,
        *,
        pair: bool,
    ) -> AsyncIterator[BleLink]:
        """Connect to a device, and pair with it unless it is paired.

        Args:
            device: As `seen`.
            passkey: The six digits printed on it, if it pairs by passkey.
            journal: Called with the packets that come, before all else.
            note: Called with each piece of damage that the driver meets.
            pair: False for a device that can't be paired with.

        Raises:
            LinkLost: It can't be reached, or refuses to pair.
        """
        coming: asyncio.Queue[Packet | None] = asyncio.Queue()
        client = BleakClient(
            device,
            disconnected_callback=lambda _: coming.put_nowait(None),
            pair=pair,
            timeout=_CONNECT_S,
        )
        address = device.address.upper()
        async with self._busy:
            self._agent.expect(address, passkey)
            limit = asyncio.timeout(_CONNECT_S + _LATE_S)
            try:
                async with limit:
                    await client.connect()
            except TimeoutError as error:
                if limit.expired():
                    raise LinkLost(_NO_ANSWER) from error
                raise LinkLost(
                    f"no connection in {_CONNECT_S:g} s; if the device lost its bond, "
                    f"forget it here too: bluetoothctl remove {address}"
                ) from error
            except _FAULTS as error:
                hint = " (wrong passkey?)" if passkey else ""
                raise LinkLost(f"can't connect: {error}{hint}") from error
            finally:
                self._agent.refuse(address)
        if address in self._agent.asked:
            self._authenticated.add(address)
        # A bond from before the agent started may have been made without a passkey.
        by_passkey = address in self._authenticated
        security = LinkSecurity.AUTHENTICATED if by_passkey else LinkSecurity.ENCRYPTED
        if not pair:
            security = LinkSecurity.NONE
        link = BleLink(client, coming, security, journal, note)
        pump = asyncio.ensure_future(link.pump())
        self._links.add(coming)
        try:
            yield link
        finally:
            self._links.discard(coming)
            with suppress(*_FAULTS):
                async with asyncio.timeout(_LATE_S):
                    await client.disconnect()
            coming.put_nowait(None)
            await _finish(pump)

    def _meet(self, bluez: BlueZ) -> None:
        """End the links of a BlueZ before this one: nothing comes of them any more."""
        if bluez.name != self._bluez:
            self._bluez = bluez.name
            for coming in self._links:
                coming.put_nowait(None)

    async def _scan(self, bluez: BlueZ) -> None:
        for slices in count(1):
            await bluez.check()
            if not self._awaited:
                self._tell("")
                self._wanted.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_CHECK_S):
                        await self._wanted.wait()
                continue
            if slices % _SLICES_PER_HANG_UP == 0:
                await _hang_up(bluez, self._awaited)
            async with self._busy:
                await self._scan_slice()

    async def _scan_slice(self) -> None:
        found = asyncio.Event()

        def look(device: BLEDevice, _: AdvertisementData) -> None:
            awaited = self._awaited.get(device.address.upper())
            if awaited is not None and not awaited.done():
                awaited.set_result(device)
                found.set()

        scanner = BleakScanner(look)
        await self._answered(scanner.start())
        self._tell("")
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SCAN_SLICE_S):
                    await found.wait()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_S if _is_stopping() else None):
                    await self._answered(scanner.stop())

    async def _answered(self, asked: Awaitable[None]) -> None:
        """Wait for BlueZ, however long it takes; say so where that is long."""
        loop = asyncio.get_running_loop()
        late = loop.call_later(_LATE_S, self._tell, _NO_ANSWER)
        try:
            await asked
        finally:
            late.cancel()

    def _tell(self, problem: str) -> None:
        self._problem = problem
        if problem:
            self._failed.set()
        else:
            self._failed.clear()
        self._tell_others(problem or "ready")


async def _hang_up(bluez: BlueZ, addresses: Container[str]) -> None:
    """Drop the links that BlueZ keeps of a visit that was cut short."""
    try:
        await bluez.hang_up(addresses)
    except DBusError as error:
        _log.warning("radio.hang_up failed: %s", error)
