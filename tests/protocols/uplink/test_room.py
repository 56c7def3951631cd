"""Room that messages share one after the other, and threads never at once."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from protocols.errors import DecodeError
from protocols.uplink import room as rooms
from protocols.uplink.ranged import size
from protocols.uplink.series import Series, decode, encode
from tests.protocols.uplink.some_series import VALUES, column, form, made, same

_THREADS = 4


@pytest.fixture(params=["plain", "compiled"])
def fresh(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have no room that anybody was in, and kernels of one form."""
    with form(request.param), pytest.MonkeyPatch.context() as patch:
        patch.setattr(rooms, "_free", {True: [], False: []})
        yield


def _series(rows: tuple[int, ...] = (1, 2, 20)) -> list[Series]:
    return [
        made(at, count, time, [kind, "walk"])
        for at, (kind, count, time) in enumerate(
            product(list(VALUES)[:6], rows, ("jitter", "irregular"))
        )
    ]


@pytest.mark.usefixtures("fresh")
def test_a_message_is_the_same_whatever_was_coded_before_it() -> None:
    """A model that still knows another patient's numbers would read these wrongly."""
    first = [encode(each) for each in _series()]

    again = [encode(each) for each in reversed(_series())][::-1]

    assert again == first
    assert all(
        same(decode(message), each)
        for message, each in zip(first, _series(), strict=True)
    )


@pytest.mark.usefixtures("fresh")
def test_what_is_refused_leaves_its_room_as_good_as_new() -> None:
    given = made(1, 20, "jitter", ["walk", "absent"])
    message, numbers = encode(given), given.values[0].mantissa
    bytes_ = size(numbers)

    for wrong in (b"\xf7" * 20, message[:9] + b"\0" * 9, message[1:]):
        with pytest.raises(DecodeError):
            decode(wrong)
    with pytest.raises(ValueError, match="has a mantissa"):
        encode(Series(column([1]), (column([1], -128),)))

    assert encode(given) == message
    assert same(decode(message), given)
    assert size(numbers) == bytes_
    assert sum(map(len, rooms._free.values())) == 1


def test_threads_do_not_write_into_each_others_room() -> None:
    """A gateway decodes on several; one reading in another's place is the worst."""
    before = sys.getswitchinterval()
    with form("compiled"):
        pairs = [(encode(each), each) for each in _series((16, 256))] * 6
        try:
            sys.setswitchinterval(1e-6)
            with ThreadPoolExecutor(_THREADS) as pool:
                found = list(pool.map(lambda pair: decode(pair[0]), pairs))
                again = list(pool.map(lambda pair: encode(pair[1]), pairs))
        finally:
            sys.setswitchinterval(before)

    assert all(same(a, b) for a, (_, b) in zip(found, pairs, strict=True))
    assert again == [message for message, _ in pairs]
