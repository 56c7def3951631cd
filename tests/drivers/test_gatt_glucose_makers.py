"""The Glucose Service driver, and what single makers do otherwise."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from drivers.gatt_glucose import DRIVER
from drivers.sdk import (
    Checkpoint,
    DateTime,
    DeviceClock,
    Kind,
    NoReply,
    Observation,
    Packet,
    Quantity,
    Refused,
    State,
    Terms,
    Undecoded,
    Unit,
    Value,
)
from firmware_sim.bench import Action, AttError, Characteristic, Security, Send
from firmware_sim.devices.gatt_glucose import GlucoseMeter, GlucoseRecord
from firmware_sim.devices.gatt_glucose_makers import (
    CARESENS,
    CONTOUR,
    CareSens,
    Contour,
)
from firmware_sim.faults import Faults, faulty
from firmware_sim.fields import date_time
from firmware_sim.kit.check import check
from firmware_sim.kit.visits import Case
from firmware_sim.label import Label
from firmware_sim.link import SimGattLink
from protocols.gatt.racp import Incomplete
from protocols.gatt.uuid import sig
from tests.drivers.collecting import Visit, visit

NOW = datetime(2026, 1, 14, 12, 0)  # noqa: DTZ001 - a wall clock
CLOCK = UUID("c4dea3bc-5a9d-11e9-8647-d663bd873d93")
CONTOUR_CLOCK = UUID("00001026-0002-11e2-9e96-0800200c9a66")
CONTROL_POINT = sig(0x2A52)
HIGH, LOW = 1 << 5, 1 << 6


def record(sequence: int, **more: object) -> GlucoseRecord:
    """Return a record that differs from every other one."""
    time = NOW - timedelta(days=2) + timedelta(minutes=7 * sequence)
    return replace(GlucoseRecord(sequence, time, Decimal(90 + sequence)), **more)  # type: ignore[arg-type]


def ketone(sequence: int, tenths: int, **more: object) -> GlucoseRecord:
    """Return a ketone test of so many tenths of a mmol/L."""
    return record(sequence, value=Decimal(tenths), meal=6, **more)


def caresens(*records: GlucoseRecord, **more: object) -> CareSens:
    return CareSens(records, clock=lambda: NOW, **more)  # type: ignore[arg-type]


def asked(link: SimGattLink) -> list[str]:
    return [raw.hex() for uuid, raw in link.written if uuid == CONTROL_POINT]


def only(found: Visit) -> Observation:
    (seen,) = found.of(Observation)
    return seen


@pytest.mark.parametrize("trial", [CARESENS, CONTOUR])
def test_every_rule_of_the_kit_holds_for_the_makers_meters_too(trial: object) -> None:
    """The kit tries the standard's meter by itself; these are tried here."""
    failed = {
        outcome.rule.name: outcome.problems
        for outcome in check(Case(DRIVER, trial))  # type: ignore[arg-type]
        if outcome.state == "failed" and outcome.rule.name != "described"
    }

    assert failed == {}


async def test_a_ketone_test_of_an_i_sens_meter_is_a_ketone() -> None:
    """Its number, 12 in the scale of mg/dL, is 1.2 mmol/L, and no glucose."""
    found = await visit(DRIVER, SimGattLink(caresens(ketone(1, 12))))

    seen = only(found)
    assert seen.kind == Kind.KETONE
    assert seen.values == (Value(Quantity.KETONE, Unit.MMOL_PER_L, Decimal("1.2")),)
    assert str(seen.values[0].number) == "1.2"
    assert "meal" not in dict(seen.context)
    # The context came first: 2A34 and 2A18 belong together by their number.
    assert [raw[0] for raw in seen.raw] == [0x1B, 0x02]


async def test_control_solution_of_a_ketone_strip_is_no_patient() -> None:
    found = await visit(DRIVER, SimGattLink(caresens(ketone(1, 12, location=4))))

    seen = only(found)
    assert seen.kind == Kind.CONTROL_SOLUTION
    assert seen.values[0].quantity == Quantity.KETONE


