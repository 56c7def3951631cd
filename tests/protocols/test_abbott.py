"""FreeStyle meters' reports, records and text, against bytes made by hand."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import kinds
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor import abbott_text
from protocols.vendor.abbott_hid import (
    INITIALISE,
    IS_READY,
    Report,
    TextAnswer,
    decode_report,
    decode_response,
    text_command,
)
from protocols.vendor.abbott_libre import decode_record
from protocols.vendor.abbott_text import (
    Flag,
    Information,
    Log,
    Result,
    decode_clock,
    decode_information,
    decode_lite_result,
    decode_log,
    decode_optium_result,
    information_decoder,
    ketone_mmol_per_l,
    log_decoder,
)


def report(head: str, text: bytes = b"") -> bytes:
    """Build 64 bytes by hand."""
    data = bytes.fromhex(head) + text
    return data + bytes(64 - len(data))


def log(*results: str, count: str | None = None, head: str = "") -> bytes:
    """Build an answer to mem by hand, its sum added byte by byte."""
    number = f"{len(results):03}" if count is None else count
    lines = ["", "CCMW173-D0123", "0.12        -P", "Mar  02 2026 07:31:05", number]
    body = (head + "\r\n".join([*lines, *results]) + "\r\n").encode()
    total = 0
    for byte in body:
        total = (total + byte) % 65536
    return body + f"0x{total:04X}  END".encode()


NEWEST = "081  Mar  02 2026 07:30 14 0x00"
OLDEST = "HI   July 31 2025 23:05 14 0x00"
HEAD = ("CCMW173-D0123", "0.12        -P", DateTime(2026, 3, 2, 7, 31, 5))


def test_a_command_is_one_report_of_64_bytes() -> None:
    assert text_command("$serlnum?").encode() == report("60 09", b"$serlnum?")
    assert text_command("$sn?", libre=True).encode() == report("21 04", b"$sn?")
    assert [each.encode() for each in INITIALISE] == [
        report("04 00"),
        report("05 00"),
        report("15 00"),
        report("01 00"),
    ]
    assert decode_report(report("71 01 01")) == IS_READY


@pytest.mark.parametrize("command", ["", "$" * 63])
def test_a_command_that_does_not_fit_is_our_own_fault(command: str) -> None:
    with pytest.raises(ValueError, match="1 to 62 characters"):
        text_command(command)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", Fault.TRUNCATED),
        (report("60 01 41")[:63], Fault.TRUNCATED),
        (report("60 3f"), Fault.BAD_LENGTH),
        (report("60 01 41") + b"\0", Fault.BAD_LENGTH),
    ],
)
def test_a_wrong_report_is_refused(raw: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_report(raw)

    assert caught.value.fault == fault


def test_a_text_is_joined_over_reports_and_other_reports_between_are_let_pass() -> None:
    """A memory does not fit into 62 bytes; the meter inserts keep-alives at will."""
    checksum = f"{40 * (65 + 66) + 13 + 10:08X}".encode()
    text = b"AB" * 40 + b"\r\nCKSM:" + checksum + b"\r\nCMD OK\r\n"
    answer = TextAnswer()

    assert answer.feed(Report(0x22, b"\x05")) is None
    assert answer.feed(Report(0x60, text[:62])) is None
    assert answer.feed(Report(0x22, b"\x05")) is None
    assert answer.feed(Report(0x60, text[62:])) == b"AB" * 40 + b"\r\n"
    assert answer.feed(Report(0x60, b"\r\nCKSM:00000017\r\nCMD OK\r\n")) == b"\r\n"


def test_an_unknown_command_is_the_devices_error() -> None:
    answer = TextAnswer()
    answer.feed(Report(0x60, b"half"))

    with pytest.raises(DecodeError, match="unknown") as caught:
        answer.feed(Report(0x30, b"\x85"))

    assert caught.value.fault == Fault.DEVICE_ERROR
    assert answer.feed(Report(0x60, b"CKSM:00000000\r\nCMD OK\r\n")) == b""


def test_a_text_without_an_end_is_given_up() -> None:
    """A meter that babbles must not fill the memory."""
    answer = TextAnswer()
    endless = (answer.feed(Report(0x60, b"x" * 62)) for _ in range(20_000))

    with pytest.raises(DecodeError) as caught:
        list(endless)

    assert caught.value.fault == Fault.TRUNCATED


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", Fault.TRUNCATED),
        (b"A\r\nCKSM:00000058\r\nCMD OK", Fault.TRUNCATED),
        (b"A\r\nCKSM:00000058\r\nCMD OK\r\n ", Fault.BAD_LENGTH),
        (b"A\r\nCKSM:58\r\nCMD OK\r\n", Fault.BAD_FRAME),
        (b"A\r\nCKSM:00000059\r\nCMD OK\r\n", Fault.BAD_CHECKSUM),
        (b"CKSM:00000000\r\nCMD Fail!\r\n", Fault.DEVICE_ERROR),
        (b"no\r\nCKSM:00000000\r\nCMD Fail!\r\n", Fault.DEVICE_ERROR),
    ],
)
def test_a_wrong_text_is_refused_with_its_fault(text: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_response(text)

    assert caught.value.fault == fault


def test_a_sensor_value_is_the_low_ten_bits_and_flags_stay_flags() -> None:
    """Flags read as glucose would be some 4000 mg/dL."""
    raw = bytes.fromhex("06a1900c80c7501005dccdffff7200b31f0000cc00")

    value = decode_record(raw)

    assert (value.mg_per_dl, value.glucose, value.life_min) == (114, 114, 8115)
    assert value.user_offset_s == -12836
    assert value.is_time_valid
    assert value.quality == 0


@pytest.mark.parametrize(("at", "wrong"), [(0, 0x07), (3, 0x05)])
def test_a_record_of_another_table_or_type_is_not_guessed_at(
    at: int, wrong: int
) -> None:
    raw = bytearray.fromhex("06a1900c80c7501005dccdffff7200b31f0000cc00")
    raw[at] = wrong

    with pytest.raises(DecodeError) as caught:
        decode_record(bytes(raw))

    assert caught.value.fault == Fault.UNSUPPORTED_FORMAT


def test_a_memory_is_read_as_a_whole_newest_first() -> None:
    assert decode_log(log(NEWEST, OLDEST)) == Log(
        *HEAD, (NEWEST.encode(), OLDEST.encode())
    )


def test_the_line_feed_that_some_meters_add_behind_the_count_changes_nothing() -> None:
    raw = log("\n" + NEWEST, OLDEST)

    assert decode_log(raw).results == (NEWEST.encode(), OLDEST.encode())


@pytest.mark.parametrize("end", ["Log Empty END", "Log Empty\r\nEND"])
def test_an_empty_memory_has_no_results(end: str) -> None:
    head = "\r\nCCMW173-D0123\r\n0.12        -P\r\nMar  02 2026 07:31:05\r\n"

    assert decode_log((head + end).encode()) == Log(*HEAD, ())


def test_an_empty_memory_may_have_a_sum() -> None:
    assert decode_log(log(count="Log Empty")).results == ()
    assert decode_log(log(count="000")).results == ()


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", Fault.TRUNCATED),
        (log(NEWEST)[:-1], Fault.TRUNCATED),
        (log(NEWEST) + b"\r", Fault.BAD_LENGTH),
        (log(NEWEST).replace(b"081  ", b"181  "), Fault.BAD_CHECKSUM),
        (log(NEWEST).replace(b"2026 07:31", b"2025 07:31"), Fault.BAD_CHECKSUM),
        (log(NEWEST, count="002"), Fault.BAD_LENGTH),
        (log(NEWEST, OLDEST, count="001"), Fault.BAD_LENGTH),
        (log(NEWEST, count="1"), Fault.BAD_FRAME),
        (log(NEWEST, head="mem"), Fault.BAD_FRAME),
        (b"\r\nCCMW173-D0123\r\n0.12\r\nLog Empty END", Fault.BAD_FRAME),
        (
            b"\r\nSHORT\r\n0.12\r\nMar  02 2026 07:31:05\r\nLog Empty END",
            Fault.BAD_FRAME,
        ),
        (
            b"\r\nCCMW173-D0123\r\n0.12\r\nMar 02 2026 07:31:05\r\nLog Empty END",
            Fault.BAD_FRAME,
        ),
        (
            b"\r\nCCMW173-D0123\r\n0.12\r\nFoo  02 2026 07:31:05\r\nLog Empty END",
            Fault.BAD_FRAME,
        ),
    ],
)
def test_a_wrong_memory_is_refused_with_its_fault(raw: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_log(raw)

    assert caught.value.fault == fault
    assert caught.value.data == raw


def test_every_flipped_bit_of_a_memory_is_refused_or_changes_nothing() -> None:
    """The sum finds every single error: one let through is a wrong glucose."""
    raw = log(NEWEST, OLDEST)
    for bit in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            decode_log(bytes(damaged))


def test_every_cut_of_a_memory_is_refused() -> None:
    raw = log(NEWEST, OLDEST)
    for size in range(len(raw)):
        with pytest.raises(DecodeError) as caught:
            decode_log(raw[:size])
        assert caught.value.fault == Fault.TRUNCATED


MARCH = DateTime(2026, 3, 2, 7, 30, 0)


@pytest.mark.parametrize(
    ("line", "result"),
    [
        (NEWEST, Result(MARCH, 81, "14", Flag(0))),
        (
            "HI   Mar  02 2026 07:30 00 0x00",
            Result(MARCH, None, "00", Flag(0), above_range=True),
        ),
        (
            "LO   Mar  02 2026 07:30 00 0x00",
            Result(MARCH, None, "00", Flag(0), below_range=True),
        ),
        (
            "105  Mar  02 2026 07:30 14 0x01",
            Result(MARCH, 105, "14", Flag.CONTROL_SOLUTION),
        ),
        ("105  Mar  02 2026 07:30 14 0x02", Result(MARCH, 105, "14", Flag.CLOCK_LOST)),
        (
            "105  June 02 2026 07:30 14 0x00",
            Result(MARCH._replace(month=6), 105, "14", Flag(0)),
        ),
        (
            "105  Jul  02 2026 07:30 14 0x00",
            Result(MARCH._replace(month=7), 105, "14", Flag(0)),
        ),
        (
            "105  Feb  31 2026 25:61 14 0x00",
            Result(DateTime(2026, 2, 31, 25, 61, 0), 105, "14", Flag(0)),
        ),
    ],
)
def test_a_result_of_a_lite_is_read(line: str, result: Result) -> None:
    """HI and LO are no numbers; an impossible date costs no reading."""
    assert decode_lite_result(line.encode()) == result


def test_a_result_of_an_optium_says_what_it_measures() -> None:
    """A ketone of 3 taken for glucose would be a deadly 3 mg/dL."""
    ketone = decode_optium_result(b"003  Mar  02 2026 07:30 K 0x00")
    glucose = decode_optium_result(b"105  Mar  02 2026 07:30 G 0x01")

    assert ketone == Result(MARCH, 3, "K", Flag(0))
    assert glucose == Result(MARCH, 105, "G", Flag.CONTROL_SOLUTION)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("", Fault.BAD_FRAME),
        ("81   Mar  02 2026 07:30 14 0x00", Fault.BAD_FRAME),
        ("-81  Mar  02 2026 07:30 14 0x00", Fault.BAD_FRAME),
        ("HIGH Mar  02 2026 07:30 14 0x00", Fault.BAD_FRAME),
        ("081  Mrz  02 2026 07:30 14 0x00", Fault.BAD_FRAME),
        ("081  Junx 02 2026 07:30 14 0x00", Fault.BAD_FRAME),
        ("081  Mar 02 2026 07:30 14 0x00", Fault.BAD_FRAME),
        ("081  Mar  02 26 07:30 14 0x00", Fault.BAD_FRAME),
        ("081  Mar  02 2026 07:30 14", Fault.BAD_FRAME),
        ("081  Mar  02 2026 07:30 14 0x00 ", Fault.BAD_FRAME),
        ("\u0660\u0668\u0661  Mar  02 2026 07:30 14 0x00", Fault.BAD_FRAME),
        ("081  Mar  02 2026 07:30 14 0x04", Fault.RESERVED_VALUE),
        ("081  Mar  02 2026 07:30 14 0xF1", Fault.RESERVED_VALUE),
        ("003  Mar  02 2026 07:30 K 0x00", Fault.BAD_FIELD),
        ("105  Mar  02 2026 07:30 G 0x00", Fault.BAD_FIELD),
    ],
)
def test_what_is_no_result_of_a_lite_is_refused(line: str, fault: Fault) -> None:
    """A number from another column is worse than none."""
    with pytest.raises(DecodeError) as caught:
        decode_lite_result(line.encode())

    assert caught.value.fault == fault


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("003  Mar  02 2026 07:30 X 0x00", Fault.BAD_FRAME),
        ("003  Mar  02 2026 07:30 14 0x00", Fault.BAD_FIELD),
        ("003  Mar  02 2026 07:30 K 0x80", Fault.RESERVED_VALUE),
    ],
)
def test_what_is_no_result_of_an_optium_is_refused(line: str, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_optium_result(line.encode())

    assert caught.value.fault == fault


def test_a_ketone_is_eighteenths_of_a_millimole() -> None:
    """3 is shown as 0.2; read as mmol/L it would be a deadly 3.0."""
    assert ketone_mmol_per_l(3).quantize(Decimal("0.1")) == Decimal("0.2")
    for value in range(1000):
        shown = ketone_mmol_per_l(value)
        assert abs(shown * 18 - value) <= Decimal("0.0009")
        assert shown.as_tuple().exponent == -4


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 4096])
def test_a_memory_comes_out_however_it_arrives(size: int) -> None:
    stream = b"\x00mem" + log(NEWEST, OLDEST) + b"\r\n" + log(OLDEST)
    decoder = log_decoder()

    events = [
        event
        for at in range(0, len(stream), size)
        for event in decoder.feed(stream[at : at + size])
    ]

    found = [event.results for event in events if isinstance(event, Log)]
    assert found == [(NEWEST.encode(), OLDEST.encode()), (OLDEST.encode(),)]
    lost = b"".join(event.data for event in events if isinstance(event, Damaged))
    assert lost == b"\x00mem\r\n"


def test_a_memory_without_an_end_is_given_up_piece_by_piece() -> None:
    """The buffer is bounded, and a whole memory behind the noise is found."""
    decoder = log_decoder()
    for _ in range(70):
        decoder.feed(b"\r\n" + b"x" * 1022)

    events = decoder.feed(log(NEWEST))

    assert any(isinstance(event, Log) for event in events)
    assert len(decoder._buffer) < 1 << 17


INFORMATION = (
    b"S/N:\tXXGS173-D0123\r\nVer:\t0.22\tMMOL\r\nClock:\tJul  10 2013\t14:26:44\r\n"
    b"Market:\t1\t2\r\nROM:\t1\t2\t3\t4\r\nUsage:\t27\r\nCMD OK\r\n"
)


def test_information_is_read_by_its_labels() -> None:
    clock = DateTime(2013, 7, 10, 14, 26, 44)
    seen = Information("XXGS173-D0123", "0.22", "MMOL", clock, 27)

    assert decode_information(INFORMATION) == seen
    assert information_decoder().feed(b"\r\n" + INFORMATION) == [
        Damaged(b"\r\n", "noise"),
        seen,
    ]


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (INFORMATION[:-2], Fault.TRUNCATED),
        (INFORMATION.replace(b"Usage:", b"Usag:"), Fault.BAD_FRAME),
        (INFORMATION.replace(b"\tMMOL", b""), Fault.BAD_FRAME),
        (INFORMATION.replace(b"27", b"2x"), Fault.BAD_FRAME),
        (INFORMATION.replace(b"Jul", b"Jux"), Fault.BAD_FRAME),
    ],
)
def test_wrong_information_is_refused(raw: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_information(raw)

    assert caught.value.fault == fault


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"Clock:\tXxx  10 2013\t14:26", Fault.BAD_FRAME),
        (b"Clock:\tSep  29 2013\t17:35:22.34", Fault.BAD_FRAME),
        (b"Clock:\tJune 29 2013\t17:35:22", Fault.BAD_FRAME),
        (b"Clock:\tSep  2\xb2 2013\t17:35:22", Fault.BAD_FRAME),
        (b"Clock:\tSep  29 2013\t17:35:2", Fault.TRUNCATED),
        (b"Clo", Fault.TRUNCATED),
    ],
)
def test_a_wrong_clock_is_refused_with_its_fault(line: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_clock(line)

    assert caught.value.fault == fault


def test_an_impossible_clock_is_shown_as_it_is() -> None:
    line = b"Clock:\tFeb  31 2014\t02:14:37"

    shown = kinds.show("abbott.optium_clock", line, {})

    assert shown == {"datetime": "2014-02-31T02:14:37", "datetime_valid": False}


def test_setting_the_clock_is_asked_as_documented() -> None:
    clock = DateTime(2026, 3, 2, 7, 5, 59)

    assert abbott_text.set_clock(clock) == b"$tim,03,02,26,07,05\r\n"
    assert bytes.fromhex("6d 65 6d") == abbott_text.ASK_MEMORY_LITE
    assert bytes.fromhex("24 78 6d 65 6d 0d 0a") == abbott_text.ASK_MEMORY


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Another exception than `DecodeError` would stop a device for good."""
    framed = log(count="001").replace(b"001\r\n", b"001\r\n" + data + b"\r\n")
    for decode, raw in (
        (decode_log, data),
        (decode_log, framed),
        (decode_lite_result, data),
        (decode_optium_result, b"003  " + data + b" K 0x00"),
        (decode_clock, b"Clock:\t" + data),
        (decode_information, data + b"\r\nCMD OK\r\n"),
        (decode_record, data),
        (decode_report, data),
        (decode_response, data + b"CMD OK\r\n"),
    ):
        try:
            decode(raw)
        except DecodeError as error:
            assert str(error)  # noqa: PT017 - either is right
