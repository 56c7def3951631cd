"""Columns that share a series, lists and frames: all there and back, none misled by."""

import json
import re
from binascii import crc32
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.observation import (
    Device,
    Kind,
    LinkSecurity,
    Observation,
    Quality,
    Quantity,
    Reading,
    State,
    TimeMethod,
    Unit,
    Value,
)
from protocols.uplink import batch, columns, envelope, series
from protocols.uplink.batch import Batch
from protocols.uplink.columns import Shared, Taken
from tests.protocols.test_uplink import content, is_by_cddl, sealed, variants

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "reference" / "uplink.md").read_text()
_CDDL = (_ROOT / "protocols" / "uplink" / "uplink.cddl").read_text()
_GOLDEN = json.loads((_ROOT / "tests" / "golden" / "batches.json").read_text())
_START = datetime(2026, 1, 1)  # noqa: DTZ001 - a wall clock

T = TypeVar("T")


def _observation(at: int) -> Observation:
    return Observation(
        kind=Kind.GLUCOSE,
        values=(Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(90 + at * 37 % 101)),),
        device_time=DateTime.of(_START + timedelta(minutes=at * at * 7)),
        sequence=at,
        status=("battery_low",) if at % 3 else (),
        raw=(bytes([at, at * 37 % 101, 7, 8, 9]), b"ab"),
    )


def _reading(at: int, **facts: Any) -> Reading:  # noqa: ANN401 - any fact
    """Return a reading whose observation has other facts."""
    return Reading(
        Device("d:1"), replace(_observation(at), **facts), "x", "1", 1_790_000_000_000
    )


_READINGS = tuple(_reading(at) for at in range(24))


def _encoded(readings: Sequence[Reading]) -> bytes:
    return Batch("s-1", 1, 0, tuple(readings)).encode()


def _tree(readings: Sequence[Reading] = _READINGS) -> Any:  # noqa: ANN401 - any CBOR
    return cbor2.loads(content(_encoded(readings)))


def _quick_tree() -> Any:  # noqa: ANN401 - any CBOR
    """Return nine readings with all that a group may have, soon decoded."""
    tree = _tree(_READINGS[:9])
    group = tree[6][0]
    group[7] = series.encode(series.decode(group[7]), fast=True)
    return tree


def _comes_back(readings: Sequence[Reading]) -> bytes:
    """Return the message; every reading is in it as it was, to the last zero."""
    message = _encoded(readings)
    assert is_by_cddl("batch", message)
    found = batch.decode(message).readings
    assert found == tuple(readings)
    for before, after in zip(readings, found, strict=True):
        for a, b in zip(
            before.observation.values, after.observation.values, strict=True
        ):
            assert str(a.number) == str(b.number)
    return message


def _by_version_1(message: bytes) -> bytes:
    """Return a batch with nothing but plain, constant and delta columns."""
    tree = cbor2.loads(content(message))
    for group in tree[6]:
        taken = Taken(group.pop(7), group[4]) if 7 in group else None
        for named in (group[5], *group[6]):
            each = (
                named.items()
                if isinstance(named, dict)
                else enumerate(named[2:], start=2)
            )
            found = {}
            for number, column in each:
                items: Sequence[object]
                if isinstance(named, list) and number < 4 and columns.place_of(column):
                    assert taken is not None
                    items = [
                        pair[number - 2]
                        for pair in taken.decimals("", columns.place_of(column))
                    ]
                else:
                    items = columns.decode("", column, group[4], _any, taken)
                found[number] = _shortest(items)
            for number, column in found.items():
                named[number] = column
    return sealed(tree)


def _any(_: object) -> bool:
    return True


def _shortest(items: Sequence[Any]) -> list[object]:
    if all(item == items[0] for item in items):
        return [1, items[0]]
    found: list[list[object]] = [[0, list(items)]]
    if all(type(item) is int for item in items):
        steps = [items[0], *(b - a for a, b in pairwise(items))]
        if all(map(columns.is_int, steps)):
            found.append([2, steps])
    return min(found, key=lambda column: len(cbor2.dumps(column)))