@pytest.mark.parametrize(
    ("software", "more", "state"),
    [
        ("1.5.2", {"tenths": 0}, State.MEASURED),
        ("1.5.2", {"tenths": 80}, State.MEASURED),
        ("1.5.2", {"tenths": 81}, State.ABOVE_RANGE),
        ("1.4", {"tenths": 80, "status": HIGH}, State.ABOVE_RANGE),
        ("1.4", {"tenths": 1, "status": LOW}, State.BELOW_RANGE),
        ("1.4", {"tenths": 1, "status": HIGH | LOW}, State.NO_VALUE),
        ("1.3.9", {"tenths": 12, "status": LOW}, State.MEASURED),
        ("1.3.9", {"tenths": 12, "status": 1 << 2}, State.DEVICE_ERROR),
        ("what?", {"tenths": 12, "status": LOW}, State.NO_VALUE),
        ("what?", {"tenths": 12}, State.MEASURED),
        ("\x80", {"tenths": 12}, State.MEASURED),
        ("1.5", {"tenths": -1}, State.NO_VALUE),
    ],
)
async def test_a_ketone_s_marks_are_believed_of_the_software_that_sets_them(
    software: str, more: dict[str, int], state: State
) -> None:
    """Older software calls 12, a 1.2 mmol/L, as low as it would be a glucose."""
    link = SimGattLink(caresens(ketone(1, **more), software=software))

    found = await visit(DRIVER, link)

    (value,) = only(found).values
    assert (value.quantity, value.state) == (Quantity.KETONE, state)
    assert (value.number is not None) is (state == State.MEASURED)


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({"value": Decimal("Infinity")}, State.ABOVE_RANGE),
        ({"value": Decimal("NaN")}, State.NOT_A_NUMBER),
        ({"value": None}, State.NO_VALUE),
        ({"value": Decimal("5.5"), "unit": "mmol/L"}, State.NO_VALUE),
    ],
)
async def test_a_ketone_that_is_no_number_is_none(
    more: dict[str, object], state: State
) -> None:
    """A ketone in mol/L is described nowhere, so nothing is made of it."""
    found = await visit(DRIVER, SimGattLink(caresens(record(1, meal=6, **more))))

    assert only(found).values[0].state == state


async def test_a_meter_without_a_software_revision_marks_nothing() -> None:
    meter = caresens(ketone(1, 12, status=LOW))
    service = sig(0x180A)
    meter.services[service] = tuple(
        one for one in meter.services[service] if one.uuid != sig(0x2A28)
    )

    found = await visit(DRIVER, SimGattLink(meter))

    assert only(found).values[0].state == State.NO_VALUE


class _Altered(CareSens):
    """Sends packets otherwise."""

    def __init__(
        self, *records: GlucoseRecord, change: Callable[[Send], Iterable[Action]]
    ) -> None:
        super().__init__(records, clock=lambda: NOW)
        self._change = change

    def write(self, uuid: UUID, payload: bytes) -> Iterator[Action]:
        for action in super().write(uuid, payload):
            if isinstance(action, Send):
                yield from self._change(action)
            else:
                yield action


async def test_a_measurement_that_may_be_ketone_is_no_glucose() -> None:
    """Its context, which alone would tell, never came: its bytes are kept."""

    def without(send: Send) -> list[Action]:
        return [] if send.uuid == sig(0x2A34) else [send]

    found = await visit(
        DRIVER, SimGattLink(_Altered(ketone(1, 12), record(2), change=without))
    )

    assert found.error is None
    assert only(found).sequence == 2
    (kept,) = found.of(Undecoded)
    assert kept.payload[1:3] == b"\x01\x00"
    assert "glucose or ketone" in kept.problem


