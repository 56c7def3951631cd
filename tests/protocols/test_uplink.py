"""The uplink's messages: by hand, by the CDDL, and by whoever means no good."""

import re
import tracemalloc
from binascii import crc32
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import cbor2
import pycddl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.observation import (
    QUANTITIES,
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
    fingerprint,
    key,
)
from protocols.units import measures
from protocols.uplink import batch, envelope, receipt, status, topics
from protocols.uplink.batch import Batch
from protocols.uplink.clocks import Clocks
from protocols.uplink.group import discriminator
from protocols.uplink.receipt import Entry, Receipt, Result
from protocols.uplink.status import Status
from protocols.uplink.topics import Station

_CDDL = (Path(__file__).parents[2] / "protocols" / "uplink" / "uplink.cddl").read_text()

# pycddl 0.6 can't choose from a group inside an array, nor a constant column of
# null or bytes, so `follows_batch_rules` below says for a batch what the CDDL says.
SCHEMAS = {
    name: pycddl.Schema(f"start = {name}\n" + _CDDL.replace("0 / 1,", "0..1,"))
    for name in ("envelope", "receipt", "status")
}
DECODERS: dict[str, Callable[[bytes], object]] = {
    "batch": batch.decode,
    "receipt": receipt.decode,
    "status": status.decode,
}

# Two readings of one meter, byte by byte: no encoder of ours was asked.
_CONTENT = bytes.fromhex(
    "a6"  # six fields
    "01 63 732d31"  # station "s-1"
    "02 05"  # counter 5
    "03 1b 0000019ca9450c00"  # made at 1772366400512 ms
    "04 81 85 63 613a62 61 61 61 62 61 63 61 31"  # one device: a:b, a, b, c, 1
    "05 81 82 6c 676174742d676c75636f7365 61 31"  # one driver: gatt-glucose, 1
    "06 81 a6"  # one group of six fields
    "   01 00  02 00  03 00  04 02"  # device 0, driver 0, glucose, two readings
    "   05 a8"  # eight columns
    "      01 82 00 82 07 08"  # sequence: plain, 7 and 8
    "      02 82 02 82 1a 3136e6c0 18 3c"  # clock: delta, s since 2000; then +60
    "      03 82 01 18 3c"  # offset: constant, 60 min
    "      07 82 01 1b 0000019ca9450bff"  # captured at 1772366400511 ms
    "      08 82 01 3a 0180857f"  # true time less clock: constant, -25200000 ms
    "      09 82 01 01"  # method: constant, device
    "      0c 82 01 a1 64 6d65616c 67 66617374696e67"  # context: meal, fasting
    "      11 82 00 82 81 41 01 81 41 02"  # raw: plain, one payload each
    "   06 81 85"  # one value of five parts
    "      00 00"  # glucose, kg/L
    "      82 02 82 18 78 01"  # mantissa: delta, 120; then +1
    "      82 01 24"  # exponent: constant, -5
    "      82 01 00"  # state: constant, measured
)
_INSIDE = bytes([len(_CONTENT)]) + _CONTENT
GOLDEN = (
    bytes.fromhex("a4 00 02 01 00 02 58") + _INSIDE + bytes.fromhex("03 1a e0 61 21 e2")
)
OLD_GOLDEN = bytes.fromhex("a3 00 01 01 00 02 58") + _INSIDE  # of version 1

METER = Device("a:b", "a", "b", "c", "1")
FIRST = Reading(
    device=METER,
    observation=Observation(
        kind=Kind.GLUCOSE,
        values=(Value(Quantity.GLUCOSE, Unit.KG_PER_L, Decimal("0.00120")),),
        device_time=DateTime(2026, 3, 1, 12, 0, 0),
        offset_min=60,
        sequence=7,
        context=(("meal", "fasting"),),
        raw=(b"\x01",),
    ),
    driver="gatt-glucose",
    driver_version="1",
    captured_ms=1_772_366_400_511,
    utc_ms=1_772_341_200_000,  # 05:00 UTC, 13:00 in Shanghai
    time_method=TimeMethod.DEVICE,
)
SECOND = replace(
    FIRST,
    observation=replace(
        FIRST.observation,
        values=(Value(Quantity.GLUCOSE, Unit.KG_PER_L, Decimal("0.00121")),),
        device_time=DateTime(2026, 3, 1, 12, 1, 0),
        sequence=8,
        raw=(b"\x02",),
    ),
    utc_ms=1_772_341_260_000,
)
BATCH = Batch("s-1", 5, 1_772_366_400_512, (FIRST, SECOND))
PRESSURE = replace(
    FIRST,
    observation=Observation(
        kind=Kind.BLOOD_PRESSURE,
        values=(
            Value(Quantity.SYSTOLIC, Unit.KILOPASCAL, Decimal("16.0")),
            Value(Quantity.DIASTOLIC, Unit.KILOPASCAL, None, State.NO_VALUE),
            Value(Quantity.PULSE_RATE, Unit.PER_MINUTE, None, State.ABOVE_RANGE),
        ),
        device_time=DateTime(0, 0, 0, 7, 30, 0),
        slot=2,
        status=("body_movement",),
        raw=(b"\x03" * 19, b""),
    ),
    driver="gatt-blood-pressure",
    utc_ms=None,
    time_method=TimeMethod.UNKNOWN,
    time_bound_ms=5,
    link=LinkSecurity.ENCRYPTED,
    quality=Quality.IMPLAUSIBLE_RELATION | Quality.CLOCK_UNSET,
    generation=3,
    arrival=77,
    person="p-1",
    evidence=(("slot", "2"),),
)
RECEIPT = Receipt(
    "s-1", (Entry(5, bytes(32), Result.QUARANTINED, "why"),), 1_772_366_400_600
)
STATUS = Status("s-1", True, 1_772_366_400_600, 12)
MESSAGES: dict[str, Batch | Receipt | Status] = {
    "batch": replace(BATCH, readings=(FIRST, SECOND, PRESSURE)),
    "receipt": RECEIPT,
    "status": STATUS,
}


