"""The station's filters, from what a device said to the flags that are stored."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from time import sleep

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers import omron_hbp9030
from edge_agent import outbox as outbox_module
from edge_agent import records
from edge_agent.outbox import Outbox, OutboxError
from edge_agent.quality import judge
from protocols.gatt.time import DateTime
from protocols.observation import (
    Device,
    Kind,
    Observation,
    Quality,
    Quantity,
    Reading,
    State,
    Unit,
    Value,
)
from tests.edge_agent.filling import stored

START = datetime(2026, 3, 1, 8, 0)  # noqa: DTZ001 - a device's clock has no zone
SENSOR = Device("acme:sensor:1")
PEER = "C0:FF:EE:00:00:02"
_JUDGE = partial(judge, shows={})


def reading(*values: Value, at_s: int | None = 0, **more: object) -> Reading:
    told = {"kind": Kind.GLUCOSE} | more
    time = None if at_s is None else START + timedelta(seconds=at_s)
    clock = None if time is None else DateTime(*time.timetuple()[:6])
    observation = Observation(values=values, device_time=clock, **told)  # type: ignore[arg-type]
    return Reading(SENSOR, observation, "test", "1", 1_772_000_000_000)


def glucose(number: str | int, unit: Unit = Unit.MG_PER_DL) -> Value:
    return Value(Quantity.GLUCOSE, unit, Decimal(number))


def sensed(number: int | None, minute: float = 0, **more: object) -> Reading:
    """Return what a glucose sensor says; HI for None."""
    value = (
        Value(Quantity.GLUCOSE, Unit.MG_PER_DL, None, State.ABOVE_RANGE)
        if number is None
        else glucose(number)
    )
    return reading(value, at_s=int(minute * 60), kind=Kind.INTERSTITIAL_GLUCOSE, **more)


def pressure(systolic: int, diastolic: int, **more: object) -> Reading:
    return reading(
        Value(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(systolic)),
        Value(Quantity.DIASTOLIC, Unit.MM_HG, Decimal(diastolic)),
        **({"kind": Kind.BLOOD_PRESSURE} | more),  # type: ignore[arg-type]
    )


def flags(*readings: Reading) -> list[Quality]:
    return _JUDGE(None, readings)[0]


@pytest.mark.parametrize(
    ("number", "unit", "flag"),
    [
        ("100", Unit.MG_PER_DL, Quality.NONE),
        ("9", Unit.MG_PER_DL, Quality.IMPLAUSIBLE_VALUE),
        ("10", Unit.MG_PER_DL, Quality.NONE),
        ("900", Unit.MG_PER_DL, Quality.NONE),
        ("901", Unit.MG_PER_DL, Quality.IMPLAUSIBLE_VALUE),
        ("0.00120", Unit.KG_PER_L, Quality.NONE),
        ("0.01", Unit.KG_PER_L, Quality.IMPLAUSIBLE_VALUE),
        ("0.0055", Unit.MOL_PER_L, Quality.NONE),
        ("5.5", Unit.MMOL_PER_L, Quality.NONE),
        ("50", Unit.MMOL_PER_L, Quality.IMPLAUSIBLE_VALUE),
        ("5.5", Unit.MG_PER_DL, Quality.IMPLAUSIBLE_VALUE),
        ("0", Unit.MG_PER_DL, Quality.IMPLAUSIBLE_VALUE),
        ("1e400", Unit.MG_PER_DL, Quality.IMPLAUSIBLE_VALUE),
    ],
)
def test_a_value_is_judged_in_its_canonical_unit(
    number: str, unit: Unit, flag: Quality
) -> None:
    """5.5 is a fine mmol/L and no mg/dL."""
    assert flags(reading(glucose(number, unit))) == [flag]


def test_a_limit_beside_hi_is_not_judged() -> None:
    """1000 mg/dL would be implausible; HI, with a limit of 1000, is not."""
    for state in (State.ABOVE_RANGE, State.BELOW_RANGE):
        value = Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(1000), state)
        assert flags(reading(value)) == [Quality.NONE]
    placeholder = replace(glucose(1), number=None, state=State.NO_VALUE)
    assert flags(reading(placeholder)) == [Quality.NONE]


def test_limits_are_those_of_the_kind() -> None:
    """A finger's 15 mg/dL is an emergency, a sensor's a fault, a solution nobody's."""
    kinds = Kind.GLUCOSE, Kind.INTERSTITIAL_GLUCOSE, Kind.CONTROL_SOLUTION
    low = [reading(glucose(15), kind=kind) for kind in kinds]
    none = reading(glucose(5), kind=Kind.CONTROL_SOLUTION)
    assert flags(none) == [Quality.NONE]
    assert [flags(one) for one in low] == [
        [Quality.NONE],
        [Quality.IMPLAUSIBLE_VALUE],
        [Quality.NONE],
    ]