async def test_what_cannot_be_decoded_is_kept_and_costs_no_other() -> None:
    def cut(send: Send) -> list[Action]:
        is_second = send.uuid == sig(0x2A18) and send.payload[1] == 2
        return [Send(send.uuid, send.payload[:9])] if is_second else [send]

    meter = _Altered(record(1), record(2), record(3), change=cut)

    found = await visit(DRIVER, SimGattLink(meter))

    assert found.error is None
    assert [one.sequence for one in found.of(Observation)] == [1, 3]
    assert len(found.of(Undecoded)) == 1


async def test_month_thirteen_is_january_and_is_told() -> None:
    """A firmware's fault must not cost the time of a month of readings."""
    found = await visit(DRIVER, SimGattLink(caresens(record(1), is_13=True)))

    seen = only(found)
    assert seen.device_time == DateTime(2026, 1, 12, 12, 7, 0)
    assert dict(seen.context)["month-sent"] == "13"
    assert seen.raw[0][5] == 13
    assert found.of(DeviceClock) == [DeviceClock(DateTime(2026, 1, 14, 12, 0, 0))]


async def test_month_thirteen_of_another_maker_stays_what_it_is() -> None:
    class _Broken(GlucoseMeter):
        def write(self, uuid: UUID, payload: bytes) -> Iterator[Action]:
            for action in super().write(uuid, payload):
                if isinstance(action, Send) and action.uuid == sig(0x2A18):
                    raw = action.payload
                    yield Send(action.uuid, raw[:5] + b"\x0d" + raw[6:])
                else:
                    yield action

    found = await visit(DRIVER, SimGattLink(_Broken([record(1)])))

    (seen, *_) = found.of(Observation)
    assert seen.device_time == DateTime(2026, 13, 12, 12, 7, 0)


async def test_a_number_that_comes_again_is_kept_once() -> None:
    """After a clock change the same result is told with another time."""
    first, other = record(5), record(5, value=Decimal(111))
    again = replace(first, base_time=NOW)

    link = SimGattLink(caresens(first, record(6), again, other))
    found = await visit(DRIVER, link)

    assert found.error is None
    assert [
        (one.sequence, one.values[0].number, one.device_time)
        for one in found.of(Observation)
    ] == [
        (5, Decimal("0.00095"), DateTime(2026, 1, 12, 12, 35, 0)),
        (6, Decimal("0.00096"), DateTime(2026, 1, 12, 12, 42, 0)),
        (5, Decimal("0.00111"), DateTime(2026, 1, 12, 12, 35, 0)),
    ]


async def test_a_context_that_waited_in_vain_is_not_another_attempts() -> None:
    """Where a number stands for two tests, ketone must not become glucose."""
    # The clock, the count, two of the first test; then the second one's context.
    lost = iter([False] * 4 + [True])

    def change(send: Send) -> list[Action]:
        return [] if next(lost, False) else [send]

    meter = _Altered(ketone(5, 12), record(5, value=Decimal(70), meal=1), change=change)

    found = await visit(DRIVER, SimGattLink(meter))

    assert found.error is None
    assert {
        (one.kind, str(one.values[0].number), dict(one.context).get("meal"))
        for one in found.of(Observation)
    } == {
        (Kind.KETONE, "1.2", None),
        (Kind.GLUCOSE, "0.00070", "preprandial"),
    }


async def test_an_i_sens_meter_is_known_by_its_clock_too() -> None:
    """ReliOn sells some, whose model and maker it names as it likes."""
    meter = caresens(ketone(1, 12))
    meter._label = Label("2395", "SIMRO0001", "ReliOn")

    found = await visit(DRIVER, SimGattLink(meter))

    assert only(found).kind == Kind.KETONE


@pytest.mark.parametrize(
    ("mg_per_dl", "state"),
    [
        (19, State.BELOW_RANGE),
        (20, State.MEASURED),
        (600, State.MEASURED),
        (601, State.ABOVE_RANGE),
    ],
)
@pytest.mark.parametrize("is_isens", [True, False])
async def test_a_number_that_is_shown_as_hi_or_lo_is_none(
    mg_per_dl: int, state: State, is_isens: bool
) -> None:
    """i-SENS and TaiDoc meters may tell one without a mark."""
    one = record(1, value=Decimal(mg_per_dl))
    meter = caresens(one) if is_isens else GlucoseMeter([one], label=TNG)

    found = await visit(DRIVER, SimGattLink(meter))

    (value,) = only(found).values
    assert value.state == state
    assert (value.number is not None) is (state == State.MEASURED)


