"""What messages bring, as bytes that pass from one process to another.

Only what took time to find passes: all else the message itself says, which stays where
it came in.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from gateway.delivery import Message, refuse
from gateway.store import Accepted, Delivery, Greeting, Refused
from gateway.store.rows import KIND_NUMBERS, Made, Prepared
from protocols.observation import Device
from protocols.uplink.group import KINDS
from protocols.uplink.topics import Station

_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode


class Timed(NamedTuple):
    """What a message brought, and when it was opened, in ns since 1970."""

    delivery: Delivery
    began_ns: int
    ended_ns: int


def packed(opened: Sequence[Timed]) -> bytes:
    """Return what messages brought as `unpacked` takes it."""
    return _encode([(_told(one), *times) for one, *times in opened])


def unpacked(data: bytes, messages: Sequence[Message]) -> list[Timed]:
    """Return what was packed.

    Args:
        data: What `packed` returned.
        messages: Those that brought it.
    """
    return [
        Timed(_made(message, *told), began_ns, ended_ns)
        for message, (told, began_ns, ended_ns) in zip(
            messages, _decode(data), strict=True
        )
    ]


def _told(delivery: Delivery) -> tuple[Any, ...]:
    match delivery:
        case Refused():
            return (delivery.reason,)
        case Greeting():
            return delivery.station
        case Accepted(station, batch):
            groups = [*map(_group_told, batch.groups)]
            return *station, batch.station, batch.counter, batch.made_ms, groups


def _made(message: Message, *told: Any) -> Delivery:  # noqa: ANN401 - as it was told
    match told:
        case (reason,):
            return refuse(message, reason)
        case (tenant, name):
            return Greeting(Station(tenant, name), message.payload, message.received_ms)
    tenant, name, station, counter, made_ms, groups = told
    made = (*map(_group_made, groups),)
    batch = Prepared(station, counter, made_ms, made, message.payload)
    return Accepted(Station(tenant, name), batch, message.digest, message.received_ms)


def _group_told(group: Made) -> tuple[Any, ...]:
    device = group.device
    return (
        (device.id, device.manufacturer, device.model, device.serial, device.firmware),
        group.driver,
        KIND_NUMBERS[group.kind],
        group.count,
        group.flagged,
        group.span_ms,
        group.columns,
    )


def _group_made(told: Sequence[Any]) -> Made:
    device, driver, kind, count, flagged, span_ms, columns = told
    name, version = driver
    first_ms, last_ms = span_ms
    return Made(
        Device(*device),
        (name, version),
        KINDS[kind],
        count,
        flagged,
        (first_ms, last_ms),
        columns,
    )
