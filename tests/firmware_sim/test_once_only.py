"""Devices that tell each record once: when they begin, and what they keep."""

from uuid import UUID

import pytest

from firmware_sim.bench import AttError, HangUp, Send
from firmware_sim.once_only import OnceOnly
from protocols.gatt.uuid import sig

_ONE, _OTHER, _STRANGE = sig(0x2A9D), sig(0x2A9C), sig(0x2A19)


def _device(*records: bytes, capacity: int | None = None) -> OnceOnly[bytes]:
    device = OnceOnly(records, [_ONE, _OTHER], lambda one: [Send(_ONE, one)], capacity)
    device.connected()
    return device


def _enable(device: OnceOnly[bytes], *uuids: UUID) -> list[object]:
    """Enable one after another; return what is sent, and the end."""
    return [
        action.payload if isinstance(action, Send) else type(action)
        for uuid in uuids
        for action in device.enabled(uuid, on=True)
    ]


def test_it_sends_once_it_is_heard_on_everything() -> None:
    """What came before would be dropped by the carrier, and never told again."""
    device = _device(b"a", b"b")

    assert _enable(device, _ONE, _STRANGE) == []
    assert device.unsent == (b"a", b"b")
    assert _enable(device, _OTHER) == [b"a", b"b", HangUp]
    assert device.unsent == ()


def test_what_is_enabled_besides_starts_nothing() -> None:
    device = _device(b"a")
    assert _enable(device, _ONE, _OTHER) == [b"a", HangUp]

    assert _enable(device, _STRANGE) == []


@pytest.mark.parametrize("silenced", ["off", "disconnected", "connected"])
def test_what_nobody_hears_any_more_is_kept(silenced: str) -> None:
    device = _device(b"a", b"b")
    device.enabled(_ONE, on=True)
    actions = iter(device.enabled(_OTHER, on=True))
    assert next(actions) == Send(_ONE, b"a")

    if silenced == "off":
        device.enabled(_OTHER, on=False)
    else:
        getattr(device, silenced)()

    assert list(actions) == []
    assert device.unsent == (b"b",)


def test_a_full_memory_forgets_the_oldest() -> None:
    device = _device(b"a", b"b", capacity=2)
    device.store(b"c")

    assert device.unsent == (b"b", b"c")


def test_nothing_is_writable() -> None:
    with pytest.raises(AttError) as refused:
        _device().write(_ONE, b"")

    assert refused.value.code == 0x03
