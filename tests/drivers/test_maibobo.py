"""The Maibobo driver against the simulated cuff."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import pytest

from drivers.maibobo import DRIVER
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
from firmware_sim.devices.maibobo import MaiboboCuff, MaiboboError, MaiboboResult
from firmware_sim.link import SimGattLink
from protocols.gatt.uuid import sig
from tests.drivers.collecting import visit

NOTIFIES = sig(0xFFF1)
MODULE = UUID("49535343-1e4d-4bd9-ba61-23c647249616")
TIME = datetime(2016, 10, 16, 11, 44, 7)  # noqa: DTZ001 - a wall clock
# Captured from a cuff that somebody had set, and from one that nobody had.
BYTES = bytes.fromhex("aa 80 02 0f 01 06 02 10 0a 10 0b 2c 07 00 7a 00 47 00 47 58")
UNSET = bytes.fromhex("aa 80 02 0f 01 06 00 0e 01 01 01 01 01 00 d7 00 86 00 67 33")
SEEN = Observation(
    kind=Kind.BLOOD_PRESSURE,
    values=(
        Value(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(122)),
        Value(Quantity.DIASTOLIC, Unit.MM_HG, Decimal(71)),
        Value(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(71)),
    ),
    device_time=DateTime(2016, 10, 16, 11, 44, 7),
    slot=2,
    raw=(BYTES,),
)


def decode(payload: bytes, uuid: UUID = NOTIFIES) -> list[Event]:
    return DRIVER.decode(Packet(uuid, payload), Identity())


async def test_a_captured_result_is_read_whole() -> None:
    device = MaiboboCuff([MaiboboResult(122, 71, 71, TIME, 2)])

    found = await visit(DRIVER, SimGattLink(device))

    assert found.error is None
    assert found.events == [Identity("Maibobo", "RBP-9804", "RB-0001", "1.0"), SEEN]
    assert decode(BYTES) == decode(BYTES, MODULE) == [SEEN]


async def test_a_cuff_is_only_listened_to() -> None:
    """Whatever is written might have it inflate."""
    device = MaiboboCuff([MaiboboResult(122, 71, 71, TIME)])
    link = SimGattLink(device)

    await visit(DRIVER, link)

    assert link.written == []
    assert not device.was_ordered
    assert DRIVER.writes == ()


def test_the_moment_of_a_clock_never_set_is_no_time() -> None:
    """Two equal results of such a cuff would else be taken for one."""
    (seen,) = decode(UNSET)

    assert isinstance(seen, Observation)
    assert [value.number for value in seen.values] == [215, 134, 103]
    assert seen.device_time is None
    assert seen.context == (("unset-clock", "2014-01-01T01:01:01"),)


async def test_a_clock_that_runs_on_from_there_tells_no_true_time() -> None:
    """A cuff measures while it is listened to: it is never 2014 then."""
    time = datetime(2014, 2, 3, 4, 5, 6)  # noqa: DTZ001 - a wall clock
    cuff = MaiboboCuff([MaiboboResult(122, 71, 71, time)])

    found = await visit(DRIVER, SimGattLink(cuff))

    (seen,) = found.of(Observation)
    assert (seen.device_time, seen.status) == (DateTime.of(time), ("time_fault",))


async def test_a_pressure_above_255_keeps_its_high_byte() -> None:
    found = await visit(
        DRIVER, SimGattLink(MaiboboCuff([MaiboboResult(260, 134, 0, None)]))
    )

    (seen,) = found.of(Observation)
    assert seen.values[0].number == 260
    assert seen.values[2].state == State.NO_VALUE


@pytest.mark.parametrize(("code", "status"), [(7, ("battery_low",)), (3, ("unknown",))])
async def test_a_failed_measurement_has_no_number(
    code: int, status: tuple[str, ...]
) -> None:
    found = await visit(DRIVER, SimGattLink(MaiboboCuff([MaiboboError(code)])))

    (seen,) = found.of(Observation)
    assert [value.state for value in seen.values] == [State.DEVICE_ERROR]
    assert (seen.status, dict(seen.context)) == (status, {"error-code": str(code)})


@pytest.mark.parametrize(
    "frame",
    ["aa 80 02 08 01 05 00 00 00 00 42 00 4c", "aa 80 02 03 01 01 00 01"],
)
def test_what_tells_no_result_becomes_nothing(frame: str) -> None:
    assert decode(bytes.fromhex(frame)) == []


@pytest.mark.parametrize(
    "payload", [UNSET[:-1] + b"\x32", UNSET[:10], UNSET + b"\x00", b""]
)
def test_a_damaged_result_is_kept_as_bytes(payload: bytes) -> None:
    (seen,) = decode(payload)

    assert isinstance(seen, Undecoded)
    assert seen.payload == payload
