"""The simulated UltraEasy, against frames written down by hand."""

from binascii import crc_hqx
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from firmware_sim.devices.onetouch_ultraeasy import UltraEasy, UltraEasyRecord

_TIME = datetime.fromisoformat("2024-06-15T14:30:45")  # 0x666da595
_S, _E, _ACK = 1, 2, 4
_DISCONNECT = bytes.fromhex("02 06 08 03 c2 62")  # as captured
_DISCONNECTED = bytes.fromhex("02 06 0c 03 06 ae")
_RECORD_0 = bytes.fromhex("05 1f 00 00")


def _frame(link: int, message: bytes | str = b"") -> bytes:
    if isinstance(message, str):
        message = bytes.fromhex(message)
    body = bytes([2, len(message) + 6, link]) + message + b"\x03"
    return body + crc_hqx(body, 0xFFFF).to_bytes(2, "little")


def _meter(*records: UltraEasyRecord) -> UltraEasy:
    meter = UltraEasy(records, clock=lambda: _TIME)
    assert list(meter.feed(_DISCONNECT)) == [_DISCONNECTED]
    return meter


def _ask(meter: UltraEasy, message: str) -> str:
    """Ask a meter whose link was just reset; return the answer's message."""
    ack, answer = meter.feed(_frame(0, message))
    assert ack == _frame(_ACK | _E)
    assert answer[2] == _E
    return answer[3:-3].hex(" ")


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("05 0d 02", "05 06 11" + b"P02.00.0025/05/07".hex()),
        ("05 0b 02 00 00 00 00 00 00 00 00 00", "05 06" + b"SIM000001".hex()),
        ("05 20 02 00 00 00 00", "05 06 95 a5 6d 66"),
        ("05 20 02", "05 06 95 a5 6d 66"),
        ("05 1f f5 01", "05 0f 02 00"),
        ("05 1f 00 00", "05 06 95 a5 6d 66 73 00 00 00"),  # the newest
        ("05 1f 01 00", "05 06 85 97 6d 66 64 00 00 00"),
        ("05 1f 02 00", "05 0f 02 00"),  # there is no third
        ("05 1a", "05 09"),  # erasing
        ("05 20 01 00 00 00 00", "05 09"),  # setting the clock
        ("03 0d 01", "05 09"),  # another model's question
    ],
)
def test_each_request_has_its_answer(request_: str, answer: str) -> None:
    older = UltraEasyRecord(_TIME - timedelta(hours=1), Decimal(100))
    meter = _meter(older, UltraEasyRecord(_TIME, Decimal(115)))

    assert _ask(meter, request_) == bytes.fromhex(answer).hex(" ")


@pytest.mark.parametrize(
    ("shown", "word"),
    [(float("inf"), "ff ff 00 00"), (Decimal("-Infinity"), "fe ff 00 00")],
)
def test_hi_and_lo_are_words_of_their_own(shown: Decimal | float, word: str) -> None:
    meter = _meter(UltraEasyRecord(_TIME, shown))

    assert _ask(meter, "05 1f 00 00") == f"05 06 95 a5 6d 66 {word}"


@pytest.mark.parametrize("value", [Decimal("5.5"), -1, 0xFFFE, float("nan")])
def test_a_value_that_the_meter_cannot_hold_is_refused(value: Decimal | float) -> None:
    with pytest.raises(ValueError, match=r"no mg/dL|NaN"):
        UltraEasyRecord(_TIME, value).encode()


def test_it_erases_nothing() -> None:
    meter = _meter(UltraEasyRecord(_TIME, 115))
    _ask(meter, "05 1a")
    list(meter.feed(_DISCONNECT))

    assert _ask(meter, "05 1f f5 01") == "05 0f 01 00"


def test_it_holds_500_records_and_forgets_the_oldest() -> None:
    records = [UltraEasyRecord(_TIME + timedelta(days=n), n) for n in range(501)]
    with pytest.raises(ValueError, match="501 records do not fit"):
        UltraEasy(records)
    meter = _meter(*records[:500])
    meter.store(records[500])

    assert _ask(meter, "05 1f f5 01") == "05 0f f4 01"
    list(meter.feed(_DISCONNECT))
    oldest = _ask(meter, "05 1f f3 01")
    assert oldest.endswith("01 00 00 00"), "0 mg/dL was the oldest"


def test_the_sequence_bits_alternate_as_in_the_notes() -> None:
    """Each side counts what it sent and what it expects, in one bit each."""
    meter = _meter(UltraEasyRecord(_TIME, 115))
    heard = []
    for link, message in [
        (0, _RECORD_0),
        (_ACK | _S | _E, b""),
        (_S | _E, _RECORD_0),
        (_ACK, b""),
        (0, _RECORD_0),
    ]:
        heard.append([answer[2] for answer in meter.feed(_frame(link, message))])

    assert heard == [[_ACK | _E, _E], [], [_ACK | _S, _S], [], [_ACK | _E, _E]]


def test_the_second_request_is_the_captured_one() -> None:
    """`02 0a 03 05 1f 00 00 03 4b 5f` has both bits set, as it must be second."""
    meter = _meter(UltraEasyRecord(_TIME, 115))
    list(meter.feed(_frame(0, _RECORD_0)))

    ack, answer = meter.feed(bytes.fromhex("02 0a 03 05 1f 00 00 03 4b 5f"))

    assert (ack[2], answer[2]) == (_ACK | _S, _S), "it stands for the lost ACK too"


