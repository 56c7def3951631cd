"""The simulated glucose meter, against bytes written down by hand."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from firmware_sim.bench import Action, AttError, Pairing, Security, Send
from firmware_sim.devices.gatt_glucose import GlucoseMeter, GlucoseRecord


def _sig(number: int) -> UUID:
    return UUID(f"{number:08x}-0000-1000-8000-00805f9b34fb")


_MEASUREMENT, _CONTEXT, _POINT = _sig(0x2A18), _sig(0x2A34), _sig(0x2A52)
_NOON = datetime.fromisoformat("2026-03-01T12:00:00")


def _record(sequence: int, hours: int = 0, meal: int | None = None) -> GlucoseRecord:
    time = _NOON + timedelta(hours=hours)
    return GlucoseRecord(sequence, time, Decimal(100 + hours), meal=meal)


def _five() -> list[GlucoseRecord]:
    return [_record(10 + hours, hours) for hours in range(5)]


def _meter(
    records: Iterable[GlucoseRecord] = (), *enabled: UUID, **more: object
) -> GlucoseMeter:
    meter = GlucoseMeter(records, **more)
    meter.connected()
    for uuid in enabled or (_MEASUREMENT, _CONTEXT, _POINT):
        assert list(meter.enabled(uuid, on=True)) == []
    return meter


def _ask(meter: GlucoseMeter, request: str) -> list[tuple[int, str]]:
    """Write a request; return what is sent as (16-bit UUID, hex)."""
    return _shown(meter.write(_POINT, bytes.fromhex(request)))


def _shown(actions: Iterable[Action]) -> list[tuple[int, str]]:
    return [
        (action.uuid.time_low, action.payload.hex(" "))
        if isinstance(action, Send)
        else (0, "hung up")
        for action in actions
    ]


def _sequences(meter: GlucoseMeter, request: str) -> list[int]:
    """Write a request; return the sequence numbers of the records that come."""
    *records, end = _ask(meter, request)
    assert end == (0x2A52, "06 00 01 01")
    return [int.from_bytes(bytes.fromhex(text)[1:3], "little") for _, text in records]


def test_a_record_is_sent_as_in_the_published_capture() -> None:
    """The Accu-Chek capture of the specification, and its meal behind it."""
    capture = GlucoseRecord(
        sequence=4,
        base_time=datetime.fromisoformat("2020-07-14T11:06:05"),
        value=Decimal(119),
        offset_min=602,
        meal=3,
    )

    assert _ask(_meter([capture]), "01 01") == [
        (0x2A18, "1b 04 00 e4 07 07 0e 0b 06 05 5a 02 77 b0 f8 00 00"),
        (0x2A34, "02 04 00 03"),
        (0x2A52, "06 00 01 01"),
    ]


@pytest.mark.parametrize(
    ("record", "sent"),
    [
        (
            GlucoseRecord(
                0xFFFE, _NOON, Decimal("5.5"), "mmol/L", None, 1, 1, status=None
            ),
            "06 fe ff ea 07 03 01 0c 00 00 37 c0 11",
        ),
        (
            GlucoseRecord(1, _NOON, Decimal("Infinity"), offset_min=-60, status=0x20),
            "0b 01 00 ea 07 03 01 0c 00 00 c4 ff fe 07 f8 20 00",
        ),
        (
            GlucoseRecord(1, _NOON, Decimal("-Infinity"), status=0x40),
            "0b 01 00 ea 07 03 01 0c 00 00 00 00 02 08 f8 40 00",
        ),
        (
            GlucoseRecord(2, None, Decimal("NaN"), sample_type=10, location=4),
            "0b 02 00 00 00 00 00 00 00 00 00 00 ff 07 4a 00 00",
        ),
        (
            GlucoseRecord(3, _NOON, None, offset_min=None, status=None),
            "00 03 00 ea 07 03 01 0c 00 00",
        ),
    ],
    ids=["mol/L", "HI", "LO", "control without time", "nothing optional"],
)
def test_each_field_stands_where_its_flag_says(
    record: GlucoseRecord, sent: str
) -> None:
    assert _ask(_meter([record]), "01 01")[0] == (0x2A18, sent)


def test_the_value_is_exact_or_refused() -> None:
    """A meter that rounds would make the truth a lie."""
    record = GlucoseRecord(1, _NOON, Decimal("250.5"))
    with pytest.raises(ValueError, match="not exact"):
        list(record.notifications())


@pytest.mark.parametrize(
    ("request_", "sequences"),
    [
        ("01 01", [10, 11, 12, 13, 14]),
        ("01 02 01 0b 00", [10, 11]),
        ("01 03 01 0d 00", [13, 14]),
        ("01 04 01 0b 00 0d 00", [11, 12, 13]),
        ("01 04 01 0c 00 0c 00", [12]),
        ("01 05", [10]),
        ("01 06", [14]),
        ("01 02 02 ea 07 03 01 0d 00 00", [10, 11]),
        ("01 03 02 ea 07 03 01 0e 00 01", [13, 14]),
        ("01 04 02 ea 07 03 01 0d 00 00 ea 07 03 01 0f 00 00", [11, 12, 13]),
    ],
)
def test_the_records_that_are_asked_for_are_told_oldest_first(
    request_: str, sequences: list[int]
) -> None:
    assert _sequences(_meter(_five()), request_) == sequences


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("04 01", "05 00 05 00"),
        ("04 02 01 0a 00", "05 00 01 00"),
        ("04 03 01 0b 00", "05 00 04 00"),
        ("04 03 01 63 00", "05 00 00 00"),
        ("04 04 01 0b 00 0c 00", "05 00 02 00"),
        ("04 05", "05 00 01 00"),
        ("04 06", "05 00 01 00"),
    ],
)
def test_counting_tells_a_number_and_no_records(request_: str, answer: str) -> None:
    assert _ask(_meter(_five()), request_) == [(0x2A52, answer)]


def test_the_time_filter_looks_at_what_the_person_saw() -> None:
    """Base time and user-facing time differ by the offset."""
    late = GlucoseRecord(1, _NOON, Decimal(100), offset_min=120)
    unknown = GlucoseRecord(2, None, Decimal(100))

    meter = _meter([late, unknown])
    assert _sequences(meter, "01 03 02 ea 07 03 01 0d 00 00") == [1]
    assert _ask(meter, "01 02 02 ea 07 03 01 0d 00 00") == [(0x2A52, "06 00 01 06")]


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("01 03 01 63 00", "06 00 01 06"),  # nothing that late
        ("02 01", "06 00 02 02"),  # deleting
        ("07 01", "06 00 07 02"),  # combined report
        ("06 00 01 01", "06 00 06 02"),  # a response is no request
        ("00 01", "06 00 00 02"),
        ("01", "06 00 01 03"),  # no operator at all
        ("01 00", "06 00 01 03"),  # null where one is needed
        ("03 01", "06 00 03 03"),  # one where null is needed
        ("01 07", "06 00 01 04"),
        ("04 ff", "06 00 04 04"),
        ("01 01 00", "06 00 01 05"),  # an operand too many
        ("03 00 01", "06 00 03 05"),
        ("01 03", "06 00 01 05"),  # no operand
        ("01 03 01", "06 00 01 05"),  # no value
        ("01 03 01 0a", "06 00 01 05"),  # half a value
        ("01 03 01 0a 00 00", "06 00 01 05"),  # one and a half
        ("01 03 01 0a 00 0b 00", "06 00 01 05"),  # two, where one is meant
        ("01 04 01 0a 00", "06 00 01 05"),  # one, where two are meant
        ("01 04 01 0d 00 0b 00", "06 00 01 05"),  # minimum above maximum
        ("01 03 02 ea 07 0d 01 0c 00 00", "06 00 01 05"),  # month 13
        ("01 03 03 0a 00", "06 00 01 09"),
    ],
)
def test_a_request_it_cannot_carry_out_is_refused_with_the_reason(
    request_: str, answer: str
) -> None:
    meter = _meter(_five())

    assert _ask(meter, request_) == [(0x2A52, answer)]
    assert _sequences(meter, "01 06") == [14], "and the meter goes on"


def test_an_empty_memory_has_no_records_to_report_and_none_to_count() -> None:
    meter = _meter()

    assert _ask(meter, "01 01") == [(0x2A52, "06 00 01 06")]
    assert _ask(meter, "01 06") == [(0x2A52, "06 00 01 06")]
    assert _ask(meter, "04 01") == [(0x2A52, "05 00 00 00")]


def test_operators_and_filters_that_it_does_not_claim_are_refused() -> None:
    """Many meters know only some, and a station must fall back."""
    meter = _meter(_five(), operators=frozenset({1, 3}), filters=frozenset({1}))

    assert _ask(meter, "01 06") == [(0x2A52, "06 00 01 04")]
    assert _ask(meter, "01 03 02 ea 07 03 01 0d 00 00") == [(0x2A52, "06 00 01 09")]
    assert _sequences(meter, "01 03 01 0e 00") == [14]


def test_only_an_erasable_meter_deletes() -> None:
    meter = _meter(_five(), erasable=True)

    assert _ask(meter, "02 02 01 0c 00") == [(0x2A52, "06 00 02 01")]
    assert _ask(meter, "02 02 01 0c 00") == [(0x2A52, "06 00 02 06")]
    assert [record.sequence for record in meter.records] == [13, 14]


def test_sequence_numbers_wrap_and_are_compared_as_numbers() -> None:
    meter = _meter([_record(65534), _record(65535, 1), _record(0, 2)])

    assert _sequences(meter, "01 01") == [65534, 65535, 0]
    assert _sequences(meter, "01 06") == [0]
    assert _sequences(meter, "01 03 01 ff ff") == [65535]


def test_a_result_taken_now_is_there_at_the_next_request() -> None:
    meter = _meter(_five())
    meter.store(_record(15, 9))

    assert _sequences(meter, "01 03 01 0e 00") == [14, 15]


@pytest.mark.parametrize("missing", [_MEASUREMENT, _POINT])
def test_a_request_before_all_is_enabled_is_att_error_81(missing: UUID) -> None:
    meter = _meter(_five(), *({_MEASUREMENT, _POINT} - {missing}))

    with pytest.raises(AttError) as refused:
        meter.write(_POINT, b"\x01\x01")

    assert refused.value.code == 0x81
    list(meter.enabled(missing, on=True))
    assert _sequences(meter, "01 06") == [14]


def test_what_was_enabled_ends_with_the_connection() -> None:
    meter = _meter(_five())
    meter.disconnected()
    meter.connected()

    with pytest.raises(AttError) as refused:
        meter.write(_POINT, b"\x01\x01")

    assert refused.value.code == 0x81


def test_a_second_request_while_one_runs_is_att_error_80() -> None:
    meter = _meter(_five())
    running = iter(meter.write(_POINT, b"\x01\x01"))
    next(running)

    with pytest.raises(AttError) as refused:
        meter.write(_POINT, b"\x04\x01")

    assert refused.value.code == 0x80
    assert len(list(running)) == 5, "the first goes on to its end"
    assert _ask(meter, "04 01") == [(0x2A52, "05 00 05 00")]


def test_a_request_counts_as_running_before_its_first_record() -> None:
    """The carrier asks for the first action only later."""
    meter = _meter(_five())
    meter.write(_POINT, b"\x01\x01")

    with pytest.raises(AttError):
        meter.write(_POINT, b"\x01\x01")


def test_whoever_hears_the_end_may_ask_again_at_once() -> None:
    """The central may be faster than the carrier's next call."""
    meter = _meter(_five())
    running = iter(meter.write(_POINT, b"\x04\x01"))
    assert next(running) == Send(_POINT, bytes.fromhex("05 00 05 00"))

    assert _ask(meter, "04 01") == [(0x2A52, "05 00 05 00")]