def content(message: bytes) -> bytes:
    """Return what an envelope holds."""
    return bytes(cbor2.loads(message)[2])


def sealed(tree: object) -> bytes:
    """Return a tree in an envelope."""
    return envelope.wrap(tree)


def checked(inner: bytes) -> bytes:
    """Return bytes in an envelope, as if they were a content."""
    return cbor2.dumps({0: 2, 1: 0, 2: inner, 3: crc32(inner)}, canonical=True)


def is_int(item: object, low: int = -(1 << 64), high: int = (1 << 64) - 1) -> bool:
    """Say ``int`` of the CDDL: no bool, no float, no tag."""
    return type(item) is int and low <= item <= high


def is_list_of(
    item: object, check: Callable[[object], bool], low: int = 0, high: int = 1 << 16
) -> bool:
    return type(item) is list and low <= len(item) <= high and all(map(check, item))


def is_text(item: object) -> bool:
    return type(item) is str


def is_pairs(item: object) -> bool:
    return type(item) is dict and all(map(is_text, (*item, *item.values())))


def has_keys(item: object, keys: set[int], *, some: bool = False) -> bool:
    """Say ``{1: ..., 2: ...}``: these keys, each an integer and nothing like one."""
    if type(item) is not dict or not all(type(name) is int for name in item):
        return False
    return item.keys() <= keys if some else item.keys() == keys


