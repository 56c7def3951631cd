"""The Health Thermometer Service driver against the simulated thermometer."""

from datetime import datetime
from decimal import Decimal

import pytest

from drivers.gatt_thermometer import DRIVER
from drivers.sdk import (
    DateTime,
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
from firmware_sim.devices.gatt_thermometer import TemperatureRecord, Thermometer
from firmware_sim.link import SimGattLink
from protocols.gatt.uuid import sig
from tests.drivers.collecting import visit

MORNING = datetime(2026, 3, 1, 7, 30)  # noqa: DTZ001 - a wall clock
# By hand: °F with time and type, 986 at exponent -1, the mouth.
FEVERLESS = bytes.fromhex("07 da 03 00 ff ea 07 03 01 07 1e 00 06")


async def _one(record: TemperatureRecord) -> Observation:
    found = await visit(DRIVER, SimGattLink(Thermometer([record])))
    assert found.error is None
    (seen,) = found.of(Observation)
    return seen


async def test_a_reading_is_told_whole_in_the_unit_in_which_it_came() -> None:
    """From bytes made by hand to every value, with nothing converted."""
    record = TemperatureRecord(Decimal("98.6"), MORNING, site=6, fahrenheit=True)

    seen = await _one(record)

    assert seen == Observation(
        kind=Kind.BODY_TEMPERATURE,
        values=(Value(Quantity.BODY_TEMPERATURE, Unit.FAHRENHEIT, Decimal("98.6")),),
        device_time=DateTime(2026, 3, 1, 7, 30, 0),
        context=(("site", "mouth"),),
        raw=(FEVERLESS,),
    )


async def test_a_measurement_that_failed_has_no_number() -> None:
    """NaN is the thermometer's way to say so."""
    (value,) = (await _one(TemperatureRecord(Decimal("NaN"), MORNING))).values

    assert (value.number, value.state) == (None, State.NOT_A_NUMBER)


@pytest.mark.parametrize(("code", "said"), [(3, "ear"), (10, "reserved-10")])
async def test_a_site_is_named_also_where_it_is_reserved(code: int, said: str) -> None:
    seen = await _one(TemperatureRecord(Decimal("36.6"), site=code))

    assert seen.context == (("site", said),)
    assert seen.device_time is None


async def test_a_cut_value_is_kept_and_not_guessed() -> None:
    packet = Packet(sig(0x2A1C), FEVERLESS[:-1])

    (event,) = DRIVER.decode(packet, Identity())

    assert isinstance(event, Undecoded)
    assert event.payload == FEVERLESS[:-1]


async def test_what_was_told_is_not_kept_by_the_thermometer() -> None:
    """It is told only once, which is why the agent writes it down first."""
    thermometer = Thermometer([TemperatureRecord(Decimal("36.6"), MORNING)])

    await visit(DRIVER, SimGattLink(thermometer))

    assert thermometer.unsent == ()
    assert DRIVER.once_only