def test_a_repeated_request_is_answered_the_same() -> None:
    """Even if a result was taken in between: the host counts it as one request."""
    meter = _meter(UltraEasyRecord(_TIME, 115))
    first = list(meter.feed(_frame(0, _RECORD_0)))
    meter.store(UltraEasyRecord(_TIME, 99))

    assert list(meter.feed(_frame(0, _RECORD_0))) == first


def test_a_request_out_of_sequence_is_not_answered() -> None:
    assert list(_meter().feed(_frame(_S, _RECORD_0))) == []


@pytest.mark.parametrize("link", [0x08, 0x0B])
def test_a_disconnect_starts_both_counters_over(link: int) -> None:
    meter = _meter(UltraEasyRecord(_TIME, 115))
    list(meter.feed(_frame(0, _RECORD_0)))

    assert list(meter.feed(_frame(link))) == [_DISCONNECTED]
    assert _ask(meter, "05 1f 00 00") == "05 06 95 a5 6d 66 73 00 00 00"


@pytest.mark.parametrize("bit", range(8 * 10))
def test_a_frame_with_any_bit_wrong_is_not_answered(bit: int) -> None:
    meter = _meter(UltraEasyRecord(_TIME, 115))
    frame = bytearray(_frame(0, _RECORD_0))
    frame[bit // 8] ^= 1 << bit % 8

    assert list(meter.feed(bytes(frame))) == []


def test_the_vector_with_the_wrong_checksum_is_not_answered() -> None:
    assert list(_meter().feed(bytes.fromhex("02 09 00 05 20 02 03 4d 00"))) == []


def test_a_frame_behind_noise_is_found() -> None:
    meter = _meter(UltraEasyRecord(_TIME, 115))

    assert len(list(meter.feed(b"\xff\x02\x00\x02\x03" + _frame(0, _RECORD_0)))) == 2


class Dialogue(RuleBasedStateMachine):
    """A host on a bad line: what it hears in sequence is always what it asked."""

    @initialize(values=st.lists(st.integers(20, 600), max_size=5))
    def begin(self, values: list[int]) -> None:
        self.values = values
        self.meter = UltraEasy(
            UltraEasyRecord(_TIME + timedelta(minutes=n), value)
            for n, value in enumerate(values)
        )
        self.start_over(0x08)

    @rule(link=st.sampled_from([0x08, 0x0B]))
    def start_over(self, link: int) -> None:
        assert list(self.meter.feed(_frame(link))) == [_DISCONNECTED]
        self.sent = self.expected = 0
        self.acknowledged = True

    @rule(
        index=st.integers(0, 6),
        losses=st.integers(0, 2),
        acknowledge=st.booleans(),
        cut=st.integers(1, 9),
    )
    def ask(self, index: int, losses: int, acknowledge: bool, cut: int) -> None:
        """Ask once, or again after each lost answer; each sounds the same."""
        link = _S * self.sent | _E * self.expected
        frame = _frame(link, bytes([5, 0x1F, index, 0]))
        heard = []
        for _ in range(1 + losses):
            pieces = (frame[:cut], frame[cut:])
            heard.append([a for piece in pieces for a in self.meter.feed(piece)])
        assert all(each == heard[0] for each in heard)
        ack, answer = heard[0]
        self.sent ^= 1
        # In its ACK and its answer: S is what we expect, E what we send next.
        bits = _S * self.expected | _E * self.sent
        assert (ack[2], len(ack)) == (_ACK | bits, 6)
        assert answer == _frame(bits, self.right_answer(index))
        self.expected ^= 1
        if acknowledge:
            link = _ACK | _S * self.sent | _E * self.expected
            assert list(self.meter.feed(_frame(link))) == []

    @rule(data=st.binary(max_size=8).filter(lambda data: b"\x02" not in data))
    def noise(self, data: bytes) -> None:
        assert list(self.meter.feed(data)) == []

    @rule(bit=st.integers(0, 79))
    def damage(self, bit: int) -> None:
        """A damaged frame changes nothing; a long length is waited for, so reset."""
        frame = bytearray(_frame(_S * self.sent | _E * self.expected, _RECORD_0))
        frame[bit // 8] ^= 1 << bit % 8
        assert list(self.meter.feed(bytes(frame))) == []
        self.flush()

    @precondition(lambda self: self.values)
    @rule()
    def repeat_acknowledgement(self) -> None:
        link = _ACK | _S * self.sent | _E * self.expected
        assert list(self.meter.feed(_frame(link))) == []

    def flush(self) -> None:
        """End whatever frame the meter waits for."""
        assert list(self.meter.feed(bytes(256))) == []

    def right_answer(self, index: int) -> bytes:
        if index >= len(self.values):
            return b"\x05\x0f" + len(self.values).to_bytes(2, "little")
        at = len(self.values) - 1 - index
        time = 0x666DA595 + 60 * at
        return b"\x05\x06" + b"".join(
            number.to_bytes(4, "little") for number in (time, self.values[at])
        )


TestDialogue = Dialogue.TestCase
