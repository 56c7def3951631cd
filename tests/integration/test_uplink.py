"""The uplink on a real broker: what goes when, and what a bad outbox does to it."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import time
from typing import BinaryIO

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from bench.backlog import free_port, mosquitto
from edge_agent import health
from edge_agent.config import Broker, Config
from edge_agent.config import Uplink as Chosen
from edge_agent.health import Health
from edge_agent.outbox import Outbox
from edge_agent.uplink import Uplink
from protocols.observation import Observation, Reading
from protocols.uplink import batch
from protocols.uplink.envelope import digest
from protocols.uplink.receipt import Entry, Receipt, Result
from tests.edge_agent.filling import PEER, reading
from tests.integration.parts import until

pytestmark = pytest.mark.integration


class _Gateway:
    """Hears all that a station says; gives receipts when it is told to."""

    def __init__(self, port: int) -> None:
        self.said: list[tuple[str, bytes]] = []
        self._ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("vw/1/#", qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _client, _, said: self.said.append(
            (said.topic.rsplit("/", 1)[1], bytes(said.payload))
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def batches(self) -> list[list[int | None]]:
        """Return the numbers of each batch's readings."""
        return [
            [one.observation.sequence for one in batch.decode(payload).readings]
            for topic, payload in [*self.said]
            if topic == "batch"
        ]

    def store(self, *, but_first: bool = False) -> None:
        """Give a receipt for all that came; maybe the first of it is refused."""
        came = [digest(payload) for topic, payload in self.said if topic == "batch"]
        entries = tuple(Entry(0, one, Result.STORED) for one in came)
        if but_first:
            entries = (Entry(0, came[0], Result.QUARANTINED, "why"), *entries[1:])
        receipt = Receipt("s-1", entries, 0).encode()
        self._client.publish("vw/1/home/s-1/down/receipt", receipt, qos=1)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    port = free_port()
    with mosquitto(tmp_path, port):
        yield port


@pytest.fixture
def gateway(port: int) -> Iterator[_Gateway]:
    made = _Gateway(port)
    yield made
    made.close()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox(tmp_path / "outbox.db")
    yield opened
    opened.close()


def _run(
    folder: Path,
    port: int,
    outbox: Outbox,
    chosen: Chosen,
    story: Callable[[Uplink, asyncio.Event], Awaitable[None]],
) -> None:
    """Run an uplink while a story is told."""

    async def both() -> None:
        captured = asyncio.Event()
        config = Config("s-1", broker=Broker(port=port), uplink=chosen)
        uplink = Uplink(config, outbox, Health(folder), captured)
        running = asyncio.ensure_future(uplink.run())
        try:
            await story(uplink, captured)
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.wait({running})

    asyncio.run(both())


async def _until(holds: Callable[[], bool]) -> None:
    # Sooner than anything is sent again.
    await asyncio.to_thread(until, holds, seconds=10)


def test_an_alarm_goes_at_once_behind_a_backlog_and_a_silent_gateway(
    tmp_path: Path, port: int, outbox: Outbox, gateway: _Gateway
) -> None:
    """The window is full, no receipt comes, and it is sent all the same."""
    outbox.capture(PEER, [reading(n) for n in range(120)])

    async def story(_: Uplink, captured: asyncio.Event) -> None:
        await _until(lambda: len(gateway.batches()) == 3)
        outbox.capture(PEER, [reading(500), reading(501)], urgent=_is_500)
        captured.set()
        await _until(lambda: len(gateway.batches()) > 3)
        assert gateway.batches()[3:] == [[500]]

        gateway.store()
        await _until(lambda: len(gateway.batches()) == 7)
        assert gateway.batches()[4:] == [
            [*range(60, 80)], [*range(80, 100)], [*range(100, 120)],
        ]  # fmt: skip
        gateway.store()
        await _until(lambda: len(gateway.batches()) == 8)
        assert gateway.batches()[7:] == [[501]]

    _run(tmp_path, port, outbox, Chosen(batch_readings=20, window=3), story)


def _is_500(seen: Observation) -> bool:
    return seen.sequence == 500


def test_on_a_metered_link_readings_go_together(
    tmp_path: Path, port: int, outbox: Outbox, gateway: _Gateway
) -> None:
    """Each message costs as much as hundreds of readings."""

    async def story(_: Uplink, captured: asyncio.Event) -> None:
        await _until(lambda: bool(gateway.said))  # it is connected
        began = asyncio.get_running_loop().time()
        for number in range(3):
            outbox.capture(PEER, [_now(number)])
            captured.set()
            await asyncio.sleep(0.1)
        await _until(lambda: bool(gateway.batches()))
        took_s = asyncio.get_running_loop().time() - began
        assert gateway.batches() == [[0, 1, 2]]
        assert 0.99 <= took_s < 3.0

    _run(tmp_path, port, outbox, Chosen(metered=True, delay_s=1.0), story)


