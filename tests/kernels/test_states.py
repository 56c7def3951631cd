"""Whatever lies on the disk: a filter takes its state, or refuses it, and is safe."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.kernels.biquad import Biquad, high_pass, low_pass
from edge_agent.kernels.deadband import DeadBand
from edge_agent.kernels.hampel import Hampel
from edge_agent.kernels.oscillometry import Oscillometer
from edge_agent.kernels.rate import RateGate
from edge_agent.kernels.repeated import Repeats
from edge_agent.kernels.streams import StateError
from tests.kernels.forms import both

Filter: TypeAlias = RateGate | Hampel | Repeats | DeadBand | Biquad | Oscillometer

_TIMES = np.arange(40) * 300_000
_VALUES = np.round(100 + 50 * np.sin(np.arange(40.0)))


def _flags(one: Filter) -> object:
    match one:
        case RateGate() | Hampel():
            return one.flag(_TIMES, _VALUES)
        case Repeats():
            return one.flag(_TIMES, _TIMES % 7)
        case DeadBand():
            return one.keep(_VALUES)
        case Biquad():
            return one.filter(_VALUES)
        case Oscillometer():
            one.push(_VALUES)
            return one.beats


def _hampel() -> Hampel:
    return Hampel(5, ahead=0, sigmas=3, least_sigma=2, most_gap_ms=900_000)


_MAKERS: list[Callable[[], Filter]] = [
    lambda: RateGate(5, most_gap_ms=900_000),
    _hampel,
    lambda: Repeats(within_ms=1000),
    lambda: DeadBand(3),
    lambda: Biquad(low_pass(10, 200), high_pass(0.5, 200)),
    lambda: Oscillometer(200),
]
_every = pytest.mark.parametrize(
    "make", _MAKERS, ids=["rate", "hampel", "repeats", "band", "biquad", "cuff"]
)


@_every
def test_a_filter_goes_on_from_its_state(make: Callable[[], Filter]) -> None:
    """With numbers in it that are not those of a beginning."""
    first = make()
    begun = first.to_bytes()
    _flags(first)
    kept = first.to_bytes()

    again = make().restored(kept)

    assert kept != begun
    assert again.to_bytes() == kept
    assert np.array_equal(_flags(again), _flags(first))  # type: ignore[arg-type]
    assert again.to_bytes() == first.to_bytes()


@_every
def test_a_state_of_another_size_or_version_is_refused(
    make: Callable[[], Filter],
) -> None:
    """A filter whose layout changed must not read the old one as its own."""
    kept = make().to_bytes()
    for wrong in (b"", kept[:-1], kept + b"\0", bytes([kept[0] + 1]) + kept[1:]):
        with pytest.raises(StateError):
            make().restored(wrong)


@_every
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_refused_or_harmless(
    make: Callable[[], Filter], data: st.DataObject
) -> None:
    """A compiled kernel with a wrong index writes where it likes, and crashes later."""
    worn = make()
    _flags(worn)
    kept = bytearray(worn.to_bytes())
    words = (len(kept) - 1) // 8
    for _ in range(data.draw(st.integers(1, 4))):
        at = 1 + 8 * data.draw(st.integers(0, words - 1))
        number = data.draw(
            st.sampled_from([-1, 0, 1, 5, 8, 9, 512, 513, 1 << 53, -(1 << 63)])
            | st.integers(-(1 << 63), (1 << 63) - 1)
        )
        kept[at : at + 8] = number.to_bytes(8, "little", signed=True)
    try:
        make().restored(bytes(kept))
    except StateError:
        return
    both(lambda: _flags(make().restored(bytes(kept))))


@pytest.mark.parametrize(
    ("make", "word", "most"),
    [
        (0, 0, 1),  # the gate: whether a value is known
        (1, 0, 5),  # Hampel: how many values its window holds
        (1, 1, 4),  # and where the next one goes
        (2, 0, 8),  # repeats: likewise
        (2, 1, 7),
        (3, 0, 1),  # the band: whether a sample was kept
        (5, 2, 1),  # the cuff: whether a top is sought
        (5, 5, 512),  # how many beats there are
        (5, 6, 1),  # whether it is over
    ],
)
def test_an_index_is_taken_up_to_its_end_and_no_further(
    make: int, word: int, most: int
) -> None:
    """One more, and a compiled kernel writes into memory that is not its own."""
    maker = _MAKERS[make]
    kept = bytearray(maker().to_bytes())
    at = 1 + 8 * word
    kept[at : at + 8] = most.to_bytes(8, "little")
    maker().restored(bytes(kept))
    for wrong in (most + 1, -1):
        kept[at : at + 8] = wrong.to_bytes(8, "little", signed=True)
        with pytest.raises(StateError, match="no state"):
            maker().restored(bytes(kept))


def test_a_window_of_another_size_has_another_state() -> None:
    seven = Hampel(7, ahead=0, sigmas=3, least_sigma=2, most_gap_ms=900_000)
    with pytest.raises(StateError, match="hampel: 81 bytes of state, not 65"):
        _hampel().restored(seven.to_bytes())