def _seldom(one: st.SearchStrategy[T]) -> st.SearchStrategy[list[T]]:
    """A few things, of which every reading has one."""
    return st.lists(one, min_size=1, max_size=5)


_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
_PAIRS = st.dictionaries(_TEXT, _TEXT, max_size=2).map(
    lambda found: tuple(sorted(found.items()))
)
_NUMBERS = st.builds(
    lambda sign, mantissa, exponent: Decimal(
        (sign and mantissa > 0, tuple(map(int, str(mantissa))), exponent)
    ),
    st.booleans(),
    st.sampled_from([0, 1, 10, 550, (1 << 38) + 1, (1 << 63) - 1]),
    st.integers(-128, 127) | st.integers(-3, 3),
)
_STATED = st.tuples(_NUMBERS, st.just(State.MEASURED)) | st.tuples(
    st.none(), st.sampled_from([State.ABOVE_RANGE, State.NO_VALUE])
)
_CLOCKS = st.one_of(
    st.none(),
    st.tuples(st.integers(0, 0xFFFF), *[st.integers(0, 0xFF)] * 5).map(
        lambda parts: DateTime(*parts)
    ),
    st.datetimes(_START, datetime(9999, 12, 31)).map(DateTime.of),  # noqa: DTZ001
)
_MS = st.integers(-(1 << 62), 1 << 62)
_STATION_FACTS = {
    "captured_ms": _seldom(_MS | st.sampled_from([-(1 << 63), (1 << 63) - 1])),
    "arrival": _seldom(st.none() | st.integers(0, (1 << 61) - 1)),
    "time_bound_ms": _seldom(st.none() | st.integers(0, 1 << 40)),
    "link": _seldom(st.sampled_from(LinkSecurity)),
    "quality": _seldom(st.integers(0, 255).map(Quality)),
    "generation": _seldom(st.integers(0, 0xFFFF)),
    "evidence": _seldom(_PAIRS),
}
_OBSERVED_FACTS = {
    "device_time": _seldom(_CLOCKS),
    "offset_min": _seldom(st.none() | st.integers(-0x8000, 0x7FFF)),
    "sequence": _seldom(st.none() | st.integers(0, 0xFFFF_FFFF)),
    "slot": _seldom(st.none() | st.integers(0, 255)),
    "status": _seldom(st.lists(_TEXT, max_size=3).map(tuple)),
    "context": _seldom(_PAIRS),
    "raw": _seldom(st.lists(st.binary(max_size=24), max_size=8).map(tuple)),
}


@given(
    shape=st.tuples(st.sampled_from([1, 2, 3, 16, 40]), st.integers(1, 3)),
    values=_seldom(_STATED),
    times=_seldom(st.tuples(_MS, st.sampled_from(list(TimeMethod)[1:])) | st.none()),
    facts=st.tuples(
        st.fixed_dictionaries({}, optional=_STATION_FACTS),
        st.fixed_dictionaries({}, optional=_OBSERVED_FACTS),
    ),
    seed=st.integers(0, 1 << 32),
)
@settings(max_examples=30, deadline=None)
def test_any_mixture_comes_back_and_is_no_longer_than_by_version_1(
    shape: tuple[int, int],
    values: list[tuple[Decimal | None, State]],
    times: list[tuple[int, TimeMethod] | None],
    facts: tuple[dict[str, list[Any]], dict[str, list[Any]]],
    seed: int,
) -> None:
    """No way to write a column may change it, nor cost more than doing without."""
    (count, devices), (of_station, observed) = shape, facts
    pick = Random(seed).choice
    readings = []
    for at in range(count):
        number, state = pick(values)
        seen = replace(
            _observation(at % 250),
            values=(Value(Quantity.GLUCOSE, Unit.MG_PER_DL, number, state),),
            **{name: pick(items) for name, items in observed.items()},
        )
        utc_ms, method = pick(times) or (None, TimeMethod.UNKNOWN)
        device = Device(f"d:{at * devices // count}")
        reading = Reading(device, seen, "x", "1", at, utc_ms=utc_ms, time_method=method)
        told = {name: pick(items) for name, items in of_station.items()}
        readings.append(replace(reading, **told))

    message = _comes_back(readings)

    assert len(message) <= len(_by_version_1(message)) + 8


