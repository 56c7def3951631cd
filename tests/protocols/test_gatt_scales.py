"""Weight and body composition, against bytes made by hand."""

from dataclasses import replace
from decimal import Decimal

import pytest

from protocols.errors import DecodeError
from protocols.gatt import body_composition, fields, weight_scale
from protocols.gatt.body_composition import Flag
from protocols.gatt.time import DateTime

FIRST = body_composition.decode(
    bytes.fromhex("06 10 b9 00 e8 07 06 0f 0e 1e 2d 02")  # body fat, time, user
)
SECOND = body_composition.decode(
    bytes.fromhex("00 16 ff ff 03 14 b0 36")  # impedance, weight
)


def test_a_weight_keeps_the_precision_of_its_unit() -> None:
    """5 g are 5 g: no binary fraction, no rounding."""
    seen = weight_scale.decode(bytes.fromhex("00 b1 36"))

    assert str(seen.weight) == "70.005"


@pytest.mark.parametrize(
    ("raw", "weight"),
    [("00 00 00", "0.000"), ("00 fe ff", "327.670"), ("01 fe ff", "655.34")],
)
def test_the_ends_of_the_range_are_numbers(raw: str, weight: str) -> None:
    assert str(weight_scale.decode(bytes.fromhex(raw)).weight) == weight


def test_a_weighing_that_failed_has_no_weight() -> None:
    """0xFFFF is no 327.675 kg."""
    seen = weight_scale.decode(bytes.fromhex("06 ff ff e8 07 06 0f 0e 1e 2d ff"))

    assert seen.weight is None
    assert seen.time == DateTime(2024, 6, 15, 14, 30, 45)
    assert seen.user == fields.UNKNOWN_USER


@pytest.mark.parametrize(
    ("feature", "mass", "height"),
    [
        ("00 00 00 00", "not_specified", "not_specified"),
        ("b8 01 00 00", "0.005 kg / 0.01 lb", "0.001 m / 0.1 in"),
        ("c0 03 00 00", "reserved", "reserved"),
    ],
)
def test_a_resolution_is_named_or_reserved(
    feature: str, mass: str, height: str
) -> None:
    shown = weight_scale.KINDS["gatt.weight_scale_feature"].show(bytes.fromhex(feature))

    assert (shown["weight_resolution"], shown["height_resolution"]) == (mass, height)


def test_the_feature_does_not_scale_the_weight() -> None:
    """Readers that multiply by the scale's resolution show ten times the weight."""
    assert weight_scale.decode_feature(bytes.fromhex("18 00 00 00")) >> 3 == 3
    assert weight_scale.decode(bytes.fromhex("00 b0 36")).weight == 70


def test_two_packets_make_one_measurement() -> None:
    """With 20 bytes a packet, a full measurement never fits in one."""
    joined = body_composition.join(FIRST, SECOND)

    assert joined == replace(
        FIRST,
        flags=FIRST.flags | SECOND.flags,
        impedance_ohm=Decimal("512.3"),
        weight=Decimal("70.000"),
    )


@pytest.mark.parametrize(
    "second",
    [
        replace(SECOND, flags=Flag.WEIGHT | Flag.IMPEDANCE),
        replace(SECOND, flags=SECOND.flags | Flag.IMPERIAL),
        replace(SECOND, body_fat_pct=Decimal("18.4")),
        replace(SECOND, user=3),
    ],
    ids=["alone", "unit", "body fat", "user"],
)
def test_packets_of_two_measurements_are_not_joined(
    second: body_composition.Measurement,
) -> None:
    """The impedance of one person is not to get the name of another."""
    assert body_composition.join(FIRST, second) is None


def test_a_field_that_both_packets_have_is_taken_once() -> None:
    again = replace(SECOND, user=2, body_fat_pct=FIRST.body_fat_pct)

    joined = body_composition.join(FIRST, again)

    assert joined is not None
    assert (joined.user, joined.weight) == (2, 70)


def test_imperial_masses_are_pounds_and_heights_inches() -> None:
    seen = body_composition.decode(bytes.fromhex("01 0c c8 00 e5 44 bc 02"))

    assert (seen.weight, seen.height) == (Decimal("176.37"), Decimal("70.0"))
    shown = body_composition.KINDS["gatt.body_composition_measurement"].show(
        bytes.fromhex("01 0c c8 00 e5 44 bc 02")
    )
    assert (shown["mass_unit"], shown["height_unit"]) == ("lb", "in")


def test_a_field_that_is_announced_and_cut_off_is_named() -> None:
    with pytest.raises(DecodeError, match="'weight' needs 2 bytes, 1 remain"):
        body_composition.decode(bytes.fromhex("00 06 c8 00 88 13 80"))


def test_a_feature_reads_behind_what_it_knows() -> None:
    """A later version of the service may append to it."""
    raw = bytes.fromhex("ff 0f 00 00 99")

    assert body_composition.decode_feature(raw) == 0x0FFF
    shown = body_composition.KINDS["gatt.body_composition_feature"].show(raw)
    assert shown["trailing_bytes"] == 1
