"""Microlife frames, requests and answers, against bytes of captures."""

import pytest

from protocols import kinds
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor import microlife, microlife_answers
from protocols.vendor.microlife import Command, Frame, Reply, Sender
from protocols.vendor.microlife_answers import Clock, Flag, Record, Version

DONE = bytes.fromhex("4d 3a 00 02 81 0a")
# Three of the 29 records that a B3 sent: before its clock was set, with an
# irregular pulse, and with a cuff that did not fit. Its header is the captured one.
UNSET = "90 44 33 11 00 00 00 00 80 00"
IRREGULAR = "93 3b 30 16 07 11 11 38 c0 00"
ILL_FITTED = "94 46 3c 16 07 12 0c 07 00 00"
NO_SERIES = "00" * 30
HISTORY = bytes.fromhex(
    f"00 00 00 03 01 00 00 00 {NO_SERIES} {UNSET} {IRREGULAR} {ILL_FITTED}"
)


def frame(payload: bytes, sender: int = 0x3A) -> bytes:
    """Build a frame octet by octet."""
    body = bytes([0x4D, sender, 0, len(payload) + 1]) + payload
    return body + bytes([sum(body) % 256])


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (microlife.ask_history(), "4d ff 00 09 00 00 00 00 00 00 00 fd 52"),
        (microlife.ask_history(2), "4d ff 00 09 00 00 00 00 00 00 00 02 57"),
        (microlife.disconnect(), "4d ff 00 02 04 52"),
        (microlife.ask_version(), "4d ff 00 02 05 53"),
        (microlife.ask_last_result(), "4d ff 00 02 07 55"),
        (microlife.ask_information(), "4d ff 00 02 0b 59"),
        (microlife.ask_clock(), "4d ff 00 02 0c 5a"),
        (microlife.transmitted(), "4d ff 00 02 0e 5c"),
        (microlife.ask_serial_number(), "4d ff 00 03 0f 00 5e"),
        (
            microlife.set_clock(DateTime(2024, 6, 15, 14, 30, 45)),
            "4d ff 00 08 0d 18 06 0f 0e 1e 2d e7",
        ),
    ],
)
def test_a_request_is_encoded_as_documented(request_: Frame, expected: str) -> None:
    """A wrong command byte could be one of those that erase."""
    assert request_.encode() == bytes.fromhex(expected)


@pytest.mark.parametrize(
    "time", [(2024, 2, 30, 1, 2, 3), (1999, 1, 2, 3, 4, 5), (2100, 1, 2, 3, 4, 5)]
)
def test_a_clock_is_set_to_no_time_that_it_cannot_show(
    time: tuple[int, int, int, int, int, int],
) -> None:
    with pytest.raises(ValueError, match="no time"):
        microlife.set_clock(DateTime(*time))


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("4e 3a 00 02 81 0b", Fault.BAD_HEADER),
        ("4d 3b 00 02 81 0b", Fault.BAD_HEADER),
        ("4d 3a 00 01 88", Fault.BAD_LENGTH),  # a sum and no payload
        ("4d 3a 00 02 81 0a 00", Fault.BAD_LENGTH),
        ("4d 3a 00 02 81 0b", Fault.BAD_CHECKSUM),
        ("4d 31 00 02 81 01", Fault.UNSUPPORTED_FORMAT),
        ("4d 3a 00", Fault.TRUNCATED),
    ],
)
def test_what_is_no_frame_is_refused_by_its_fault(data: str, fault: Fault) -> None:
    """A cuff that packs its records would else show pressures of noise."""
    with pytest.raises(DecodeError) as caught:
        microlife.decode_frame(bytes.fromhex(data))

    assert caught.value.fault == fault


@pytest.mark.parametrize("size", [1, 3, 20])
def test_an_answer_comes_out_however_its_packets_are_cut(size: int) -> None:
    """A history is never one packet of 20 bytes."""
    stream, decoder = frame(HISTORY) + DONE, microlife.decoder()

    events = [
        event
        for at in range(0, len(stream), size)
        for event in decoder.feed(stream[at : at + size])
    ]

    assert events == [Frame(Sender.CUFF, HISTORY), Frame(Sender.CUFF, b"\x81")]


def test_a_length_that_no_answer_has_holds_nothing_back() -> None:
    """A stray M must not swallow 64 kB of answers behind it."""
    events = microlife.decoder().feed(b"\x4d\x3a\xff\xff" + DONE)

    assert events[-1] == Frame(Sender.CUFF, b"\x81")
    assert b"".join(e.data for e in events if isinstance(e, Damaged)) == bytes.fromhex(
        "4d 3a ff ff"
    )


def test_a_stray_start_and_noise_cost_no_frame() -> None:
    events = microlife.decoder().feed(b"\x00\x4d\x4d" + DONE)

    assert events[-1] == Frame(Sender.CUFF, b"\x81")


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("81", Reply.DONE),
        ("0d 81", Reply.DONE),
        ("91", Reply.REFUSED),
        ("00 92", None),  # of another command
        ("82", None),
        ("0d", None),
        ("0d 81 00", None),
    ],
)
def test_an_answer_without_data_is_told_from_one_with(
    payload: str, expected: Reply | None
) -> None:
    """A history of one byte is none, and a refusal is not an empty memory."""
    found = microlife.read_reply(bytes.fromhex(payload), Command.SET_CLOCK)

    assert found == expected


