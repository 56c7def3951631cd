"""Omron's memory: models, records, index and clock by hand-made bytes."""

from dataclasses import replace
from itertools import pairwise

import pytest

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.vendor import omron_memory, omron_models
from protocols.vendor.omron_memory import Record
from protocols.vendor.omron_models import (
    MODELS,
    ClockLayout,
    Format,
    Memory,
    Model,
    Stack,
    Unlock,
)

_TIME = DateTime(2024, 6, 15, 14, 30, 45)
# 120/80, pulse 72, at _TIME, irregular: hour 14, day 15, month 6; second 45, minute 30
LITTLE = bytes.fromhex("5f 50 48 18 ee59 ad07")


def known(name: str) -> Model:
    found = omron_models.model(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("HEM-7322T", "classic key 2AC*100+824*100 B14 44 260/286 8be 14 mix"),
        ("7600T-SH3BK", "classic key 2AC*100 B14 44 260/286 8be 14 mix"),
        ("hem-6410t", "classic key 5590*100 S32 16 100/170 16be 10 pre"),
        ("9700T", "classic key 41A*1000 H24 44 356/3B8 20be 50 lin"),
        ("1026T2", "classic key 2E8*100+928*100 L16 44 260/2A4 24le 2C lin8"),
        ("7155T_ASH3SL", "classic key 98*60+458*60 L16 16 10/54 16le 2C lin8"),
        ("7155T-MW", "modern none 98*60+458*60 L16 44 10/54 16le 2C lin8"),
        ("7155T-K4", "modern none 2E8*60+6A8*60 L16 56 260/2A4 24le 2C lin8"),
        ("7155T-MW3", "modern token 2E8*60+6A8*60 L16 56 260/2A4 16le 2C lin8"),
        ("7377T1", "modern token 80C*80+D0C*80 L16 56 10/58 28le 30 lin8"),
        ("7138K-SH", "modern token 2E8*14 L14 44 260/2A4 16le 2C lin8"),
        ("6321T", "classic key 370*100+8E8*100 L14 44 F74/F9A 8be 14 lin"),
        ("7530T", "classic key 2E8*90 B14 16 260/2A4 16be 2C mix8"),
    ],
)
def test_a_models_row_is_that_of_the_notes(name: str, facts: str) -> None:
    """A number off by one here makes readings of other bytes."""
    found = known(name)
    users = "+".join(f"{user.address:X}*{user.slots}" for user in found.users)
    settings = found.settings
    order = "be" if settings.index.is_big_endian else "le"
    told = (
        f"{found.stack} {found.unlock} {users} {found.format}{found.size}"
        f" {found.block} {settings.read:X}/{settings.write:X}"
        f" {settings.index.size}{order} {settings.clock:X} {settings.layout}"
    )
    assert told == facts


def test_forty_models_have_forty_names_and_none_has_two_meanings() -> None:
    names = [name for each in MODELS for name in (each.name, *each.variants)]

    assert len(MODELS) == 40
    assert len({*names}) == len(names)
    assert all(known(f"HEM-{name}").name for name in names)


def test_a_name_that_is_not_whole_is_no_model() -> None:
    """HEM-7155T and HEM-7155T-MW3 share a beginning and no address."""
    for name in ("7155", "7155T-", "HEM-7155T-D", "HEM-", "", "BLESmart_"):
        assert omron_models.model(name) is None


def test_no_models_memories_overlap() -> None:
    for found in MODELS:
        users = sorted(found.users, key=lambda user: user.address)
        for first, second in pairwise(users):
            assert first.address + first.slots * found.size <= second.address
        assert users[-1].address + users[-1].slots * found.size <= 0x10000


def test_what_a_block_reads_fits_the_stack() -> None:
    """Four channels of 16 bytes carry 64, of which 8 are the frame's own."""
    for found in MODELS:
        assert found.block + 8 <= 64
        assert found.settings.index.size + 8 <= 64
        assert (found.stack is Stack.CLASSIC) is (found.unlock is Unlock.KEY)
        sizes = {"L": (14, 16), "B": (14,), "S": (16, 32), "H": (24,)}
        assert found.size in sizes[found.format]


def test_record_little_is_read_by_the_document() -> None:
    assert omron_memory.decode_little(LITTLE + bytes.fromhex("000000002a01")) == Record(
        systolic=120,
        diastolic=80,
        pulse=72,
        time=_TIME,
        irregular=1,
        movement=0,
        cuff=0,
        battery=0,
        position=0,
        number=298,
    )
    bits = LITTLE[:3] + bytes.fromhex("d8 ee99 bff7") + bytes(6) + b"\xff\xff"
    seen = omron_memory.decode_little(bits, size=16)
    assert (seen.irregular, seen.movement) == (0, 1)
    assert (seen.cuff, seen.battery, seen.position) == (1, 1, 3)
    assert seen.time == _TIME._replace(second=59)  # 63 is sent
    assert seen.number == 65535


