"""What a message brings: a batch, a status, or a reason to keep it aside."""

from dataclasses import replace

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery import Message, open_message, receipts, refuse
from gateway.store import Accepted, Greeting, Refused
from protocols.observation import Kind, Observation, Quantity, Reading, Unit, Value
from protocols.uplink import receipt
from protocols.uplink.receipt import Result
from protocols.uplink.topics import Station
from tests.gateway.stations import METER, START_MS, STATION, glucose, message

BATCH = STATION.up("batch")


def came(payload: bytes, topic: str = BATCH) -> Message:
    return Message.of(topic, payload, START_MS)


def reason(payload: bytes, topic: str = BATCH, tenant: str = "") -> str:
    found = open_message(came(payload, topic), tenant)
    assert isinstance(found, Refused)
    assert found.message == payload[: len(found.message)]
    return found.reason


def test_a_good_batch_is_accepted() -> None:
    sent = message(3, glucose(1))

    found = open_message(came(sent), "clinic")

    assert isinstance(found, Accepted)
    assert (found.station, found.batch.counter) == (STATION, 3)
    assert found.batch.readings() == (glucose(1),)


def test_a_status_is_a_greeting() -> None:
    found = open_message(came(b"\xa0", STATION.up("status")), "")

    assert found == Greeting(STATION, b"\xa0", START_MS)


def test_a_batch_under_another_stations_topic_is_refused() -> None:
    """Else a station could write, and lose, readings in another's name."""
    sent = message(1, glucose(1), station=Station("clinic", "other"))

    assert "'other' came from 'station-1'" in reason(sent)


@pytest.mark.parametrize(
    ("payload", "topic", "tenant", "words"),
    [
        (b"", BATCH, "", "CBOR"),
        (b"hostile", BATCH, "", "CBOR"),
        (message(1, glucose(1))[:-1], BATCH, "", "CBOR"),
        (b"\0" * 65_537, BATCH, "", "65537 bytes"),
        (b"\0" * 300_000, BATCH, "", "300000 bytes"),
        (b"\0" * 4_097, STATION.up("status"), "", "4097 bytes"),
        (message(1, glucose(1)), "vw/1/clinic/a_b/up/batch", "", "no station's"),
        (message(1, glucose(1)), "vw/2/clinic/a/up/batch", "", "no station's"),
        (message(1, glucose(1)), STATION.up("event"), "", "not understood"),
        (message(1, glucose(1)), BATCH, "home", "does not serve 'clinic'"),
        (cbor2.dumps({0: 2, 1: 0, 2: b""}), BATCH, "", "version"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(
    payload: bytes, topic: str, tenant: str, words: str
) -> None:
    assert words in reason(payload, topic, tenant)


def test_only_the_beginning_of_a_giant_is_kept() -> None:
    """One message must not fill memory or disk; its digest is of all of it."""
    one, other = came(b"\0" * 300_000), came(b"\0" * 300_001)

    assert len(one.payload) == len(other.payload) == 131_072
    assert one.digest != other.digest


def test_a_reading_without_number_and_date_is_accepted() -> None:
    """A device that tells its memory again tells it again, and it is the same one."""
    undated = Reading(
        METER,
        Observation(Kind.GLUCOSE, (Value(Quantity.GLUCOSE, Unit.MG_PER_DL, None, 3),)),
        driver="d",
        driver_version="1",
        captured_ms=START_MS,
    )

    for one in (undated, replace(undated, arrival=4)):
        assert isinstance(open_message(came(message(1, one)), ""), Accepted)


def test_times_that_no_calendar_knows_are_refused() -> None:
    """They would pass the decoder and break every answer that shows them."""
    for wrong in (-(1 << 62), 1 << 62):
        assert "utc time" in reason(message(1, glucose(1, utc_ms=wrong)))
        unclocked = replace(glucose(1), captured_ms=wrong)
        assert "captured time" in reason(message(1, unclocked))


@given(st.binary(max_size=200))
def test_no_bytes_raise(payload: bytes) -> None:
    """One message that raises would stop the queue for everybody."""
    assert isinstance(open_message(came(payload), ""), Refused)


@given(st.data())
def test_no_change_of_a_good_batch_raises(data: st.DataObject) -> None:
    sent = bytearray(message(1, glucose(1), glucose(2, "7.1")))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(sent) - 1))
        sent[at] = data.draw(st.integers(0, 255))

    assert open_message(came(bytes(sent)), "") is not None


def test_one_receipt_a_station_names_all_its_messages() -> None:
    other = Station("clinic", "station-2")
    deliveries = [
        open_message(came(message(1, glucose(1))), ""),
        open_message(
            came(message(7, glucose(2), station=other), other.up("batch")), ""
        ),
        open_message(came(b"bad"), ""),
        open_message(came(b"bad", "nonsense"), ""),
        Greeting(STATION, b"", 1),
    ]

    sent = {
        topic: receipt.decode(payload) for topic, payload in receipts(deliveries, 5)
    }

    assert sent.keys() == {STATION.down("receipt"), other.down("receipt")}
    mine = sent[STATION.down("receipt")]
    assert (mine.station, mine.given_ms) == ("station-1", 5)
    assert [(one.counter, one.result) for one in mine.entries] == [
        (1, Result.STORED),
        (0, Result.QUARANTINED),
    ]
    assert mine.entries[0].digest == deliveries[0].digest
    assert "envelope" in mine.entries[1].reason


def test_many_long_reasons_fit_into_receipts() -> None:
    """A receipt that is too long would be no receipt for anybody."""
    many = [
        refuse(came(bytes([n, k])), "\U0001f600" * 999)
        for n in range(4)
        for k in range(100)
    ]

    sent = [receipt.decode(payload) for _, payload in receipts(many, 5)]

    assert sum(len(one.entries) for one in sent) == 400


def test_a_reason_can_always_be_kept() -> None:
    assert refuse(came(b""), "\udc80").reason == "?"
