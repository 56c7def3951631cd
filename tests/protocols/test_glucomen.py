"""GlucoMen Areo and GlucoFix Tech: blocks by their document."""

from decimal import Decimal

import pytest

from protocols import kinds
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor.glucomen import (
    Block,
    Information,
    Reading,
    Reply,
    ask_glucose,
    ask_information,
    ask_ketone,
    decode_block,
    decode_information,
    decode_readings,
    decoder,
    set_clock,
)

# The blocks of glucofix-tech-gk-extract's tests, with their checksums.
GLUCOSE = (
    b"[\r\nGlu, 5.2,mmol/L,00,240101,0800\r\nGlu, 125, mg/dL,00,240609,1812\r\n"
    b"Glu,  HI,mmol/L,00,250203,1232\r\nGlu,  LO,mmol/L,00,250603,1232\r\nD8\r\n]\r\n"
)
KETONE = (
    b"[\r\nKet, 0.2,mmol/L,00,240101,0800\r\nKet,  HI,mmol/L,00,240609,1812\r\n"
    b"F0\r\n]\r\n"
)
INFORMATION = b"[\r\n0000000000000,58,59,      DEMOSN, B.0\r\nE6\r\n]\r\n"
EMPTY = b"[\r\n\x90\x3d\r\n]\r\n"
BLOCKS = [GLUCOSE, KETONE, INFORMATION]


def test_the_meter_is_asked_with_single_bytes() -> None:
    assert ask_information() == b"\xa2"
    assert ask_glucose() == b"\x80"
    assert ask_ketone() == b"\xa8"


def test_a_value_is_in_the_unit_of_its_own_line() -> None:
    """One memory may hold both; HI and LO are no numbers."""
    first, second, high, low = decode_readings(decode_block(GLUCOSE))

    assert first == Reading(
        test="Glu",
        value=Decimal("5.2"),
        unit="mmol/L",
        marking="00",
        time=DateTime(2024, 1, 1, 8, 0, 0),
        above_range=False,
        below_range=False,
        line=b"Glu, 5.2,mmol/L,00,240101,0800",
    )
    assert isinstance(second, Reading)
    assert (second.value, second.unit) == (Decimal(125), "mg/dL")
    assert isinstance(high, Reading)
    assert (high.value, high.above_range, high.below_range) == (None, True, False)
    assert isinstance(low, Reading)
    assert (low.value, low.above_range, low.below_range) == (None, False, True)


def test_a_block_is_shown_with_its_results() -> None:
    shown = kinds.show("glucomen.text", GLUCOSE, {})

    assert isinstance(shown["readings"], list)
    assert shown["readings"][:1] + shown["readings"][2:3] == [
        {
            "type": "Glu",
            "value": "5.2",
            "unit": "mmol/L",
            "marking": "00",
            "timestamp": "2024-01-01T08:00",
        },
        {
            "type": "Glu",
            "value": "HI",
            "unit": "mmol/L",
            "marking": "00",
            "timestamp": "2025-02-03T12:32",
        },
    ]


def test_a_ketone_is_told_from_a_glucose() -> None:
    readings = list(decode_readings(decode_block(KETONE)))

    assert [each.test for each in readings if isinstance(each, Reading)] == ["Ket"] * 2


def test_the_information_tells_serial_number_and_version() -> None:
    block = decode_block(INFORMATION)

    assert decode_information(block) == Information("DEMOSN", "B.0")
    assert kinds.show("glucomen.text", INFORMATION, {}) == {
        "serial": "DEMOSN",
        "version": "B.0",
    }


@pytest.mark.parametrize("empty", [EMPTY, b"[\r\n\x90\x3d\r\nA5\r\n]\r\n"])
def test_an_empty_memory_has_no_lines(empty: bytes) -> None:
    """90 3D stands for it; of two sources one has a checksum behind it."""
    assert decode_block(empty).lines == ()
    assert kinds.show("glucomen.text", empty, {}) == {"readings": []}


@pytest.mark.parametrize("block", BLOCKS)
def test_every_flipped_bit_is_refused(block: bytes) -> None:
    """A CRC-8 finds every single error."""
    for bit in range(8 * len(block)):
        damaged = bytearray(block)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            decode_block(bytes(damaged))