def or_null(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda item: item is None or check(item)


def is_uint(item: object) -> bool:
    return is_int(item, 0)


def up_to(high: int) -> Callable[[object], bool]:
    return partial(is_int, low=0, high=high)


def is_bytes(item: object) -> bool:
    return type(item) is bytes


_COLUMNS: dict[int, Callable[[object], bool]] = {
    1: or_null(is_uint),
    2: or_null(lambda item: is_int(item) or is_bytes(item)),
    3: or_null(is_int),
    4: or_null(is_uint),
    5: is_uint,
    6: or_null(is_uint),
    7: is_int,
    8: or_null(is_int),
    9: up_to(3),
    10: or_null(is_uint),
    11: lambda item: is_list_of(item, is_text),
    12: or_null(is_pairs),
    13: up_to(3),
    14: is_uint,
    15: or_null(is_text),
    16: or_null(is_pairs),
    17: lambda item: is_list_of(item, is_bytes),
}


def is_parts(item: object, *checks: Callable[[object], bool]) -> bool:
    """Say ``[a, b]``: these parts, one after the other."""
    return (
        type(item) is list
        and len(item) == len(checks)
        and all(check(part) for check, part in zip(checks, item, strict=True))
    )


def is_places(
    item: Any,  # noqa: ANN401 - any CBOR
    check: Callable[[object], bool] = is_uint,
) -> bool:
    """Say ``[0, [1* uint]] / [1, uint] / [2, [int, * int]] / shared``."""
    if not is_parts(item, is_int, lambda _: True):
        return False
    codec, data = item
    return (
        (codec == 0 and is_list_of(data, check, 1))
        or (codec == 1 and check(data))
        or (codec == 2 and is_list_of(data, is_int, 1))
        or (codec == 16 and is_parts(data, up_to(64), is_int))
    )


def is_column(item: object, check: Callable[[object], bool]) -> bool:
    """Say ``column<T>``: as places, and ``[3, [[1* T], places]]``."""
    return is_places(item, check) or is_parts(
        item,
        lambda codec: is_int(codec, 3, 3),
        lambda data: is_parts(data, lambda d: is_list_of(d, check, 1), is_places),
    )


def is_texts(item: object) -> bool:
    """Say ``texts``."""
    return is_column(item, or_null(is_text)) or is_parts(
        item, lambda codec: is_int(codec, 5, 5), lambda d: is_places(d, is_int)
    )


def is_maps(item: object) -> bool:
    """Say ``maps``."""
    return is_column(item, or_null(is_pairs)) or is_parts(
        item,
        lambda codec: is_int(codec, 4, 4),
        lambda data: (
            type(data) is dict
            and 1 <= len(data) <= 32
            and all(map(is_text, data))
            and all(map(is_texts, data.values()))
        ),
    )


def is_frames(item: object) -> bool:
    """Say ``[17, [longest, first, alike, varying, place]]``."""
    return is_parts(
        item,
        lambda codec: is_int(codec, 17, 17),
        lambda data: is_parts(
            data,
            lambda d: is_list_of(d, up_to(4096), 1, 8),
            lambda d: is_list_of(d, partial(is_int, low=-1, high=4096), 1, 8),
            is_bytes,
            lambda d: is_list_of(d, is_uint, 1, 64),
            partial(is_int, low=1, high=64),
        ),
    )


_OTHERS = {12: is_maps, 15: is_texts, 16: is_maps, 17: is_frames}


def is_values(item: object) -> bool:
    return (
        type(item) is list
        and len(item) == 5
        and is_int(item[0], 0, 25)
        and is_int(item[1], 0, 19)
        and is_column(item[2], or_null(is_int))
        and is_column(item[3], is_int)
        and is_column(item[4], up_to(7))
    )


def is_group(item: Any) -> bool:  # noqa: ANN401 - any CBOR
    return (
        (
            has_keys(item, {1, 2, 3, 4, 5, 6})
            or (has_keys(item, {1, 2, 3, 4, 5, 6, 7}) and is_bytes(item[7]))
        )
        and is_uint(item[1])
        and is_uint(item[2])
        and is_int(item[3], 0, 8)
        and is_int(item[4], 1, 10_000)
        and has_keys(item[5], set(_COLUMNS), some=True)
        and all(
            is_column(data, _COLUMNS[name]) or (name in _OTHERS and _OTHERS[name](data))
            for name, data in item[5].items()
        )
        and is_list_of(item[6], is_values, 1)
        and len(item[6]) <= 16
    )


def follows_batch_rules(item: Any) -> bool:  # noqa: ANN401 - any CBOR
    """Say the batch rule of the CDDL, line by line."""
    return (
        has_keys(item, {1, 2, 3, 4, 5, 6})
        and is_text(item[1])
        and re.fullmatch(r"[A-Za-z0-9-]{1,64}", item[1]) is not None
        and is_int(item[2], 1)
        and is_int(item[3])
        and is_list_of(item[4], lambda d: is_list_of(d, is_text, 5, 5), 1)
        and is_list_of(item[5], lambda d: is_list_of(d, is_text, 2, 2), 1)
        and is_list_of(item[6], is_group, 1)
    )


def is_by_cddl(name: str, message: bytes) -> bool:
    """Whether a message is one by the CDDL."""
    try:
        SCHEMAS["envelope"].validate_cbor(message)
        if name != "batch":
            SCHEMAS[name].validate_cbor(content(message))
    except pycddl.ValidationError:
        return False
    return name != "batch" or follows_batch_rules(cbor2.loads(content(message)))


def test_a_golden_batch_reads_as_it_was_written_by_hand() -> None:
    """The format is what stands on this page, whatever our encoder does."""
    assert batch.decode(GOLDEN) == BATCH


def test_a_batch_of_version_1_is_still_read() -> None:
    """Stations are updated after their gateway, and outboxes hold old messages."""
    assert batch.decode(OLD_GOLDEN) == BATCH


@pytest.mark.parametrize("name", MESSAGES)
def test_any_changed_bit_is_an_error(name: str) -> None:
    """A number that changed on its way would be somebody's wrong number."""
    message = MESSAGES[name].encode()
    for at in range(len(message) * 8):
        changed = bytearray(message)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(DecodeError):
            DECODERS[name](bytes(changed))


def test_a_batch_is_written_as_the_golden_one() -> None:
    """Deployed gateways read these bytes; a changed encoder must not differ."""
    assert BATCH.encode().hex(" ") == GOLDEN.hex(" ")


@pytest.mark.parametrize("name", MESSAGES)
def test_each_message_is_as_the_cddl_says(name: str) -> None:
    """The CDDL is what others implement from: it must not lie."""
    message = MESSAGES[name].encode()

    assert is_by_cddl(name, message)
    assert DECODERS[name](message) == MESSAGES[name]


_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_PAIRS = st.dictionaries(_TEXT, _TEXT, max_size=3).map(
    lambda d: tuple(sorted(d.items()))
)
_NUMBERS = st.builds(
    lambda mantissa, exponent: Decimal(mantissa).scaleb(exponent),
    st.integers(-2048, 2047),
    st.integers(-8, 7),
)
_CLOCKS = st.one_of(
    st.none(),
    st.tuples(st.integers(0, 0xFFFF), *[st.integers(0, 0xFF)] * 5).map(
        lambda parts: DateTime(*parts)
    ),
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(DateTime.of),  # noqa: DTZ001 - a wall clock
)
_STATED = st.one_of(
    st.tuples(_NUMBERS, st.just(State.MEASURED)),
    st.tuples(
        st.none() | _NUMBERS, st.sampled_from([State.ABOVE_RANGE, State.BELOW_RANGE])
    ),
    st.tuples(st.none(), st.sampled_from([s for s in State if s > State.BELOW_RANGE])),
)
_MEASURES = [(q, u) for q in Quantity for u in Unit if measures(u, q)]
_MS = st.integers(-(1 << 62), 1 << 62)


def _of_kind(kind: Kind) -> st.SearchStrategy[tuple[Kind, tuple[Value, ...]]]:
    """Values that belong to a kind, each of another quantity."""
    fitting = st.builds(
        lambda measure, stated: Value(*measure, *stated),
        st.sampled_from([(q, u) for q, u in _MEASURES if q in QUANTITIES[kind]]),
        _STATED,
    )
    values = st.lists(
        fitting, min_size=1, max_size=4, unique_by=lambda value: value.quantity
    )
    return st.tuples(st.just(kind), values.map(tuple))


_OBSERVATIONS = st.builds(
    lambda about, **facts: Observation(*about, **facts),
    st.sampled_from(Kind).flatmap(_of_kind),
    device_time=_CLOCKS,
    offset_min=st.none() | st.integers(-32768, 32767),
    sequence=st.none() | st.integers(0, 0xFFFF_FFFF),
    slot=st.none() | st.integers(0, 255),
    status=st.lists(_TEXT, max_size=3).map(tuple),
    context=_PAIRS,
    raw=st.lists(st.binary(max_size=20), max_size=3).map(tuple),
)
_READINGS = st.builds(
    Reading,
    device=st.builds(Device, _TEXT.filter(bool), _TEXT, _TEXT, _TEXT, _TEXT),
    observation=_OBSERVATIONS,
    driver=_TEXT,
    driver_version=_TEXT,
    captured_ms=_MS,
    utc_ms=st.none(),
    time_bound_ms=st.none() | st.integers(0, 1 << 40),
    link=st.sampled_from(LinkSecurity),
    quality=st.integers(0, 15).map(Quality),
    generation=st.integers(0, 0xFFFF),
    arrival=st.none() | st.integers(0, (1 << 61) - 1),
    person=st.none() | _TEXT.filter(bool),
    evidence=_PAIRS,
).flatmap(
    lambda reading: st.builds(
        lambda utc_ms, method: (
            replace(reading, utc_ms=utc_ms, time_method=method) if method else reading
        ),
        _MS,
        st.sampled_from(TimeMethod),
    )
)


@given(st.lists(_READINGS, min_size=1, max_size=6))
@settings(max_examples=150, deadline=None)
def test_any_readings_come_back_as_they_were_and_fit_the_cddl(
    readings: list[Reading],
) -> None:
    """No fact may be lost, changed or moved to another reading on the way."""
    sent = Batch("s-1", 1, 0, tuple(readings))
    message = sent.encode()

    assert is_by_cddl("batch", message)
    found = batch.decode(message)
    assert found == sent
    for before, after in zip(sent.readings, found.readings, strict=True):
        assert fingerprint(after) == fingerprint(before)
        if before.observation.sequence is not None:
            assert key(after) == key(before)
        for a, b in zip(
            before.observation.values, after.observation.values, strict=True
        ):
            assert str(a.number) == str(b.number)


@given(st.lists(_READINGS, min_size=1, max_size=6), st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_key_made_by_the_column_is_the_readings_own(
    readings: list[Reading], fast: bool
) -> None:
    """One that differs would store a reading twice, or take two for one."""
    sent = Batch("s-1", 1, 0, tuple(readings))
    found = batch.open_batch(sent.encode(fast=fast))

    assert found.count == len(readings)
    made: list[tuple[int, int]] = []
    for group in found.groups:
        packed = Clocks.of(group.clock_s).packed().tolist()
        said = [
            discriminator(group.measured(), numbers, position)
            for *numbers, position in group.said()
        ]
        made += zip(group.ordinals(packed), said, strict=True)
    keys = [key(reading) for reading in readings]
    assert made == [(one.ordinal, one.discriminator) for one in keys]


def test_readings_of_many_shapes_keep_their_order() -> None:
    """Groups are of neighbours only, so that no reading overtakes another."""
    readings = (FIRST, PRESSURE, SECOND, replace(FIRST, driver_version="2"), PRESSURE)
    sent = Batch("s-1", 1, 0, readings)

    assert batch.decode(sent.encode()) == sent


@pytest.mark.parametrize("kind", Kind)
def test_256_readings_of_any_kind_fit_into_a_message(kind: Kind) -> None:
    """The outbox makes batches of 256; none may be too long to be sent."""
    names = sorted(QUANTITIES[kind])
    start = datetime(2026, 1, 1)  # noqa: DTZ001 - a wall clock
    readings = tuple(
        replace(
            FIRST,
            observation=Observation(
                kind=kind,
                values=tuple(
                    Value(name, Unit.MG_PER_DL, Decimal(at * 7919 % 2045))
                    for name in names
                ),
                device_time=DateTime.of(start + timedelta(seconds=at * at * 977)),
                offset_min=at * 31 % 1440,
                sequence=at * 13 % 65536,
                slot=at % 3,
                status=("battery_low", "time_fault")[: at % 3],
                context=(
                    ("carbohydrate", "breakfast"),
                    ("health", f"reserved-{at % 16}"),
                    ("location", "alternate_site"),
                    ("meal", "postprandial"),
                    ("sample", "undetermined_plasma"),
                ),
                raw=(bytes([at % 256]) * 19, bytes([at % 255]) * 17),
            ),
            captured_ms=1_772_366_400_000 + at * at,
            utc_ms=1_772_366_400_000 + at * at * 13,
            time_bound_ms=120_000 + at * 7,
            quality=Quality(at % 16),
            arrival=(1 << 60) + at * 7919,
        )
        for at in range(256)
    )

    assert len(Batch("s" * 64, 1 << 40, 1 << 41, readings).encode()) <= 65_536


def test_a_batch_of_none_or_too_many_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="a batch holds 1 to 10000 readings"):
        Batch("s-1", 1, 0, ()).encode()
    with pytest.raises(ValueError, match="a batch holds 1 to 10000 readings"):
        Batch("s-1", 1, 0, (FIRST,) * 10_001).encode()
    long = replace(
        FIRST, observation=replace(FIRST.observation, raw=(b"x" * 4096,) * 8)
    )
    other = replace(
        FIRST, observation=replace(FIRST.observation, raw=(b"y" * 4096,) * 8)
    )
    with pytest.raises(ValueError, match="is over 65536"):
        Batch("s-1", 1, 0, (long, SECOND, other)).encode()


def _accepted(name: str, message: bytes) -> object | None:
    """Decode; what is accepted must be so by the CDDL too."""
    try:
        found = DECODERS[name](message)
    except DecodeError as error:
        assert str(error)  # noqa: PT017 - either is right
        return None
    assert is_by_cddl(name, message), f"accepted against the CDDL: {message.hex(' ')}"
    return found


@pytest.mark.parametrize("name", MESSAGES)
def test_no_cut_and_no_extension_is_accepted(name: str) -> None:
    """Half a batch must not be taken for a small one."""
    message = MESSAGES[name].encode()
    for size in range(len(message)):
        with pytest.raises(DecodeError):
            DECODERS[name](message[:size])
    for more in (b"\x00", b"\xf6", message):
        with pytest.raises(DecodeError):
            DECODERS[name](message + more)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_flipped_bit_is_refused_or_still_a_message_by_the_cddl(name: str) -> None:
    """Whoever makes the check right again may change a number, never the structure."""
    message = MESSAGES[name].encode()
    whole, inner = DECODERS[name](message), content(message)
    refused = 0
    for bit in range(8 * len(inner)):
        damaged = bytearray(inner)
        damaged[bit // 8] ^= 1 << bit % 8
        found = _accepted(name, checked(bytes(damaged)))
        refused += found is None
        assert isinstance(found, Batch) or found != whole
        if isinstance(found, Batch):
            assert len(set(found.readings)) == 3
    assert refused > len(inner)


_ODD: list[object] = [
    None,
    True,
    False,
    -1,
    0,
    1,
    7,
    10_001,
    (1 << 63) - 1,
    1 << 63,
    -(1 << 63) - 1,
    (1 << 64) - 1,
    1 << 64,
    1.0,
    float("nan"),
    "",
    "a/b",
    "x" * 300,
    b"",
    b"\x00" * 7,
    [],
    [[]],
    [0, []],
    [1, None],
    [1, True],
    [2, [1, 1]],
    [9, [1, 1]],
    {},
    {1: 1},
    cbor2.undefined,
    cbor2.CBORSimpleValue(99),
    cbor2.CBORTag(4, [1, 2]),
    cbor2.CBORTag(1, 0),
]


def variants(tree: Any) -> Iterator[Any]:  # noqa: ANN401 - any CBOR
    """Yield ``tree`` with each of its parts replaced by each odd item, or left out."""
    yield from _ODD
    if isinstance(tree, dict):
        for name in tree:
            rest = {k: v for k, v in tree.items() if k != name}
            yield rest
            yield {**rest, float(name) if isinstance(name, int) else 1: tree[name]}
            yield {**rest, name == 1: tree[name]}
            yield {**tree, 99: tree[name]}
            for part in variants(tree[name]):
                yield {**tree, name: part}
    elif isinstance(tree, list):
        for at in range(len(tree)):
            yield tree[:at] + tree[at + 1 :]
            yield [*tree[:at], tree[at], *tree[at:]]
            for part in variants(tree[at]):
                yield [*tree[:at], part, *tree[at + 1 :]]


@pytest.mark.parametrize("name", MESSAGES)
def test_any_part_of_another_type_is_refused_or_right_by_the_cddl(name: str) -> None:
    """A bool for a number, a float for a key, an empty list: each is a way in."""
    tree = cbor2.loads(content(MESSAGES[name].encode()))
    wrong, tried = [], 0
    for changed in variants(tree):
        try:
            message = sealed(changed)
        except (ValueError, cbor2.CBOREncodeError):
            continue
        tried += 1
        try:
            DECODERS[name](message)
        except DecodeError:
            continue
        if not is_by_cddl(name, message):
            wrong.append(changed)
    assert tried > 100
    assert not wrong, f"{len(wrong)} of {tried} are accepted against the CDDL"


@pytest.mark.parametrize("name", MESSAGES)
@given(data=st.binary(max_size=200))
@settings(max_examples=300)
def test_random_bytes_are_refused(name: str, data: bytes) -> None:
    """Whoever can publish can send anything; nothing but `DecodeError` may come."""
    for message in (data, sealed(data), checked(data)):
        with pytest.raises(DecodeError):
            DECODERS[name](message)


@pytest.mark.parametrize("name", MESSAGES)
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_changed_content_is_refused_or_right_by_the_cddl(
    name: str, data: st.DataObject
) -> None:
    """The envelope made right again, so that the change reaches the inside."""
    inner = bytearray(content(MESSAGES[name].encode()))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(inner) - 1))
        inner[at] = data.draw(st.integers(0, 255))
    message = checked(bytes(inner))

    found = _accepted(name, message)

    if isinstance(found, Batch):
        for reading in found.readings:
            for each in fields(Reading):
                number = getattr(reading, each.name)
                if isinstance(number, int):
                    assert -(1 << 63) <= number < 1 << 63, each.name


