"""Simulated devices in a test's memory, behind the links that drivers ask for.

No radio, no port and no waiting: what a device sends is there when a driver
asks for it, and a driver that asks for more than the device sends waits.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import TypeAlias
from uuid import UUID

from firmware_sim.bench import (
    Action,
    AttError,
    Characteristic,
    GattBench,
    HangUp,
    Send,
    SerialBench,
    Wait,
    att_mtu,
)
from protocols.link import LinkLost, Packet, Refused

Damage: TypeAlias = Callable[[bytes], Iterable[bytes]]
"""What becomes of one answer: the pieces that arrive, in order."""

_ATT_HEADER = 3  # bytes of a notification or write before its value
_ATTRIBUTE_NOT_FOUND, _REQUEST_NOT_SUPPORTED = 0x0A, 0x06


def whole(answer: bytes) -> Iterator[bytes]:
    """Every answer as it was sent."""
    yield answer


def bytewise(answer: bytes) -> Iterator[bytes]:
    """Every answer one byte at a time."""
    for byte in answer:
        yield bytes([byte])


def twice(answer: bytes) -> Iterator[bytes]:
    """Every answer repeated, as from a device that heard a retry late."""
    yield answer
    yield answer


def noisy(answer: bytes) -> Iterator[bytes]:
    """Line noise before and after every answer, with false starts of frames."""
    yield b"\xff\x02\x00" + answer + b"\x02"


def lossy(seed: int, rate: float = 0.2) -> Damage:
    """Whole answers lost at random, the same ones for the same ``seed``."""
    random = Random(seed)  # noqa: S311 - not a secret

    def damage(answer: bytes) -> Iterator[bytes]:
        if random.random() >= rate:
            yield answer

    return damage


class SimSerialLink:
    """A `SerialLink` to a bench, through a damaged line.

    Args:
        bench: The device.
        damage: What becomes of each of its answers.
        lost_after: The number of bytes behind which the port is gone.

    Attributes:
        noted: What the driver had the agent count, in order.
        kept: What it had the agent write down, in order.
        written: What the driver sent, in order.
    """

    def __init__(
        self,
        bench: SerialBench,
        damage: Damage = whole,
        *,
        lost_after: int | None = None,
    ) -> None:
        self.noted: list[object] = []
        self.kept: list[bytes] = []
        self.written: list[bytes] = []
        self._bench, self._damage, self._left = bench, damage, lost_after
        self._arrived: deque[bytes | Wait] = deque()
        self._change = asyncio.Event()
        self._is_gone = False
        self._until: float | None = None
        self._come(bench.plugged())

    async def read(self) -> bytes:
        """Return the next piece; wait for it.

        Raises:
            LinkLost: The port is gone, and all that came before was returned.
        """
        await asyncio.sleep(0)  # let others run, as a real port does
        while True:
            while not self._arrived:
                self._check()
                self._change.clear()
                await self._change.wait()
            if not isinstance(piece := self._arrived[0], Wait):
                self._arrived.popleft()
                return piece
            await self._pass(piece)

    async def write(self, data: bytes) -> None:
        """Send ``data`` to the bench.

        Raises:
            LinkLost: The port is gone.
        """
        await asyncio.sleep(0)
        self._check()
        self.written.append(data)
        self._come(self._bench.feed(data))

    async def keep(self, frame: bytes) -> None:
        """Keep ``frame`` in `kept`."""
        self.kept.append(frame)

    def note(self, event: object) -> None:
        """Keep ``event`` in `noted`."""
        self.noted.append(event)

    def unplug(self) -> None:
        """Pull the cable; what has arrived can still be read."""
        self._is_gone = True
        self._change.set()

    def _come(self, answers: Iterable[bytes | Wait]) -> None:
        for answer in answers:
            if isinstance(answer, Wait):
                self._arrived.append(answer)
                continue
            for piece in self._damage(answer):
                self._arrive(piece)
        self._change.set()

    async def _pass(self, wait: Wait) -> None:
        """Let a pause pass that stands before what arrives next."""
        # It goes on passing for one who gives up waiting and comes again.
        loop = asyncio.get_running_loop()
        self._until = self._until or loop.time() + wait.seconds
        await asyncio.sleep(max(self._until - loop.time(), 0))
        self._until = None
        self._arrived.popleft()

    def _arrive(self, piece: bytes) -> None:
        if self._is_gone:
            return
        if self._left is not None:
            piece, self._left = piece[: self._left], self._left - len(piece)
            self._is_gone = self._left <= 0
        if piece:
            self._arrived.append(piece)

    def _check(self) -> None:
        if self._is_gone:
            raise LinkLost("the cable was pulled")


class SimGattLink:
    """A `GattLink` to a bench; it is connected from the start.

    Packets are counted from 1, indications and notifications alike. An
    indication is confirmed as soon as it is received, as BlueZ does.

    Args:
        bench: The device. Pairing and security are not simulated here.
        lost_after: The number of packets behind which the link is gone.

    Attributes:
        noted: What the driver had the agent count, in order.
        received: All packets that arrived, whether or not the driver took them.
        written: What the driver wrote, in order.
    """

    def __init__(
        self,
        bench: GattBench,
        *,
        lost_after: int | None = None,
    ) -> None:
        self.noted: list[object] = []
        self.received: list[Packet] = []
        self.written: list[tuple[UUID, bytes]] = []
        self._bench, self._lost_after = bench, lost_after
        self._known = {
            each.uuid: each for some in bench.services.values() for each in some
        }
        self._enabled: set[UUID] = set()
        self._due: deque[Iterator[Action]] = deque()
        self._ahead: Action | None = None  # what the bench does next, if known
        self._arrived: deque[Packet] = deque()
        self._change = asyncio.Event()
        self._is_gone = False
        bench.connected()

    def has(self, uuid: UUID) -> bool:
        """Whether the device has the characteristic."""
        return uuid in self._known

    async def read(self, uuid: UUID) -> bytes:
        """Return the characteristic's value.

        Raises:
            Refused: The bench refused, or does not have it.
            LinkLost: The link is gone.
        """
        await self._reach(uuid)
        try:
            return self._bench.read(uuid)
        except AttError as error:
            raise Refused(uuid, error.code) from error

    async def write(self, uuid: UUID, payload: bytes) -> None:
        """Write the characteristic.

        Raises:
            Refused: The bench refused, or does not have it.
            LinkLost: The link is gone.
        """
        await self._reach(uuid)
        self._fit(payload)
        self.written.append((uuid, payload))
        try:
            self._follow(self._bench.write(uuid, payload))
        except AttError as error:
            raise Refused(uuid, error.code) from error

    async def subscribe(self, uuid: UUID) -> None:
        """Enable notifications or indications.

        Raises:
            Refused: The bench refused, or has none for it.
            LinkLost: The link is gone.
        """
        characteristic = await self._reach(uuid)
        if not characteristic.properties & {"notify", "indicate"}:
            raise Refused(uuid, _REQUEST_NOT_SUPPORTED)
        try:
            actions = self._bench.enabled(uuid, on=True)
        except AttError as error:
            raise Refused(uuid, error.code) from error
        self._enabled.add(uuid)
        self._follow(actions)

    async def receive(self) -> Packet:
        """Return the next packet; wait for it.

        Raises:
            LinkLost: The link is gone, and all that came before was returned.
        """
        await asyncio.sleep(0)  # let others run, as a real link does
        while not self._arrived:
            if self._is_gone:
                raise LinkLost("the device is gone")
            if (action := self._next()) is None:
                self._change.clear()
                await self._change.wait()
            elif isinstance(action, HangUp):
                self.unplug()
            elif isinstance(action, Wait):
                await self._pass(action)
            elif action.uuid in self._enabled:
                self._arrive(action)
        return self._arrived.popleft()

    def note(self, event: object) -> None:
        """Keep ``event`` in `noted`."""
        self.noted.append(event)

    def unplug(self) -> None:
        """Lose the link; what has arrived can still be received."""
        if not self._is_gone:
            self._is_gone = True
            self._due.clear()
            self._ahead = None
            self._bench.disconnected()
            self._change.set()

    async def _reach(self, uuid: UUID) -> Characteristic:
        await asyncio.sleep(0)
        if self._is_gone:
            raise LinkLost("the device is gone")
        if uuid not in self._known:
            raise Refused(uuid, _ATTRIBUTE_NOT_FOUND)
        return self._known[uuid]

    async def _pass(self, wait: Wait) -> None:
        """Let a pause pass; for one who gives up waiting it is still there."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait.seconds
        try:
            await asyncio.sleep(wait.seconds)
        except asyncio.CancelledError:
            self._ahead = Wait(max(end - loop.time(), 0))
            raise

    def _follow(self, actions: Iterable[Action]) -> None:
        self._due.append(iter(actions))
        self._change.set()

    def _next(self) -> Action | None:
        if (ahead := self._ahead) is not None:
            self._ahead = None
            return ahead
        while self._due:
            if (action := next(self._due[0], None)) is not None:
                return action
            self._due.popleft()
        return None

    def _fit(self, payload: bytes) -> None:
        """Refuse what no stack would carry in one packet."""
        if len(payload) > (most := att_mtu(self._bench) - _ATT_HEADER):
            raise ValueError(f"{len(payload)} bytes do not fit into {most}")

    def _arrive(self, send: Send) -> None:
        self._fit(send.payload)
        packet = Packet(send.uuid, send.payload)
        self._arrived.append(packet)
        self.received.append(packet)
        if "indicate" in self._known[send.uuid].properties:
            self._ahead = self._next()  # confirmed, the bench goes on
        if len(self.received) == self._lost_after:
            self.unplug()
