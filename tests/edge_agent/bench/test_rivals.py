"""The codecs beside ours: each gives back what it was given, by its specification."""

import json
from collections.abc import Sequence
from decimal import Decimal
from random import Random

import brotli
import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.bench import codecs
from edge_agent.bench.rivals import cbor, scale, senml
from edge_agent.bench.rivals.codec import CannotHold
from edge_agent.bench.rivals.decimals import Number, column, numbers
from edge_agent.bench.rivals.deltas import packed
from protocols.uplink.series import Column, Series

_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
_HOLD_ANYTHING = sorted({*codecs.NAMES} - {"senml-cbor", "sparkplug-b", "fhir-json"})


def _series(times: Sequence[Number], *values: Sequence[Number]) -> Series:
    return Series(column(times), tuple(map(column, values)))


def _listed(series: Series) -> list[list[tuple[int, int]]]:
    return [
        list(zip(each.mantissa.tolist(), each.exponent.tolist(), strict=True))
        for each in (series.time, *series.values)
    ]


def _decimals(
    most: int, least_power: int, most_power: int
) -> st.SearchStrategy[Decimal]:
    return st.builds(
        lambda mantissa, power: Decimal(mantissa).scaleb(power),
        st.integers(-most - 1, most),
        st.integers(least_power, most_power),
    )


def _columns(items: st.SearchStrategy[Number]) -> st.SearchStrategy[list[list[Number]]]:
    return st.integers(1, 40).flatmap(
        lambda count: st.lists(
            st.lists(items, min_size=count, max_size=count), min_size=2, max_size=4
        )
    )


_ANY = _columns(st.none() | st.integers(_LEAST, _MOST) | _decimals(_MOST, -127, 127))
_USUAL = _columns(st.none() | st.integers(0, 600) | _decimals(9999, -3, 0))


@pytest.mark.parametrize("name", _HOLD_ANYTHING)
@given(columns=_ANY | _USUAL)
def test_gives_back_what_it_was_given(name: str, columns: list[list[Number]]) -> None:
    """A codec that loses something is no rival, and ours would be no codec."""
    times = [0 if time is None else time for time in columns[0]]
    series = _series(times, *columns[1:])
    codec = codecs.load(name)([])
    assert _listed(codec.decode(codec.encode(series))) == _listed(series)


def _brotli_sizes(messages: Sequence[Series]) -> tuple[int, int, int]:
    """Return the rival's size, and those with a small and with a usual window."""
    codec = codecs.load("brotli")([])
    small, usual = (
        sum(
            len(brotli.compress(packed(each), quality=11, lgwin=window))
            for each in messages
        )
        for window in (16, 22)
    )
    return sum(len(codec.encode(each)) for each in messages), small, usual


def test_brotli_has_the_window_that_suits_the_message() -> None:
    """What a rival pays for a heading that it does not need is no merit of ours."""
    random = Random(1)
    short = [
        _series(
            [300 * at for at in range(16)], [random.randrange(99) for _ in range(16)]
        )
        for _ in range(40)
    ]
    found, small, usual = _brotli_sizes(short)
    assert found == small < usual
    columns = [[random.randrange(9999) for _ in range(10_000)] for _ in range(4)]
    found, small, usual = _brotli_sizes([_series(range(10_000), *columns, *columns)])
    assert found == usual < small


_SECONDS = st.integers(0, 4_000_000_000)
_TENTHS = st.integers(1, 9).map(lambda tenth: Decimal(tenth).scaleb(-1))
_TIMES = st.integers(1, 20).flatmap(
    lambda count: st.lists(_SECONDS, min_size=count, max_size=count)
)


