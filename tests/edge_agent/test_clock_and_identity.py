"""Times and names of readings, table by table."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sdk import Identity
from edge_agent.backoff import delay_s
from edge_agent.clock import Offset, Setting, TrueTime, true_time
from edge_agent.identity import device_of
from protocols.gatt.time import DateTime
from protocols.observation import (
    Kind,
    Observation,
    Quantity,
    TimeMethod,
    Unit,
    Value,
)
from protocols.uplink.batch import Batch, decode
from tests.protocols.test_uplink import FIRST

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 3, 1, 20, 0, tzinfo=SHANGHAI)  # 12:00 UTC
GLUCOSE = Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(100))
UNKNOWN = TrueTime()


def ms(text: str) -> int:
    """Return ms since 1970 of a time in UTC."""
    return int(datetime.fromisoformat(text + "+00:00").timestamp() * 1000)


def at(clock: str, **more: object) -> Observation:
    seen = Observation(Kind.GLUCOSE, (GLUCOSE,), DateTime.parse(clock))
    return replace(seen, **more)  # type: ignore[arg-type]


def ahead(**delta: float) -> Offset:
    return Offset(NOW.replace(tzinfo=None) - timedelta(**delta), NOW)


@pytest.mark.parametrize(
    ("seen", "offset", "utc", "method", "is_ahead"),
    [
        # taken as it is: no clock was read, or it is right to 2 minutes
        (at("2026-03-01T19:00:00"), None, "2026-03-01T11:00:00", 1, False),
        (at("2026-03-01T19:00:00"), ahead(), "2026-03-01T11:00:00", 1, False),
        (at("2026-03-01T19:00:00"), ahead(minutes=2), "2026-03-01T11:00:00", 1, False),
        (at("2026-03-01T19:00:00"), ahead(minutes=-2), "2026-03-01T11:00:00", 1, False),
        # corrected: up to a day
        (at("2026-03-01T19:00:00"), ahead(minutes=3), "2026-03-01T11:03:00", 2, False),
        (at("2026-03-01T19:00:00"), ahead(hours=-12), "2026-02-28T23:00:00", 2, False),
        (at("2026-02-27T19:00:00"), ahead(hours=24), "2026-02-28T11:00:00", 2, False),
        # reconstructed by the age that a running clock gives
        (at("2014-01-01T01:01:00"), Offset.between(DateTime(2014, 1, 1, 3, 1, 0), NOW), "2026-03-01T10:00:00", 3, False),  # noqa: E501
        (at("2036-03-01T19:00:00"), Offset.between(DateTime(2036, 3, 1, 20, 0, 0), NOW), "2026-03-01T11:00:00", 3, False),  # noqa: E501
        # user-facing is base plus signed offset
        (at("2026-03-01T08:58:00", offset_min=602), None, "2026-03-01T11:00:00", 1, False),  # noqa: E501
        (at("2026-03-01T19:30:00", offset_min=-30), None, "2026-03-01T11:00:00", 1, False),  # noqa: E501
        # ahead of us: kept and marked
        (at("2026-03-01T20:10:00"), None, "2026-03-01T12:10:00", 1, False),
        (at("2026-03-01T20:11:00"), None, "2026-03-01T12:11:00", 1, True),
        (at("2026-03-02T19:59:00"), ahead(), "2026-03-02T11:59:00", 1, True),
    ],
)  # fmt: skip
def test_a_true_time_is_found_as_the_table_says(
    seen: Observation,
    offset: Offset | None,
    utc: str,
    method: int,
    *,
    is_ahead: bool,
) -> None:
    """Device protocols 7.1 and 7.2, row by row."""
    found = true_time(seen, offset, NOW, SHANGHAI)

    assert (found.utc_ms, found.method, found.ahead) == (
        ms(utc), TimeMethod(method), is_ahead,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "offset", "found"),
    [
        (replace(at("2026-03-01T19:00:00"), device_time=None), None, UNKNOWN),
        (at("0000-00-00T00:00:00"), None, UNKNOWN),
        (at("2026-00-01T00:00:00"), None, UNKNOWN),
        (at("2026-13-01T00:00:00"), None, UNKNOWN),
        (at("65535-255-255T255:255:255"), None, UNKNOWN),
        (at("2026-03-01T19:00:00", status=("time_fault",)), None, UNKNOWN),
        (at("1970-01-01T00:00:00"), None, UNKNOWN),
        (at("2000-01-01T00:00:00"), None, UNKNOWN),
        (at("2004-12-31T23:59:59"), None, UNKNOWN),
        # where a clock starts that was never set
        (at("2010-01-01T00:03:00"), None, UNKNOWN),
        (at("2014-01-01T01:01:00"), None, UNKNOWN),
        (at("2026-03-02T20:00:01"), None, TrueTime(ahead=True)),
        (at("9999-12-31T23:59:59"), None, TrueTime(ahead=True)),
        (at("9999-12-31T23:59:59"), ahead(days=400), UNKNOWN),
        (at("0001-01-01T00:00:00"), None, UNKNOWN),
        (at("0001-01-01T00:00:00"), ahead(days=-400), UNKNOWN),
        # recorded before the clock was set: its age by that clock is no age
        (at("2026-03-01T19:00:00"), Offset.between(DateTime(2014, 1, 1, 1, 1, 0), NOW), TrueTime(ahead=True)),  # noqa: E501
    ],
)  # fmt: skip
def test_a_time_that_nobody_knows_is_not_made_up(
    seen: Observation, offset: Offset | None, found: TrueTime
) -> None:
    """Never the time of receipt for a measured time."""
    assert true_time(seen, offset, NOW, SHANGHAI) == found


@pytest.mark.parametrize(
    ("days", "bound_ms"), [(0, 130_000), (1, 140_000), (30, 430_000)]
)
def test_the_bound_grows_with_age(days: int, bound_ms: int) -> None:
    """Two minutes that are not corrected, and ten seconds of drift a day.

    And the minute that a clock without seconds hides.
    """
    clock = (NOW - timedelta(days=days, minutes=1)).strftime("%Y-%m-%dT%H:%M:%S")

    precise = true_time(at(clock), ahead(seconds=1), NOW, SHANGHAI)
    whole = true_time(at(clock), ahead(), NOW, SHANGHAI)
    assert (precise.bound_ms, whole.bound_ms) == (bound_ms, bound_ms + 60_000)
    assert true_time(at(clock), None, NOW, SHANGHAI).bound_ms is None


@pytest.mark.parametrize("wrong", [ahead(minutes=3), ahead(days=2)])
def test_a_time_that_was_moved_claims_no_bound(wrong: Offset) -> None:
    """Nothing says that the clock was not set after the measurement."""
    assert true_time(at("2026-03-01T19:00:00"), wrong, NOW, SHANGHAI).bound_ms is None


def test_the_hour_that_autumn_repeats_is_uncertain_by_an_hour() -> None:
    zone = ZoneInfo("Europe/Berlin")
    now = datetime(2026, 10, 25, 12, 0, tzinfo=zone)
    right = Offset(now.replace(tzinfo=None), now)

    once = true_time(at("2026-10-25T04:30:00"), right, now, zone).bound_ms
    twice = true_time(at("2026-10-25T02:30:00"), right, now, zone).bound_ms

    assert (once, twice) == (190_000, 190_000 + 3_600_000)


@pytest.mark.parametrize(
    ("clock", "found"),
    [
        ("2026-03-01T19:00:00", "2026-03-01T11:00:00"),
        ("2036-03-01T19:00:00", "2036-03-01T11:00:00"),  # ours may be behind
        ("2004-03-01T19:00:00", None),
        ("2014-01-01T01:01:00", None),
    ],
)
def test_without_a_right_clock_of_our_own_a_devices_time_stands(
    clock: str, found: str | None
) -> None:
    """Moved by a wrong one, it would be wrong for good."""
    right = TrueTime() if found is None else TrueTime(ms(found), TimeMethod.DEVICE)

    assert Offset.between(DateTime(2026, 3, 1, 19, 57, 0), None) is None
    assert true_time(at(clock), None, None, SHANGHAI) == right


@pytest.mark.parametrize(
    ("before", "clock", "utc", "method"),
    [
        # it was two days behind until 20:00: what came before has its old clock
        (ahead(days=2), "2026-02-27T19:00:00", "2026-03-01T11:00:00", 3),
        (ahead(days=2), "2026-03-01T20:01:00", "2026-03-01T12:01:00", 1),
        # it was an hour ahead: between 20:00 and 21:00 it may be either
        (ahead(hours=-1), "2026-03-01T19:00:00", "2026-03-01T10:00:00", 2),
        (ahead(hours=-1), "2026-03-01T20:30:00", None, 0),
        (
            Setting(ahead(hours=-1), is_told=True),
            "2026-03-01T20:30:00",
            "2026-03-01T12:30:00",
            1,
        ),
        (
            Setting(ahead(hours=-1), is_told=True),
            "2026-03-01T19:00:00",
            "2026-03-01T10:00:00",
            2,
        ),
        (ahead(hours=-1), "2026-03-01T21:03:00", "2026-03-01T13:03:00", 1),
    ],
)
def test_a_time_of_before_its_clock_was_set_is_by_the_clock_of_then(
    before: Offset | Setting, clock: str, utc: str | None, method: int
) -> None:
    """The link was lost behind the setting, and the readings come at the next visit."""
    now = NOW + timedelta(hours=2)
    right = Offset(now.replace(tzinfo=None), now)

    setting = Setting(before) if isinstance(before, Offset) else before

    found = true_time(at(clock), right, now, SHANGHAI, setting)

    assert found.utc_ms == (None if utc is None else ms(utc))
    assert found.method == TimeMethod(method)
    assert (found.bound_ms is not None) is (method == TimeMethod.DEVICE)


def test_both_clocks_are_kept_as_they_were() -> None:
    """Kept by one version, and read by the next."""
    both = Setting(Offset(datetime(2026, 2, 27, 20, 0, 5), NOW))  # noqa: DTZ001
    told = replace(both, is_told=True)

    assert both.text == "2026-02-27T20:00:05 2026-03-01T20:00:00+08:00"
    assert told.text == both.text + " told"
    assert (Setting.of(both.text), Setting.of(told.text)) == (both, told)
    for damaged in ("", "2026-02-27T20:00:05", "2026-02-27 x"):
        with pytest.raises(ValueError, match=r"values to unpack|isoformat"):
            Setting.of(damaged)


def test_an_age_is_not_changed_by_summer_time() -> None:
    """A clock that runs on its own knows no summer; its age is what it counted."""
    zone = ZoneInfo("Europe/Berlin")
    now = datetime(2026, 12, 1, 12, 0, tzinfo=zone)  # 11:00 UTC
    clock = Offset(datetime(2011, 3, 1, 0, 0), now)  # noqa: DTZ001 - a device's

    found = true_time(at("2010-10-15T00:00:00"), clock, now, zone)

    assert (found.utc_ms, found.method) == (
        ms("2026-07-17T11:00:00"),
        TimeMethod.RECONSTRUCTED,
    )


def test_an_offset_is_by_local_time_and_none_without_a_moment() -> None:
    assert Offset.between(DateTime(2026, 3, 1, 19, 57, 0), NOW) == ahead(minutes=3)
    assert Offset.between(DateTime(2026, 2, 30, 0, 0, 0), NOW) is None
    assert Offset.between(DateTime(0, 0, 0, 0, 0, 0), NOW) is None


@given(
    st.tuples(st.integers(0, 10_100), *[st.integers(0, 61)] * 5),
    st.none() | st.integers(-32768, 32767),
    st.none() | st.datetimes(),
    st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York", "Pacific/Kiritimati"]),
)
def test_any_clock_gives_a_time_or_none(
    clock: tuple[int, ...], minutes: int | None, shown: datetime | None, zone: str
) -> None:
    """A device's clock is what it likes; it must never stop a visit."""
    seen = replace(at("2026-03-01T19:00:00"), device_time=DateTime(*clock), offset_min=minutes)  # fmt: skip  # noqa: E501

    found = true_time(seen, shown and Offset(shown, NOW), NOW, ZoneInfo(zone))

    assert (found.utc_ms is None) is (found.method == TimeMethod.UNKNOWN)
    if found.utc_ms is not None:
        moment = datetime.fromtimestamp(found.utc_ms / 1000, UTC)
        assert moment.year >= 2005
        assert moment <= NOW + timedelta(days=1)