def test_a_true_time_beyond_64_bits_is_refused() -> None:
    """No store can hold it: one such batch would block its station for ever."""
    tree = cbor2.loads(content(BATCH.encode()))
    tree[6][0][5][8] = [1, (1 << 63) - 1]

    with pytest.raises(DecodeError):
        batch.decode(sealed(tree))


@pytest.mark.parametrize(
    ("inner", "why"),
    [
        ("9f ff", "an array of indefinite length"),
        ("bf ff", "a map of indefinite length"),
        ("7f 61 61 ff", "a text of indefinite length"),
        ("5f 41 61 ff", "bytes of indefinite length"),
        ("a2 01 61 61 01 61 61", "a key that comes twice"),
        ("a2 02 01 01 61 61", "keys out of order"),
        ("18 01", "an integer that is longer than needed"),
        ("1b 00 00 00 00 00 00 00 01", "the same in eight bytes"),
        ("78 01 61", "a length that is longer than needed"),
        ("c1 00", "a tag"),
        ("c2 41 01", "a small bignum"),
        ("d8 1c 81 d8 1d 00", "a list that holds itself"),
        ("d9 d9 f7 00", "the tag that says CBOR"),
        ("f9 3c 00", "a float"),
        ("fb 3f f0 00 00 00 00 00 00", "a long float"),
        ("f7", "undefined"),
        ("ff", "a break"),
        ("1c", "a reserved length"),
        ("61 ff", "text that is not UTF-8"),
        ("81" * 30 + "00", "deep nesting"),
        ("a1 81 01 01", "a list as a key"),
        ("a1 a1 01 01 01", "a map as a key"),
        ("9b ff ff ff ff ff ff ff ff", "a list of 2^64"),
        ("bb 7f ff ff ff ff ff ff ff", "a map of 2^63"),
        ("5b 00 00 00 ff ff ff ff ff", "bytes of a terabyte"),
        ("7a 7f ff ff ff", "text of 2 GB"),
    ],
)
@pytest.mark.parametrize("name", MESSAGES)
def test_cbor_that_is_not_strict_is_refused_in_little_memory(
    name: str, inner: str, why: str
) -> None:
    """One meaning has one form, and no count is believed before its bytes came."""
    raw = bytes.fromhex(inner)
    tracemalloc.start()
    try:
        for message in (raw, checked(raw), cbor2.dumps({0: 1, 1: 0, 2: raw})):
            with pytest.raises(DecodeError):
                DECODERS[name](message)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000, why
    finally:
        tracemalloc.stop()


