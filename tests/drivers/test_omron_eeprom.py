"""The driver of Omron's memory cuffs against simulated ones of each layout."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from uuid import UUID

import pytest

from drivers.omron_eeprom import DRIVER
from drivers.sdk import (
    Checkpoint,
    DateTime,
    DeviceClock,
    Identity,
    LinkLost,
    NoReply,
    Observation,
    Quantity,
    Terms,
    Undecoded,
)
from firmware_sim.devices import omron_eeprom as bench
from firmware_sim.devices.omron_eeprom import OmronCuff
from firmware_sim.kit.check import check_rule
from firmware_sim.kit.rules import RULES
from firmware_sim.label import Label
from firmware_sim.link import SimGattLink
from firmware_sim.omron_memory import (
    HEM_6232T,
    HEM_6401T,
    HEM_6410T,
    HEM_7142T2,
    HEM_7146T,
    HEM_7155T,
    HEM_7322T,
    Layout,
    OmronRecord,
)
from firmware_sim.trial import Shown, SimClock, Trial
from tests.drivers.collecting import Visit, visit

KEY = bytes(range(16))
TERMS = Terms(key=KEY)
LAYOUTS = (
    HEM_7155T,
    HEM_7322T,
    HEM_6232T,
    HEM_7142T2,
    HEM_7146T,
    HEM_6401T,
    HEM_6410T,
)
UNLOCK = UUID("b305b680-aee7-11e1-a730-0002a5d5c51b")
KIT = {"values-exact", "news-found", "clock-set-by-policy", "full-memory", "link-lost"}
FIRST = datetime(2026, 3, 1, 7, 30, 5)  # noqa: DTZ001 - a wall clock


def records(count: int, *, user: int = 1) -> list[OmronRecord]:
    return [
        OmronRecord(FIRST + timedelta(hours=at), 100 + at, 60 + at, 70, user=user)
        for at in range(count)
    ]


def systolics(found: Visit) -> list[Decimal | None]:
    return [seen.values[0].number for seen in found.of(Observation)]


def again(found: Visit) -> Terms:
    (identity,) = found.of(Identity)
    return replace(TERMS, mark=found.of(Checkpoint)[-1].mark, identity=identity)


def trial(layout: Layout) -> Trial:
    def make(shown: Sequence[Shown], clock: SimClock) -> OmronCuff:
        made = [bench._record(one) for one in shown]
        return OmronCuff(made, layout, clock=clock)

    return replace(
        bench.TRIAL,
        make=make,
        slots=(1, 2) if len(layout.users) == 2 else (),
        capacity=sum(slots for _, slots in layout.users),
    )


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if rule.name in KIT], ids=lambda rule: rule.name
)
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.model)
def test_the_kit_holds_for_every_layout(layout: Layout, rule: object) -> None:
    """Each stack, each way to unlock, each form of record and of clock."""
    outcome = check_rule(DRIVER, trial(layout), rule)  # type: ignore[arg-type]

    assert outcome.problems == ()


async def test_a_visit_tells_who_when_and_what() -> None:
    cuff = OmronCuff([OmronRecord(FIRST, 141, 92, 63, user=2, irregular=True)])

    found = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)

    assert found.error is None
    assert found.events[0] == Identity("OMRON", "HEM-7155T", "000815", "1.0")
    assert found.events[1] == DeviceClock(DateTime(2026, 3, 1, 12, 0, 0))
    (seen,) = found.of(Observation)
    assert [(value.quantity, value.number) for value in seen.values] == [
        (Quantity.SYSTOLIC, 141),
        (Quantity.DIASTOLIC, 92),
        (Quantity.PULSE_RATE, 63),
    ]
    assert (seen.slot, seen.sequence, seen.status) == (2, None, ("irregular_pulse",))
    assert seen.device_time == DateTime(2026, 3, 1, 7, 30, 5)
    assert seen.raw == (bytes.fromhex("745c3f1a274c851700000000 0000 0100"),)


async def test_disputed_bits_are_told_as_either() -> None:
    """Nobody knows which of both it is, so nobody is told that it is one."""
    odd = OmronRecord(FIRST, 141, 92, 63, irregular=True)

    found = await visit(DRIVER, SimGattLink(OmronCuff([odd], HEM_7322T)), terms=TERMS)

    (seen,) = found.of(Observation)
    assert seen.status == ("body_movement_or_irregular_pulse",)


async def test_the_next_visit_reads_no_more_than_it_must() -> None:
    """A hundred slots take a cuff a minute, in which it may hang up."""
    cuff = OmronCuff(records(40), HEM_7155T)
    first = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)
    cuff.store(OmronRecord(FIRST + timedelta(days=9), 150, 90, 70))
    link = SimGattLink(cuff)

    second = await visit(DRIVER, link, terms=again(first))

    assert systolics(first) == [*range(100, 140)]
    assert systolics(second) == [150]
    asked = [payload for _, payload in link.written if payload[1:3] == b"\x01\x00"]
    assert len(asked) < 15


async def test_a_reading_without_a_date_is_told_at_one_visit_only() -> None:
    """Nothing in it could tell that it is the one of the last visit."""
    undated = [OmronRecord(None, 120 + at, 80, 70) for at in range(3)]
    cuff = OmronCuff(undated, HEM_7155T)
    first = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)
    idle = await visit(DRIVER, SimGattLink(cuff), terms=again(first))
    cuff.store(OmronRecord(None, 150, 90, 70))

    second = await visit(DRIVER, SimGattLink(cuff), terms=again(idle))

    assert systolics(first) == [120, 121, 122]
    assert systolics(idle) == []
    assert systolics(second) == [150]


async def test_a_reading_without_a_date_waits_for_the_end_of_the_visit() -> None:
    """Without the mark behind it, the next visit would tell it as another one."""
    undated = [OmronRecord(None, 120, 80, 70), *records(2)]
    cuff = OmronCuff([*undated, *records(5, user=2)], HEM_7155T)
    link = SimGattLink(cuff, lost_after=170)

    cut = await visit(DRIVER, link, terms=TERMS)
    whole = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)

    assert isinstance(cut.error, LinkLost)
    assert systolics(cut)[:2] == [100, 101]
    assert 120 not in systolics(cut)
    assert systolics(whole)[-1] == 120
    assert whole.of(Checkpoint)


async def test_a_memory_that_was_cleared_is_read_whole() -> None:
    cuff = OmronCuff(records(5), HEM_7155T)
    first = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)
    other = OmronCuff(records(3, user=1)[::-1], HEM_7155T)

    second = await visit(DRIVER, SimGattLink(other), terms=again(first))

    assert sorted(map(str, systolics(second))) == ["100", "101", "102"]


@pytest.mark.parametrize(
    "index",
    [
        bytes.fromhex("0400 0080") + bytes(12),  # one behind the newest
        bytes.fromhex("0700 0080") + bytes(12),  # one before it: an empty slot
        bytes.fromhex("0080 0080") + bytes(12),  # nothing stored
        bytes.fromhex("4000 0080") + bytes(12),  # no slot
    ],
)
async def test_an_index_that_is_wrong_hides_no_reading(index: bytes) -> None:
    """By one less, the newest reading would come a measurement too late, or never."""
    cuff = OmronCuff(records(5), HEM_7155T)
    first = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)
    cuff.store(OmronRecord(FIRST + timedelta(days=9), 150, 90, 70))
    cuff.index = index

    second = await visit(DRIVER, SimGattLink(cuff), terms=again(first))

    assert second.error is None
    assert systolics(second) == [100, 101, 102, 103, 104, 150]


async def test_without_a_date_a_reading_waits_for_an_index_that_is_right() -> None:
    """Else the whole memory is read, and each of them would be another one."""
    cuff = OmronCuff([*records(2), OmronRecord(None, 120, 80, 70)], HEM_7155T)
    cuff.index = bytes.fromhex("4000 0080") + bytes(12)  # no slot

    first = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)
    cuff.index = None
    second = await visit(DRIVER, SimGattLink(cuff), terms=again(first))

    assert isinstance(first.error, NoReply)
    assert "so 1 readings without a date wait" in str(first.error)
    assert systolics(first) == [100, 101]
    assert (second.error, systolics(second)) == (None, [100, 101, 120])


@pytest.mark.parametrize("before", range(1, 8))
@pytest.mark.parametrize("layout", [HEM_7155T, HEM_7322T])
async def test_equal_readings_without_a_date_are_told_once_each(
    layout: Layout, before: int
) -> None:
    """By no place of theirs, so that the agent makes each a reading of its own.

    Some records have no number: they are the very same, byte by byte.
    """
    twin = OmronRecord(None, 120, 80, 70)
    cuff = OmronCuff([twin] * before, layout)
    first = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)
    cuff.store(twin)

    second = await visit(DRIVER, SimGattLink(cuff), terms=again(first))

    assert DRIVER.undated_once
    assert [seen.context for seen in first.of(Observation)] == [()] * before
    assert [seen.context for seen in second.of(Observation)] == [()]


async def test_a_mark_of_an_earlier_version_is_still_known() -> None:
    """Else an update would tell each reading without a date as another one."""
    undated = [OmronRecord(None, 120 + at, 80, 70) for at in range(5)]
    cuff = OmronCuff(undated, HEM_7146T)
    first = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)
    raws = [seen.raw[0] for seen in first.of(Observation)][:0:-1]
    digest = int(blake2b(b"".join(raws), digest_size=4).hexdigest(), 16)

    second = await visit(DRIVER, SimGattLink(cuff), digest // 16 * 8 + 4)

    assert (second.error, systolics(second)) == (None, [])


async def test_a_wrapped_memory_comes_oldest_first() -> None:
    cuff = OmronCuff(records(17), HEM_7142T2)

    found = await visit(DRIVER, SimGattLink(cuff))

    assert systolics(found) == [*range(103, 117)]


async def test_a_user_whom_nobody_registered_costs_the_other_nothing() -> None:
    """Some cuffs refuse the memory of a user who does not exist."""
    cuff = OmronCuff(records(3), HEM_7155T)
    cuff.unregistered = frozenset({2})
    link = SimGattLink(cuff)

    found = await visit(DRIVER, link, terms=TERMS)

    assert (found.error, systolics(found)) == (None, [100, 101, 102])
    assert any("code 5" in str(one) for one in link.noted)

    cuff.unregistered = frozenset({1, 2})
    nothing = await visit(DRIVER, SimGattLink(cuff), terms=again(found))
    assert "of no user" in str(nothing.error)
    assert nothing.of(Checkpoint) == []


async def test_a_user_who_is_refused_for_once_is_read_on_from_the_mark() -> None:
    """Read from the start, what has no date would be told as another reading."""
    undated = [OmronRecord(None, 120 + at, 80, 70) for at in range(3)]
    cuff = OmronCuff([*undated, *records(2, user=2)], HEM_7155T)
    first = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)
    cuff.unregistered = frozenset({1})
    refused = await visit(DRIVER, SimGattLink(cuff), terms=again(first))
    cuff.unregistered = frozenset()
    cuff.store(OmronRecord(None, 150, 90, 70))

    third = await visit(DRIVER, SimGattLink(cuff), terms=again(refused))

    assert (refused.error, systolics(refused)) == (None, [])
    assert (third.error, systolics(third)) == (None, [150])


async def test_a_slot_that_is_refused_costs_no_other_one() -> None:
    """Not the older ones behind it, nor the other user's; and no mark stands over it.

    What has no date waits for that mark, lest it be told at each visit.
    """
    mine = [*records(3), OmronRecord(None, 150, 90, 70)]
    yours = [OmronRecord(None, 160, 90, 70, user=2)]
    cuff = OmronCuff([*mine, *yours], HEM_7155T)
    cuff.refused = frozenset({0x98 + 16})

    cut = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)
    cut_again = await visit(DRIVER, SimGattLink(cuff), terms=again(cut))
    cuff.refused = frozenset()
    healed = await visit(DRIVER, SimGattLink(cuff), terms=again(cut_again))

    for found in (cut, cut_again):
        assert isinstance(found.error, NoReply)
        assert str(found.error) == (
            "the cuff does not give its memory at 0x00a8: code 5; it is asked for "
            "again at the next visit"
        )
    assert systolics(cut) == [100, 102, 160]
    assert systolics(cut_again) == [100, 102]
    assert (healed.error, systolics(healed)) == (None, [100, 101, 102, 150])


async def test_a_clock_is_not_set_before_all_is_read() -> None:
    """By the new clock the times of what is missing would be corrected wrongly."""
    cuff = OmronCuff(records(3), HEM_7155T)
    cuff.refused = frozenset({0x98})

    await visit(
        DRIVER, SimGattLink(cuff), terms=replace(TERMS, set_clock=lambda: FIRST)
    )

    assert cuff.set_to is None


async def test_half_a_slot_is_no_record() -> None:
    """Of the block that is refused nothing is made up, nor told as damage."""
    cuff = OmronCuff(records(3), HEM_6410T)
    cuff.refused = frozenset({0x5590 + 32 + 16})

    found = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)

    assert isinstance(found.error, NoReply)
    assert systolics(found) == [100, 102]
    assert found.of(Undecoded) == []


async def test_a_memory_that_answers_nothing_is_told_as_that() -> None:
    """It is another fault than that nobody is registered."""
    cuff = OmronCuff(records(2), HEM_7146T)
    answer = cuff._answer
    cuff._answer = (
        lambda frame: (  # type: ignore[method-assign]
            [] if b"\x02\xe8" <= frame[3:5] < b"\x0f" else answer(frame)
        )
    )

    found = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)

    assert isinstance(found.error, NoReply)
    assert "no answer to the read at" in str(found.error)
    assert found.of(Checkpoint) == []


async def test_what_one_user_s_memory_does_not_answer_costs_the_other_nothing() -> None:
    cuff = OmronCuff([*records(2), *records(3, user=2)], HEM_7155T)
    answer = cuff._answer
    cuff._answer = (
        lambda frame: (  # type: ignore[method-assign]
            [] if frame[3:5] == b"\x00\x98" else answer(frame)
        )
    )

    found = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)

    assert isinstance(found.error, NoReply)
    assert "no answer to the read at 0x0098" in str(found.error)
    assert [seen.slot for seen in found.of(Observation)] == [1, 2, 2, 2]


async def test_a_short_answer_is_asked_for_again() -> None:
    cuff = OmronCuff(records(3), HEM_7155T)
    cuff.short = 4

    found = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)

    assert (found.error, systolics(found)) == (None, [100, 101, 102])


async def test_what_stays_short_is_never_filled_up_to_a_reading() -> None:
    """Half a record and half of nothing would be a pressure that nobody had."""
    cuff = OmronCuff(records(3), HEM_6410T)
    give = cuff._give
    cuff._give = lambda address, count: (
        give(  # type: ignore[method-assign]
            address, count
        )
        if address < 0x5590 + 32
        else _short(give(address, count))
    )

    found = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)

    assert systolics(found) == [100]
    assert found.of(Undecoded) == []


async def test_a_record_that_stays_short_is_missing_and_no_empty_slot() -> None:
    """Slots are written in turn: an empty one has no older record behind it."""
    cuff = OmronCuff(records(5), HEM_7155T)
    first = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)
    for at in range(3):
        cuff.store(OmronRecord(FIRST + timedelta(days=9 + at), 150 + at, 90, 70))
    give = cuff._give
    cuff._give = lambda address, count: (  # type: ignore[method-assign]
        _short(give(address, count))
        if address in (0x98 + 6 * 16, 0x98 + 9 * 16)  # that one is really empty
        else give(address, count)
    )

    cut = await visit(DRIVER, SimGattLink(cuff), terms=again(first))
    cuff._give = give  # type: ignore[method-assign]
    healed = await visit(DRIVER, SimGattLink(cuff), terms=again(cut))

    assert isinstance(cut.error, NoReply)
    assert "memory at 0x00f8: less than 16 bytes" in str(cut.error)
    assert systolics(cut)[-2:] == [150, 152]
    assert (healed.error, systolics(healed)) == (None, [150, 151, 152])


async def test_empty_slots_that_stay_short_are_empty() -> None:
    """Some cuffs answer so for what was never written."""
    cuff = OmronCuff(records(3), HEM_7155T)
    give = cuff._give
    cuff._give = lambda address, count: (  # type: ignore[method-assign]
        _short(give(address, count))
        if 0x98 + 3 * 16 <= address < 0x458
        else give(address, count)
    )

    found = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)

    assert (found.error, systolics(found)) == (None, [100, 101, 102])
    assert found.of(Checkpoint)


def _short(frame: bytes) -> bytes:
    return bench._frame(
        0x8100, int.from_bytes(frame[3:5], "big"), frame[5], frame[6:-3]
    )


async def test_a_systolic_that_may_mean_an_empty_slot_is_kept() -> None:
    """251 to 279 are said to mark an empty slot: somebody may have just that."""
    cuff = OmronCuff(records(2), HEM_7155T)
    odd = bytes.fromhex("f0 64 50 1a 2744 8517") + bytes(8)
    cuff.overwrite(1, 0, odd)
    cuff.overwrite(1, 1, b"\xff" * 16)

    found = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)

    (kept,) = found.of(Undecoded)
    assert (kept.payload, kept.source) == (odd, "record of user 1")
    assert found.of(Observation) == []


@pytest.mark.parametrize(
    ("layout", "model", "text"),
    [
        (HEM_7155T, "HEM-9999T", "'HEM-9999T' is no model whose memory is known"),
        (HEM_7155T, "HEM-7322T", "the cuff is a HEM-7155T and not, as named,"),
        (HEM_7146T, "HEM-7155T", "the cuff is a HEM-7146T and not, as named,"),
    ],
)
async def test_a_wrong_model_reads_nothing(
    layout: Layout, model: str, text: str
) -> None:
    """Another model's memory map makes pressures of other bytes."""
    link = SimGattLink(OmronCuff(records(3), layout))

    found = await visit(DRIVER, link, terms=replace(TERMS, model=model))

    assert isinstance(found.error, NoReply)
    assert text in str(found.error)
    assert link.written == []


