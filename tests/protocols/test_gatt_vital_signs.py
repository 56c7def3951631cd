"""Temperature, oxygen saturation and heart rate, against bytes made by hand."""

from decimal import Decimal

import pytest

from protocols.errors import DecodeError, Fault
from protocols.gatt import heart_rate, pulse_oximeter, thermometer
from protocols.gatt.pulse_oximeter import DeviceStatus, MeasurementStatus
from protocols.gatt.time import DateTime
from protocols.medfloat import Special


def test_a_temperature_is_the_published_example() -> None:
    """36.4 is 0xFF00016C by the Transcoding White Paper, exponent -1, no bias."""
    seen = thermometer.decode(bytes.fromhex("00 6c 01 00 ff"))

    assert str(seen.temperature) == "36.4"
    assert (seen.time, seen.type) == (None, None)


def test_a_temperature_comes_with_time_and_place() -> None:
    seen = thermometer.decode(
        bytes.fromhex("07 da 03 00 ff ea 07 03 01 07 1e 00 06 aa")
    )

    assert seen.temperature == Decimal("98.6")
    assert seen.time == DateTime(2026, 3, 1, 7, 30, 0)
    assert thermometer.TYPES[seen.type or 0] == "mouth"
    assert seen.trailing == b"\xaa"


@pytest.mark.parametrize(
    ("raw", "special"),
    [
        ("00 ff ff 7f 00", Special.NAN),
        ("00 00 00 80 00", Special.NRES),
        ("00 fe ff 7f 00", Special.POSITIVE_INFINITY),
        ("00 02 00 80 00", Special.NEGATIVE_INFINITY),
    ],
)
def test_a_temperature_that_is_none_is_no_number(raw: str, special: Special) -> None:
    """A thermometer sends NaN until it has one."""
    assert thermometer.decode(bytes.fromhex(raw)).temperature == special


@pytest.mark.parametrize(("raw", "said"), [("00 00", 0), ("3c 00", 60)])
def test_an_interval_of_zero_is_none(raw: str, said: int) -> None:
    assert thermometer.decode_interval(bytes.fromhex(raw)) == (said, b"")


def test_a_type_of_two_bytes_is_none() -> None:
    with pytest.raises(DecodeError) as caught:
        thermometer.decode_type(b"\x03\x00")
    assert caught.value.fault == Fault.BAD_LENGTH


def test_a_spot_check_says_what_it_is_worth() -> None:
    """A value of a demonstration, or that is invalid, looks like any other."""
    seen = pulse_oximeter.decode_spot_check(
        bytes.fromhex("06 61 00 48 00 00 84 40 00 00")
    )

    assert (seen.spo2, seen.pulse_rate) == (Decimal(97), Decimal(72))
    assert MeasurementStatus(seen.measurement_status or 0) == (
        MeasurementStatus.INVALID | MeasurementStatus.DEMONSTRATION
    )
    assert DeviceStatus(seen.device_status or 0) == DeviceStatus.ERRATIC_SIGNAL


def test_a_continuous_measurement_has_up_to_three_pairs() -> None:
    seen = pulse_oximeter.decode_continuous(
        bytes.fromhex("03 61 00 48 00 62 00 49 00 60 00 ff 07")
    )

    assert seen.fast == (Decimal(98), Decimal(73))
    assert seen.slow == (Decimal(96), Special.NAN)


@pytest.mark.parametrize(
    ("raw", "measured", "device"),
    [
        ("00 00", None, None),
        ("03 00", None, None),
        ("01 00 e0 01", 0x01E0, None),
        ("02 00 34 12 00", None, 0x1234),
        ("03 00 e0 01 34 12 00", 0x01E0, 0x1234),
    ],
)
def test_what_an_oximeter_supports_is_told_or_not(
    raw: str, measured: int | None, device: int | None
) -> None:
    """Not told is not the same as "it never says so"."""
    seen = pulse_oximeter.decode_features(bytes.fromhex(raw))

    assert (seen.measurement_bits, seen.device_bits) == (measured, device)


@pytest.mark.parametrize("raw", ["03 00 e0", "03 00 e0 01", "03 00 e0 01 34 12"])
def test_support_that_is_told_by_half_is_refused(raw: str) -> None:
    with pytest.raises(DecodeError) as caught:
        pulse_oximeter.decode_features(bytes.fromhex(raw))
    assert caught.value.fault == Fault.TRUNCATED


def test_the_bits_of_the_features_are_named() -> None:
    show = pulse_oximeter.KINDS["gatt.plx_features"].show

    shown = show(bytes.fromhex("03 00 e0 01 20 00 00 07"))

    assert shown["measurement_status_flags"] == [
        "ongoing",
        "early_estimate",
        "validated",
        "fully_qualified",
    ]
    assert shown["device_status_flags"] == ["low_perfusion"]
    assert shown["trailing_bytes"] == 1


@pytest.mark.parametrize(
    ("flags", "contact"),
    [("00", None), ("02", None), ("04", False), ("06", True)],
)
def test_a_sensor_tells_whether_it_touches_skin_or_not_at_all(
    flags: str, contact: bool | None
) -> None:
    """A heart rate of a strap in a drawer is none."""
    assert heart_rate.decode(bytes.fromhex(flags + "48")).has_contact is contact


def test_intervals_go_on_to_the_end() -> None:
    seen = heart_rate.decode(bytes.fromhex("19 01 01 32 01 00 04 08 02"))

    assert (seen.heart_rate, seen.energy_kj) == (257, 306)
    assert seen.intervals == (1024, 520)


@pytest.mark.parametrize("raw", ["10 48", "10 48 00", "10 48 00 04 00"])
def test_half_an_interval_is_refused(raw: str) -> None:
    with pytest.raises(DecodeError, match="'RR interval' needs 2 bytes"):
        heart_rate.decode(bytes.fromhex(raw))


@pytest.mark.parametrize(("code", "name"), [(0, "other"), (6, "foot"), (7, "reserved")])
def test_a_place_is_named_or_reserved(code: int, name: str) -> None:
    show = heart_rate.KINDS["gatt.body_sensor_location"].show

    assert show(bytes([code])) == {"location": name, "location_code": code}