@pytest.mark.parametrize(
    ("identity", "id_"),
    [
        (Identity("Roche", "Meter 925", "00012345"), "roche:meter-925:00012345"),
        (Identity("A", "B", "SN-12_3.4"), "a:b:sn-12_3.4"),
        (Identity("", "", "ABCD"), "::abcd"),
        (Identity("A", "B", ""), "at:c0-ff-ee"),
        (Identity("A", "B", "Serial Number"), "at:c0-ff-ee"),
        (Identity("A", "B", "SerialNo"), "at:c0-ff-ee"),
        (Identity("A", "B", "0000000000"), "at:c0-ff-ee"),
        (Identity("A", "B", "FFFFFFFF"), "at:c0-ff-ee"),
        (Identity("A", "B", "xxxxxx"), "at:c0-ff-ee"),
        (Identity("A", "B", "Unknown"), "at:c0-ff-ee"),
        (Identity("A", "B", "N/A"), "at:c0-ff-ee"),
        (Identity("A", "B", "------"), "at:c0-ff-ee"),
        (Identity("A", "B", "123"), "at:c0-ff-ee"),
        (Identity("A", "B", "0000-0000"), "at:c0-ff-ee"),
        (Identity("A", "B", "12345678"), "at:c0-ff-ee"),
        (Identity("A", "B", "0123456789"), "at:c0-ff-ee"),
        (Identity("A", "B", "serial_number"), "at:c0-ff-ee"),
        (Identity("A", "B", "Default"), "at:c0-ff-ee"),
        (Identity("A", "B", "no serial"), "at:c0-ff-ee"),
    ],
)
def test_a_device_is_known_by_its_serial_number_or_its_address(
    identity: Identity, id_: str
) -> None:
    """Two meters that both say "Serial Number" are not one meter."""
    found = device_of(identity, "C0:FF:EE")

    assert found.id == id_
    assert (found.manufacturer, found.serial) == (
        identity.manufacturer,
        identity.serial,
    )


