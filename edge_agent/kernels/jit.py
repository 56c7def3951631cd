"""How kernels are compiled, and that nobody waits for it.

A kernel is a plain function first: it works as it stands, with or without
numba. `warm` compiles every kernel, in the background, and swaps the compiled
form in; until then, and where numba is missing (32-bit Pi OS has no wheel),
the plain form answers, with the same results.
"""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_kernels: list["Kernel[..., Any]"] = []


class Kernel(Generic[P, R]):
    """A numeric function with a plain form and, once warm, a compiled one.

    Attributes:
        plain: The function as it was written.
        example: Arguments of the types with which it is called.
    """

    def __init__(self, plain: Callable[P, R], example: tuple[object, ...]) -> None:
        self.plain = plain
        self.example = example
        self._best = plain
        update_wrapper(self, plain)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._best(*args, **kwargs)

    @property
    def is_compiled(self) -> bool:
        """Whether the compiled form answers."""
        return self._best is not self.plain

    def use(self, compiled: Callable[P, R]) -> None:
        """Answer with ``compiled`` from now on."""
        self._best = compiled


def kernel(*example: object) -> Callable[[Callable[P, R]], Kernel[P, R]]:
    """Make a kernel of a function.

    Args:
        example: Arguments with which to compile it.
    """

    def made(plain: Callable[P, R]) -> Kernel[P, R]:
        found = Kernel(plain, example)
        _kernels.append(found)
        return found

    return made


def warm() -> str | None:
    """Compile every kernel that was imported, and let it answer.

    Nopython mode, without the GIL, cached on disk. ``fastmath`` stays off: NaN
    marks a missing value and must survive.

    Returns:
        Why the plain forms go on answering; None if they do not.
    """
    try:
        import numba  # noqa: PLC0415 - it takes half a second, so only here
    except ImportError as error:
        return f"numba is not installed ({error}); the plain kernels serve"
    try:
        for found in _kernels:
            compiled = numba.njit(cache=True, nogil=True, error_model="numpy")(
                found.plain
            )
            if compiled is found.plain:
                return "NUMBA_DISABLE_JIT is set; the plain kernels serve"
            compiled(*found.example)
            found.use(compiled)
    except (RuntimeError, OSError) as error:
        return f"numba can't compile here ({error}); the plain kernels serve"
    return None
