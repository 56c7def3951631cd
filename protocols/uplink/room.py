"""Where kernels work: room that one message has at a time, and the next one again.

So nothing is made anew for a message, least of all the models that its columns change:
what a column touches first is copied from its prior then. There are as many rooms as
threads ever coded at once.
"""

from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from protocols.kernel import Kernel
from protocols.uplink import profiles, values
from protocols.uplink.heading import FIELDS, MOST_COLUMNS
from protocols.uplink.rangecoder import CONTEXT, I8, STATE

P = ParamSpec("P")
R = TypeVar("R")


class Room:
    """What kernels of one form work in: arrays if they are compiled, else lists.

    Attributes:
        fields: Of a heading, for its caller to fill or read.
        coder: The coder's state.
        touched: As in `rangecoder.fetch`.
        model: What is learnt.
        context: What a bit is told.
        memory: What a column of values remembers.
    """

    def __init__(self, *, plain: bool) -> None:
        """Make room for kernels that are ``plain``, or else compiled."""
        self._plain = plain
        self._turn = 0
        self.fields, self.coder = self._zeros(FIELDS), self._zeros(STATE)
        self.touched = self._zeros(values.PLACES)
        self.model = self._zeros(values.MODEL, np.int32)
        self.context, self.memory = self._zeros(CONTEXT), self._zeros(values.ROOM)

    def __enter__(self) -> Self:
        """Return the room, which is the caller's."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave it to others."""
        _free[self._plain].append(self)

    @property
    def tables(self) -> I8:
        """The constants of the range coder."""
        return profiles.table_list() if self._plain else profiles.tables()

    def models(self, models: profiles.Models, wanted: int) -> profiles.Loaded:
        """Return models of a set, to be read only; ``wanted`` as `heading` says it."""
        found = profiles.loaded(models, wanted)
        return profiles.viewed(found) if self._plain else found

    def turns(self) -> int:
        """Return a number above all in ``touched``, as are enough after it."""
        first = self._turn + 1
        self._turn += 1 + 2 * (1 + MOST_COLUMNS)
        return first

    def run(self, kernel: Kernel[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a kernel; a plain one on lists, whose numbers are then put back."""
        if not self._plain:
            return kernel(*args, **kwargs)
        return _run_plain(kernel, *args, **kwargs)

    def _zeros(self, size: int, dtype: type = np.int64) -> Any:  # noqa: ANN401 - or a list
        zeros: NDArray[Any] = np.zeros(size, dtype)
        return _listed(zeros) if self._plain else zeros


# Those that nobody is in; to take from a list and to give to it is one step each.
_free: dict[bool, list[Room]] = {True: [], False: []}


def room(*kernels: Kernel[..., Any]) -> Room:
    """Return room for kernels as they are now: plain, if one of them is.

    They are compiled one after the other, while messages are already made.
    """
    plain = False
    for each in kernels:
        if not each.is_compiled:
            plain = True
    try:
        return _free[plain].pop()
    except IndexError:
        return Room(plain=plain)


def run_sure(kernel: Kernel[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a kernel on what its caller made for it just now, as `Kernel.sure` says."""
    if kernel.is_compiled:
        return kernel.sure(*args, **kwargs)
    return _run_plain(kernel, *args, **kwargs)


def _run_plain(kernel: Kernel[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a kernel's plain form on lists, whose numbers are then put back."""
    given: list[Any] = [_listed(arg) for arg in args]
    found = kernel.plain(*given, **kwargs)
    for arg, now in zip(args, given, strict=True):
        if isinstance(arg, np.ndarray):
            arg[...] = now
    return found


def _listed(arg: NDArray[Any] | object) -> object:
    """Return what a plain kernel takes for an array."""
    return arg.tolist() if isinstance(arg, np.ndarray) else arg
