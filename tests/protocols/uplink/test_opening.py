"""A message is opened only if it is written in the one way that there is.

What is right is told here by writing it again, and, byte by byte, by hand.
"""

from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.errors import DecodeError
from protocols.uplink import opening
from protocols.uplink.envelope import wrap
from protocols.uplink.room import run_sure
from tests.protocols.uplink.bounds import checked
from tests.protocols.uplink.some_series import form

_ENDS = [sign * (1 << bits) + more for bits in (5, 8, 16, 32, 63) for sign in (-1, 1)
         for more in (-1, 0, 1)]  # fmt: skip
_INTEGERS = st.one_of(
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.sampled_from([n for n in _ENDS if n >= -(1 << 63)]),
    st.integers(-30, 30),
)
_TEXTS = st.text(max_size=30)
_NAMES = st.one_of(_INTEGERS, _TEXTS)
_LEAVES = st.one_of(
    _INTEGERS, _TEXTS, st.booleans(), st.none(), st.binary(max_size=300)
)


def _tree(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inside, max_size=30), st.dictionaries(_NAMES, inside, max_size=30)
    )


def _in_order(item: Any) -> Any:  # noqa: ANN401 - any CBOR
    """Return an item, the names of its maps in the order of their bytes."""
    match item:
        case dict():
            names = sorted(item, key=cbor2.dumps)
            return {name: _in_order(item[name]) for name in names}
        case list():
            return [*map(_in_order, item)]
        case _:
            return item


_ITEMS = st.recursive(_LEAVES, _tree, max_leaves=40).map(_in_order)


def _is_ours(item: object) -> bool:
    match item:
        case dict():
            names = [*map(cbor2.dumps, item)]
            return (
                all(type(name) in (int, str) for name in item)
                and names == sorted(names)
                and all(map(_is_ours, item))
                and all(map(_is_ours, item.values()))
            )
        case list():
            return all(map(_is_ours, item))
        case bool() | None | str() | bytes():
            return True
        case int():
            return -(1 << 63) <= item < 1 << 64
        case _:
            return False


def _is_right(data: bytes) -> bool:
    """Whether an item comes out the same when it is written again."""
    try:
        item = cbor2.loads(
            data, max_depth=12, allow_indefinite=False, allow_duplicate_keys=False
        )
    except (cbor2.CBORDecodeError, ValueError):
        return False
    return _is_ours(item) and cbor2.dumps(item) == data


def _scanned(data: bytes) -> tuple[int, int]:
    """Return what is wrong with an item, and where."""
    levels = np.zeros((13, opening._LEVEL), np.int64)
    code = np.frombuffer(bytearray(data), np.uint8)
    found = run_sure(opening.scan, code, levels)
    return found, int(levels[0, opening._AT])


def _check(data: bytes) -> None:
    with form("compiled"):
        found = _scanned(data)
    with form("plain"):
        assert _scanned(data) == found
    with checked():
        assert _scanned(data) == found
    try:
        opening._loads("item", data)
        is_open = True
    except DecodeError:
        is_open = False
    assert is_open is _is_right(data)


@settings(deadline=None)  # compiling takes a while
@given(_ITEMS)
@example([[[[[[[[[[[0]]]]]]]]]]])
def test_what_is_written_in_its_one_way_is_opened(item: object) -> None:
    data = cbor2.dumps(item)
    assert _is_right(data)
    _check(data)
    assert opening._loads("item", data) == item


@settings(deadline=None)
@given(_ITEMS, st.data())
def test_what_is_written_otherwise_or_damaged_is_refused(
    item: object, more: st.DataObject
) -> None:
    """Whatever bytes come, and compiled kernels look at no index."""
    data = bytearray(cbor2.dumps(item))
    for _ in range(more.draw(st.integers(1, 3))):
        at = more.draw(st.integers(0, len(data)))
        match more.draw(st.sampled_from(["change", "insert", "cut"])):
            case "change" if at < len(data):
                data[at] = more.draw(st.integers(0, 255))
            case "insert":
                data[at:at] = more.draw(st.binary(min_size=1, max_size=9))
            case _:
                del data[at : at + more.draw(st.integers(1, 9))]
    _check(bytes(data))


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_are_opened_or_refused(data: bytes) -> None:
    _check(data)


_DAMAGED, _FOREIGN, _LONG, _UNSORTED = range(1, 5)


@pytest.mark.parametrize(
    ("data", "problem", "at"),
    [
        ("18 17", _LONG, 0),
        ("18 18", 0, 2),
        ("82 00 19 00ff", _LONG, 2),
        ("19 0100", 0, 3),
        ("1a 0000ffff", _LONG, 0),
        ("1a 00010000", 0, 5),
        ("1b 00000000ffffffff", _LONG, 0),
        ("1b 0000000100000000", 0, 9),
        ("1b ffffffffffffffff", 0, 9),
        ("3b 7fffffffffffffff", 0, 9),
        ("3b 8000000000000000", _FOREIGN, 0),
        ("58 01 00", _LONG, 0),
        ("82 01 9f ff", _DAMAGED, 2),
        ("f4", 0, 1),
        ("f6", 0, 1),
        ("f7", _FOREIGN, 0),
        ("f8 14", _FOREIGN, 0),
        ("f9 0000", _FOREIGN, 0),
        ("81 c1 00", _FOREIGN, 1),
        ("a1 01", _DAMAGED, 2),
        ("a2 01 00 02 00", 0, 5),
        ("a2 02 00 01 00", _UNSORTED, 3),
        ("a2 01 00 01 00", _UNSORTED, 3),
        ("a2 61 61 00 61 62 00", 0, 7),
        ("a2 61 62 00 61 61 00", _UNSORTED, 4),
        ("a2 61 7a 00 62 61 61 00", 0, 8),
        ("a2 18 18 00 20 00", 0, 6),
        ("a2 20 00 18 18 00", _UNSORTED, 3),
        ("a1 f4 00", _FOREIGN, 1),
        ("a1 41 00 00", _FOREIGN, 1),
        ("a1 80 00", _FOREIGN, 1),
        ("a2 01 a1 05 00 02 00", 0, 7),
        ("00 00", _DAMAGED, 1),
        ("", _DAMAGED, 0),
        ("44 00 00 00", _DAMAGED, 0),
        ("18", _DAMAGED, 0),
        ("19 ff", _DAMAGED, 0),
        ("1b ffffffffffffff", _DAMAGED, 0),
        ("1c" + 16 * "ff", _DAMAGED, 0),
        ("81", _DAMAGED, 0),
        ("5b ffffffffffffffff 00", _DAMAGED, 0),
        ("5b 0000000100000000", _DAMAGED, 0),
        ("81" * 12 + "00", 0, 13),
        ("81" * 13 + "00", _FOREIGN, 12),
    ],
)
def test_what_is_wrong_is_told_with_its_place(data: str, problem: int, at: int) -> None:
    for forms in (checked(), form("plain"), form("compiled")):
        with forms:
            assert _scanned(bytes.fromhex(data)) == (problem, at)


def test_the_error_names_the_byte() -> None:
    with pytest.raises(DecodeError, match="its head is too long at byte 2") as caught:
        opening.unwrap("batch", bytes.fromhex("82 00 18 01"))
    assert caught.value.offset == 2


def test_content_is_looked_at_as_well_as_its_envelope() -> None:
    with pytest.raises(DecodeError, match="holds what no message of ours holds"):
        opening.unwrap("batch", wrap([1.5]))