def test_readings_beyond_the_limit_are_refused_before_they_are_made() -> None:
    """A constant column says "10,000 of these" in three bytes, a thousand times."""
    tree = cbor2.loads(content(BATCH.encode()))
    group = {**tree[6][0], 4: 10_000, 5: {}}
    group[6] = [[0, 0, [1, 120], [1, -5], [1, 0]]]
    tree[6] = [group] * 1_000
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="10000000 readings, not 1 to 10000"):
            batch.decode(sealed(tree))
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_message_over_64_kib_is_refused_unread() -> None:
    with pytest.raises(DecodeError, match="has 65537 bytes, over 65536") as caught:
        batch.decode(bytes(65_537))
    assert caught.value.fault == Fault.BAD_LENGTH


@pytest.mark.parametrize(
    "outer",
    [
        {0: 3, 1: 0, 2: b"\xa0", 3: 0},
        {0: 3, 7: 1},
        {0: 1, 1: 1, 2: b"\xa0"},
        {0: 2, 1: 1, 2: b"\xa0", 3: 0},
        {0: 2, 1: 2, 2: b"\xa0", 3: 0},
        {0: 2, 1: 77, 2: b"\xa0", 3: 0},
    ],
)
@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_newer_is_told_apart_from_what_is_damaged(
    name: str, outer: dict[int, object]
) -> None:
    """A gateway keeps what it can't open yet; damage it would throw away."""
    with pytest.raises(DecodeError) as caught:
        DECODERS[name](cbor2.dumps(outer, canonical=True))
    assert caught.value.fault == Fault.UNSUPPORTED_VERSION