@pytest.mark.parametrize("name", ["senml-cbor", "sparkplug-b", "fhir-json"])
@given(times=_TIMES, data=st.data())
def test_formats_of_others_give_back_ordinary_readings(
    name: str, times: list[int], data: st.DataObject
) -> None:
    """They hold no more than they are made for; what they are made for they hold."""
    value = st.one_of(
        st.integers(-1000, 1000), st.decimals(-999, 999, places=1), st.none()
    )
    columns = [
        data.draw(st.lists(value, min_size=len(times), max_size=len(times)))
        for _ in range(data.draw(st.integers(1, 3)))
    ]
    parts = data.draw(st.lists(_TENTHS, min_size=len(times), max_size=len(times)))
    has_tenths = data.draw(st.booleans())
    clock: list[Number] = [
        time + part if has_tenths else time
        for time, part in zip(times, parts, strict=True)
    ]
    series = _series(clock, *columns)
    codec = codecs.load(name)([])
    assert _listed(codec.decode(codec.encode(series))) == _listed(series)


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("sparkplug-b", [Decimal("0.0078125")]),
        ("sparkplug-b", [-1]),
        ("sparkplug-b", [Decimal("1e30")]),
        ("senml-cbor", [Decimal("15e1")]),
        ("fhir-json", [Decimal("15e1")]),
        ("fhir-json", [Decimal("-0.5")]),
        ("fhir-json", [1 << 62]),
    ],
)
def test_what_a_format_has_no_place_for_is_refused(
    name: str, times: list[Number]
) -> None:
    """Rounded in silence it would look smaller than it is."""
    with pytest.raises(CannotHold):
        codecs.load(name)([]).encode(_series(times, [1]))


def test_numbers_keep_their_digits() -> None:
    items: list[Number] = [
        None,
        103,
        Decimal("103.0"),
        Decimal("15e4"),
        Decimal("-0.10"),
    ]
    found = column(items)
    assert found.mantissa.tolist() == [0, 103, 1030, 15, -10]
    assert found.exponent.tolist() == [-128, 0, -1, 4, -2]
    assert list(map(str, numbers(found))) == list(map(str, items))


@pytest.mark.parametrize(
    ("texts", "head", "integers"),
    [
        (["1.3", "1.25", "1.0"], b"\x21", [[130, 125, 100]]),
        (["0.1", "12"], b"\x10", [[1, 120]]),
        (["200", "7"], b"\x00", [[200, 7]]),
        (["1.50", "1.5"], b"\xff\xfe", [[150, 150], [-2, -1]]),
        (["15e1", "7"], b"\xff\x00", [[150, 7], [1, 0]]),
        (["9e18", "0.1"], b"\xfe", [[9, 1], [18, -1]]),
        (["1e20", "1"], b"\xfe", [[1, 1], [20, 0]]),
        (["5", None, "7", None], b"\xff\x00", [[5, 5, 7, 7], [0, -128, 0, -128]]),
    ],
)
def test_a_column_is_brought_to_one_scale_where_that_can_be_undone(
    texts: list[str | None], head: bytes, integers: list[list[int]]
) -> None:
    """By hand: rivals would look worse than they are at another scale a row."""
    given_ = column([None if text is None else Decimal(text) for text in texts])
    found = scale.scaled(given_)
    assert (found.head, found.integers.tolist()) == (head, integers)
    back = scale.unscaled(*found)
    assert back.mantissa.tolist() == given_.mantissa.tolist()
    assert back.exponent.tolist() == given_.exponent.tolist()


def test_json_is_as_it_would_be_written_by_hand() -> None:
    codec = codecs.load("json")([])
    series = _series([1, 2], [Decimal("103.0"), None], [7, Decimal("0.10")])
    assert codec.encode(series) == b"[[1,2],[103.0,null],[7,0.10]]"


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        # Source: RFC 8949, appendix A: integers and arrays.
        (_series([1, 25], [100, -1000]), "82 82 01 18 19 82 18 64 39 03 e7"),
        # 273.15 in section 3.4.4 has the power -2 and the mantissa 27315.
        (_series([1], [Decimal("273.15")]), "82 81 01 82 21 81 19 6a b3"),
        (_series([1, 2], [7, Decimal("0.7")]), "82 82 01 02 82 82 00 20 82 07 07"),
    ],
)
def test_cbor_is_as_it_would_be_written_by_hand(series: Series, expected: str) -> None:
    assert cbor.encode(series) == bytes.fromhex(expected)


