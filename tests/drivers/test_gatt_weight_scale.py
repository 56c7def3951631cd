"""The scale's driver against the simulated scale."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import pytest

from drivers.gatt_weight_scale import DRIVER
from drivers.sdk import (
    DateTime,
    Identity,
    Kind,
    NoReply,
    Observation,
    Packet,
    Quantity,
    State,
    Terms,
    Undecoded,
    Unit,
    Value,
)
from firmware_sim.bench import Action, Send
from firmware_sim.devices.gatt_weight_scale import (
    COMPOSITION_TRIAL,
    TRIAL,
    TWO_PACKETS_TRIAL,
    CompositionRecord,
    Record,
    WeightRecord,
    WeightScale,
)
from firmware_sim.kit.bad_devices import Mute
from firmware_sim.kit.check import check_rule
from firmware_sim.kit.rules import RULES, Rule
from firmware_sim.link import SimGattLink
from firmware_sim.trial import Trial
from protocols.gatt.uuid import sig
from tests.drivers.collecting import visit

MORNING = datetime(2026, 3, 1, 7, 30)  # noqa: DTZ001 - a wall clock
SHOWN = DateTime(2026, 3, 1, 7, 30, 0)
NUMBERS = {
    Quantity.BASAL_METABOLISM: Decimal(7000),
    Quantity.MUSCLE: Decimal("42.0"),
    Quantity.MUSCLE_MASS: Decimal("30.000"),
    Quantity.BODY_IMPEDANCE: Decimal("512.3"),
    Quantity.BODY_WEIGHT: Decimal("70.000"),
    Quantity.BODY_HEIGHT: Decimal("1.750"),
}
UNITS = dict(
    zip(
        NUMBERS,
        (
            Unit.KILOJOULE,
            Unit.PERCENT,
            Unit.KILOGRAM,
            Unit.OHM,
            Unit.KILOGRAM,
            Unit.METRE,
        ),
        strict=True,
    )
)
COMPOSITION = CompositionRecord(Decimal("18.5"), NUMBERS, MORNING, user=2)
# By hand: the first packet of two with time, user and three numbers, the second.
FIRST = bytes.fromhex("3e 10 b9 00 ea 07 03 01 07 1e 00 02 58 1b a4 01 70 17")
SECOND = bytes.fromhex("00 1e ff ff 03 14 b0 36 d6 06")


async def _seen(*records: Record) -> list[Observation]:
    found = await visit(DRIVER, SimGattLink(WeightScale(records)))
    assert found.error is None
    assert not found.of(Undecoded)
    return found.of(Observation)


async def test_a_weighing_is_told_whole() -> None:
    """From bytes made by hand to every value, with the scale's own precision."""
    (seen,) = await _seen(
        WeightRecord(Decimal("70.005"), MORNING, 1, Decimal("24.5"), Decimal("1.750"))
    )

    assert seen == Observation(
        kind=Kind.BODY_WEIGHT,
        values=(
            Value(Quantity.BODY_WEIGHT, Unit.KILOGRAM, Decimal("70.005")),
            Value(Quantity.BODY_MASS_INDEX, Unit.KG_PER_M2, Decimal("24.5")),
            Value(Quantity.BODY_HEIGHT, Unit.METRE, Decimal("1.750")),
        ),
        device_time=SHOWN,
        slot=1,
        raw=(bytes.fromhex("0e b1 36 ea 07 03 01 07 1e 00 01 f5 00 d6 06"),),
    )


async def test_a_weighing_in_pounds_stays_in_pounds() -> None:
    (seen,) = await _seen(
        WeightRecord(
            Decimal("154.32"),
            bmi=Decimal("24.5"),
            height=Decimal("68.9"),
            imperial=True,
        )
    )

    assert [(value.number, value.unit) for value in seen.values] == [
        (Decimal("154.32"), Unit.POUND),
        (Decimal("24.5"), Unit.KG_PER_M2),
        (Decimal("68.9"), Unit.INCH),
    ]


async def test_a_weighing_that_failed_has_no_number() -> None:
    """Its 0xFFFF is not 327 kg, and an unknown user is no user 255."""
    (seen,) = await _seen(WeightRecord(None, MORNING, 255))

    assert seen.values[0].state == State.DEVICE_ERROR
    assert seen.slot is None


async def test_nobody_weighs_nothing_and_is_of_no_height() -> None:
    (seen,) = await _seen(WeightRecord(Decimal(0), MORNING, 1, Decimal(0)))

    assert [value.state for value in seen.values] == [State.NO_VALUE] * 3