@pytest.mark.parametrize(
    "outer",
    [
        {0: 1.0, 1: 0, 2: b""},
        {0: True, 1: 0, 2: b""},
        {0: [], 1: 0, 2: b"", 3: 0},
        {0: {}, 1: 0, 2: b"", 3: 0},
        {0: 1, 1: False, 2: b""},
        {0: 1, 1: 0, 2: "text"},
        {0: 1, 1: 0},
        {0: 1, 1: 0, 2: b"", 3: 0},
        {0: 2, 1: 0, 2: content(STATUS.encode())},
        {0: 2, 1: 0, 2: content(STATUS.encode()), 3: 0},
        {0: 2, 1: 0, 2: content(STATUS.encode()), 3: None},
        {0: 2, 1: 0, 2: b"", 3: False},
        {False: 1, True: 0, 2: content(STATUS.encode())},
        {0.0: 1, 1: 0, 2: content(STATUS.encode())},
        [1, 0, b""],
    ],
)
def test_an_envelope_of_other_types_is_refused(outer: object) -> None:
    """``true`` is no 1, and 0.0 no 0, though Python thinks so."""
    with pytest.raises(DecodeError):
        status.decode(cbor2.dumps(outer, canonical=True))


@pytest.mark.parametrize("name", MESSAGES)
def test_one_kind_of_message_is_not_read_as_another(name: str) -> None:
    for other, decode in DECODERS.items():
        if other != name:
            with pytest.raises(DecodeError):
                decode(MESSAGES[name].encode())