@pytest.mark.parametrize("block", [*BLOCKS, EMPTY])
def test_every_cut_is_told_as_one(block: bytes) -> None:
    for size in range(len(block)):
        with pytest.raises(DecodeError) as caught:
            decode_block(block[:size])
        assert caught.value.fault == Fault.TRUNCATED


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        (b"(\r\n" + INFORMATION[3:], Fault.BAD_HEADER),
        (INFORMATION.replace(b"E6", b"e6"), Fault.BAD_CRC),  # the meter's are upper
        (INFORMATION.replace(b"E6", b"6E"), Fault.BAD_CRC),
        (INFORMATION + b"\n", Fault.BAD_LENGTH),
        (EMPTY + b"\n", Fault.BAD_LENGTH),
        (b"[\r\n]\r\n", Fault.TRUNCATED),
    ],
)
def test_a_wrong_block_is_refused(block: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_block(block)

    assert caught.value.fault == fault


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"Glu,10.2,    %,00,240101,0800\r\n67", "unit"),
        (b"Hug,10.2,mmol/L,00,240101,0800\r\nA4", "test"),
        (b"Glu,10.2,mmol/L,240101,0800\r\n94", "columns"),
        (b"Ket, 1.2,    %,00,240101,0800\r\n4A", "unit"),
        (b"Hug, 1.2,mmol/L,00,240101,0800\r\n1D", "test"),
        (b"Ket, 1.2,mmol/L,240101,0800\r\nA4", "columns"),
    ],
)
def test_a_wrong_line_is_told_and_the_others_are_read(line: bytes, field: str) -> None:
    """Published with their checksums; one odd line must not hide the rest."""
    block = decode_block(b"[\r\n" + line + b"\r\n]\r\n")

    (problem,) = decode_readings(block)

    assert isinstance(problem, DecodeError)
    assert (problem.field, problem.fault) == (field, Fault.BAD_FIELD)
    assert problem.offset == 3


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"Glu,,mmol/L,00,240101,0800", "value"),
        (b"Glu,-5.2,mmol/L,00,240101,0800", "value"),
        (b"Glu,hi,mmol/L,00,240101,0800", "value"),
        (b"Glu,5.2,mmol/L,0,240101,0800", "marking"),
        (b"Glu,5.2,mmol/L,xx,240101,0800", "marking"),
        (b"Glu,5.2,mmol/L,00,24011,0800", "time"),
        (b"Glu,5.2,mmol/L,00,24010x,0800", "time"),
        (b"Glu,5.2,mmol/L,00,240101,08:0", "time"),
        (b"Glu,5.2,mmol/L\xb2,00,240101,0800", "line"),
    ],
)
def test_every_column_is_checked(line: bytes, field: str) -> None:
    """No column is ever guessed; the block's checksum was right."""
    block = Block(b"", decode_block(GLUCOSE).lines)
    line_of = type(block.lines[0])
    block = Block(b"[\r\n" + line, (block.lines[0], line_of(line, 3)))

    good, problem = decode_readings(block)

    assert isinstance(good, Reading)
    assert isinstance(problem, DecodeError)
    assert problem.field == field


def test_a_date_that_is_none_is_kept() -> None:
    """A reading must not be lost for its clock."""
    line = type(decode_block(GLUCOSE).lines[0])(b"Glu,5,mg/dL,02,001332,2560", 3)

    (reading,) = decode_readings(Block(b"", (line,)))

    assert isinstance(reading, Reading)
    assert reading.time == DateTime(2000, 13, 32, 25, 60, 0)


@pytest.mark.parametrize("block", [KETONE, EMPTY])
def test_information_of_other_lines_is_refused(block: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_information(decode_block(block))

    assert caught.value.field == "lines"


def test_information_of_other_columns_is_refused() -> None:
    block = decode_block(b"[\r\n1,2,3,4\r\nDF\r\n]\r\n")

    with pytest.raises(DecodeError) as caught:
        decode_information(block)

    assert caught.value.field == "columns"


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_a_stream_gives_blocks_however_it_is_cut(size: int) -> None:
    """The meter's port has no regard for where a block ends."""
    stream = b"\xff\x00" + INFORMATION + GLUCOSE + b"P" + b"\x02[" + EMPTY + b"F"
    decode, events = decoder(), []
    for at in range(0, len(stream), size):
        events += decode.feed(stream[at : at + size])

    assert [event for event in events if not isinstance(event, Damaged)] == [
        decode_block(INFORMATION),
        decode_block(GLUCOSE),
        Reply.DONE,
        decode_block(EMPTY),
        Reply.FAILED,
    ]
    noise = [event.data for event in events if isinstance(event, Damaged)]
    assert b"".join(noise) == b"\xff\x00\x02["


def test_a_damaged_block_is_one_event() -> None:
    """Not one for each of its bytes."""
    damaged = GLUCOSE.replace(b"125", b"152")

    assert decoder().feed(damaged) == [Damaged(damaged, Fault.BAD_CRC)]


def test_a_block_without_an_end_is_given_up() -> None:
    """A meter gone mad must not fill the station's memory."""
    endless = b"[\r\n" + b"x" * (1 << 16)

    events = decoder().feed(endless)

    lost = [event.data for event in events if isinstance(event, Damaged)]
    assert b"".join(lost) == endless


def test_the_clock_is_set_by_a_block() -> None:
    """The checksum in upper case, for the meter refuses another one."""
    assert set_clock(DateTime(2024, 1, 1, 8, 0, 59)) == (
        b"\xc2\xa1[\r\n2401010800\r\n77\r\n]\r\n"
    )
    with pytest.raises(ValueError, match="2100"):
        set_clock(DateTime(2100, 1, 1, 8, 0, 0))
