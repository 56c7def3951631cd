"""Omron's advertisements, names and measurements by hand-made bytes."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.medfloat import Special
from protocols.vendor import omron, omron_measurement, omron_scale
from protocols.vendor.omron import Advertisement, LocalName, Mode, Newest
from protocols.vendor.omron_measurement import Flag, Measurement


def test_an_advert_tells_each_users_newest_reading() -> None:
    """Whether a visit is worthwhile at all is decided by these numbers."""
    seen = omron.decode_advertisement(
        bytes.fromhex("01 f7 ff ff ff 01 00 02 02 00 03 03 00 04")
    )

    assert seen == Advertisement(
        0xF7, (Newest(65535, 255), Newest(1, 2), Newest(2, 3), Newest(3, 4))
    )


@pytest.mark.parametrize(
    ("payload", "fault", "field"),
    [
        ("", Fault.TRUNCATED, "type"),
        ("03 00 2a 00 05", Fault.UNSUPPORTED_FORMAT, "type"),
        ("01", Fault.TRUNCATED, "flags"),
        ("01 01 2a 00 05 01", Fault.TRUNCATED, "user 2, sequence"),
        ("01 00 2a 00 05 00", Fault.BAD_LENGTH, "end"),
    ],
)
def test_what_is_no_advert_is_refused(payload: str, fault: Fault, field: str) -> None:
    with pytest.raises(DecodeError) as caught:
        omron.decode_advertisement(bytes.fromhex(payload))
    assert (caught.value.fault, caught.value.field) == (fault, field)


def test_a_small_s_in_the_name_is_pairing_and_a_large_one_transfer() -> None:
    """By one letter a host knows whether it may take the readings now."""
    pairing = omron.decode_local_name(b"BLEsmart_0000011FAABBCCDDEEFF")
    transfer = omron.decode_local_name(b"BLESmart_0000011FAABBCCDDEEFF")

    assert pairing == LocalName(Mode.PAIRING, "0000011F", "AABBCCDDEEFF")
    assert transfer == LocalName(Mode.TRANSFER, "0000011F", "AABBCCDDEEFF")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (b"BLESMART_0000011FAABBCCDDEEFF", Fault.BAD_HEADER),
        (b"BLESmart_0000011GAABBCCDDEEFF", Fault.BAD_FIELD),
        (b"BLESmart_0000011FAABBCCDDEEF ", Fault.BAD_FIELD),
        (b"BLESmart_0000011FAABBCCDDEEF", Fault.TRUNCATED),
        (b"BLESmart_0000011FAABBCCDDEEFF0", Fault.BAD_LENGTH),
        (b"A&D_UA-651BLE_AABBCC", Fault.BAD_HEADER),
    ],
)
def test_what_is_no_name_of_omrons_is_refused(name: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        omron.decode_local_name(name)
    assert caught.value.fault == fault


def test_each_flag_of_a_measurement_announces_its_own_field() -> None:
    """One field taken for another is a pulse rate read as a pressure."""
    alone = {
        "02 00 2a 00": Measurement(Flag.SEQUENCE, sequence=42),
        "05 00 a0 f0": Measurement(Flag.SYSTOLIC | Flag.KPA, systolic=Decimal("16.0")),
        "08 00 50 00": Measurement(Flag.DIASTOLIC, diastolic=Decimal(80)),
        "10 00 ff 07": Measurement(Flag.MEAN, mean=Special.NAN),
        "20 00 e8 07 06 0f 0e 1e 2d": Measurement(
            Flag.TIME, time=DateTime(2024, 6, 15, 14, 30, 45)
        ),
        "40 00 48 00": Measurement(Flag.PULSE_RATE, pulse_rate=Decimal(72)),
        "80 00 ff": Measurement(Flag.USER, user=255),
        "00 01 05 00": Measurement(Flag.STATUS, status=5),
        "00 02 03": Measurement(Flag.MEASUREMENTS, measurements=3),
        "00 04 01": Measurement(Flag.ARTIFACTS, artifacts=1),
        "00 08 02": Measurement(Flag.IRREGULAR_PULSES, irregular_pulses=2),
        "00 10 f5 00": Measurement(
            Flag.ROOM_TEMPERATURE, room_temperature=Decimal("24.5")
        ),
        "00 20": Measurement(Flag.CONTINUED),
        "00 00": Measurement(Flag(0)),
    }
    for payload, expected in alone.items():
        found = omron_measurement.decode_blood_pressure(bytes.fromhex(payload))
        assert found == expected


def test_an_impossible_time_and_reserved_bits_are_shown_as_such() -> None:
    show = omron_measurement.KINDS["omron.measurement_bp"].show

    assert show(bytes.fromhex("20 c0 00 00 00 00 00 00 00")) == {
        "flags": 0xC020,
        "unit": "mmHg",
        "timestamp": "0000-00-00T00:00:00",
        "timestamp_valid": False,
        "reserved_flag_bits": 0xC000,
        "more_packets": False,
    }
    assert show(bytes.fromhex("01 00"))["unit"] == "kPa"


@given(st.binary(max_size=40))
def test_any_bytes_are_a_measurement_or_refused(payload: bytes) -> None:
    try:
        omron_measurement.decode_blood_pressure(payload)
    except DecodeError as error:
        assert error.data == payload  # noqa: PT017 - either is right


def test_a_scales_record_is_read_by_its_bits() -> None:
    """48 bytes of the HBF-702T; its visceral fat counts in halves."""
    record = bytearray(48)
    record[2:4] = (0b0011101011_010001).to_bytes(2, "big")  # 23.5 %, level 17/2
    record[7], record[9], record[10] = 0b11_011000, 0b10_101101, 34
    record[11], record[12], record[13] = 0x33, 0b10001_001, 0b11_001100
    record[26:28] = (724 << 5 | 0x1F).to_bytes(2, "big")

    seen = omron_scale.decode_record(bytes(record), omron_scale.Profile.HBF_702T)

    assert (seen.weight, seen.fat) == (Decimal("72.4"), Decimal("23.5"))
    assert (seen.visceral_fat, seen.age) == (Decimal("8.5"), 34)
    assert seen.time == DateTime(2024, 3, 17, 7, 45, 12)


def test_a_scales_record_with_another_size_is_refused() -> None:
    for size in (31, 33, 48):
        with pytest.raises(DecodeError):
            omron_scale.decode_record(b"\x01" * size, omron_scale.Profile.SIZE_32)


def test_an_impossible_time_of_a_scale_is_shown_as_such() -> None:
    """A scale whose clock was never set still has weighed."""
    record = bytearray(32)
    record[26:28] = (724 << 5).to_bytes(2, "big")

    shown = omron_scale.KINDS["omron.body_composition_record"].show(bytes(record))

    assert shown["timestamp"] == "2000-00-00T00:00:00"
    assert shown["timestamp_valid"] is False
    assert shown["weight_kg"] == Decimal("72.4")