TNG = Label("TNG VOICE", "SIMTNG001", "")


@pytest.mark.parametrize(
    "meter",
    [
        caresens(*map(record, range(1, 6))),
        GlucoseMeter(map(record, range(1, 6)), label=TNG),
        GlucoseMeter(map(record, range(1, 6)), label=replace(TNG, model="TD4141")),
    ],
    ids=["i-SENS", "TNG", "standard"],
)
async def test_only_meters_with_reliable_numbers_are_asked_for_what_is_new(
    meter: GlucoseMeter,
) -> None:
    """Where numbers repeat, or a filter passes over some, all is read each time."""
    first = await visit(DRIVER, SimGattLink(meter))
    marks = first.of(Checkpoint)
    link = SimGattLink(meter)

    found = await visit(DRIVER, link, marks[-1].mark if marks else None)

    assert found.error is None
    if marks:
        assert "0401" not in asked(link)
    else:
        assert asked(link) == ["0401", "0101"]
        assert len(found.of(Observation)) == 5


async def test_a_meter_that_is_read_whole_may_be_empty() -> None:
    link = SimGattLink(caresens())

    found = await visit(DRIVER, link)

    assert (found.error, found.of(Observation)) == (None, [])


async def test_what_does_not_come_is_asked_for_again_and_told_in_the_end() -> None:
    """Success alone does not prove that nothing is missing."""
    every = [record(n) for n in range(1, 6)]
    meter = GlucoseMeter(every, label=TNG)
    lost = faulty(meter, Faults(lost=frozenset({4})))  # the third record
    found = await visit(DRIVER, SimGattLink(lost))
    assert (found.error, len(found.of(Observation))) == (None, 5)

    wrong = GlucoseMeter(every, label=TNG, miscount=1)
    found = await visit(DRIVER, SimGattLink(wrong))
    assert isinstance(found.error, Incomplete)
    assert "counts 6 records, 5 came in 3 attempts" in str(found.error)
    assert len(found.of(Observation)) == 5


class _BreaksOff(SimGattLink):
    """A meter that counts nothing, and ends each report behind the second record."""

    async def receive(self) -> Packet:
        while True:
            packet = await super().receive()
            if packet.uuid == CONTROL_POINT:
                request = 4 if packet.payload[0] == 5 else 1
                self.told = 0
                return Packet(CONTROL_POINT, bytes([6, 0, request, 8]))
            self.told = getattr(self, "told", 0) + 1
            if self.told <= 2:
                return packet


async def test_a_report_that_is_broken_off_is_not_taken_for_all() -> None:
    """It ended well, and set the clock by which the rest is dated."""
    meter = caresens(*map(record, range(1, 6)))
    terms = Terms(set_clock=lambda: NOW.replace(tzinfo=ZoneInfo("UTC")))

    found = await visit(DRIVER, _BreaksOff(meter), terms=terms)

    assert isinstance(found.error, Incomplete)
    assert "breaks its report off, 2 came" in str(found.error)
    assert len(found.of(Observation)) == 2
    assert meter.set_to is None


async def test_a_refused_count_is_told() -> None:
    meter = GlucoseMeter([record(1)], label=TNG, operators=frozenset({5}))

    found = await visit(DRIVER, SimGattLink(meter))

    assert isinstance(found.error, Incomplete)
    assert "refuses" in str(found.error)


async def test_a_flood_of_records_is_left() -> None:
    """A meter that never comes to an end must not hold the station for ever."""

    def flood(send: Send) -> Iterable[Action]:
        return [send] * 30_000

    found = await visit(DRIVER, SimGattLink(_Altered(record(1), change=flood)))

    assert "no end" in str(found.error)


