"""Plain kernels on lists and numbers that tell what a compiled form would not.

Compiled, an index outside reads or writes the memory beside, and a number beyond 64
bits comes out as another. Here both fail.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, SupportsIndex, overload

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols.uplink import (
    heading,
    packing,
    profiles,
    rangecoder,
    series,
    times,
    values,
)
from protocols.uplink.coding import Coding
from tests.protocols.uplink.some_series import form

SLOW_ROWS = 24
"""How many rows a series has at most where kernels are that slow."""

_BITS = {np.dtype(np.int64): 63, np.dtype(np.int32): 31, np.dtype(np.uint8): 8}


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


class _Table(list[Bounded]):
    def __init__(self, table: NDArray[np.int64]) -> None:
        super().__init__(Bounded(row) for row in table.tolist())
        self.shape = table.shape


@contextmanager
def checked() -> Iterator[None]:
    """Have every kernel of a series checked."""

    def copied(_: object, numbers: NDArray[Any]) -> Bounded:
        return Bounded(numbers.tolist(), _BITS[numbers.dtype])

    def pack(table: NDArray[np.int64], code: NDArray[np.uint8]) -> int:
        room = Bounded(code.tolist(), 8)
        found = packing._pack.plain(_Table(table), room)  # type: ignore[arg-type]
        code[:] = list(room)
        return found

    def unpack(code: NDArray[np.uint8], at: int, table: NDArray[np.int64]) -> int:
        rows, given = _Table(table), Bounded(code.tolist(), 8)
        found = packing._unpack.plain(given, Checked(at), rows)  # type: ignore[arg-type]
        table[:] = rows
        return found

    with form("plain"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Coding, "_copy", copied)
        patch.setattr(series, "MAX_ROWS", SLOW_ROWS)
        tables = Bounded(profiles.table_list())
        patch.setattr(profiles, "table_list", lambda: tables)
        for module in (heading, packing, rangecoder, times, values):
            patch.setattr(module, "int", Checked, raising=False)
        packing._pack.use(pack)
        packing._unpack.use(unpack)
        yield
