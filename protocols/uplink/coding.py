"""One pass of the kernels over a series, to write, read or measure it."""

from collections.abc import Sequence
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from protocols.kernel import Kernel
from protocols.uplink import profiles, rangecoder
from protocols.uplink.heading import COLUMNS, SCALES, heading
from protocols.uplink.profiles import ANY_CLOCK, CLOCKS, I4, PROFILES, prior
from protocols.uplink.rangecoder import CONTEXT, COST, FAULT, MEASURE, MODE
from protocols.uplink.times import times
from protocols.uplink.values import ROOM, values

I8 = NDArray[np.int64]
P = ParamSpec("P")
T = TypeVar("T", np.int32, np.int64, np.uint8)


class Coding:
    """One pass of the kernels over a series, in whichever form they are now."""

    def __init__(self, mode: int, code: bytes | int = 0) -> None:
        """Start.

        Args:
            mode: `MEASURE`, `WRITE` or `READ`.
            code: What to read, or how many bytes there is room for.
        """
        self._compiled = all(each.is_compiled for each in (heading, times, values))
        given = bytes(code) if isinstance(code, int) else code
        self.code = self._copy(np.frombuffer(given or b"\0", np.uint8))
        self.coder = self._copy(np.array(rangecoder.state(mode, given), np.int64))
        self._tables = profiles.tables() if self._compiled else profiles.table_list()
        self._context = self._zeros(CONTEXT)

    @property
    def cost(self) -> int:
        """What was measured so far, in 1/65536 bits."""
        return int(self.coder[COST])

    def heading(self, fields: list[int]) -> list[int]:
        """Code the heading, and return it."""
        found = self._copy(np.array(fields, np.int64))
        self._run(heading, found, self.coder, self.code, self._tables)
        return [int(field) for field in found[: SCALES + 4 * (found[COLUMNS] + 1)]]

    def times(self, column: I8, clock: int, period: int) -> tuple[I8, I8]:
        """Code times, and return them and the gaps before them."""
        found, gaps = self._copy(column), self._zeros(len(column))
        self._run(
            times,
            found,
            gaps,
            0 if clock == ANY_CLOCK else period,
            self.coder,
            self.code,
            self._learning(prior(CLOCKS[clock]).model),
            self._tables,
            self._context,
        )
        return np.asarray(found, np.int64), np.asarray(gaps, np.int64)

    def values(
        self, column: I8, gaps: I8, left: Sequence[I8], profile: int
    ) -> tuple[I8, I8]:
        """Code numbers, and return them and what their predictions left."""
        start = prior(PROFILES[profile])
        found, rest = self._copy(column), self._zeros(len(column))
        side, side_2, *_ = (*left, np.zeros_like(column), np.zeros_like(column))
        self._run(
            values,
            found,
            self._lent(gaps),
            self._lent(side),
            self._lent(side_2),
            rest,
            self._lent(start.parameters),
            self.coder,
            self.code,
            self._learning(start.model),
            self._tables,
            self._context,
            self._zeros(ROOM),
        )
        return np.asarray(found, np.int64), np.asarray(rest, np.int64)

    def check(self) -> None:
        """Raise ValueError where the kernels met what no encoder writes."""
        if self.coder[FAULT]:
            raise ValueError("a number is out of range")

    def finished(self) -> bytes | None:
        """Return what was written; None where it is too long."""
        size = rangecoder.finish(self.coder, self.code)
        return None if size < 0 else bytes(self.code[:size])

    def _learning(self, model: I4) -> I4 | list[int]:
        # What is only measured learns nothing, so it needs no copy.
        only = self.coder[MODE] == MEASURE
        return self._lent(model) if only else self._copy(model)

    def _copy(self, numbers: NDArray[T]) -> NDArray[T] | list[int]:
        """Return numbers as the kernels take them now: compiled ones want arrays."""
        return numbers.copy() if self._compiled else numbers.tolist()

    def _lent(self, numbers: NDArray[T]) -> NDArray[T] | list[int]:
        """Return numbers likewise, to be read only."""
        return numbers if self._compiled else numbers.tolist()

    def _zeros(self, size: int) -> I8 | list[int]:
        return self._copy(np.zeros(size, np.int64))

    def _run(self, kernel: Kernel[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        (kernel if self._compiled else kernel.plain)(*args, **kwargs)
