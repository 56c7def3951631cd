"""The dialogues of Omron's standard cuffs, message by message."""

from collections.abc import Callable, Generator
from datetime import datetime
from decimal import Decimal

import pytest

from protocols.errors import DecodeError, Fault
from protocols.gatt import blood_pressure, blood_pressure_reading
from protocols.gatt.racp import Incomplete
from protocols.gatt.user_data import Response
from protocols.medfloat import Special
from protocols.observation import Quantity, State, Unit, Value
from protocols.vendor import omron
from protocols.vendor.omron_dialogue import NotConsented, consent, download


def led(
    since: int | None,
    *answers: tuple[str, int],
    is_same: Callable[[], bool] | None = None,
) -> tuple[list[str], object]:
    """Lead a download; return what was asked, and what came of it."""
    steps = download(since, is_same)
    asked = [next(steps).hex(" ")]
    for payload, came in answers:
        try:
            asked.append(steps.send((bytes.fromhex(payload), came)).hex(" "))
        except StopIteration as end:
            return asked, end.value
        except (Incomplete, DecodeError) as error:
            return asked, type(error)
    return asked, steps


NEWEST_9 = ("11 00 09 00", 0)


@pytest.mark.parametrize(
    ("since", "answers", "asked", "end"),
    [
        # It names a newest record, and gives none: the next visit asks again.
        (None, [NEWEST_9, ("05 00 00 00", 0)], ["10 00", "04 01"], None),
        (None, [NEWEST_9, ("06 00 04 06", 0)], ["10 00", "04 01"], None),
        (7, [NEWEST_9, ("05 00 00 00", 0)], ["10 00", "04 03 01 08 00"], 7),
        (12, [NEWEST_9, ("05 00 00 00", 0)], ["10 00", "04 01"], None),
        (
            7,
            [NEWEST_9, ("06 00 04 02", 0), ("06 00 01 06", 0)],
            ["10 00", "04 03 01 08 00", "01 03 01 08 00"],
            7,
        ),
        (9, [NEWEST_9], ["10 00"], 9),
        (
            7,
            [NEWEST_9, ("05 00 02 00", 0), ("06 00 01 01", 2)],
            ["10 00", "04 03 01 08 00", "01 03 01 08 00"],
            9,
        ),
        (
            12,
            [NEWEST_9, ("05 00 02 00", 0), ("06 00 01 01", 2)],
            ["10 00", "04 01", "01 01"],
            9,
        ),
        (
            7,
            [("06 00 10 02", 0), ("06 00 04 02", 0), ("06 00 01 06", 0)],
            ["10 00", "04 01", "01 01"],
            None,
        ),
        (
            7,
            [NEWEST_9, ("06 00 04 09", 0), ("06 00 01 09", 0), ("05 00 02 00", 0),
             ("06 00 01 01", 2)],
            ["10 00", "04 03 01 08 00", "01 03 01 08 00", "04 01", "01 01"],
            9,
        ),
        (
            None,
            [NEWEST_9, *[("05 00 02 00", 0), ("06 00 01 01", 1)] * 3],
            ["10 00", *["04 01", "01 01"] * 3],
            Incomplete,
        ),
        (
            None,
            [NEWEST_9, ("05 00 02 00", 0), ("06 00 01 01", 1), ("05 00 00 00", 0)],
            ["10 00", "04 01", "01 01", "04 01"],
            None,
        ),
        (
            None,
            [NEWEST_9, ("05 00 02 00", 0), ("05 00 02 00", 0)],
            ["10 00", "04 01", "01 01"],
            Incomplete,
        ),
        (None, [("02 00", 0)], ["10 00"], DecodeError),
    ],
)  # fmt: skip
def test_a_download_asks_until_all_is_here(
    since: int | None, answers: list[tuple[str, int]], asked: list[str], end: object
) -> None:
    """Counted before and behind: "success" alone proves nothing."""
    assert led(since, *answers) == (asked, end)


FROM_9, ALL = ["04 03 01 09 00", "01 03 01 09 00"], ["04 01", "01 01"]