def test_plain_cbor_is_the_shorter_of_rows_and_columns() -> None:
    """Source: RFC 8949, 3.4.4: 273.15 is c4 82 21 19 6a b3, so the row has 8 bytes."""
    assert cbor.plain_size(_series([1], [Decimal("273.15")])) == 8
    many = _series(range(100), [Decimal("273.15")] * 100)
    assert cbor.plain_size(many) == len(cbor.encode(many))


def test_senml_has_the_labels_of_the_published_example() -> None:
    """Source: RFC 8428, section 6, the example of seven records."""
    first, second, *_ = cbor2.loads(
        bytes.fromhex(
            "87a721781b75726e3a6465763a6f773a3130653230373361303130383030363a22fb41d3"
            "03a15b00106223614120050067766f6c7461676501615602fb405e066666666666a30067"
            "63757272656e74062402fb3ff3333333333333a3006763757272656e74062302fb3ff4cc"
            "cccccccccda3006763757272656e74062202fb3ff6666666666666a3006763757272656e"
            "74062102f93e00a3006763757272656e74062002fb3ff999999999999aa3006763757272"
            "656e74060002fb3ffb333333333333"
        )
    )
    assert first[senml.BASE_NAME] == "urn:dev:ow:10e2073a0108006:"
    assert first[senml.BASE_TIME] == 1276020076.001
    assert (first[senml.NAME], first[senml.VALUE]) == ("voltage", 120.1)
    assert second == {senml.NAME: "current", senml.TIME: -5, senml.VALUE: 1.2}


def test_senml_is_as_it_would_be_written_by_hand() -> None:
    """Base name "d1", base time 1000, then times relative to it and values."""
    message = codecs.load("senml-cbor")([]).encode(
        _series([1000, 1300], [103, Decimal("273.15")])
    )
    assert message == bytes.fromhex(
        "82 a4 21 62 6431 22 19 03e8 06 00 02 18 67  a2 06 19 012c 02 c4 82 21 19 6ab3"
    )


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (103, "50 67"),
        (-2, "50 fe ff ff ff 0f"),
        (1 << 40, "58 80 80 80 80 80 20"),
        (Decimal("0.5"), "69 00 00 00 00 00 00 e0 3f"),
        (Decimal("1.50"), "7a 04 312e3530"),
        (None, "38 01"),
    ],
)
def test_sparkplug_is_as_it_would_be_written_by_hand(value: Number, held: str) -> None:
    """By the field numbers of Sparkplug 3.0.0: metric 2, alias 2, timestamp 3."""
    metric = bytes.fromhex(f"10 01 18 e807 {held}")
    expected = bytes.fromhex("08 e807 12") + bytes([len(metric)]) + metric + b"\x18\0"
    assert codecs.load("sparkplug-b")([]).encode(_series([1], [value])) == expected


def test_fhir_has_what_a_receiver_needs() -> None:
    message = codecs.load("fhir-json")([]).encode(
        _series([1417628972, Decimal("0.50")], [Decimal("103.0"), None], [1, 2])
    )
    first, second = (
        entry["resource"] for entry in json.loads(message, parse_float=str)["entry"]
    )
    assert first["effectiveDateTime"] == "2014-12-03T17:49:32Z"
    assert second["effectiveDateTime"] == "1970-01-01T00:00:00.50Z"
    assert first["component"][0]["valueQuantity"]["value"] == "103.0"
    assert second["component"][0]["dataAbsentReason"]["coding"][0]["code"] == "unknown"
    assert {"resourceType", "status", "code", "subject", "device"} <= first.keys()


def test_zstd_learns_from_other_devices() -> None:
    """Without a dictionary it would be beaten by more than it deserves."""
    random = Random(4)
    day = [random.randint(80, 200) for _ in range(64)]
    walks = [_series(range(0, 64 * 300, 300), [at + each for at in day])
             for each in range(100)]  # fmt: skip
    codec, without = (codecs.load("zstd")(others) for others in (walks[:-1], []))
    message = codec.encode(walks[-1])
    assert len(message) < len(without.encode(walks[-1])) / 2
    assert _listed(codec.decode(message)) == _listed(walks[-1])


def test_an_absent_value_has_no_mantissa() -> None:
    found = column([None])
    assert found == Column(np.array([0]), np.array([-128]))