@pytest.mark.parametrize("longest", [0, 1, 12, 4096])
@pytest.mark.parametrize("frames", [0, 1, 3, 8])
@pytest.mark.parametrize("count", [2, 3, 40])
def test_frames_of_any_number_and_length_come_back(
    count: int, frames: int, longest: int
) -> None:
    """What was on the wire is the last word in a dispute; it must be there whole."""
    random = Random(count * frames + longest)
    base = bytearray(random.randbytes(longest * frames))
    readings = []
    for at in range(count):
        for _ in range(2 if base else 0):
            base[random.randrange(len(base))] = random.randrange(256)
        whole = [bytes(base[i * longest : (i + 1) * longest]) for i in range(frames)]
        # The first reading has all of it, the others less and less.
        some = [
            frame[: longest if at == 0 else min(longest, 9 - at % 9)] for frame in whole
        ]
        readings.append(
            _reading(at, raw=tuple(some[: random.randint(0, frames)] or some))
        )

    _comes_back(readings)


def test_one_long_frame_among_short_ones_is_no_frames_to_fill_up() -> None:
    """Filled up to the longest, 256 of them would be refused, and be lost so."""
    long = _reading(0, raw=(b"x" * 4096,) * 5)
    _comes_back([long, *(_reading(at, raw=(bytes([at]) * 3,)) for at in range(1, 256))])


def test_steps_of_more_than_64_bits_are_no_delta() -> None:
    """Two numbers of 63 bits may lie 64 bits apart, which no message carries."""
    far = (1 << 63) - 1
    _comes_back(
        [replace(_READINGS[0], captured_ms=at) for at in (far, ~far, ~far, ~far, ~far)]
    )


def test_a_list_of_numbers_without_a_series_is_not_nested_too_deep() -> None:
    """A message that its own decoder refuses would be a batch lost."""
    unit = Unit.MG_PER_DL
    lost = (Value(Quantity.GLUCOSE, unit, None, State.ABOVE_RANGE),)
    far = (Value(Quantity.GLUCOSE, unit, Decimal(1 << 40)),)

    message = _comes_back(
        [_reading(at, values=(lost, far)[at % 2]) for at in range(40)]
    )

    assert cbor2.loads(content(message))[6][0][6][0][2][0] == 3


def test_a_batch_of_one_meter_uses_all_that_version_2_has() -> None:
    """Or the tests below try nothing."""
    group = _tree()[6][0]

    assert type(group[7]) is bytes
    assert group[5][1][0] == 16
    assert group[5][2] == [16, [0, 0]]
    assert group[5][11][0] == 3
    assert group[5][17][0] == 17
    assert group[6][0][2] == group[6][0][3] == [16, [1, 0]]


def test_frames_pass_for_no_names_behind_a_reading_without_any() -> None:
    """Else a status would hold bytes, of any length, and be another than is stored."""
    raws = [(), *((bytes([at]) * 3,) for at in range(1, 20))]
    sent = Batch(
        "s-1", 1, 0, tuple(_reading(at, raw=raw) for at, raw in enumerate(raws))
    )
    tree = cbor2.loads(content(sent.encode()))
    columns = tree[6][0][5]
    assert columns[17][0] == 17
    columns[11] = columns.pop(17)

    with pytest.raises(DecodeError, match=r"'status' has .* as item 0"):
        batch.decode(envelope.wrap(tree))


_FRAMES = [[5, 2], [5, 2], b"\x00\x00\x07\x08\x09ab", [2, 3], 2]


def _with(at: int, part: object) -> list[object]:
    return [17, [*_FRAMES[:at], part, *_FRAMES[at + 1 :]]]