def test_a_captured_history_keeps_values_of_a_clock_never_set() -> None:
    """A reading must not be lost because nobody set the clock."""
    history = microlife_answers.decode_history(HISTORY)

    assert (history.count, history.user, history.series) == (3, 1, ())
    assert history.records == (
        Record(144, 68, 51, DateTime(2017, 0, 0, 0, 0, 0), 0x80),
        Record(147, 59, 48, DateTime(2022, 7, 17, 17, 56, 0), 0xC0),
        Record(148, 70, 60, DateTime(2022, 7, 18, 12, 7, 0), 0),
    )
    assert Flag(history.records[1].flags) == Flag.CUFF_FITTED | Flag.IRREGULAR_PULSE


def test_an_empty_place_and_a_series_are_no_records() -> None:
    """The three single measurements of a series would be counted beside their mean."""
    series = f"{IRREGULAR} {'00' * 20}"
    payload = f"00 00 01 01 02 03 00 00 {series} {'00' * 10} {ILL_FITTED}"

    history = microlife_answers.decode_history(bytes.fromhex(payload))

    assert [record.systolic for record in history.series] == [147]
    assert [record.systolic for record in history.records] == [148]
    assert history.user == 2


@pytest.mark.parametrize("flags", range(0, 256, 8))
def test_the_mode_of_a_series_is_bits_3_and_4(flags: int) -> None:
    assert Record(0, 0, 0, DateTime(0, 0, 0, 0, 0, 0), flags).mam == flags // 8 % 4


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"\x07" + HISTORY[1:], Fault.NOT_A_RESPONSE),
        (HISTORY[:-1], Fault.TRUNCATED),
        (HISTORY[:-10], Fault.BAD_LENGTH),  # it announces three
        (HISTORY[:37], Fault.TRUNCATED),
        (b"", Fault.TRUNCATED),
    ],
)
def test_a_history_that_lacks_records_is_refused(payload: bytes, fault: Fault) -> None:
    """A shortened memory would be taken for all that the cuff holds."""
    with pytest.raises(DecodeError) as caught:
        microlife_answers.decode_history(payload)

    assert caught.value.fault == fault


def test_the_last_result_stands_at_byte_12_of_its_frame() -> None:
    data = frame(bytes.fromhex(f"07 03 01 00 00 00 00 00 {IRREGULAR}"))
    assert data[12] == 147

    found = microlife_answers.decode_last_result(microlife.decode_frame(data).payload)

    assert found == Record(147, 59, 48, DateTime(2022, 7, 17, 17, 56, 0), 0xC0)


def test_an_empty_last_result_is_none() -> None:
    assert microlife_answers.decode_last_result(b"\x07" + bytes(17)) is None


@pytest.mark.parametrize(("battery", "expected"), [("3d", 61), ("3d 00 01", 61)])
def test_the_battery_stands_at_byte_57_of_its_frame(
    battery: str, expected: int
) -> None:
    users = "41" * 20 + "2a" + "42" * 20 + "2b"
    payload = f"05 02 {users} 47 33 31 0f 04 0c 02 63 85 {battery}"
    data = frame(bytes.fromhex(payload))
    assert data[57] == 0x3D

    found = microlife_answers.decode_version(microlife.decode_frame(data).payload)

    assert found == Version(2, "G31", expected)


def test_a_cuff_may_leave_its_battery_out() -> None:
    payload = bytes.fromhex(f"05 01 {'00' * 42} 47 33 31 0f 04 0c 02 63 85")

    assert microlife_answers.decode_version(payload).battery_tenths_v is None


@pytest.mark.parametrize(("ready", "is_set"), [(1, True), (0, False)])
def test_a_clock_says_whether_it_was_set(ready: int, is_set: bool) -> None:
    """An unset clock must correct no record."""
    payload = bytes([0x0C, ready, 26, 3, 1, 7, 30, 9])

    assert microlife_answers.decode_clock(payload) == Clock(
        is_set, DateTime(2026, 3, 1, 7, 30, 9)
    )


def test_a_serial_number_is_text_behind_one_byte() -> None:
    payload = b"\x0f\x00A12345 \x00"

    assert microlife_answers.decode_serial_number(payload) == "A12345"


def test_a_serial_number_that_is_no_text_is_refused() -> None:
    """A device must not get another identity for damaged bytes."""
    with pytest.raises(DecodeError, match="not ASCII"):
        microlife_answers.decode_serial_number(b"\x0f\x00A\xff")


def test_a_history_is_shown_with_a_time_only_where_there_is_one() -> None:
    shown = kinds.show("microlife.history_payload", HISTORY, {})

    assert shown["records"] == [
        {
            "systolic": 144,
            "diastolic": 68,
            "pulse": 51,
            "timestamp": None,
            "flags": 128,
        },
        {
            "systolic": 147,
            "diastolic": 59,
            "pulse": 48,
            "timestamp": "2022-07-17T17:56",
            "flags": 192,
        },
        {
            "systolic": 148,
            "diastolic": 70,
            "pulse": 60,
            "timestamp": "2022-07-18T12:07",
            "flags": 0,
        },
    ]


def test_an_answer_without_data_is_shown_by_its_name() -> None:
    assert kinds.show("microlife.frame", DONE, {}) == {
        "direction": "device",
        "payload": "81",
        "reply": "done",
    }