_HOSTILE = st.text(max_size=200) | st.sampled_from(
    ["İ" * 60, "a:b:c", "\x1b[2J\x00\n", "/" * 300, "ß" * 99, "ﬃ" * 99, "ΐ" * 50]
)


@given(_HOSTILE, _HOSTILE, _HOSTILE, _HOSTILE, _HOSTILE)
def test_whatever_a_device_says_of_itself_can_be_sent(
    manufacturer: str, model: str, serial: str, firmware: str, peer: str
) -> None:
    """A hostile name must not make a reading that no message can hold."""
    found = device_of(Identity(manufacturer, model, serial, firmware), peer)

    assert 1 <= len(found.id) <= 128
    assert found.id.count(":") in (1, 2)
    assert not set("/+#\n\0 \x1b") & set(found.id)
    sent = Batch("s", 1, 0, (replace(FIRST, device=found),))
    assert decode(sent.encode()) == sent


def test_the_agent_waits_longer_each_time_and_never_for_ever() -> None:
    """Neither hammer a meter nor forget it."""
    waits = [delay_s(failures) for failures in range(1, 2000)]

    assert waits[:8] == [2, 4, 8, 16, 32, 64, 128, 256]
    assert waits == sorted(waits)
    assert set(waits[8:]) == {300}
