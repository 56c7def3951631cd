"""Ascensia Contour: frames, the transfer and HID reports by their document."""

import pytest

from protocols import kinds
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor.ascensia import (
    Control,
    Event,
    Frame,
    Transfer,
    decode_frame,
    decoder,
    from_report,
    set_clock,
    to_reports,
)

# Frames of a Contour USB as glucometerutils has captured them.
PATIENT = b"\x022P|1\r\x1753\r\n"
RESULT = b"\x023R|1|^^^Glucose|10.9|mmol/L^P||A||201504171154\r\x17EC\r\n"
LAST = b"\x024L|1||N\r\x0383\r\n"
# The header of the manual's example, sum of all bytes AE.
HEADER = (
    b"\x021H|\\^&||-7880|Bayer7150^1.05\\0.00^7150-SAM2193|||||||P|1|200305121635"
    b"\r\x17AE\r\n"
)
EOT, ENQ, ACK, NAK = b"\x04", b"\x05", b"\x06", b"\x15"


def _answers(transfer: Transfer, data: bytes) -> list[bytes]:
    """Return what the host sends to ``data``, all that is not empty."""
    answers = [transfer.receive(event) for event in decoder().feed(data)]
    return [answer for answer in answers if answer]


def test_a_captured_frame_is_read() -> None:
    """The checksum counts the number and the end, and its digits are upper case."""
    assert decode_frame(RESULT) == Frame(
        3, "R|1|^^^Glucose|10.9|mmol/L^P||A||201504171154\r", is_last=False
    )
    assert decode_frame(LAST) == Frame(4, "L|1||N\r", is_last=True)


def test_a_frame_may_end_within_a_record() -> None:
    """Only the end of a record has a CR; the sum is 53 4F ... 17, C1 in all."""
    assert decode_frame(b"\x021SOMETEXT\x17C1\r\n").text == "SOMETEXT"


@pytest.mark.parametrize("frame", [HEADER, PATIENT, RESULT, LAST])
def test_every_flipped_bit_is_refused(frame: bytes) -> None:
    """One bit is enough to make 93 mg/dL of 193."""
    for bit in range(8 * len(frame)):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            decode_frame(bytes(damaged))