async def test_an_i_sens_clock_is_asked_for_without_being_set() -> None:
    """All zeros ask; anything else would set it."""
    link = SimGattLink(caresens(record(1)))

    found = await visit(DRIVER, link)

    assert found.events[1] == DeviceClock(DateTime(2026, 1, 14, 12, 0, 0))
    written = [raw.hex() for uuid, raw in link.written if uuid == CLOCK]
    assert written == ["c0030100" + "00" * 7]


class _Timeless(CareSens):
    """Answers the question for its clock otherwise."""

    says: Callable[[], Iterable[Action]]

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        return type(self).says() if uuid == CLOCK else super().write(uuid, payload)


def _nothing() -> Iterable[Action]:
    return ()


def _short() -> Iterable[Action]:
    return [Send(CLOCK, b"\x05\x03")]


def _refuses() -> Iterable[Action]:
    raise AttError(0xFC)


@pytest.mark.parametrize("says", [_nothing, _short, _refuses])
async def test_a_clock_that_does_not_come_costs_no_reading(
    says: Callable[[], Iterable[Action]],
) -> None:
    """It corrects times, and is worth five seconds."""

    class _Meter(_Timeless):
        pass

    _Meter.says = staticmethod(says)  # type: ignore[assignment]

    found = await visit(DRIVER, SimGattLink(_Meter([record(1)], clock=lambda: NOW)))

    assert found.error is None
    assert found.of(DeviceClock) == []
    assert only(found).sequence == 1


async def test_a_refused_software_revision_is_told() -> None:
    """A meter that is not let in must not look like one that marks nothing."""

    class _Closed(CareSens):
        def read(self, uuid: UUID) -> bytes:
            if uuid == sig(0x2A28):
                raise AttError(0x05)
            return super().read(uuid)

    found = await visit(DRIVER, SimGattLink(_Closed([record(1)], clock=lambda: NOW)))

    assert isinstance(found.error, Refused)
    assert found.of(Observation) == []


async def test_an_i_sens_clock_is_set_behind_the_download_if_allowed() -> None:
    """Setting it first would make the stored times uncorrectable."""
    late = NOW - timedelta(hours=1)
    meter = CareSens([record(1)], clock=lambda: late)
    link = SimGattLink(meter)

    found = await visit(DRIVER, link, terms=Terms(set_clock=lambda: NOW))

    assert found.error is None
    assert meter.set_to == NOW
    assert link.written[-1] == (CLOCK, bytes.fromhex("c0030100 ea07 01 0e 0c 00 00"))