@pytest.mark.parametrize(
    ("number", "column", "why"),
    [
        (1, [16, [-1, 0]], "'sequence' has the place -1, where nothing is"),
        (1, [16, [65, 0]], "'sequence' has the place 65, where nothing is"),
        (1, [16, [True, 0]], "'sequence' has the place True, where nothing is"),
        (1, [16, [3, False]], "'sequence' has a base that is no integer"),
        (1, [16, [3, -1]], "'sequence' has -1 as item 0"),
        (1, [16, [3, (1 << 32) - 1]], "'sequence' has 4294967296 as item 1"),
        (1, [16, [3]], "'sequence' has not 2 parts"),
        (7, [16, [3, (1 << 63) - 9]], "'captured' has 9223372036854775808 as item 9"),
        (8, [16, [3, (1 << 64) - 1]], "'utc' has 18446744073709551615 as item 0"),
        (11, [16, [3, 0]], "'status' has 0 as item 0"),
        (11, [3, [[[]], [1, 1]]], "'status' has 1 as item 0"),
        (11, [3, [[[]], [1, -1]]], "'status' has -1 as item 0"),
        (11, [3, [[], [1, 0]]], "'status' lists no items"),
        (11, [3, [[[]] * 25, [1, 0]]], "'status' lists no items, or more than there"),
        (11, [3, [[[], 7], [1, 0]]], "'status' lists an item that may not stand"),
        (11, [3, [[[]], [3, [[0], [1, 0]]]]], "'status' lists places"),
        (11, [3, [[[]], [17, _FRAMES]]], "'status' lists places, or has frames"),
        (11, [17, _FRAMES], "'status' has .* as item 0"),
        (17, [17, _FRAMES[:4]], "'raw' has not 5 parts"),
        (17, _with(0, [5]), "'raw' has frames that do not fit each other"),
        (17, _with(0, [5, 4097]), "'raw' has frames that do not fit each other"),
        (17, _with(1, [5, True]), "'raw' has frames that do not fit each other"),
        (17, _with(1, [5, -2]), "'raw' has frames that do not fit each other"),
        (17, _with(1, [5, 3]), "'raw' has a frame of a size out of range"),
        (17, _with(1, [-1, 2]), "'raw' has a frame behind one that is not there"),
        (17, _with(2, b""), "'raw' has frames that do not fit each other"),
        (17, _with(3, []), "'raw' has frames that do not fit each other"),
        (17, _with(3, [3, 2]), "'raw' has frames that do not fit each other"),
        (17, _with(3, [2, 2]), "'raw' has frames that do not fit each other"),
        (17, _with(3, [2, 9]), "'raw' has frames that do not fit each other"),
        (17, _with(3, [-1, 2]), "'raw' has frames that do not fit each other"),
        (17, _with(3, [0, 2]), "'raw' has a frame of a size out of range"),
        (17, _with(4, 0), "'raw' has frames that do not fit each other"),
        (17, _with(4, 9), "'raw' has the place .*, where nothing is"),
        (17, _with(4, 1), "'raw' is no column of integers at the place 1"),
        (17, [17, [[], [], b"", [], 1]], "'raw' has frames that do not fit"),
        (17, [17, [[0] * 9, [0] * 9, b"", [0], 2]], "'raw' has frames that do not fit"),
        (5, [18, []], "'generation' has the codec 18, unknown here"),
        (12, [4, {}], "'context' is no map of names"),
        (12, [4, [1]], "'context' is no map of names"),
        (12, [4, {"a": [1, 7]}], "'context' has 7 as item 0"),
        (12, [4, {1: [1, "b"]}], "'context' has a name or a column that no map"),
        (12, [4, {"a": [4, {"b": [1, "c"]}]}], "'context' has a name or a column"),
        (12, [4, {"a": [17, [[], [], b"", [], 1]]}], "has a name or a column"),
        (12, [4, {"a": [1]}], "'context' has not 2 parts"),
        (12, [5, [1, 7]], "'context' has '7' as item 0"),
        (15, [5, [1, "7"]], "'person' has '7' as item 0"),
        (15, [5, [5, [1, 7]]], "'person' lists places, or has frames"),
        (15, [5, [3, [[7], [1, 0]]]], "'person' lists places, or has frames"),
        (5, [3, [[0], [18, []]]], "'generation' has the codec 18, unknown here"),
    ],
)
def test_a_column_that_does_not_fit_its_series_is_refused_by_name(
    number: int, column: object, why: str
) -> None:
    """Whoever can publish can send anything; a traceback would stop the ingest."""
    tenths = [
        Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(at * 7 % 90) / 10)
        for at in range(24)
    ]
    tree = _tree([_reading(at, values=(tenths[at],)) for at in range(24)])
    shared = Shared([*range(24)])
    shared.decimals([(at % 9, -1) for at in range(24)])
    numbers = np.arange(24)
    shared.rows([numbers, numbers])
    group = tree[6][0]
    group[7] = shared.encode()
    group[5] = {number: column}
    group[6] = [[0, 2, [16, [1, 0]], [16, [1, 0]], [1, 0]]]

    with pytest.raises(DecodeError, match=why):
        batch.decode(sealed(tree))