@pytest.mark.parametrize(
    ("same", "answers", "asked"),
    [
        (True, [("05 00 01 00", 0), ("06 00 01 01", 1)], FROM_9),
        (False, [("05 00 01 00", 0), ("06 00 01 01", 1), ("05 00 09 00", 0),
                 ("06 00 01 01", 9)], [*FROM_9, *ALL]),
        (False, [("05 00 00 00", 0), ("05 00 00 00", 0)], [FROM_9[0], ALL[0]]),
        (False, [("06 00 04 06", 0), ("05 00 01 00", 0), ("06 00 01 01", 1)],
         [FROM_9[0], *ALL]),
        (True, [("05 00 02 00", 0), ("06 00 01 01", 1)] * 3, Incomplete),
    ],
    ids=["went on", "another record", "empty", "gone", "records lost"],
)  # fmt: skip
def test_a_number_is_believed_only_with_the_record_that_was_known(
    same: bool, answers: list[tuple[str, int]], asked: object
) -> None:
    """A memory that was erased, and filled as far again, has the same numbers."""
    found, end = led(9, NEWEST_9, *answers, is_same=lambda: same)

    assert asked == (end if end is Incomplete else found[1:])


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        ("", Fault.TRUNCATED),
        ("11", Fault.TRUNCATED),
        ("10 00 01 00", Fault.NOT_A_RESPONSE),
        ("11 01 01 00", Fault.NOT_A_RESPONSE),
        ("11 00 01", Fault.TRUNCATED),
        ("11 00 01 00 00", Fault.BAD_LENGTH),
        ("06 00 10", Fault.TRUNCATED),
    ],
)
def test_what_tells_no_newest_number_is_refused(payload: str, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        omron.decode_newest(bytes.fromhex(payload))
    assert caught.value.fault == fault


def test_the_time_is_written_by_ten_bytes() -> None:
    now = datetime(2024, 6, 15, 14, 30, 45)  # noqa: DTZ001 - a Saturday

    assert omron.encode_clock(now) == bytes.fromhex("e8 07 06 0f 0e 1e 2d 06 00 01")


def asked(steps: Generator[object, Response, int], *answers: Response) -> object:
    told = [next(steps).encode().hex(" ")]  # type: ignore[attr-defined]
    for answer in answers:
        try:
            told.append(steps.send(answer).encode().hex(" "))  # type: ignore[attr-defined]
        except StopIteration as end:
            return told, end.value
        except NotConsented as error:
            return told, str(error)
    return told


def test_consent_is_given_to_the_user_of_the_last_visit() -> None:
    yes = Response(2, 1)

    assert asked(consent(2345, 3), yes) == (["02 03 29 09"], 3)  # type: ignore[arg-type]


def test_a_user_is_registered_where_there_is_none() -> None:
    found = asked(
        consent(2345, None),  # type: ignore[arg-type]
        Response(1, 1, b"\x02"),
        Response(2, 1),
    )

    assert found == (["01 29 09", "02 02 29 09"], 2)


def test_a_refusal_is_told_with_its_code() -> None:
    full = asked(consent(0, 1), Response(2, 5), Response(1, 4))  # type: ignore[arg-type]
    closed = asked(
        consent(0, None),  # type: ignore[arg-type]
        Response(1, 1, b"\x02"),
        Response(2, 3),
    )

    assert full == (
        ["02 01 00 00", "01 00 00"],
        "it registers no user for us: code 4",
    )
    assert closed == (["01 00 00", "02 02 00 00"], "it does not serve user 2: code 3")


def test_a_measurement_becomes_an_observation_with_all_that_it_says() -> None:
    """The example of the device protocols, 2.2, with its pulse out of range."""
    payload = bytes.fromhex("1e78005000ff07e807060f0e1e2d480001 0c00")

    seen = blood_pressure_reading.observation(blood_pressure.decode(payload), payload)

    assert [value.quantity for value in seen.values] == [
        Quantity.SYSTOLIC,
        Quantity.DIASTOLIC,
        Quantity.PULSE_RATE,
    ]
    assert (seen.slot, seen.status) == (1, ("irregular_pulse",))
    assert (seen.context, seen.raw) == ((("pulse-range", "above_upper"),), (payload,))


def test_what_is_no_pressure_is_no_number() -> None:
    """A 0 that a cuff fills in is nobody's pressure, and 16.0 kPa is not 16."""
    values = blood_pressure_reading.pressures(
        Decimal("16.0"), Decimal(0), None, Special.NAN, kpa=True
    )

    assert values == (
        Value(Quantity.SYSTOLIC, Unit.KILOPASCAL, Decimal("16.0")),
        Value(Quantity.DIASTOLIC, Unit.KILOPASCAL, None, State.NO_VALUE),
        Value(Quantity.PULSE_RATE, Unit.PER_MINUTE, None, State.NOT_A_NUMBER),
    )
    alone = blood_pressure_reading.pressures(Decimal(120), Decimal(80), None, None)
    assert [value.number for value in alone] == [120, 80]
    assert blood_pressure_reading.slot(255) is None
    assert blood_pressure_reading.pulse_range(None) == ()