def test_record_heartguide_has_its_number_elsewhere() -> None:
    record = bytearray(LITTLE + bytes(16))
    record[10:12] = b"\x2a\x01"
    record[22:24] = b"\xff\xff"

    seen = omron_memory.decode_record(known("9601T"), bytes(record))

    assert (seen.systolic, seen.number, seen.status) == (120, 298, ("irregular_pulse",))


def bit_stream(*fields: tuple[int, int]) -> bytes:
    """Write values of so many bits behind each other, the highest bit first."""
    text = "".join(f"{value:0{bits}b}" for bits, value in fields)
    return int(text, 2).to_bytes(8, "big") + bytes(6)


def made(movement: int, irregular: int, *, year: int = 24, second: int = 45) -> bytes:
    return bit_stream(
        (8, 80), (8, 95), (8, year), (8, 72), (1, movement), (1, irregular),
        (4, 6), (5, 15), (5, 14), (2, 2), (1, 1), (1, 0), (6, 30), (6, second),
    )  # fmt: skip


def test_record_bit_stream_is_read_by_the_document() -> None:
    assert omron_memory.decode_bit_stream(made(0, 0)) == Record(
        systolic=120,
        diastolic=80,
        pulse=72,
        time=_TIME,
        disputed=(0, 0),
        cuff=0,
        battery=1,
        position=2,
    )
    assert omron_memory.decode_bit_stream(made(0, 0, second=60)).time.second == 59


@pytest.mark.parametrize(
    ("bits", "status"),
    [
        ((0, 0), ()),
        ((0, 1), ("body_movement_or_irregular_pulse",)),
        ((1, 0), ("body_movement_or_irregular_pulse",)),
        ((1, 1), ("body_movement", "irregular_pulse")),
    ],
)
def test_disputed_bits_are_told_as_either(
    bits: tuple[int, int], status: tuple[str, ...]
) -> None:
    """Two readers disagree which bit is which: neither is taken for right."""
    assert omron_memory.decode_bit_stream(made(*bits)).status == status


def test_a_year_of_the_6232t_has_six_bits() -> None:
    record = made(0, 0, year=0b11_011000)

    assert omron_memory.decode_record(known("6232T"), record).time.year == 2024
    assert omron_memory.decode_record(known("7322T"), record).time.year == 2216


def test_record_bytes_is_read_by_the_document() -> None:
    record = bytes.fromhex("18 06 0f 0e 1e 2d 5f 50 48 aa bb 0d 00 00 00 00")

    assert omron_memory.decode_record(known("6401T"), record) == Record(
        systolic=120, diastolic=80, pulse=72, time=_TIME, irregular=1, movement=3
    )
    longer = omron_memory.decode_record(known("6410T"), record + bytes(16))
    assert longer.status == ("body_movement", "irregular_pulse")
    late = record[:5] + b"\x3f" + record[6:]
    assert omron_memory.decode_bytes(late).time == _TIME._replace(second=59)


@pytest.mark.parametrize("found", MODELS, ids=lambda found: found.name)
def test_an_empty_slot_is_told_from_a_reading(found: Model) -> None:
    """Erased memory read as a pressure is 280/255, which somebody would treat."""
    for fill in (b"\xff", b"\x00"):
        with pytest.raises(DecodeError) as caught:
            omron_memory.decode_record(found, fill * found.size)
        assert caught.value.fault == Fault.EMPTY_SLOT
        for size in (0, 1, found.size - 1):
            with pytest.raises(DecodeError) as caught:
                omron_memory.decode_record(found, fill * size)
            assert caught.value.fault == Fault.TRUNCATED
        with pytest.raises(DecodeError) as caught:
            omron_memory.decode_record(found, fill * (found.size + 1))
        assert caught.value.fault == Fault.BAD_LENGTH


def test_the_highest_systolic_of_record_little_is_250() -> None:
    top = omron_memory.decode_little(b"\xe1" + LITTLE[1:] + bytes(6))
    assert top.systolic == 250
    with pytest.raises(DecodeError) as caught:
        omron_memory.decode_little(b"\xe2" + LITTLE[1:] + bytes(6))
    assert caught.value.fault == Fault.EMPTY_SLOT


def test_a_slot_that_was_only_begun_is_empty() -> None:
    """A systolic with neither diastolic nor pulse nor date is no measurement."""
    with pytest.raises(DecodeError) as caught:
        omron_memory.decode_little(b"\x5f" + bytes(7) + b"\x01" * 6)
    assert caught.value.fault == Fault.EMPTY_SLOT