def test_a_clock_set_back_keeps_no_reading_waiting(
    tmp_path: Path, port: int, outbox: Outbox, gateway: _Gateway
) -> None:
    """By the clock alone it would wait for a year."""
    ahead = _now(1, by_ms=31_536_000_000)
    outbox.capture(PEER, [ahead])

    async def story(_uplink: Uplink, _captured: asyncio.Event) -> None:
        await _until(lambda: bool(gateway.batches()))

    _run(tmp_path, port, outbox, Chosen(metered=True, delay_s=1.0), story)


def test_an_outbox_that_fails_while_it_connects_ends_nothing(
    tmp_path: Path, port: int, outbox: Outbox, gateway: _Gateway
) -> None:
    """In paho's thread the error would end it, and the station be silent for ever."""
    outbox.capture(PEER, [reading(1)])

    async def story(_uplink: Uplink, _captured: asyncio.Event) -> None:
        outbox._file.db.execute("ALTER TABLE journal RENAME TO gone")
        await asyncio.sleep(0.5)
        assert gateway.said == []
        outbox._file.db.execute("ALTER TABLE gone RENAME TO journal")
        await _until(lambda: bool(gateway.batches()))
        assert [topic for topic, _ in gateway.said] == ["status", "batch"]

    _run(tmp_path, port, outbox, Chosen(), story)


def test_what_the_gateway_refused_does_not_count_as_stored(
    tmp_path: Path, port: int, outbox: Outbox, gateway: _Gateway
) -> None:
    """Who looks at the status would take a refused batch for a safe one."""
    outbox.capture(PEER, [reading(n) for n in range(6)])

    async def story(_uplink: Uplink, _captured: asyncio.Event) -> None:
        await _until(lambda: len(gateway.batches()) == 3)
        gateway.store(but_first=True)
        await _until(lambda: (health.read(tmp_path) or {})["receipts"] == 2)

    _run(tmp_path, port, outbox, Chosen(batch_readings=2, window=3), story)


def test_receipts_do_not_fill_the_memory_while_the_outbox_fails(
    tmp_path: Path, port: int, outbox: Outbox, gateway: _Gateway
) -> None:
    """A disk may be full for days; and each receipt is given again with its batch."""
    outbox.capture(PEER, [reading(1)])

    async def story(uplink: Uplink, _: asyncio.Event) -> None:
        await _until(lambda: bool(gateway.batches()))
        outbox._file.db.execute("ALTER TABLE batch RENAME TO gone")
        for _receipt in range(300):
            gateway.store()
        await _until(lambda: len(uplink._receipts) == 256)
        outbox._file.db.execute("ALTER TABLE gone RENAME TO batch")
        await _until(lambda: not outbox.counts().waiting)
        await _until(lambda: not uplink._receipts)

    _run(tmp_path, port, outbox, Chosen(), story)


def test_a_line_that_always_breaks_does_not_fill_the_memory(
    tmp_path: Path, outbox: Outbox
) -> None:
    """What paho holds it sends again by itself; each copy more would stay there."""
    outbox.capture(PEER, [reading(n) for n in range(6)])
    met: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]

        def break_lines() -> None:
            """Take the connection, and drop it when something is published."""
            while len(met) < 3:
                line, _ = server.accept()
                with line:
                    line.recv(1000)
                    line.sendall(b"\x20\x02\x00\x00")
                    while not (said := line.recv(65_536)) or said[0] & 0xF0 != 0x30:
                        if not said:
                            break
                    met.append(1)

        breaking = threading.Thread(target=break_lines)
        breaking.start()

        async def story(uplink: Uplink, _: asyncio.Event) -> None:
            await _until(lambda: len(met) == 3)
            held = [one.topic for one in uplink._client._out_messages.values()]
            up = "vw/1/home/s-1/up"
            assert Counter(held) == {f"{up}/status": 1, f"{up}/batch": 3}

        _run(tmp_path, port, outbox, Chosen(batch_readings=2), story)
        breaking.join(10)


def test_what_a_broker_drops_and_never_takes_is_sent_again(
    tmp_path: Path, outbox: Outbox
) -> None:
    """Some drop what exceeds a quota, and keep the line alive: it would wait for ever.

    And only on a new line: a copy more on this one would stay in the memory.
    """
    outbox.capture(PEER, [reading(1)])
    with _dropping(lambda batches: batches == 1) as (port, met):

        async def story(uplink: Uplink, captured: asyncio.Event) -> None:
            uplink._policy = replace(uplink._policy, resend_s=0.1)
            await _until(lambda: "batch" in met)
            captured.set()  # it would look again in half a minute
            await _until(lambda: met.count("batch") > 1)
            assert met[:5] == ["connect", "status", "batch", "connect", "batch"]
            await _until(lambda: not uplink._client._out_messages)

        _run(tmp_path, port, outbox, Chosen(), story)