def test_a_receipt_by_hand() -> None:
    """{1: "s-1", 2: [[5, 32 zeros, 1, "why"]], 3: 1000}, byte by byte."""
    inner = bytes.fromhex(
        "a3 01 63 732d31 02 81 84 05 5820" + "00" * 32 + "01 63 776879 03 19 03e8"
    )
    message = bytes.fromhex("a4 00 02 01 00 02 58") + bytes([len(inner)]) + inner
    message += bytes.fromhex("03 1a ea 81 06 91")

    made = replace(RECEIPT, given_ms=1000)

    assert receipt.decode(message) == made
    assert made.encode() == message


def test_a_reason_too_long_is_cut_and_the_receipt_still_given() -> None:
    """The station waits for the receipt, not for the reason."""
    long = Receipt("s", (Entry(0, bytes(32), Result.QUARANTINED, "é" * 1000),), 1)

    assert receipt.decode(long.encode()).entries[0].reason == "é" * 256


def test_a_status_by_hand() -> None:
    """{1: "s-1", 2: false, 3: 1000, 4: 12}, byte by byte."""
    message = bytes.fromhex(
        "a4 00 02 01 00 02 4e a4 01 63 732d31 02 f4 03 1903e8 04 0c03 1a 01 9d 57 ab"
    )

    assert status.decode(message) == Status("s-1", False, 1000, 12)
    assert Status("s-1", False, 1000, 12).encode() == message