def test_a_clock_that_was_never_set_does_not_cost_the_reading() -> None:
    record = LITTLE[:3] + bytes(5) + bytes(6)

    seen = omron_memory.decode_little(record)

    assert (seen.systolic, seen.time) == (120, DateTime(2000, 0, 0, 0, 0, 0))
    shown = omron_memory.KINDS["omron.record14_le"].show(record)
    assert shown["timestamp_valid"] is False


def index(size: int, **words: str) -> bytes:
    """Put two-byte words at offsets named ``at_<n>``."""
    made = bytearray(size)
    for name, word in words.items():
        at = int(name.removeprefix("at_"))
        made[at : at + 2] = bytes.fromhex(word)
    return bytes(made)


@pytest.mark.parametrize(
    ("name", "user", "raw", "slot"),
    [
        ("7322T", 0, index(8, at_0="0005", at_2="0007"), 4),
        ("7322T", 1, index(8, at_0="0005", at_2="0007"), 6),
        ("7322T", 0, index(8, at_0="8005"), 4),  # only the low octet counts
        ("7322T", 0, index(8, at_0="0064"), 99),
        ("7322T", 0, index(8, at_0="0000"), 99),  # behind the first is the last
        ("7322T", 0, index(8, at_0="8000"), None),
        ("7155T", 1, index(16, at_2="0700"), 6),
        ("7155T-MW3", 1, index(16, at_2="0080", at_8="0700"), 6),
        ("6401T", 0, index(16, at_0="0005", at_6="0009"), 9),
        ("6401T", 0, index(16, at_6="8000"), None),
        ("9700T", 0, index(20, at_0="03e8"), 999),
        ("9700T", 0, index(20, at_0="4101"), 256),
    ],
)
def test_the_newest_slot_is_that_of_the_index(
    name: str, user: int, raw: bytes, slot: int | None
) -> None:
    """It says where the oldest reading stands, and so their order."""
    assert omron_memory.newest_slot(known(name), user, raw) == slot


@pytest.mark.parametrize(
    ("name", "raw", "fault"),
    [
        ("7322T", index(8, at_0="0065"), Fault.OUT_OF_RANGE),
        ("6401T", index(16, at_6="0064"), Fault.OUT_OF_RANGE),
        ("7322T", bytes(7), Fault.TRUNCATED),
        ("7322T", bytes(9), Fault.BAD_LENGTH),
        ("7322T", b"", Fault.TRUNCATED),
    ],
)
def test_an_index_that_names_no_slot_is_refused(
    name: str, raw: bytes, fault: Fault
) -> None:
    with pytest.raises(DecodeError) as caught:
        omron_memory.newest_slot(known(name), 0, raw)
    assert caught.value.fault == fault


WINDOWS = {
    ClockLayout.LINEAR: (
        "a5 5a 18 06 0f 0e 1e 2d 00 85",
        "a5 5a 1a 01 02 03 04 05 00 28",
    ),
    ClockLayout.MIXED: (
        "a5 5a 06 18 0e 0f 2d 1e 00 85",
        "a5 5a 01 1a 03 02 05 04 00 28",
    ),
    ClockLayout.LINEAR_8: (
        "c8 a8 00 00 00 00 00 01 18 06 0f 0e 1e 2d f7 00",
        "c8 a8 00 00 00 00 00 01 1a 01 02 03 04 05 9a 00",
    ),
    ClockLayout.MIXED_8: (
        "c8 a8 00 00 00 00 00 01 06 18 0e 0f 2d 1e f7 00",
        "c8 a8 00 00 00 00 00 01 01 1a 03 02 05 04 9a 00",
    ),
    ClockLayout.PREFIX: (
        "18 06 0f 0e 1e 2d f0 f1 f2 f3 f4 f5 f6 f7 f8 f9",
        "1a 01 02 03 04 05 f0 f1 f2 f3 f4 f5 f6 f7 f8 f9",
    ),
}


@pytest.mark.parametrize("layout", ClockLayout)
def test_each_clock_is_read_and_changed_as_the_notes_say(layout: ClockLayout) -> None:
    """A wrong octet sets a cuff's clock to another day, and every reading's."""
    before, after = map(bytes.fromhex, WINDOWS[layout])

    assert omron_memory.clock_size(layout) == len(before)
    assert omron_memory.decode_clock(layout, before) == _TIME
    time = DateTime(2026, 1, 2, 3, 4, 5)
    assert omron_memory.encode_clock(layout, before, time) == after