def test_a_line_that_takes_a_while_is_given_it(tmp_path: Path, outbox: Outbox) -> None:
    """A slow line that is broken each time would never bring a batch to its end."""
    outbox.capture(PEER, [reading(1)])
    with _dropping(lambda _: True) as (port, met):

        async def story(uplink: Uplink, captured: asyncio.Event) -> None:
            uplink._policy = replace(uplink._policy, resend_s=0.2)
            await _until(lambda: "batch" in met)
            for _ in range(10):
                await asyncio.sleep(0.1)
                captured.set()
            assert met == ["connect", "status", "batch"]

        _run(tmp_path, port, outbox, Chosen(), story)


def test_it_ends_though_the_outbox_fails_and_the_broker_takes_nothing(
    tmp_path: Path, outbox: Outbox
) -> None:
    """Its client stays for what it still has to send: the station would not stop."""
    outbox.capture(PEER, [reading(1)])
    with _dropping(lambda _: True) as (port, met):

        async def story(_uplink: Uplink, _captured: asyncio.Event) -> None:
            await _until(lambda: "batch" in met)
            outbox._file.db.execute("ALTER TABLE journal RENAME TO gone")

        began = time()
        _run(tmp_path, port, outbox, Chosen(), story)
        assert time() - began < 5


@contextmanager
def _dropping(drops: Callable[[int], bool]) -> Iterator[tuple[int, list[str]]]:
    """Give the port of a broker, and what it meets.

    It never takes a batch when ``drops`` says so of how many came.
    """
    met: list[str] = []
    lines: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    line, _ = server.accept()
                except OSError:
                    return
                lines.append(line)
                with line, line.makefile("rb") as said:
                    while head := said.read(1):
                        answer = _answer(head[0] >> 4, _body(said), met, drops)
                        line.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield server.getsockname()[1], met
        finally:
            for one in (server, *lines):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            serving.join(10)


def _body(said: BinaryIO) -> bytes:
    size = shift = 0
    while True:
        part = said.read(1)[0]
        size |= (part & 0x7F) << shift
        if part < 0x80:
            return said.read(size)
        shift += 7


def _answer(
    kind: int, body: bytes, met: list[str], drops: Callable[[int], bool]
) -> bytes:
    """Return a broker's answer: to CONNECT, SUBSCRIBE, PINGREQ and PUBLISH."""
    match kind:
        case 1:
            met.append("connect")
            return b"\x20\x02\x00\x00"
        case 8:
            return b"\x90\x03" + body[:2] + b"\x01"
        case 12:
            return b"\xd0\x00"
        case 3:
            end = 2 + int.from_bytes(body[:2], "big")
            name = body[2:end].decode().rsplit("/", 1)[1]
            met.append(name)
            if name == "batch" and drops(met.count("batch")):
                return b""
            return b"\x40\x02" + body[end : end + 2]
    return b""


def _now(number: int, by_ms: int = 0) -> Reading:
    """Return a reading that was captured just now, by a clock so far ahead."""
    return replace(reading(number), captured_ms=int(time() * 1000) + by_ms)


class _Refusing:
    """A broker that refuses the first subscription, as a cluster without a leader."""

    def __init__(self) -> None:
        self.subscriptions = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                with line, line.makefile("rb") as stream:
                    self._speak(line, stream)

    def _speak(self, line: socket.socket, stream: BinaryIO) -> None:
        """Answer CONNECT and SUBSCRIBE; all else is heard only (MQTT 3.1.1, §3)."""
        while head := stream.read(1):
            size, shift = 0, 0
            while (part := stream.read(1)[0]) & 0x80:
                size, shift = size | (part & 0x7F) << shift, shift + 7
            body = stream.read(size | part << shift)
            if head[0] == 0x10:
                line.sendall(b"\x20\x02\x00\x00")
            elif head[0] == 0x82:
                self.subscriptions += 1
                code = b"\x80" if self.subscriptions == 1 else b"\x01"
                line.sendall(b"\x90\x03" + body[:2] + code)


def test_a_refused_subscription_is_asked_for_again(
    tmp_path: Path, outbox: Outbox
) -> None:
    """Without receipts a station keeps and sends all for ever, as if all was well."""
    broker = _Refusing()

    async def story(_: Uplink, __: asyncio.Event) -> None:
        await _until(lambda: broker.subscriptions == 2)

    _run(tmp_path, broker.port, outbox, Chosen(), story)
    broker.close()