def test_an_abort_stops_the_report_and_only_the_abort_is_answered() -> None:
    meter = _meter(_five())
    running = iter(meter.write(_POINT, b"\x01\x01"))
    next(running)

    assert _ask(meter, "03 00") == [(0x2A52, "06 00 03 01")]
    assert list(running) == []
    assert _sequences(meter, "01 06") == [14]


def test_an_abort_of_nothing_succeeds() -> None:
    assert _ask(_meter(), "03 00") == [(0x2A52, "06 00 03 01")]


def test_a_lost_link_ends_the_procedure() -> None:
    meter = _meter(_five())
    meter.write(_POINT, b"\x01\x01")
    meter.disconnected()
    meter.connected()
    for uuid in (_MEASUREMENT, _POINT):
        list(meter.enabled(uuid, on=True))

    assert _sequences(meter, "01 06") == [14]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda meter: meter.write(_MEASUREMENT, b"\x01"), 0x03),
        (lambda meter: meter.write(_POINT, b""), 0x0D),
        (lambda meter: meter.read(_MEASUREMENT), 0x02),
    ],
)
def test_what_att_forbids_is_refused(
    call: Callable[[GlucoseMeter], object], code: int
) -> None:
    with pytest.raises(AttError) as refused:
        call(_meter())

    assert refused.value.code == code


