"""The Yonker driver against the simulated cuff."""

from datetime import datetime
from decimal import Decimal

import pytest

from drivers.sdk import (
    DateTime,
    Event,
    Identity,
    Kind,
    Observation,
    Packet,
    Quantity,
    State,
    Undecoded,
    Unit,
    Value,
)
from drivers.yonker import DRIVER
from firmware_sim.devices.yonker import YonkerCuff, YonkerResult
from firmware_sim.link import SimGattLink
from protocols.vendor import yonker
from tests.drivers.collecting import visit

TIME = datetime(2024, 11, 25, 19, 18)  # noqa: DTZ001 - a wall clock
# Captured.
BYTES = bytes.fromhex("81 83 67 51 00 00 19 0b 18 13 12 00 00 00 00")
SEEN = Observation(
    kind=Kind.BLOOD_PRESSURE,
    values=(
        Value(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(131)),
        Value(Quantity.DIASTOLIC, Unit.MM_HG, Decimal(103)),
        Value(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(81)),
    ),
    device_time=DateTime(2024, 11, 25, 19, 18, 0),
    status=("time_fault",),
    context=(("clock-bytes", "190b181312"),),
    raw=(BYTES,),
)


def decode(payload: bytes) -> list[Event]:
    return DRIVER.decode(Packet(yonker.NOTIFICATIONS, payload), Identity())


async def test_a_captured_result_is_read_whole() -> None:
    device = YonkerCuff([YonkerResult(131, 103, 81, TIME)])
    link = SimGattLink(device)

    found = await visit(DRIVER, link)

    assert found.error is None
    assert found.events == [Identity("Yonker", "YK-IBPA1", "", "1.0"), SEEN]
    assert link.written == []


async def test_the_pressure_while_measuring_is_no_result() -> None:
    device = YonkerCuff([YonkerResult(131, 103, 81, TIME)], is_measuring=True)

    found = await visit(DRIVER, SimGattLink(device))

    assert found.of(Observation) == [SEEN]
    assert found.of(Undecoded) == []


def test_no_true_time_is_made_of_its_clock() -> None:
    """Its order is uncertain: read wrongly, a reading would be years off."""
    (seen,) = decode(BYTES)

    assert isinstance(seen, Observation)
    assert "time_fault" in seen.status


@pytest.mark.parametrize(
    "payload",
    [b"", BYTES[:14], BYTES + b"\x00", b"\x82" + BYTES[1:], b"\x81\x61\x48\x05\x00"],
)
def test_what_is_no_result_is_kept_as_bytes(payload: bytes) -> None:
    """An oximeter's saturation of 97 % is no systolic pressure of 97 mmHg."""
    (seen,) = decode(payload)

    assert isinstance(seen, Undecoded)
    assert seen.payload == payload


def test_a_pressure_of_zero_is_no_value() -> None:
    (seen,) = decode(bytes.fromhex("81 00 67 51 00 00 19 0b 18 13 12 00 00 00 00"))

    assert isinstance(seen, Observation)
    assert seen.values[0].state == State.NO_VALUE