@pytest.mark.parametrize("frame", [HEADER, PATIENT, RESULT, LAST])
def test_every_cut_is_told_as_one(frame: bytes) -> None:
    for size in range(len(frame)):
        with pytest.raises(DecodeError) as caught:
            decode_frame(frame[:size])
        assert caught.value.fault == Fault.TRUNCATED


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (b"\x032P|1\r\x1753\r\n", Fault.BAD_HEADER),
        (b"\x022P|1\r\x1754\r\n", Fault.BAD_CHECKSUM),
        (b"\x022P|1\r\x1753\n\r", Fault.BAD_FRAME),
        (b"\x028P|1\r\x1759\r\n", Fault.BAD_FRAME),  # numbers end at 7
        (b"\x022P|\xe9\r\x170B\r\n", Fault.BAD_FIELD),
        (b"\x022P|1\r\x1753\r\n\r", Fault.BAD_LENGTH),
    ],
)
def test_a_wrong_frame_is_refused_with_its_fault(frame: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_frame(frame)

    assert caught.value.fault == fault


def test_what_a_woken_meter_sends_is_shown_as_one() -> None:
    """EOT, header and ENQ come in one go; a cut of it must be told."""
    shown = kinds.show("ascensia.astm_frame", EOT + HEADER + ENQ, {})

    assert shown == {
        "frame_number": 1,
        "text": HEADER[2:-6].decode(),
        "record": "H",
        "terminator": "ETB",
        "checksum": "AE",
    }
    for wrong, fault in (
        (EOT + HEADER, Fault.TRUNCATED),
        (EOT + HEADER + ACK, Fault.BAD_FRAME),
        (HEADER + ENQ, Fault.BAD_LENGTH),
    ):
        with pytest.raises(DecodeError) as caught:
            kinds.show("ascensia.astm_frame", wrong, {})
        assert caught.value.fault == fault


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_stream_gives_frames_and_control_bytes_however_it_is_cut(size: int) -> None:
    """A serial port has no regard for where a frame ends."""
    stream = EOT + HEADER + ENQ + PATIENT + b"\xff\x00" + RESULT + NAK + LAST + EOT
    decode, events = decoder(), list[Event]()
    for at in range(0, len(stream), size):
        events += decode.feed(stream[at : at + size])

    assert [event for event in events if not isinstance(event, Damaged)] == [
        Control.EOT,
        decode_frame(HEADER),
        Control.ENQ,
        decode_frame(PATIENT),
        decode_frame(RESULT),
        Control.NAK,
        decode_frame(LAST),
        Control.EOT,
    ]
    noise = [event.data for event in events if isinstance(event, Damaged)]
    assert b"".join(noise) == b"\xff\x00"


def test_a_frame_that_breaks_off_does_not_swallow_the_next() -> None:
    """No byte is lost in silence, and none is waited for in vain."""
    assert decoder().feed(RESULT[:20] + LAST) == [
        Damaged(RESULT[:20], Fault.TRUNCATED),
        decode_frame(LAST),
    ]
    assert decoder().feed(RESULT[:-3] + ENQ) == [
        Damaged(RESULT[:-3], Fault.TRUNCATED),
        Control.ENQ,
    ]


def test_a_frame_without_an_end_is_given_up() -> None:
    """A stray STX must not hold back a meter's whole memory."""
    endless = b"\x021" + b"x" * 1022

    assert decoder().feed(endless) == [Damaged(endless, Fault.TRUNCATED)]


def test_a_damaged_frame_is_asked_for_again() -> None:
    transfer = Transfer()
    _answers(transfer, ENQ)

    assert _answers(transfer, HEADER[:20] + b"#" + HEADER[21:]) == [NAK]
    assert _answers(transfer, HEADER) == [ACK]


def test_a_transfer_whose_header_comes_ahead_of_enq() -> None:
    """One ACK for both: another one would skip the second frame unread."""
    transfer = Transfer()

    assert transfer.nudge() == EOT
    assert _answers(transfer, EOT + HEADER + ENQ) == [ACK]
    assert transfer.header == HEADER[2:-6]
    assert _answers(transfer, PATIENT) == [ACK]
    assert _answers(transfer, RESULT) == [ACK]
    assert transfer.records == ()
    assert _answers(transfer, LAST) == [ACK]
    assert _answers(transfer, EOT) == []
    assert transfer.is_complete
    assert transfer.records == (
        HEADER[2:-6],
        b"P|1",
        b"R|1|^^^Glucose|10.9|mmol/L^P||A||201504171154",
        b"L|1||N",
    )


@pytest.mark.parametrize("wake", [EOT + ENQ, ENQ, EOT + HEADER + ENQ])
def test_a_transfer_whose_header_comes_behind_enq(wake: bytes) -> None:
    """Also where it comes a second time."""
    transfer = Transfer()

    answers = _answers(transfer, wake + HEADER + PATIENT + RESULT + LAST)

    assert answers == [ACK] * 5
    assert len(transfer.records) == 4


def test_a_repeated_frame_is_acknowledged_and_counts_once() -> None:
    """A result told twice would be two."""
    transfer = Transfer()

    answers = _answers(transfer, ENQ + (HEADER * 2 + PATIENT * 2 + RESULT * 2 + LAST))

    assert answers == [ACK] * 8
    assert len(transfer.records) == 4


def test_a_missing_frame_is_noticed() -> None:
    """The records behind it say nothing of the one that is lost."""
    transfer = Transfer()

    assert _answers(transfer, ENQ + HEADER + RESULT) == [ACK, ACK, NAK]
    assert _answers(transfer, PATIENT + RESULT + LAST) == [ACK] * 3


def test_numbers_wrap_from_7_to_0() -> None:
    transfer = Transfer()
    stream = ENQ + HEADER
    for number in range(2, 20):
        body = b"%dP|1\r\x17" % (number % 8)
        stream += b"\x02" + body + b"%02X\r\n" % (sum(body) & 0xFF)
    body = b"4L|1||N\r\x03"
    stream += b"\x02" + body + b"%02X\r\n" % (sum(body) & 0xFF)

    assert set(_answers(transfer, stream)) == {ACK}
    assert len(transfer.records) == 20


def test_a_record_may_go_on_in_the_next_frame() -> None:
    """E1381 allows it, and half a record is not one."""
    transfer = Transfer()

    _answers(transfer, ENQ + HEADER + b"\x022P|\x1715\r\n\x0231\r\x1788\r\n" + LAST)

    assert transfer.records == (HEADER[2:-6], b"P|1", b"L|1||N")


def test_a_message_that_begins_again_replaces_the_first() -> None:
    """Half of two messages is none: of each only what its L record closes counts."""
    transfer = Transfer()

    _answers(transfer, ENQ + HEADER + PATIENT + RESULT)
    _answers(transfer, EOT + ENQ + HEADER + PATIENT)
    _answers(transfer, b"\x023L|1||N\r\x0382\r\n")

    assert transfer.records == (HEADER[2:-6], b"P|1", b"L|1||N")


def test_a_meter_that_refuses_is_asked_to_start_over() -> None:
    transfer = Transfer()

    assert _answers(transfer, ENQ + HEADER + PATIENT + NAK) == [ACK, ACK, ACK, EOT]
    assert transfer.header is None


def test_a_silent_meter_is_woken_up_and_then_given_up() -> None:
    """One that was switched off must not be asked for ever."""
    transfer = Transfer()

    for _ in range(6):
        assert transfer.problem is None
        assert transfer.nudge() == EOT
    transfer.nudge()

    assert transfer.problem == "no new frame in 6 attempts"


def test_a_meter_that_falls_silent_is_asked_again_and_then_woken_up() -> None:
    """NAK repeats the frame that was lost, or that whose ACK was."""
    transfer = Transfer()
    _answers(transfer, ENQ + HEADER + PATIENT)

    assert [transfer.nudge() for _ in range(7)] == [NAK] * 6 + [EOT]
    assert transfer.header is None


def test_an_enquiry_whose_frame_is_lost_is_never_answered_twice() -> None:
    """The second ACK could be taken for the frame's, which nobody has."""
    transfer = Transfer()

    assert _answers(transfer, ENQ) == [ACK]
    assert transfer.nudge() == EOT


@pytest.mark.parametrize(
    "stream", [ENQ, NAK, ENQ + HEADER, HEADER + ENQ, ENQ + HEADER + PATIENT]
)
def test_a_meter_that_never_comes_to_an_end_is_given_up(stream: bytes) -> None:
    """A broken one must not hold the station for ever."""
    transfer = Transfer()

    for _ in range(40):
        _answers(transfer, stream)

    assert transfer.problem is not None


def test_a_message_without_an_end_is_given_up() -> None:
    """Neither a record nor their number may grow for ever."""
    transfer = Transfer()
    _answers(transfer, ENQ + HEADER)
    for number in range(2, 12_000):
        transfer.receive(Frame(number % 8, "P|1\r", is_last=False))
    assert transfer.problem == "the message has no end"

    transfer = Transfer()
    _answers(transfer, ENQ + HEADER)
    for number in range(2, 22):
        transfer.receive(Frame(number % 8, 100 * "x", is_last=False))
    assert transfer.problem == "the message has no end"


def test_frames_that_nobody_asked_for_are_not_answered() -> None:
    """Those of a transfer that another host left; only a header begins one."""
    transfer = Transfer()

    assert _answers(transfer, PATIENT + RESULT + ACK + b"\xff") == []
    assert transfer.header is None


def test_the_last_record_may_have_no_end_of_its_own() -> None:
    """ETX ends it; 32 4C 7C 31 03 is 12E in all."""
    transfer = Transfer()

    _answers(transfer, ENQ + HEADER + b"\x022L|1\x032E\r\n")

    assert transfer.records == (HEADER[2:-6], b"L|1")


def test_a_report_holds_60_bytes_at_most() -> None:
    """A message of 60 bytes and more goes on in the next one."""
    assert to_reports(ACK) == (b"ABC\x01\x06" + bytes(59),)
    first, second = to_reports(bytes(61))
    assert (first[3], second[3], len(first), len(second)) == (60, 1, 64, 64)


def test_a_report_is_read_with_either_head() -> None:
    """Some meters leave the first three bytes empty."""
    assert from_report(b"ABC\x0b" + PATIENT + bytes(49)) == PATIENT
    assert from_report(bytes(3) + b"\x01\x04" + bytes(59)) == EOT
    assert from_report(b"ABC\x00" + bytes(60)) == b""
    assert from_report(b"ABC\x3c" + bytes(60)) == bytes(60)


@pytest.mark.parametrize(
    ("report", "fault"),
    [
        (b"ABD\x01" + bytes(60), Fault.BAD_HEADER),
        (b"ABC\x3d" + bytes(60), Fault.BAD_LENGTH),
        (b"ABC\x01" + bytes(59), Fault.TRUNCATED),
        (b"ABC\x01" + bytes(61), Fault.BAD_LENGTH),
    ],
)
def test_a_wrong_report_is_refused(report: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        from_report(report)

    assert caught.value.fault == fault


def test_the_clock_is_set_by_date_and_time_without_seconds() -> None:
    assert set_clock(DateTime(2026, 3, 1, 7, 5, 59)) == (
        b"W|",
        b"D|",
        b"260301|\r",
        b"W|",
        b"T|",
        b"0705|\r",
    )
    with pytest.raises(ValueError, match="1999-12-31T23:59:00"):
        set_clock(DateTime(1999, 12, 31, 23, 59, 0))
    with pytest.raises(ValueError, match="2026-02-30"):
        set_clock(DateTime(2026, 2, 30, 0, 0, 0))
