"""Sends messages through a broker, and tells when each was receipted.

Runs in a process of its own: `send` is what a pool of processes is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import BoundedSemaphore, Condition, Event
from time import monotonic

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from gateway.bench.fleet import TENANT
from protocols.uplink import receipt
from protocols.uplink.envelope import digest
from protocols.uplink.receipt import Result

_HOST = "127.0.0.1"
_PATIENCE_S = 30.0  # without any receipt
_UNDER_WAY = 200


@dataclass(slots=True)
class Traffic:
    """What came of sending; times are of `monotonic`, which all processes share.

    Attributes:
        began_s: When the first message was sent.
        ended_s: When the last one was.
        sent: How many of the messages were sent, from the first one on.
        stored: When each of these was receipted as stored; infinity is never.
        refused: The reasons that receipts gave for others.
    """

    began_s: float = 0.0
    ended_s: float = 0.0
    sent: int = 0
    stored: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def send(
    port: int, messages: Sequence[tuple[str, bytes]], seconds: float, window: int
) -> Traffic:
    """Publish messages for a while, and wait for what the gateway says of them.

    Args:
        port: The broker's.
        messages: Topic and payload, no two alike.
        seconds: For how long; less if there are no more messages.
        window: How many may be without a receipt at once.
    """
    return _Sender(messages, window).run(port, seconds)


class _Sender:
    def __init__(self, messages: Sequence[tuple[str, bytes]], window: int) -> None:
        self._messages, self._window = messages, window
        self._places = {digest(payload): at for at, (_, payload) in enumerate(messages)}
        self._found = Traffic(stored=[float("inf")] * len(messages))
        self._answered = 0
        self._gone = False  # the broker
        self._changed = Condition()
        self._ready = Event()

    def run(self, port: int, seconds: float) -> Traffic:
        client = Client(CallbackAPIVersion.VERSION2, client_id="bench-stations")
        client.max_inflight_messages_set(2 * self._window)
        client.on_connect = self._on_connect
        client.on_subscribe = lambda *_: self._ready.set()
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.connect(_HOST, port)
        client.loop_start()
        try:
            if not self._ready.wait(_PATIENCE_S):
                raise TimeoutError("the broker takes no subscription")
            self._publish(client, seconds)
            self._drain()
        finally:
            client.disconnect()
            client.loop_stop()
        del self._found.stored[self._found.sent :]
        return self._found

    def _publish(self, client: Client, seconds: float) -> None:
        found = self._found
        found.began_s = monotonic()
        for topic, payload in self._messages:
            with self._changed:
                room = self._changed.wait_for(
                    lambda: self._gone or found.sent - self._answered < self._window,
                    _PATIENCE_S,
                )
            if self._gone or not room or monotonic() - found.began_s > seconds:
                break
            client.publish(topic, payload, qos=1)
            found.sent += 1
        found.ended_s = monotonic()

    def _drain(self) -> None:
        before = -1
        with self._changed:
            while before < self._answered < self._found.sent and not self._gone:
                before = self._answered
                self._changed.wait_for(partial(self._has_more, before), _PATIENCE_S)

    def _has_more(self, before: int) -> bool:
        return self._gone or self._answered > before

    def _on_connect(self, client: Client, *_more: object) -> None:
        client.subscribe(f"vw/1/{TENANT}/+/down/receipt", 1)

    def _on_disconnect(self, *_: object) -> None:
        with self._changed:
            self._gone = True
            self._changed.notify()

    def _on_message(self, _client: Client, _data: object, came: MQTTMessage) -> None:
        now_s = monotonic()
        entries = receipt.decode(bytes(came.payload)).entries
        with self._changed:
            for entry in entries:
                at = self._places.pop(entry.digest, None)
                if at is None:
                    continue
                self._answered += 1
                if entry.result == Result.STORED:
                    self._found.stored[at] = now_s
                else:
                    self._found.refused.append(entry.reason)
            self._changed.notify()


def publish(port: int, topic: str, messages: Sequence[bytes]) -> None:
    """Publish messages as fast as the broker takes them, and return when it has all."""
    client = Client(CallbackAPIVersion.VERSION2, client_id="bench-publisher")
    client.max_inflight_messages_set(_UNDER_WAY)
    room = BoundedSemaphore(_UNDER_WAY)
    client.on_publish = lambda *_: room.release()
    client.connect(_HOST, port)
    client.loop_start()
    for message in messages:
        room.acquire()
        client.publish(topic, message, qos=1)
    for _ in range(_UNDER_WAY):
        room.acquire()
    client.disconnect()
    client.loop_stop()