def test_it_tells_its_label_its_features_and_its_clock() -> None:
    meter = _meter(clock=lambda: datetime.fromisoformat("2024-06-15T14:30:45"))

    assert meter.read(_sig(0x2A51)) == b"\xff\x03"
    assert meter.read(_sig(0x2A2B)).hex(" ") == "e8 07 06 0f 0e 1e 2d 06 00 00"
    assert meter.read(_sig(0x2A25)) == b"00012345"
    assert meter.read(_sig(0x2A19)) == b"\x57"


def test_every_characteristic_is_what_the_services_say() -> None:
    meter = GlucoseMeter(())
    told = {
        (service.time_low, each.uuid.time_low): (set(each.properties), each.security)
        for service, some in meter.services.items()
        for each in some
    }
    key, link = Security.AUTHENTICATED, Security.ENCRYPTED

    assert told == {
        (0x1808, 0x2A18): ({"notify"}, key),
        (0x1808, 0x2A34): ({"notify"}, key),
        (0x1808, 0x2A51): ({"read"}, key),
        (0x1808, 0x2A52): ({"write", "indicate"}, key),
        (0x1805, 0x2A2B): ({"read"}, key),
        (0x180A, 0x2A29): ({"read"}, link),
        (0x180A, 0x2A24): ({"read"}, link),
        (0x180A, 0x2A25): ({"read"}, link),
        (0x180A, 0x2A26): ({"read"}, link),
        (0x180F, 0x2A19): ({"read"}, link),
    }
    assert (meter.pairing, meter.passkey) == (Pairing.PASSKEY, 123456)


def test_an_open_meter_asks_for_no_security_at_all() -> None:
    meter = GlucoseMeter((), security=Security.NONE, pairing=Pairing.NONE)

    assert {each.security for some in meter.services.values() for each in some} == {
        Security.NONE
    }


def test_a_meter_can_miscount() -> None:
    """A station must not believe it."""
    assert _ask(_meter(_five(), miscount=2), "04 01") == [(0x2A52, "05 00 07 00")]
