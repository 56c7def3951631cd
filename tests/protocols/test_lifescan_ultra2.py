"""Lines of the OneTouch Ultra2, as published and as made by hand."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import kinds
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor import lifescan_ultra2
from protocols.vendor.lifescan_ultra2 import (
    Clock,
    Decoder,
    DisplayUnit,
    DumpHeader,
    Line,
    Received,
    Record,
    SerialNumber,
    Unknown,
    Unreadable,
    Version,
    decode_line,
)

# As published, checksums included; none by our code.
HEADER = b'P 003,"GMF600DCY","MG/DL " 05A6\r\n'
RECORDS = [
    b'P "SAT","03/21/15","16:45:24   ","  081 ","N","03", 00 09B6\r\n',
    b'P "SAT","03/21/15","16:42:11   ","  105 ","B","02", 00 099F\r\n',
    b'P "SAT","03/21/15","16:39:46   ","  176 ","N","02", 00 09C1\r\n',
]
DUMP = [HEADER, *RECORDS]
DECODED: list[Line] = [
    DumpHeader(3, "GMF600DCY", "MG/DL"),
    Record(DateTime(2015, 3, 21, 16, 45, 24), 81, False, False, "N", 3),
    Record(DateTime(2015, 3, 21, 16, 42, 11), 105, False, False, "B", 2),
    Record(DateTime(2015, 3, 21, 16, 39, 46), 176, False, False, "N", 2),
]
RECEIVED = [Received(*pair) for pair in zip(DECODED, DUMP, strict=True)]


def line(body: str, end: str = "\r\n") -> bytes:
    """Build a line; its checksum is added up octet by octet."""
    total = 0
    for octet in body.encode("latin-1"):
        total = (total + octet) % 65536
    return f"{body} {total:04X}{end}".encode("latin-1")


def fault_of(data: bytes) -> Fault:
    with pytest.raises(DecodeError) as caught:
        decode_line(data)
    assert caught.value.data == data
    assert 0 <= caught.value.offset <= len(data)
    return caught.value.fault


def record(value: str = "  081 ", meal: str = "N", comment: str = "03") -> bytes:
    return line(f'P "SAT","03/21/15","16:45:24   ","{value}","{meal}","{comment}", 00')


def test_the_checksum_of_this_file_is_that_of_the_published_lines() -> None:
    """The oracle itself must agree with what meters sent."""
    assert record() == RECORDS[0]
    assert line('P 003,"GMF600DCY","MG/DL "') == HEADER


@pytest.mark.parametrize("size", [1, 2, 7, 40, 1000])
def test_the_published_dump_is_read_however_its_bytes_arrive(size: int) -> None:
    """One read is never one line."""
    stream, lines = b"".join(DUMP), Decoder()

    seen = [
        event
        for at in range(0, len(stream), size)
        for event in lines.feed(stream[at : at + size])
    ]

    assert seen == RECEIVED


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("?P02.00.00 30/08/06", Version("P02.00.00 30/08/06")),
        ('@ "ABCDEFGHY"', SerialNumber("ABCDEFGHY")),
        (
            'F "SAT","03/21/15","16:45:24   "',
            Clock(DateTime(2015, 3, 21, 16, 45, 24)),
        ),
        ('T "SUN","12/31/00","23:59:59   "', Clock(DateTime(2000, 12, 31, 23, 59, 59))),
        ('F "SAT","13/45/99","25:61:61   "', Clock(DateTime(2099, 13, 45, 25, 61, 61))),
        ('SU?,"MG/DL "', DisplayUnit("MG/DL")),
        ('SU?,"MMOL/L"', DisplayUnit("MMOL/L")),
        ('P 000,"ABCDEFGHY","MMOL/L"', DumpHeader(0, "ABCDEFGHY", "MMOL/L")),
        ('ST?,"24:00"', Unknown('ST?,"24:00"')),
    ],
)
def test_every_answer_is_read_as_documented(body: str, expected: Line) -> None:
    """A clock that shows no date is kept as sent: its readings are real."""
    assert decode_line(line(body)) == expected
    assert decode_line(line(body, "\r")) == expected


@pytest.mark.parametrize(
    ("value", "number", "control", "damaged"),
    [
        ("  000 ", 0, False, False),
        ("  600 ", 600, False, False),
        ("  601 ", 601, False, False),
        ("C 112 ", 112, True, False),
        ("  112?", 112, False, True),
        ("C 112?", 112, True, True),
    ],
)
def test_control_and_damage_stand_beside_the_number(
    value: str, number: int, control: bool, damaged: bool
) -> None:
    """Control solution taken for blood, or a lost value for a real one, harms."""
    seen = decode_line(record(value))

    assert isinstance(seen, Record)
    found = seen.mg_per_dl, seen.is_control, seen.is_damaged
    assert found == (number, control, damaged)


def test_a_comment_that_is_not_listed_is_kept_as_its_number() -> None:
    seen = decode_line(record(comment="12"))

    assert isinstance(seen, Record)
    assert seen.comment == 12


@pytest.mark.parametrize(
    "data",
    [
        record(" HIGH "),  # said of other models, confirmed by nobody
        record("  LOW "),
        record("   81 "),
        record("  81  "),
        record("  0810"),
        record("? 081 "),
        record("  08\u00b2 "),
        record(meal="X"),
        record(comment="3"),
        line('P "SAT","3/21/15","16:45:24   ","  081 ","N","03", 00'),
        line('P "SAT","03/21/15","04:45:24 PM","  081 ","N","03", 00'),
        line('P "SAT","03/21/15","16:45:24   ","  081 ","N","03", 01'),
        line('P "SAT","03/21/15","16:45:24   ","  081 ","N","03", 00 '),
        line('P 3,"GMF600DCY","MG/DL "'),
        line('P 003,"GMF600DCY","MG/L  "'),
        line('P 003,"GMF600DCX","MG/DL "'),
        line('@ "ABCDEFGHX"'),
        line('@ "ABCDEFGY"'),
        line('F "SAT","03/21/15"'),
        line('SU?,"G/L   "'),
        line("?\xff"),
    ],
)
def test_what_is_not_of_the_documented_form_is_refused(data: bytes) -> None:
    """A field guessed at would be a wrong glucose or a wrong time."""
    assert fault_of(data) == Fault.BAD_FIELD


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", Fault.TRUNCATED),
        (RECORDS[0][:-2], Fault.TRUNCATED),
        (RECORDS[0] + b"P", Fault.BAD_LENGTH),
        (RECORDS[0] + RECORDS[1], Fault.BAD_LENGTH),
        (b"INVALID\r", Fault.MISSING_CHECKSUM),
        (b".\r", Fault.MISSING_CHECKSUM),
        (RECORDS[0].replace(b"09B6", b"09b6"), Fault.MISSING_CHECKSUM),
        (RECORDS[0].replace(b" 09B6", b"09B6"), Fault.MISSING_CHECKSUM),
        (RECORDS[0].replace(b"09B6", b"09B7"), Fault.BAD_CHECKSUM),
        (RECORDS[0].replace(b"081", b"181"), Fault.BAD_CHECKSUM),
        (b"\xff 00FF\r\n", Fault.BAD_FIELD),
    ],
)
def test_a_damaged_line_is_refused_by_its_class(data: bytes, fault: Fault) -> None:
    assert fault_of(data) == fault


def test_every_flipped_bit_of_a_line_is_refused() -> None:
    """A sum finds every single error; one let through is a wrong glucose."""
    for bit in range(8 * (len(RECORDS[0]) - 1)):  # that of LF may be missing
        damaged = bytearray(RECORDS[0])
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            decode_line(bytes(damaged))


def test_a_damaged_line_is_told_and_costs_no_other() -> None:
    damaged = RECORDS[0].replace(b"081", b"181")

    seen = Decoder().feed(HEADER + damaged + RECORDS[1])

    assert seen == [RECEIVED[0], Damaged(damaged, Fault.BAD_CHECKSUM), RECEIVED[2]]


def test_a_line_behind_noise_is_found_and_the_noise_told() -> None:
    """A line has no start of its own; noise must not cost a reading."""
    noise = b'\xff\x02\x00P "'

    seen = Decoder().feed(noise + RECORDS[0])

    assert seen == [Damaged(noise, "noise"), RECEIVED[1]]


def test_what_noise_looks_like_is_no_line() -> None:
    """Behind noise only a line of a known form is believed."""
    unknown = b"\xff" + line("XY")

    assert Decoder().feed(unknown) == [Damaged(unknown, Fault.BAD_CHECKSUM)]
    assert Decoder().feed(b"P") == []


def test_a_whole_line_of_no_known_form_is_kept_with_its_reason() -> None:
    """HIGH may be a reading: it goes on as bytes, and the dump stays whole."""
    odd = record(" HIGH ")

    (seen,) = Decoder().feed(odd)

    assert isinstance(seen, Received)
    assert isinstance(seen.line, Unreadable)
    assert seen.raw == odd
    assert "record" in seen.line.problem


def test_a_line_without_an_end_is_given_up_on_demand() -> None:
    lines = Decoder()

    assert lines.feed(RECORDS[0][:9]) == []
    assert lines.resync() == [Damaged(RECORDS[0][:9], "given up")]
    assert lines.feed(b"x" * 300) == [Damaged(b"x" * 300, "too long")]


@given(st.binary(max_size=120))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        decode_line(data)
    except DecodeError as error:
        assert error.data == data  # noqa: PT017 - either is right


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (lifescan_ultra2.ask_version(), "11 0d 44 4d 3f 0d"),
        (lifescan_ultra2.ask_serial_number(), "11 0d 44 4d 40 0d"),
        (lifescan_ultra2.ask_clock(), "11 0d 44 4d 46 0d"),
        (lifescan_ultra2.ask_unit(), "11 0d 44 4d 53 55 3f 0d"),
        (lifescan_ultra2.ask_dump(), "11 0d 44 4d 50 0d"),
        (
            lifescan_ultra2.set_clock(datetime(2015, 3, 21, 6, 5, 4, 999, UTC)),
            "11 0d 44 4d 54 30 33 2f 32 31 2f 31 35 20 30 36 3a 30 35 3a 30 34 0d",
        ),
    ],
)
def test_a_command_is_sent_as_documented(sent: bytes, expected: str) -> None:
    assert sent == bytes.fromhex(expected)


@pytest.mark.parametrize("year", [1999, 2100])
def test_a_year_of_no_two_digits_is_never_written_into_a_meter(year: int) -> None:
    with pytest.raises(ValueError, match="the meter knows 2000 to 2099"):
        lifescan_ultra2.set_clock(datetime(year, 1, 1, tzinfo=UTC))


def test_a_line_of_no_known_form_is_shown_as_it_is() -> None:
    shown = kinds.show("lifescan.ultra2_line", line("XY"), {})

    assert (shown["line"], shown["message"]) == ("unknown", "XY")