def test_a_byte_of_a_frame_is_from_0_to_255() -> None:
    """A number that is no byte has no place in one."""
    for wrong in (-1, 256):
        shared = Shared([0, 1])
        shared.rows([np.array([1, wrong])])
        tree = _tree(_READINGS[:2])
        group = tree[6][0]
        group[5] = {17: [17, [[1], [1], b"\x01", [1], 1]]}
        group[6] = [[0, 2, [1, 1], [1, 0], [1, 0]]]
        group[7] = shared.encode()
        with pytest.raises(DecodeError, match="'raw' has a byte out of range"):
            batch.decode(sealed(tree))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (None, "'sequence' is in a series, and the group has none"),
        ("text", "'series' is no byte string"),
        (b"", "'check' is not that of these bytes"),
        (b"\xff\x00", "'check' is not that of these bytes"),
        (_tree(_READINGS[:23])[6][0][7], "'series' has not 24 rows"),
    ],
)
def test_a_group_whose_series_is_none_is_refused(wrong: object, why: str) -> None:
    """Rows of another group would be another day's readings."""
    tree = _tree()
    tree[6][0][7] = wrong
    if wrong is None:
        del tree[6][0][7]

    with pytest.raises(DecodeError, match=why):
        batch.decode(sealed(tree))


def test_frames_do_not_unfold_to_more_than_a_column_may_hold() -> None:
    """33 kB that say "8 frames of 4096" to 10,000 readings would be 328 MB."""
    count = 33
    shared = Shared([*range(count)])
    shared.rows([np.arange(count) % 2])
    tree = _tree()
    group = tree[6][0]
    group[4], group[6], group[7] = (
        count,
        [[0, 2, [1, 1], [1, 0], [1, 0]]],
        shared.encode(),
    )
    group[5] = {17: [17, [[4096] * 8, [4096] * 8, bytes(8 * 4096), [8], 1]]}

    with pytest.raises(
        DecodeError, match="'raw' would fill over 1048576 bytes"
    ) as seen:
        batch.decode(sealed(tree))
    assert seen.value.fault == Fault.OUT_OF_RANGE


def test_any_part_of_a_batch_with_a_series_is_refused_or_right_by_the_cddl() -> None:
    """Only a `DecodeError` may come, and nothing be accepted that the CDDL forbids."""
    wrong = []
    for tree in variants(_quick_tree()):
        try:
            message = sealed(tree)
        except (ValueError, cbor2.CBOREncodeError):
            continue
        try:
            batch.decode(message)
        except DecodeError:
            continue
        if not is_by_cddl("batch", message):
            wrong.append(tree)

    assert not wrong


def test_no_changed_byte_of_a_batch_with_a_series_leaves_the_grammar() -> None:
    """The check made right again: what is left is who means no good."""
    inner = content(sealed(_quick_tree()))
    for at in range(len(inner)):
        for bit in range(8):
            damaged = bytearray(inner)
            damaged[at] ^= 1 << bit
            message = cbor2.dumps(
                {0: 2, 1: 0, 2: bytes(damaged), 3: crc32(damaged)}, canonical=True
            )
            try:
                batch.decode(message)
            except DecodeError:
                continue
            assert is_by_cddl("batch", message), damaged.hex(" ")


