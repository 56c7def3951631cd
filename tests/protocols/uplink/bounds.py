"""Plain kernels on lists and numbers that tell what a compiled form would not.

Compiled, an index outside reads or writes the memory beside, and a number beyond 64
bits comes out as another. Here both fail.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Self, SupportsIndex, overload

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols.uplink import (
    coding,
    grids,
    heading,
    opening,
    packing,
    profiles,
    rangecoder,
    room,
    series,
    times,
    values,
)
from tests.protocols.uplink.some_series import form

SLOW_ROWS = 24
"""How many rows a series has at most where kernels are that slow."""

_KERNELS = coding, grids, heading, opening, packing, rangecoder, times, values
_BITS = {
    np.dtype(np.int64): 63,
    np.dtype(np.int32): 31,
    np.dtype(np.int8): 7,
    np.dtype(np.uint8): 8,
}


class Checked(int):
    """An int that fails where an int64 would come out wrong."""

    def __new__(cls, value: int) -> Self:
        """Return the number."""
        assert -(1 << 63) <= value < 1 << 63, f"{value} is no int64"
        return super().__new__(cls, value)


def _checked(name: str) -> Any:  # noqa: ANN401 - one of any number of operands
    plain = getattr(int, name)

    def checked(*operands: int) -> Checked:
        found = plain(*operands)
        return found if found is NotImplemented else Checked(found)

    return checked


for _name in ("add", "sub", "mul", "floordiv", "mod", "lshift", "rshift"):
    setattr(Checked, f"__{_name}__", _checked(f"__{_name}__"))
    setattr(Checked, f"__r{_name}__", _checked(f"__r{_name}__"))
for _name in ("and", "or", "xor"):
    setattr(Checked, f"__{_name}__", _checked(f"__{_name}__"))
    setattr(Checked, f"__r{_name}__", _checked(f"__r{_name}__"))
for _name in ("neg", "abs", "invert"):
    setattr(Checked, f"__{_name}__", _checked(f"__{_name}__"))


class Bounded(list[int]):
    """A list of numbers of some width that knows no index from its end."""

    def __init__(self, numbers: Sequence[int], bits: int = 63) -> None:
        super().__init__(numbers)
        self._range = range(0 if bits == 8 else -(1 << bits), 1 << bits)

    @overload
    def __getitem__(self, at: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> list[int]: ...
    def __getitem__(self, at: SupportsIndex | slice) -> int | list[int]:
        if isinstance(at, slice):
            return super().__getitem__(at)
        assert 0 <= at.__index__() < len(self), f"{at} is outside"
        return Checked(super().__getitem__(at))

    def __setitem__(self, at: Any, number: Any) -> None:  # noqa: ANN401 - or slices
        assert 0 <= at < len(self), f"{at} is outside"
        assert int(number) in self._range, f"{number} is too wide"
        super().__setitem__(at, int(number))


def _listed(arg: object) -> object:
    """Return an array as a list that is looked at, or one of such lists."""
    if not isinstance(arg, np.ndarray):
        return Checked(arg) if isinstance(arg, int) else arg
    if arg.ndim == 1:
        return Bounded(arg.tolist(), _BITS[arg.dtype])
    return _Rows(map(_listed, arg))


class _Rows(list[object]):
    """A list of lists that knows no index from its end."""

    @overload
    def __getitem__(self, at: SupportsIndex) -> object: ...
    @overload
    def __getitem__(self, at: slice) -> list[object]: ...
    def __getitem__(self, at: SupportsIndex | slice) -> object:
        assert not isinstance(at, slice)
        assert 0 <= at.__index__() < len(self), f"{at} is outside"
        return super().__getitem__(at)


class _Priors(_Rows):
    """Models that are made lists of when they are asked for: there are many."""

    def __init__(self, models: NDArray[np.int32]) -> None:
        super().__init__(models)
        self._lists: dict[int, object] = {}

    def __getitem__(self, at: Any) -> Any:  # noqa: ANN401 - as above
        model = super().__getitem__(at)
        if int(at) not in self._lists:
            self._lists[int(at)] = _listed(model)
        return self._lists[int(at)]


@cache
def _priors(stamp: bytes) -> tuple[_Priors, _Priors]:
    loaded = profiles._ROOM[stamp]
    return _Priors(loaded.profiles), _Priors(loaded.clocks)


def _viewed(models: profiles.Loaded) -> profiles.Loaded:
    (stamp,) = (s for s, each in profiles._ROOM.items() if each is models)
    return profiles.Loaded(
        _listed(models.parameters),  # type: ignore[arg-type]
        *_priors(stamp),  # type: ignore[arg-type]
    )


@contextmanager
def checked() -> Iterator[None]:
    """Have every kernel checked."""
    with form("plain"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_listed", _listed)
        patch.setattr(room, "_free", {True: [], False: []})
        patch.setattr(profiles, "viewed", _viewed)
        patch.setattr(series, "MAX_ROWS", SLOW_ROWS)
        tables = Bounded(profiles.table_list())
        patch.setattr(profiles, "table_list", lambda: tables)
        for module in _KERNELS:
            patch.setattr(module, "int", Checked, raising=False)
        yield