async def test_a_model_whose_channels_the_cuff_has_not_reads_nothing() -> None:
    """Where the cuff tells no model, its channels are the only witness."""
    cuff = OmronCuff(records(3), HEM_7146T, label=Label("BP7000", "000815"))

    wrong = await visit(
        DRIVER, SimGattLink(cuff), terms=replace(TERMS, model="HEM-7155T")
    )
    right = await visit(
        DRIVER, SimGattLink(cuff), terms=replace(TERMS, model="HEM-7146T")
    )

    assert "has not the channels" in str(wrong.error)
    assert (right.error, systolics(right)) == (None, [100, 101, 102])


async def test_a_cuff_that_is_not_being_paired_takes_no_new_key() -> None:
    """What a person must do is told, instead of an error code."""
    cuff = OmronCuff(records(3), is_pairing=False)

    found = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)

    assert isinstance(found.error, NoReply)
    assert "hold its Bluetooth key until -P- blinks" in str(found.error)
    none = await visit(DRIVER, SimGattLink(cuff), terms=Terms())
    assert "the station keeps none" in str(none.error)


async def test_a_cuff_that_was_reset_takes_the_key_again() -> None:
    cuff = OmronCuff(records(3))
    first = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)
    reset = OmronCuff(records(4))

    second = await visit(DRIVER, SimGattLink(reset), terms=again(first))

    assert (second.error, systolics(second)) == (None, [103])