def test_each_reading_is_judged_by_itself_and_in_order() -> None:
    found = flags(pressure(120, 80), pressure(80, 120), pressure(300, 80))

    assert found == [
        Quality.NONE,
        Quality.IMPLAUSIBLE_RELATION,
        Quality.IMPLAUSIBLE_VALUE | Quality.IMPLAUSIBLE_RELATION,
    ]
    assert flags() == []


def test_what_a_device_cannot_show_is_flagged_for_that_device() -> None:
    """A cuff that ends at 260 and says 265 was read wrongly, whatever people have."""
    shows = omron_hbp9030.DRIVER.shows
    found, _ = judge(None, [pressure(265, 150), pressure(260, 150)], shows=shows)

    assert found == [Quality.BEYOND_DEVICE, Quality.NONE]
    assert flags(pressure(265, 150)) == [Quality.NONE]
    # A driver of somebody else may declare what no filter here judges.
    shows = {Quantity.HEMATOCRIT: (10, 70)}
    assert judge(None, [pressure(265, 150)], shows=shows)[0] == [Quality.NONE]


def test_a_sensor_that_jumps_is_flagged_and_a_meter_is_not() -> None:
    """Between two fingers' blood there may be hours; a sensor goes on by minutes."""
    values = [100, 102, 101, 103, 102, 190, 104]
    spike = Quality.RATE_OF_CHANGE | Quality.SPIKE

    found = flags(*(sensed(v, 5 * n) for n, v in enumerate(values)))

    assert found == [*[Quality.NONE] * 5, spike, Quality.RATE_OF_CHANGE]
    meter = [reading(glucose(v), at_s=300 * n) for n, v in enumerate(values)]
    assert set(flags(*meter)) == {Quality.NONE}


def test_hi_a_gap_and_a_clock_set_back_begin_anew() -> None:
    """What the value was before them says nothing of how fast it changed."""
    found = flags(
        sensed(100), sensed(None, 5), sensed(300, 10), sensed(100, 31),
        sensed(200, 21), sensed(226, 26),
    )  # fmt: skip

    assert found == [*[Quality.NONE] * 5, Quality.RATE_OF_CHANGE]


def test_a_sensor_without_a_clock_is_not_judged_by_time() -> None:
    readings = [sensed(100), sensed(300)]
    undated = [
        replace(one, observation=replace(one.observation, device_time=None, sequence=n))
        for n, one in enumerate(readings)
    ]
    assert flags(*undated) == [Quality.NONE] * 2


def test_the_same_under_another_number_is_flagged_and_kept() -> None:
    """A cuff that sends a measurement twice must not make two of it unseen."""
    first, again = pressure(120, 80, sequence=1), pressure(120, 80, sequence=2)
    other, later = pressure(121, 80, sequence=3), pressure(120, 80, at_s=60, sequence=4)
    undated = pressure(120, 80, at_s=None)

    assert flags(first, again, other, later, undated, undated) == [
        Quality.NONE,
        Quality.REPEATED,
        *[Quality.NONE] * 4,
    ]


_SAID = st.lists(
    st.tuples(
        st.sampled_from([100, 101, 104, 180, 300, None]),
        st.sampled_from([0, 1, 5, 5, 5, 10, 40, -7]),
    ),
    max_size=24,
)


@given(_SAID, st.lists(st.integers(0, 24), max_size=4))
@settings(deadline=None)
def test_flags_do_not_depend_on_where_a_visit_ends(
    said: list[tuple[int | None, int]], cuts: list[int]
) -> None:
    """Each of any pieces begins with the state that the last one left on the disk."""
    minute, readings = 0, []
    for value, step in said:
        minute += step
        readings.append(sensed(value, minute))
    pieces: list[Quality] = []
    state = None
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), None], strict=True):
        found, state = _JUDGE(state, readings[begin:end])
        pieces += found

    assert pieces == flags(*readings)