async def test_a_contour_s_clock_is_set_only_if_allowed() -> None:
    """UTC, and the minutes to local time with summer time in them."""
    moment = datetime(2026, 7, 14, 12, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    meter = Contour([record(1)], clock=lambda: NOW)
    untouched = SimGattLink(meter)
    allowed = SimGattLink(meter)

    await visit(DRIVER, untouched)
    found = await visit(DRIVER, allowed, terms=Terms(set_clock=lambda: moment))

    assert found.error is None
    assert CONTOUR_CLOCK not in dict(untouched.written)
    assert allowed.written[-1] == (
        CONTOUR_CLOCK,
        bytes.fromhex("01 ea07 07 0e 0a 00 00 7800"),
    )
    assert meter.set_to == moment.replace(tzinfo=None)


async def test_a_contour_s_clock_is_never_set_without_the_offset_to_utc() -> None:
    """Local time taken for UTC would put each later reading hours off."""
    meter = Contour([record(1)], clock=lambda: NOW)

    found = await visit(DRIVER, SimGattLink(meter), terms=Terms(set_clock=lambda: NOW))

    assert isinstance(found.error, ValueError)
    assert meter.set_to is None


class _AccuChek(GlucoseMeter):
    """Has a Date Time inside the Glucose Service, and no Current Time."""

    def __init__(self, *records: GlucoseRecord, current_time: bool) -> None:
        label = Label("Accu-Chek Guide", "SIMAC0001", "Roche")
        super().__init__(records, label=label, clock=lambda: NOW)
        if not current_time:
            del self.services[sig(0x1805)]
        self.services[sig(0x1808)] += (
            Characteristic(sig(0x2A08), frozenset({"read"}), Security.AUTHENTICATED),
        )

    def read(self, uuid: UUID) -> bytes:
        if uuid == sig(0x2A08):
            return date_time(NOW - timedelta(minutes=602))
        return super().read(uuid)


@pytest.mark.parametrize("current_time", [True, False])
async def test_a_roche_meter_s_offset_is_kept_and_its_bare_clock_not_believed(
    current_time: bool,
) -> None:
    """Its Date Time may lack the offset, and would move every reading by it."""
    meter = _AccuChek(record(1, offset_min=602), current_time=current_time)

    found = await visit(DRIVER, SimGattLink(meter))

    seen = only(found) if len(found.of(Observation)) == 1 else found.of(Observation)[0]
    assert seen.offset_min == 602
    assert seen.user_facing_time == DateTime(2026, 1, 12, 22, 9, 0)
    clocks = [DeviceClock(DateTime.of(NOW))] if current_time else []
    assert found.of(DeviceClock) == clocks


async def test_a_yuwell_meter_s_mol_per_litre_are_read_as_they_are() -> None:
    """0.0055 mol/L with the exponent -4 is 5.5 mmol/L."""
    label = Label("Yuwell 582", "SIMYW0001", "Yuwell")
    meter = GlucoseMeter([record(1, value=Decimal("5.5"), unit="mmol/L")], label=label)

    found = await visit(DRIVER, SimGattLink(meter))

    seen = found.of(Observation)[0]
    assert seen.raw[0][12:14] == bytes.fromhex("37 c0")
    (value,) = seen.values
    assert (str(value.number), value.unit) == ("0.0055", Unit.MOL_PER_L)


async def test_a_result_whose_context_came_once_is_not_kept_as_bytes_too() -> None:
    """At a later attempt its context may be missing; it is known by then."""
    attempts = 0

    def only_once(send: Send) -> list[Action]:
        nonlocal attempts
        attempts += send.uuid == sig(0x2A34)
        return [] if send.uuid == sig(0x2A34) and attempts > 1 else [send]

    class _Miscounts(_Altered):
        def write(self, uuid: UUID, payload: bytes) -> Iterator[Action]:
            for action in super().write(uuid, payload):
                is_count = isinstance(action, Send) and action.payload[:1] == b"\x05"
                if is_count and action.uuid == CONTROL_POINT:
                    yield Send(CONTROL_POINT, b"\x05\x00\x02\x00")
                else:
                    yield action

    found = await visit(
        DRIVER, SimGattLink(_Miscounts(ketone(1, 12), change=only_once))
    )

    assert isinstance(found.error, Incomplete)
    assert only(found).kind == Kind.KETONE
    assert found.of(Undecoded) == []


async def test_another_packet_is_not_taken_for_the_clock() -> None:
    def _stray() -> Iterable[Action]:
        return [Send(sig(0x2A18), bytes(11)), Send(CLOCK, bytes(11))]

    class _Meter(_Timeless):
        says = staticmethod(_stray)  # type: ignore[assignment]

    link = SimGattLink(_Meter([record(1)], clock=lambda: NOW))
    await link.subscribe(sig(0x2A18))

    found = await visit(DRIVER, link)

    assert found.of(DeviceClock) == []
    assert only(found).sequence == 1


async def test_a_meter_without_contexts_or_without_a_control_point() -> None:
    meter = GlucoseMeter([record(1)])
    service = sig(0x1808)
    every = meter.services[service]
    meter.services[service] = tuple(one for one in every if one.uuid != sig(0x2A34))
    found = await visit(DRIVER, SimGattLink(meter))
    assert found.error is None
    assert len(found.of(Observation)) >= 1

    meter.services[service] = tuple(one for one in every if one.uuid != CONTROL_POINT)
    found = await visit(DRIVER, SimGattLink(meter))
    assert isinstance(found.error, NoReply)