async def test_a_known_cuff_is_opened_by_the_key_alone() -> None:
    cuff = OmronCuff(records(3))
    first = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)
    link = SimGattLink(cuff)

    await visit(DRIVER, link, terms=again(first))

    assert [one for uuid, one in link.written if uuid == UNLOCK] == [b"\x01" + KEY]


async def test_what_was_read_before_the_link_was_lost_is_told() -> None:
    """Newest first: a cuff that hangs up early has still told what matters."""
    cuff = OmronCuff(records(40), HEM_7155T)
    whole = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)

    cut = await visit(DRIVER, SimGattLink(cuff, lost_after=60), terms=again(whole))
    fresh = await visit(
        DRIVER, SimGattLink(cuff, lost_after=60), terms=replace(again(whole), mark=None)
    )

    assert cut.error is None
    assert fresh.error is not None
    assert systolics(fresh)[-1] == 139
    assert fresh.of(Checkpoint) == []


async def test_a_damaged_clock_is_neither_told_nor_written() -> None:
    """A sum that is wrong says that what would be written back was misread."""
    cuff = OmronCuff(records(2), HEM_7155T)
    window = cuff._window()
    cuff._window = lambda: window[:-2] + b"\x00\x00"  # type: ignore[method-assign]
    link = SimGattLink(cuff)

    found = await visit(DRIVER, link, terms=replace(TERMS, set_clock=lambda: FIRST))

    assert (found.error, found.of(DeviceClock)) == (None, [])
    assert cuff.set_to is None
    assert systolics(found) == [100, 101]