def _known() -> set[int]:
    """Return the codecs that the decoder knows."""
    known = set()
    for codec in range(-1, 300):
        try:
            columns.decode("", [codec, None], 1, _any)
        except DecodeError as error:
            if error.fault == Fault.UNSUPPORTED_VERSION:
                continue
        known.add(codec)
    return known


def _table(head: str) -> dict[int, list[str]]:
    """Return a table of the reference by the numbers that its rows begin with."""
    rows = {}
    for line in _PAGE.split(head)[1].split("\n\n")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for number in re.findall(r"(\d+) [a-z]", cells[0]):
            rows[int(number)] = cells
    return rows


_RULES = ("column<", "shared =", "maps =", "texts =", "frames =")


def test_the_reference_and_the_cddl_name_every_codec_and_column() -> None:
    """Somebody writes a decoder from these pages alone."""
    rules = re.split(r"^(?=\S+ = )", _CDDL, flags=re.MULTILINE)
    said = "".join(rule for rule in rules if rule.startswith(_RULES))
    numbers = re.findall(r"[=/] \[(\d+),", said)

    assert (
        {int(number) for number in numbers} == _known() == {*_table("| codec | data |")}
    )
    (listed,) = (rule for rule in rules if rule.startswith("columns ="))
    of_cddl = {int(number) for number in re.findall(r"\? (\d+):", listed)}
    assert of_cddl == {*_table("| column | default | |")}


def _shown(reading: Reading) -> dict[str, object]:
    """Return a reading as a person can read it, without what is not said."""
    seen = reading.observation
    shown = {
        "device": list(_parts(reading.device)),
        "driver": [reading.driver, reading.driver_version],
        "kind": seen.kind.value,
        "values": [
            f"{value.quantity} {value.state.name} {value.number} {value.unit}"
            for value in seen.values
        ],
        "device_time": None if seen.device_time is None else list(seen.device_time),
        "offset_min": seen.offset_min,
        "sequence": seen.sequence,
        "slot": seen.slot,
        "status": list(seen.status),
        "context": dict(seen.context),
        "raw": [frame.hex() for frame in seen.raw],
        "captured_ms": reading.captured_ms,
        "utc_ms": reading.utc_ms,
        "time_method": reading.time_method.name,
        "time_bound_ms": reading.time_bound_ms,
        "link": reading.link.name,
        "quality": int(reading.quality),
        "generation": reading.generation,
        "arrival": reading.arrival,
        "person": reading.person,
        "evidence": dict(reading.evidence),
    }
    return {name: fact for name, fact in shown.items() if fact not in (None, [], {})}


def _parts(device: Device) -> tuple[str, ...]:
    return (
        device.id, device.manufacturer, device.model, device.serial, device.firmware,
    )  # fmt: skip


@pytest.mark.parametrize("golden", _GOLDEN["batches"], ids=lambda each: each["name"])
def test_golden_batches_are_read_for_ever(golden: dict[str, Any]) -> None:
    """Outboxes and quarantines hold messages of every version that ever was."""
    message = bytes.fromhex(golden["message"])
    found = batch.decode(message)

    assert cbor2.loads(message)[0] == golden["version"]
    assert [found.station, found.counter, found.made_ms] == golden["head"]
    assert [_shown(reading) for reading in found.readings] == golden["readings"]
    if golden["version"] == envelope.VERSION and not golden.get("earlier"):
        assert found.encode().hex() == golden["message"]


def test_the_golden_batches_have_every_codec_of_their_version() -> None:
    """What no golden batch uses could change unseen."""
    used: dict[int, set[int]] = {1: set(), 2: set()}
    for golden in _GOLDEN["batches"]:
        message = bytes.fromhex(golden["message"])
        for group in cbor2.loads(content(message))[6]:
            parts = [*group[5].values(), *(part for v in group[6] for part in v[2:])]
            parts += [
                inside
                for codec, data in parts
                for inside in (data.values() if codec == 4 else [])
            ]
            used[golden["version"]] |= {codec for codec, _ in parts}

    assert used[1] == {0, 1, 2}
    assert used[2] == _known()