@pytest.mark.parametrize(
    ("layout", "window", "shown", "set_to_shown"),
    [
        (
            ClockLayout.MIXED,  # HEM-7600T-E
            "a0 c0 06 1a 12 0f 13 14 37 c8",
            DateTime(2026, 6, 15, 18, 20, 19),
            "a0 c0 06 1a 12 0f 13 14 00 c8",
        ),
        (
            ClockLayout.MIXED,  # HEM-7322T-E
            "08 c8 05 1a 10 0d 19 0e f0 33",
            DateTime(2026, 5, 13, 16, 14, 25),
            "08 c8 05 1a 10 0d 19 0e 00 33",
        ),
        (
            ClockLayout.MIXED_8,  # HEM-6232T-E
            "50 c0 00 03 00 00 00 00 05 1a 0a 0e 08 06 a7 58",
            DateTime(2026, 5, 14, 10, 6, 8),
            "50 c0 00 03 00 00 00 00 05 1a 0a 0e 08 06 00 58",
        ),
        (
            ClockLayout.MIXED_8,
            "50 c0 00 03 00 00 00 00 05 1a 08 0e 21 1d 79 86",
            DateTime(2026, 5, 14, 8, 29, 33),
            "50 c0 00 03 00 00 00 00 05 1a 08 0e 21 1d 00 86",
        ),
        (
            ClockLayout.LINEAR_8,  # HEM-7382T1
            "c6 54 00 00 00 00 00 00 1a 09 12 15 34 06 9e 00",
            DateTime(2026, 9, 18, 21, 52, 6),
            "c6 54 00 00 00 00 00 00 1a 09 12 15 34 06 9e 00",
        ),
    ],
)
def test_the_windows_of_real_cuffs_are_read(
    layout: ClockLayout, window: str, shown: DateTime, set_to_shown: str
) -> None:
    """They were logged by eigger/hass-omron (its tests, issues 38 and 190)."""
    real = bytes.fromhex(window)

    assert omron_memory.decode_clock(layout, real) == shown
    changed = omron_memory.encode_clock(layout, real, shown)
    assert changed == bytes.fromhex(set_to_shown)


@pytest.mark.parametrize("layout", ClockLayout)
def test_a_window_of_another_size_is_no_clock(layout: ClockLayout) -> None:
    window = bytes.fromhex(WINDOWS[layout][0])
    for size in range(len(window)):
        with pytest.raises(DecodeError) as caught:
            omron_memory.decode_clock(layout, window[:size])
        assert caught.value.fault == Fault.TRUNCATED
    with pytest.raises(DecodeError) as caught:
        omron_memory.decode_clock(layout, window + b"\0")
    assert caught.value.fault == Fault.BAD_LENGTH


@pytest.mark.parametrize(
    "layout", [layout for layout in ClockLayout if layout != ClockLayout.PREFIX]
)
def test_a_window_with_a_wrong_sum_is_neither_read_nor_written_back(
    layout: ClockLayout,
) -> None:
    """What was misread must never be written into a cuff."""
    window = bytearray.fromhex(WINDOWS[layout][0])
    window[0] ^= 1

    for use in (
        lambda: omron_memory.decode_clock(layout, bytes(window)),
        lambda: omron_memory.encode_clock(layout, bytes(window), _TIME),
    ):
        with pytest.raises(DecodeError) as caught:
            use()
        assert caught.value.fault == Fault.BAD_CHECKSUM


@pytest.mark.parametrize(
    "time",
    [
        DateTime(1999, 12, 31, 23, 59, 59),
        DateTime(2100, 1, 1, 0, 0, 0),
        DateTime(2026, 2, 30, 0, 0, 0),
    ],
)
def test_only_a_moment_of_this_century_is_written(time: DateTime) -> None:
    window = bytes.fromhex(WINDOWS[ClockLayout.LINEAR][0])
    with pytest.raises(ValueError, match="can show"):
        omron_memory.encode_clock(ClockLayout.LINEAR, window, time)


def test_a_clock_that_shows_no_moment_is_shown_as_such() -> None:
    show = omron_memory.KINDS["omron.eeprom_time"].show
    assert show(bytes(16), layout="pre") == {
        "datetime": "2000-00-00T00:00:00",
        "datetime_valid": False,
    }


def test_every_format_has_its_decoder() -> None:
    model = replace(known("7322T"), users=(Memory(0, 1),))
    for form, size in (
        (Format.LITTLE, 14),
        (Format.BYTES, 16),
        (Format.HEARTGUIDE, 24),
    ):
        record = b"\x10" * 17 + b"\x00" + b"\x10" * 6
        found = omron_memory.decode_record(
            replace(model, format=form, size=size), record[:size]
        )
        assert found.systolic == 41