async def test_a_clock_that_does_not_take_the_time_is_noted() -> None:
    cuff = OmronCuff(records(2), HEM_7155T)
    window = cuff._window()
    cuff._window = lambda: window  # type: ignore[method-assign]
    link = SimGattLink(cuff)

    await visit(DRIVER, link, terms=replace(TERMS, set_clock=lambda: FIRST))

    assert cuff.set_to == FIRST
    assert any("the clock was set to" in str(one) for one in link.noted)


async def test_a_cuff_that_refuses_its_settings_is_told() -> None:
    cuff = OmronCuff(records(2), HEM_7155T)
    cuff._answer = (
        lambda frame: cuff._send(  # type: ignore[method-assign]
            bench._frame(0x8F00, 0, 1, b"\x03")
            if frame[1:3] == b"\x01\x00"
            else bench._frame(0x8000, 0, 16)
        )
    )

    found = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)

    assert "refuses its memory at 0x003c: code 3" in str(found.error)


async def test_a_cuff_that_refuses_to_be_read_is_told() -> None:
    cuff = OmronCuff(records(2), HEM_7155T)
    cuff._answer = lambda _: cuff._send(  # type: ignore[method-assign]
        bench._frame(0x8F00, 0, 1, b"\x02")
    )

    found = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)

    assert "refuses to be read: code 2" in str(found.error)