@pytest.mark.parametrize("change", [b"", b"\x01", b"\x02", b"\xff" * 8])
def test_a_state_that_cannot_be_taken_is_as_if_there_was_none(
    change: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged one costs some flags; it must never cost a reading."""
    _, state = _JUDGE(None, [sensed(100)])
    damaged = change + state[len(change) + (not change) :]

    found, after = _JUDGE(damaged, [sensed(300, 5)])

    if damaged != state:
        assert found == [Quality.NONE]
        assert "filters.began_anew" in caplog.text
        assert after == _JUDGE(None, [sensed(300, 5)])[1]
    else:
        assert found == [Quality.RATE_OF_CHANGE]


def capture(outbox: Outbox, readings: Sequence[Reading]) -> int:
    return outbox.capture(PEER, readings, judge=_JUDGE)


_JUMP = [sensed(v, 5 * n) for n, v in enumerate([100, 102, 101, 190, 104])]
_JUMP_FLAGS = [Quality.NONE] * 3 + [Quality.RATE_OF_CHANGE] * 2


def test_a_flagged_reading_is_stored_as_it_was(outbox: Outbox, path: Path) -> None:
    """A filter flags: it neither changes nor drops."""
    late = [replace(one, quality=Quality.CLOCK_AHEAD) for one in _JUMP]

    assert capture(outbox, late) == 5

    found = stored(path)
    assert [one.quality for one in found] == [
        flag | Quality.CLOCK_AHEAD for flag in _JUMP_FLAGS
    ]
    assert [replace(one, quality=Quality.CLOCK_AHEAD) for one in found] == late


def test_what_is_told_again_is_not_judged_again(outbox: Outbox, path: Path) -> None:
    """A memory that is read at each visit would look like a clock that jumps back."""
    for end in (1, 3, 3, 5, 5):
        capture(outbox, _JUMP[:end])

    assert [one.quality for one in stored(path)] == _JUMP_FLAGS


def test_flags_go_on_behind_a_restart(path: Path) -> None:
    for one in _JUMP:
        box = Outbox(path)
        capture(box, [one])
        box.close()

    assert [one.quality for one in stored(path)] == _JUMP_FLAGS


def test_each_device_has_filters_of_its_own(outbox: Outbox, path: Path) -> None:
    """Two sensors of two people must not look like one that jumps."""
    other = Device("acme:sensor:2")
    for one in _JUMP[:3]:
        capture(outbox, [one])
        value = (glucose(300),)
        capture(outbox, [replace(
            one, device=other, observation=replace(one.observation, values=value)
        )])  # fmt: skip

    assert {one.quality for one in stored(path)} == {Quality.NONE}


def test_a_capture_that_failed_has_moved_no_filter(outbox: Outbox, path: Path) -> None:
    """It is told again, and must get the flags that it would have had."""
    capture(outbox, _JUMP[:3])
    outbox._file.db.execute(
        "CREATE TEMP TRIGGER refuse BEFORE INSERT ON cursor "
        "BEGIN SELECT RAISE(ABORT, 'the cursor fails'); END"
    )
    with pytest.raises(OutboxError, match="the cursor fails"):
        outbox.capture(PEER, _JUMP[3:], mark=(SENSOR.id, "test", 1), judge=_JUDGE)
    outbox._file.db.execute("DROP TRIGGER refuse")

    capture(outbox, _JUMP[3:])

    assert [one.quality for one in stored(path)] == _JUMP_FLAGS


@pytest.mark.parametrize("before", [Quality.NONE, Quality.CLOCK_UNSET])
def test_flags_take_no_more_room_than_is_kept_for_them(before: Quality) -> None:
    """The longest reading that fits must still fit once it is flagged."""
    plain = replace(_JUMP[0], quality=before)
    flagged = replace(plain, quality=Quality(sum(Quality)))

    grown = len(records.to_record(flagged)) - len(records.to_record(plain))

    assert 0 < grown <= outbox_module._FLAGS_BYTES


def test_an_unfit_reading_moves_no_filter(outbox: Outbox, path: Path) -> None:
    """It is told at each visit, for it is never captured."""
    unfit = sensed(300, 12, context=(("note", "x" * 300),))
    for _ in range(2):
        capture(outbox, [*_JUMP[:3], unfit, *_JUMP[3:]])

    assert [one.quality for one in stored(path)] == _JUMP_FLAGS


_ENDLESS = """
import sys
from pathlib import Path
from edge_agent.outbox import Outbox
from tests.edge_agent.test_quality import PEER, capture, walk
outbox = Outbox(Path(sys.argv[1]))
said = walk()
for end in range(3, len(said), 3):
    capture(outbox, said[max(end - 7, 0):end])
    print(end, flush=True)
"""


def walk(size: int = 3000) -> list[Reading]:
    """Return what a nervous sensor says."""
    random = Random(11)
    value, said = 120, []
    for n in range(size):
        value = min(max(value + random.choice([-4, 0, 4, 4, -4, 60, -60]), 40), 400)
        said.append(sensed(value, 5 * n))
    return said


def test_kill_9_at_any_moment_changes_no_flag(path: Path) -> None:
    """Readings and what the filters keep in mind are one transaction, or flags lie."""
    root = Path(__file__).parents[2]
    random, done = Random(5), 0
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", _ENDLESS, str(path)],
            cwd=root, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline()
        sleep(random.uniform(0, 0.1))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        done = max(done, len(stored(path)))

    found = stored(path)
    assert 0 < done <= len(found)
    assert [one.quality for one in found] == flags(*walk()[: len(found)])
    assert len({one.quality for one in found}) > 1
