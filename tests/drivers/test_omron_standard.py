"""The driver of Omron's standard cuffs against simulated ones of each ability."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from drivers.omron_standard import DRIVER
from drivers.sdk import (
    Checkpoint,
    DateTime,
    DeviceClock,
    Identity,
    NoReply,
    Observation,
    Packet,
    RecordMark,
    Terms,
    Undecoded,
)
from firmware_sim.bench import AttError, Send
from firmware_sim.devices import omron_standard as bench
from firmware_sim.devices.omron_standard import Abilities, StandardCuff, StandardRecord
from firmware_sim.kit.check import check_rule
from firmware_sim.kit.rules import RULES, Rule
from firmware_sim.link import SimGattLink
from firmware_sim.trial import Shown, SimClock, Trial
from protocols.gatt.racp import Incomplete
from protocols.gatt.uuid import sig
from protocols.vendor.omron_measurement import BLOOD_PRESSURE
from tests.drivers.collecting import Visit, visit

NOW = datetime(2026, 3, 1, 12, 0)  # noqa: DTZ001 - a wall clock
CUFF = Identity("OMRON", "HEM-6233T", "000815", "1.0")
KNOWN = Terms(identity=CUFF, key=bytes.fromhex("00000929") + bytes(12))  # 2345
RACP = Abilities(records=True)


def records(count: int) -> list[StandardRecord]:
    return [
        StandardRecord(
            NOW - timedelta(hours=count - at),
            Decimal(100 + at),
            Decimal(60 + at),
            Decimal(80),
            Decimal(70),
        )
        for at in range(count)
    ]


def systolics(found: Visit) -> list[Decimal | None]:
    return [seen.values[0].number for seen in found.of(Observation)]


def written(link: SimGattLink, uuid: int) -> list[str]:
    return [payload.hex(" ") for to, payload in link.written if to == sig(uuid)]


def trial(able: Abilities) -> Trial:
    def make(shown: Sequence[Shown], clock: SimClock) -> StandardCuff:
        return StandardCuff([bench._record(one) for one in shown], able, clock=clock)

    return replace(bench.TRIAL, make=make)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize(
    "able",
    [
        Abilities(),
        Abilities(own_parts=1),
        Abilities(own_parts=2),
        Abilities(users=True),
        RACP,
        replace(RACP, numbers=False),
        replace(RACP, newest=False),
        Abilities(own_parts=2, records=True, users=True),
    ],
    ids=str,
)
def test_the_kit_holds_for_every_ability(able: Abilities, rule: Rule) -> None:
    """What a model has beside the measurement must not cost a reading."""
    outcome = check_rule(DRIVER, trial(able), rule)

    assert outcome.problems == ()


async def test_a_first_visit_tells_who_when_and_what() -> None:
    found = await visit(DRIVER, SimGattLink(StandardCuff(records(1))))

    assert found.error is None
    assert found.events[:2] == [CUFF, DeviceClock(DateTime(2026, 3, 1, 12, 0, 0))]
    (seen,) = found.of(Observation)
    assert [value.number for value in seen.values] == [100, 60, 80, 70]
    assert (seen.slot, seen.sequence) == (1, None)


async def test_omrons_own_measurement_is_taken_instead_of_the_standard_one() -> None:
    """Both would be one measurement with two names, and so two readings."""
    cuff = StandardCuff(records(2), Abilities(own_parts=2))

    found = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)

    first, second = found.of(Observation)
    assert (first.sequence, second.sequence) == (1, 2)
    assert [value.number for value in first.values] == [100, 60, 80, 70]
    assert (first.slot, len(first.raw)) == (1, 2)


def test_what_the_own_measurement_counts_is_told() -> None:
    """The vector of the document, every field of it."""
    payload = bytes.fromhex("fe1f2a00780050005d00e807060f0e1e2d4800010c00030102f500")

    (seen,) = DRIVER.decode(Packet(BLOOD_PRESSURE, payload), CUFF)

    assert isinstance(seen, Observation)
    assert (seen.sequence, seen.slot) == (42, 1)
    assert seen.status == ("irregular_pulse",)
    assert seen.context == (
        ("artifacts", "1"),
        ("irregular-pulses", "2"),
        ("measurements", "3"),
        ("pulse-range", "above_upper"),
        ("room-temperature-Cel", "24.5"),
    )


@pytest.mark.parametrize("payload", ["1e202a00780050005d00", "c2012a0048000104 00", ""])
def test_half_a_record_is_kept_and_no_reading(payload: str) -> None:
    """Without its other half nobody knows when it was, or whose."""
    raw = bytes.fromhex(payload)

    (event,) = DRIVER.decode(Packet(BLOOD_PRESSURE, raw), CUFF)

    assert isinstance(event, Undecoded)
    assert event.payload == raw


async def test_a_second_half_that_does_not_come_leaves_the_first_to_be_kept() -> None:
    record = records(1)[0]
    first, _ = record.own(1, parts=2)
    cuff = StandardCuff([], Abilities(own_parts=2))
    values = [first, *record.own(2, parts=2), b"\xff", first]
    cuff._tell = lambda: iter([Send(BLOOD_PRESSURE, one) for one in values])  # type: ignore[method-assign]

    found = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)

    assert [seen.sequence for seen in found.of(Observation)] == [2]
    assert [one.payload for one in found.of(Undecoded)] == [first, b"\xff", first]


def test_two_halves_that_were_written_down_are_one_reading_behind_a_crash() -> None:
    """Each by itself is no reading, and the cuff forgot them when they came."""
    first, second = records(1)[0].own(1, parts=2)
    answer = Packet(sig(0x2A52), bytes([6, 0, 1, 1]))  # tells no reading
    packets = [Packet(BLOOD_PRESSURE, one) for one in (first, second, first)]

    whole, half = DRIVER.recovered([*packets[:1], answer, *packets[1:]], KNOWN)

    assert isinstance(whole, Observation)
    assert (whole.sequence, whole.raw) == (1, (first, second))
    assert isinstance(half, Undecoded)
    assert half.payload == first


@pytest.mark.parametrize(
    ("off", "is_set"),
    [
        (timedelta(minutes=9), False),
        (timedelta(minutes=11), True),
        (timedelta(minutes=-11), True),
    ],
)
async def test_the_clock_is_set_only_if_it_is_ten_minutes_off(
    off: timedelta, is_set: bool
) -> None:
    """Newer firmware refuses to be set by less, and then refuses all that follows."""
    cuff = StandardCuff(records(1))
    link = SimGattLink(cuff)

    found = await visit(DRIVER, link, terms=replace(KNOWN, set_clock=lambda: NOW + off))

    assert (found.error, len(systolics(found)), link.noted) == (None, 1, [])
    assert (cuff.set_to == NOW + off) is is_set


async def test_the_time_is_written_as_the_document_says() -> None:
    """Ten bytes: the day of the week, no fractions, and "set by hand"."""
    link = SimGattLink(StandardCuff())
    later = datetime(2026, 3, 4, 5, 6, 7)  # noqa: DTZ001 - a Wednesday

    await visit(DRIVER, link, terms=replace(KNOWN, set_clock=lambda: later))

    assert written(link, 0x2A2B) == ["ea 07 03 04 05 06 07 03 00 01"]


async def test_a_clock_that_is_refused_costs_no_reading() -> None:
    cuff = StandardCuff(records(1))

    def refuse(_: bytes) -> None:
        raise AttError(0x05)

    cuff._set_clock = refuse  # type: ignore[method-assign]
    link = SimGattLink(cuff)
    later = replace(KNOWN, set_clock=lambda: NOW + timedelta(hours=1))

    found = await visit(DRIVER, link, terms=later)

    assert (found.error, len(systolics(found)), len(link.noted)) == (None, 1, 1)


async def test_a_clock_that_is_not_told_by_itself_is_read_and_not_written() -> None:
    """Only the first notification is a moment at which the cuff takes a time."""
    cuff = StandardCuff(records(1))
    tell = cuff.enabled
    cuff.enabled = lambda uuid, *, on: (  # type: ignore[method-assign]
        () if uuid == sig(0x2A2B) else tell(uuid, on=on)
    )
    link = SimGattLink(cuff)
    later = replace(KNOWN, set_clock=lambda: NOW + timedelta(hours=1))

    found = await visit(DRIVER, link, terms=later)

    assert found.of(DeviceClock) == [DeviceClock(DateTime(2026, 3, 1, 12, 0, 0))]
    assert (len(systolics(found)), link.written) == (1, [])


async def test_a_cuff_without_a_clock_is_read() -> None:
    cuff = StandardCuff(records(1))
    cuff.services.pop(sig(0x1805))

    found = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)

    assert (found.error, found.of(DeviceClock), len(systolics(found))) == (None, [], 1)


async def test_a_clock_that_goes_on_ticking_puts_off_no_end() -> None:
    """The visit ends when no reading comes, not when nothing comes."""
    cuff = StandardCuff()
    tick = Send(sig(0x2A2B), cuff._time())
    cuff._tell = lambda: iter([tick] * 40)  # type: ignore[method-assign]

    found = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)

    assert (found.error, systolics(found)) == (None, [])


async def test_a_station_registers_once_and_consents_each_time() -> None:
    """A user registered at every visit would fill the cuff with strangers."""
    cuff = StandardCuff(records(1), Abilities(users=True))
    one = SimGattLink(cuff)
    first = await visit(DRIVER, one, terms=KNOWN)
    cuff.store(records(2)[1])
    two = SimGattLink(cuff)

    second = await visit(
        DRIVER, two, terms=replace(KNOWN, mark=first.of(Checkpoint)[-1].mark)
    )

    assert written(one, 0x2A9F) == ["01 29 09", "02 01 29 09"]
    assert written(two, 0x2A9F) == ["02 01 29 09"]
    assert (systolics(first), systolics(second)) == ([100], [101])


async def test_a_cuff_that_forgot_its_users_is_registered_with_again() -> None:
    cuff = StandardCuff(records(1), Abilities(users=True))
    link = SimGattLink(cuff)

    found = await visit(DRIVER, link, terms=replace(KNOWN, mark=8))

    assert written(link, 0x2A9F) == ["02 07 29 09", "01 29 09", "02 01 29 09"]
    assert (found.error, systolics(found)) == (None, [100])


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        (["20 01 04"], "registers no user for us: code 4"),
        (["20 01 01 01", "20 02 05"], "does not serve user 1: code 5"),
    ],
)
async def test_a_cuff_that_does_not_consent_is_told(
    answers: list[str], text: str
) -> None:
    cuff = StandardCuff(records(1), Abilities(users=True))
    said = iter(answers)
    cuff._serve = lambda _: bytes.fromhex(next(said))  # type: ignore[method-assign]

    found = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)

    assert isinstance(found.error, NoReply)
    assert text in str(found.error)


async def test_an_answer_to_another_request_is_passed_over() -> None:
    cuff = StandardCuff(records(1), Abilities(users=True))
    serve, listens = cuff._serve, sig(0x2A9F)
    write = cuff.write
    cuff.write = lambda uuid, payload: (  # type: ignore[method-assign]
        [
            Send(listens, b"\x20\x05\x01"),
            Send(listens, b"\x04"),
            Send(listens, serve(payload)),
        ]
        if uuid == listens
        else write(uuid, payload)
    )

    found = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)

    assert (found.error, systolics(found)) == (None, [100])


async def test_a_station_without_a_key_only_listens() -> None:
    link = SimGattLink(StandardCuff(records(1), Abilities(users=True)))

    found = await visit(DRIVER, link, terms=replace(KNOWN, key=None))

    assert (found.error, systolics(found), link.written) == (None, [], [])


async def test_records_are_asked_for_from_where_the_last_visit_ended() -> None:
    cuff = StandardCuff(records(2), RACP)
    one = SimGattLink(cuff)
    first = await visit(DRIVER, one, terms=KNOWN)
    mark = first.of(Checkpoint)[-1].mark
    cuff.store(records(3)[2])
    two, three = SimGattLink(cuff), SimGattLink(cuff)

    second = await visit(DRIVER, two, terms=replace(KNOWN, mark=mark))
    mark = second.of(Checkpoint)[-1].mark
    third = await visit(DRIVER, three, terms=replace(KNOWN, mark=mark))

    assert written(one, 0x2A52) == ["10 00", "04 01", "01 01"]
    assert written(two, 0x2A52) == ["10 00", "04 03 01 02 00", "01 03 01 02 00"]
    assert written(three, 0x2A52) == ["10 00", "04 03 01 03 00", "01 03 01 03 00"]
    brought = [systolics(one) for one in (first, second, third)]
    assert brought == [[100, 101], [101, 102], [102]]


@pytest.mark.parametrize("own_parts", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 2, 3])
async def test_a_memory_that_was_cleared_and_filled_again_is_read_whole(
    count: int, own_parts: int
) -> None:
    """Its numbers begin again, so by them alone nothing, or little, is new."""
    able = replace(RACP, own_parts=own_parts)
    first = await visit(DRIVER, SimGattLink(StandardCuff(records(2), able)), 0)
    others = records(5)[-count:]
    mark = first.of(Checkpoint)[-1].mark

    found = await visit(DRIVER, SimGattLink(StandardCuff(others, able)), mark)

    assert {*systolics(found)} >= {one.systolic for one in others}


async def test_a_record_without_a_time_is_not_told_again() -> None:
    """It would be a new reading at each visit, for nothing tells it from one."""
    undated = [replace(one, time=None) for one in records(2)]
    cuff = StandardCuff(undated, RACP)
    first = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)
    known = replace(KNOWN, mark=first.of(Checkpoint)[-1].mark)
    second = await visit(DRIVER, SimGattLink(cuff), terms=known)
    cuff.store(records(3)[2])

    third = await visit(DRIVER, SimGattLink(cuff), terms=known)

    brought = [systolics(one) for one in (first, second, third)]
    assert brought == [[100, 101], [], [102]]


async def test_a_newest_record_that_is_none_is_known_again_by_its_bytes() -> None:
    cuff = StandardCuff(records(1), replace(RACP, own_parts=1))
    cuff._values = lambda *_: iter([Send(BLOOD_PRESSURE, b"\xff")])  # type: ignore[method-assign]
    first = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)
    link = SimGattLink(cuff)

    second = await visit(
        DRIVER, link, terms=replace(KNOWN, mark=first.of(Checkpoint)[-1].mark)
    )

    assert written(link, 0x2A52) == ["10 00", "04 03 01 01 00", "01 03 01 01 00"]
    assert [len(one.of(Undecoded)) for one in (first, second)] == [1, 1]


async def test_a_cuff_whose_numbers_start_again_is_read_whole() -> None:
    link = SimGattLink(StandardCuff(records(2), RACP))

    found = await visit(DRIVER, link, terms=replace(KNOWN, mark=(1000 + 1) << 9))

    assert systolics(found) == [100, 101]


async def test_records_that_do_not_come_are_told() -> None:
    """An end with "success" proves nothing: an indication less is a reading less."""
    cuff = StandardCuff(records(3), RACP)
    values = cuff._values
    cuff._values = lambda number, record: (  # type: ignore[method-assign]
        iter(()) if number == 2 else values(number, record)
    )

    found = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)

    assert isinstance(found.error, Incomplete)
    assert [RecordMark.of(one.mark).newest for one in found.of(Checkpoint)] == [None]
    assert {*systolics(found)} == {100, 102}


async def test_half_a_record_at_the_end_of_a_report_is_kept_and_told() -> None:
    cuff = StandardCuff(records(2), replace(RACP, own_parts=2))
    first, second = records(2)
    half = second.own(2, parts=2)[:1]
    cuff._values = lambda number, _: (  # type: ignore[method-assign]
        Send(BLOOD_PRESSURE, one)
        for one in (first.own(1, parts=2) if number == 1 else half)
    )

    found = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)

    assert isinstance(found.error, Incomplete)
    assert {*systolics(found)} == {100}
    assert {one.payload for one in found.of(Undecoded)} == {*half}


async def test_a_report_that_fails_is_told() -> None:
    cuff = StandardCuff(records(3), RACP)
    report = cuff._report
    cuff._report = lambda request: (  # type: ignore[method-assign]
        [Send(sig(0x2A52), bytes([6, 0, 1, 8]))] if request[0] == 1 else report(request)
    )

    found = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)

    assert isinstance(found.error, Incomplete)
    assert "ends its report with [06 00 01 08]" in str(found.error)


async def test_a_cuff_that_counts_by_an_error_has_none() -> None:
    cuff = StandardCuff(records(3), RACP)
    report = cuff._report
    cuff._report = lambda request: (  # type: ignore[method-assign]
        [Send(sig(0x2A52), bytes([6, 0, 4, 6]))] if request[0] == 4 else report(request)
    )

    found = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)

    assert (found.error, systolics(found)) == (None, [])


async def test_a_cuff_that_does_not_count_is_believed() -> None:
    cuff = StandardCuff(records(3), RACP)
    report = cuff._report
    cuff._report = lambda request: (  # type: ignore[method-assign]
        [Send(sig(0x2A52), bytes([6, 0, 4, 2]))] if request[0] == 4 else report(request)
    )

    found = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)

    assert (found.error, systolics(found)) == (None, [100, 101, 102])


async def test_a_device_without_the_measurement_is_told() -> None:
    cuff = StandardCuff()
    cuff.services.clear()

    found = await visit(DRIVER, SimGattLink(cuff))

    assert "no Blood Pressure Measurement" in str(found.error)


async def test_an_empty_memory_is_no_error() -> None:
    found = await visit(DRIVER, SimGattLink(StandardCuff([], RACP)), terms=KNOWN)

    assert (found.error, systolics(found)) == (None, [])


async def test_a_silent_cuff_is_told() -> None:
    """Nothing at all is not the same as nothing new."""
    cuff = StandardCuff(records(1))
    cuff.enabled = lambda *_, **__: ()  # type: ignore[method-assign]

    found = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)

    assert isinstance(found.error, NoReply)


async def test_a_cuff_that_never_stops_is_stopped() -> None:
    cuff = StandardCuff()
    reading = Send(sig(0x2A35), records(1)[0].standard())
    cuff._tell = lambda: iter([reading] * 20_000)  # type: ignore[method-assign]

    found = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)

    assert "does not stop" in str(found.error)


async def test_a_reading_that_comes_before_an_answer_is_not_lost() -> None:
    """It is told once: whoever waits for another packet must not drop it."""
    cuff = StandardCuff(records(1), RACP)
    report = cuff._report
    early = Send(sig(0x2A35), records(2)[1].standard())
    cuff._report = lambda request: (  # type: ignore[method-assign]
        [early, *report(request)] if request[0] == 0x10 else report(request)
    )

    found = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)

    assert found.error is None
    assert {*systolics(found)} == {100, 101}


async def test_a_reading_that_comes_before_the_consent_is_told_behind_it() -> None:
    """A bonded cuff may send as soon as it is connected."""
    cuff = StandardCuff(records(1), Abilities(users=True))
    serve, users, values = cuff._serve, sig(0x2A9F), sig(0x2A35)
    early = Send(values, records(2)[1].standard())
    write = cuff.write
    cuff.write = lambda uuid, payload: (  # type: ignore[method-assign]
        [early, Send(users, serve(payload))] if uuid == users else write(uuid, payload)
    )
    cuff._tell = lambda: iter(())  # type: ignore[method-assign]
    link = SimGattLink(cuff)
    await link.subscribe(values)

    found = await visit(DRIVER, link, terms=KNOWN)

    assert (found.error, {*systolics(found)}) == (None, {101})