@pytest.mark.parametrize(("mtu", "raws"), [(64, 1), (23, 2)])
async def test_a_composition_is_one_reading_in_one_packet_or_two(
    mtu: int, raws: int
) -> None:
    """What comes behind a packet's end belongs to the same person and moment."""
    found = await visit(DRIVER, SimGattLink(WeightScale([COMPOSITION], mtu=mtu)))

    (seen,) = found.of(Observation)
    assert (seen.device_time, seen.slot, seen.context) == (SHOWN, 2, ())
    assert seen.values == (
        Value(Quantity.BODY_FAT, Unit.PERCENT, Decimal("18.5")),
        *(Value(name, UNITS[name], number) for name, number in NUMBERS.items()),
    )
    assert len(seen.raw) == raws
    if raws == 2:
        assert seen.raw == (FIRST, SECOND)


async def test_socks_cost_the_body_fat_and_not_the_weight() -> None:
    numbers = {Quantity.BODY_WEIGHT: Decimal("70.000")}

    (seen,) = await _seen(CompositionRecord(None, numbers, MORNING))

    fat, weight = seen.values
    assert (fat.state, weight.number) == (State.DEVICE_ERROR, Decimal("70.000"))


@pytest.mark.parametrize("payload", [FIRST, SECOND], ids=["first", "second"])
def test_a_packet_of_two_that_stays_alone_is_kept_as_it_is(payload: bytes) -> None:
    """The scale tells both again: one weighing is not two readings."""
    (event,) = DRIVER.decode(Packet(sig(0x2A9C), payload), Identity())

    assert isinstance(event, Undecoded)
    assert event.payload == payload


def test_two_packets_that_were_written_down_are_one_reading_behind_a_crash() -> None:
    weighing = WeightRecord(Decimal("70.005"), MORNING, 1)
    (sent,) = weighing.indications(20)
    packets = [Packet(sig(0x2A9C), each) for each in (FIRST, SECOND, FIRST)]
    packets.insert(1, Packet(sent.uuid, sent.payload))

    weight, composition, half = DRIVER.recovered(packets, Terms())

    assert isinstance(weight, Observation)
    assert isinstance(composition, Observation)
    assert (weight.raw, composition.raw) == ((sent.payload,), (FIRST, SECOND))
    assert isinstance(half, Undecoded)
    assert half.payload == FIRST


class _Sends(WeightScale):
    """A scale that sends just these compositions, whatever they are."""

    def __init__(self, *payloads: bytes) -> None:
        super().__init__([COMPOSITION])
        self._payloads = payloads

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:
        sends = super().enabled(uuid, on=on)
        return [Send(sig(0x2A9C), each) for each in self._payloads] if sends else ()


@pytest.mark.parametrize(
    ("payloads", "raws", "undecoded"),
    [
        ([FIRST, FIRST, SECOND], [(FIRST, SECOND)], 0),
        ([FIRST], [], 1),
        ([SECOND], [], 1),
        ([SECOND, FIRST], [], 2),
        ([FIRST, b"\x00\x10", SECOND], [(FIRST, SECOND)], 1),
        (
            [FIRST, FIRST[:-1] + b"\x18", SECOND],
            [(FIRST[:-1] + b"\x18", SECOND)],
            1,
        ),
    ],
    ids=["repeated", "cut off", "late", "turned", "rubbish between", "two firsts"],
)
async def test_packets_find_the_one_they_belong_to_or_none(
    payloads: list[bytes], raws: list[tuple[bytes, ...]], undecoded: int
) -> None:
    """Half of one weighing joined with half of another is nobody's."""
    found = await visit(DRIVER, SimGattLink(_Sends(*payloads)))

    assert found.error is None
    assert [seen.raw for seen in found.of(Observation)] == raws
    assert len(found.of(Undecoded)) == undecoded


async def test_a_scale_with_neither_characteristic_is_named() -> None:
    scale = WeightScale([])
    scale.services = {}

    found = await visit(DRIVER, SimGattLink(scale))

    assert isinstance(found.error, NoReply)


async def test_a_silent_scale_is_left_alone_in_time() -> None:
    """It is exempt from the kit's rule, for nothing is asked of it."""
    found = await visit(DRIVER, SimGattLink(Mute(WeightScale([COMPOSITION]))))

    assert (found.error, found.of(Observation)) == (None, [])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize(
    "trial",
    [TRIAL, COMPOSITION_TRIAL, TWO_PACKETS_TRIAL],
    ids=["weighings", "compositions", "compositions in two packets"],
)
def test_every_rule_holds_for_whatever_a_scale_sends(trial: Trial, rule: Rule) -> None:
    """By its name the kit tries the driver with weighings only."""
    assert check_rule(DRIVER, trial, rule).problems == ()