@pytest.mark.parametrize("name", ["endless-bounded", "silence-told", "junk-contained"])
def test_the_kit_holds_for_a_cuff_that_misbehaves(name: str) -> None:
    (rule,) = (rule for rule in RULES if rule.name == name)

    assert check_rule(DRIVER, bench.TRIAL, rule).problems == ()


async def test_what_another_characteristic_says_is_noted() -> None:
    cuff = OmronCuff(records(1))
    give = cuff._send
    cuff._send = lambda frame: [  # type: ignore[method-assign]
        bench.Send(UNLOCK, b"\x99"),
        *give(frame),
    ]
    link = SimGattLink(cuff)

    found = await visit(DRIVER, link, terms=TERMS)

    assert (found.error, systolics(found)) == (None, [100])
    assert any("99" in str(one) or "x99" in repr(one) for one in link.noted)


async def test_a_late_answer_of_the_lock_is_not_taken_for_another() -> None:
    cuff = OmronCuff(records(1))
    unlock = cuff._unlock
    write = cuff.write
    cuff.write = lambda uuid, payload: (  # type: ignore[method-assign]
        [bench.Send(UNLOCK, b"\x85\x00"), bench.Send(UNLOCK, unlock(payload))]
        if uuid == UNLOCK
        else write(uuid, payload)
    )

    found = await visit(DRIVER, SimGattLink(cuff), terms=TERMS)

    assert (found.error, systolics(found)) == (None, [100])