def test_topics_are_as_documented() -> None:
    """Broker rules are written for exactly these; a typo would open or close them."""
    place = Station("home", "s-1")

    assert place.up("batch") == "vw/1/home/s-1/up/batch"
    assert place.up("status") == "vw/1/home/s-1/up/status"
    assert place.down("receipt") == "vw/1/home/s-1/down/receipt"
    assert topics.every_up("batch") == "vw/1/+/+/up/batch"
    assert topics.station_of("vw/1/home/s-1/up/batch") == place


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "vw/1/home/s-1/up",
        "vw/1/home/s-1/up/batch/",
        "/vw/1/home/s-1/up/batch",
        "vw/2/home/s-1/up/batch",
        "vw/1/home/s-1/down/receipt",
        "vw/1/home/s-1/up/other",
        "vw/1//s-1/up/batch",
        "vw/1/home/+/up/batch",
        "vw/1/home/#/up/batch",
        "vw/1/home/s 1/up/batch",
        "vw/1/home/s-1\n/up/batch",
        "vw/1/home/" + "s" * 65 + "/up/batch",
        "vw/1/höme/s-1/up/batch",
        "vw/1/home/s-1/up/batch\n",
    ],
)
def test_no_other_topic_names_a_station(topic: str) -> None:
    assert topics.station_of(topic) is None


@pytest.mark.parametrize(
    "text", ["", "+", "#", "a/b", "a b", "s" * 65, "ä", "s\n", "٣"]
)
def test_an_id_that_could_reach_another_topic_is_refused(text: str) -> None:
    """A station named ``+`` would publish for all."""
    for wrong in (Station(text, "s-1"), Station("home", text)):
        with pytest.raises(ValueError, match=r"is not 1 to 64 of A-Z a-z 0-9 -"):
            wrong.up("batch")
    for name in ("", "receipt", "batch/x", "+"):
        with pytest.raises(ValueError, match="is none of batch, status, event"):
            Station("home", "s-1").up(name)
    with pytest.raises(ValueError, match="is none of"):
        topics.every_up("receipt")
    with pytest.raises(ValueError, match="is none of"):
        Station("home", "s-1").down("batch")


def test_the_golden_batch_is_right_by_the_cddl_itself() -> None:
    """The rules said in this file must be those of the published CDDL."""
    schema = pycddl.Schema(f"start = batch\n{_CDDL}")
    tree = cbor2.loads(_CONTENT)
    del tree[6][0][5][17]  # a column of arrays is beyond pycddl 0.6
    schema.validate_cbor(cbor2.dumps(tree))
    for wrong in ({**tree, 2: 0}, {**tree, 1: ""}, {**tree, 6: []}, {**tree, 7: 1}):
        assert not follows_batch_rules(wrong)
        with pytest.raises(pycddl.ValidationError):
            schema.validate_cbor(cbor2.dumps(wrong))


def test_a_small_message_does_not_unfold_to_a_large_one() -> None:
    """43 kB of one constant column would write 333 MB at the gateway."""
    raw = tuple(bytes([at]) * 4096 for at in range(8))
    same = replace(FIRST, observation=replace(FIRST.observation, raw=raw))
    fitting = Batch("s-1", 1, 0, (same,) * 31)
    assert batch.decode(fitting.encode()) == fitting
    with pytest.raises(ValueError, match="a column would fill over 1048576 bytes"):
        Batch("s-1", 1, 0, (same,) * 40).encode()
    tree = cbor2.loads(content(fitting.encode()))
    tree[6][0][4] = 40
    message = sealed(tree)
    assert len(message) < 40_000

    with pytest.raises(DecodeError, match="'raw' would fill over 1048576 bytes"):
        batch.decode(message)


@pytest.mark.parametrize(
    "number", [1 << 64, 1 << 20_000, -(1 << 63) - 1], ids=["65", "20001", "-65"]
)
def test_numbers_beyond_64_bits_are_refused_and_not_printed(number: int) -> None:
    """Printing one stopped the gateway's ingest."""
    for content in ({0: number, 1: 0, 2: b""}, {0: 1, 1: 0, 2: cbor2.dumps(number)}):
        with pytest.raises(DecodeError, match="holds what no message of ours holds"):
            batch.decode(cbor2.dumps(content, canonical=True))


def test_a_protection_that_is_not_spoken_yet_is_refused_by_name() -> None:
    """What was sealed for a newer gateway must be kept, and not misread."""
    sealed = cbor2.dumps({0: 1, 1: 2, 2: b"\x00"}, canonical=True)

    with pytest.raises(DecodeError, match="'protection' is 2") as caught:
        batch.decode(sealed)
    assert caught.value.fault == Fault.UNSUPPORTED_VERSION
