"""The driver of the UA-767PBT against the simulated one."""

from datetime import datetime
from decimal import Decimal

from drivers.and_ua767pbt import DRIVER
from drivers.sdk import (
    DateTime,
    DeviceClock,
    Identity,
    Observation,
    Quantity,
    State,
    Terms,
    Unit,
    Value,
)
from firmware_sim.devices.and_ua767pbt import PbtRecord, Ua767Pbt
from firmware_sim.link import SimSerialLink
from tests.drivers.collecting import Visit, visit

RECORD = PbtRecord(
    datetime(2024, 6, 15, 14, 30, 45),  # noqa: DTZ001 - a wall clock
    systolic=120,
    diastolic=80,
    pulse=72,
    mean=93,
)
CUFF = Identity("A&D", "UA-767PBT", "5070300012")


async def hear(link: SimSerialLink, terms: Terms | None = None) -> Visit:
    link.unplug()
    return await visit(DRIVER, link, terms=terms)


async def test_a_packet_tells_who_when_and_what() -> None:
    """The document's own example, 802850485D."""
    link = SimSerialLink(Ua767Pbt([RECORD]))

    found = await hear(link)

    assert found.events[:2] == [CUFF, DeviceClock(DateTime(2026, 3, 1, 12, 0, 0))]
    (seen,) = found.of(Observation)
    assert [(value.quantity, value.number) for value in seen.values] == [
        (Quantity.SYSTOLIC, Decimal(120)),
        (Quantity.DIASTOLIC, Decimal(80)),
        (Quantity.MEAN_PRESSURE, Decimal(93)),
        (Quantity.PULSE_RATE, Decimal(72)),
    ]
    assert seen.device_time == DateTime(2024, 6, 15, 14, 30, 45)
    assert seen.raw[0].endswith(b"802850485D")


async def test_nothing_is_ever_sent() -> None:
    """How to acknowledge is not certain; a wrong answer may erase the reading."""
    link = SimSerialLink(Ua767Pbt([RECORD]))

    await hear(link)

    assert (link.written, DRIVER.writes) == ([], ())


async def test_a_known_cuff_does_not_introduce_itself_again() -> None:
    found = await hear(SimSerialLink(Ua767Pbt([RECORD] * 2)), Terms(identity=CUFF))

    assert found.of(Identity) == []
    assert len(found.of(Observation)) == 2


async def test_another_cuff_on_the_same_port_introduces_itself() -> None:
    """Two persons' cuffs may use one port; neither may get the other's readings."""
    other = Ua767Pbt([RECORD], serial="5070300099")

    found = await hear(SimSerialLink(other), Terms(identity=CUFF))

    assert found.events[0] == Identity("A&D", "UA-767PBT", "5070300099")


async def test_a_measurement_that_is_not_valid_has_no_numbers() -> None:
    invalid = PbtRecord(RECORD.time, 120, 80, 72, 93, is_valid=False)

    found = await hear(SimSerialLink(Ua767Pbt([invalid])))

    (seen,) = found.of(Observation)
    assert seen.values == tuple(
        Value(quantity, Unit.MM_HG, None, State.DEVICE_ERROR)
        for quantity in (Quantity.SYSTOLIC, Quantity.DIASTOLIC)
    )


async def test_half_a_packet_is_no_reading_and_holds_back_none() -> None:
    class Broken(Ua767Pbt):
        def plugged(self) -> list[bytes]:
            (whole,) = super().plugged()
            return [whole[:30], whole]

    link = SimSerialLink(Broken([RECORD]))

    found = await hear(link)

    assert len(found.of(Observation)) == 1
    assert len(link.noted) > 0


def test_what_is_held_back_comes_out_when_it_is_given_up() -> None:
    assert DRIVER.frames is not None
    frames = DRIVER.frames()
    (whole,) = Ua767Pbt([RECORD]).plugged()
    assert frames.feed(whole[:69]) == []

    assert frames.resync() != []
    assert frames.feed(whole) == [whole]
