"""How a kernel is written once and runs twice: as it stands, and compiled.

A kernel is a plain function first. It answers as it stands, with or without
numba, until compiled forms are there; from then on they answer, with the same
results. Importing this module does not import numba.

A kernel and what it calls are compiled as one: a kernel calls an `inner` or
another kernel by its global name. It makes no array, but fills those that it is
given, so that nothing has to count who uses them. It computes in explicit int64 that
does not overflow, for numpy warns of what a compiled form would wrap in silence.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import update_wrapper
from hashlib import sha256
from importlib import import_module
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, cast

import numpy as np

from protocols.parts import pipeline

P = ParamSpec("P")
R = TypeVar("R")

# NaN marks a missing value and must survive, so nothing here is "fast math". The last
# three are a fifth of all compiling: to count who uses an array, calls from C, and to
# look for patterns, such as one of arrays, that no kernel has.
OPTIONS = {
    "nogil": True,
    "error_model": "numpy",
    "_nrt": False,
    "no_cfunc_wrapper": True,
    "no_rewrites": True,
}

_SIGNATURE = re.compile(r".+\(([^()]*)\)")
_ARGUMENT = re.compile(r"([bfiu][1248])(?:\[([:1, ]+)\])?(?:, *|$)")
_SCALARS = {
    "b": (bool, np.bool_),
    "f": (int, float, np.integer, np.floating),
    "i": (int, np.integer),
    "u": (int, np.integer),
}

_inners: set[FunctionType] = set()
_inlined: set[CodeType] = set()
_kernels: list["Kernel[..., Any]"] = []


class Kernel(Generic[P, R]):
    """A numeric function with a plain form and, once warm, a compiled one.

    Attributes:
        plain: The function as it was written.
        name: Its module and its name.
        signatures: numba's words for the types with which it is called.
        sure: What answers, without a look at its arguments where one form serves all:
            for who has made them, just so. To look takes longer than a short message.
    """

    def __init__(self, plain: Callable[P, R], signatures: tuple[str, ...]) -> None:
        self.plain = plain
        self.name = f"{plain.__module__}.{plain.__qualname__}"
        self.signatures = signatures
        self._takes = [tuple(_arguments(each)) for each in signatures]
        self.sure = self._best = plain
        update_wrapper(self, plain)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._best(*args, **kwargs)

    @property
    def is_compiled(self) -> bool:
        """Whether a compiled form answers."""
        return self._best is not self.plain

    def use(self, compiled: Callable[P, R]) -> None:
        """Answer with ``compiled`` from now on."""
        self.sure = self._best = compiled

    def use_native(self, forms: Sequence[Callable[P, R]]) -> None:
        """Answer with functions that believe what they are given, after a check.

        Args:
            forms: For each of the signatures, in order, the native function.
        """
        choices = list(zip(self._takes, forms, strict=True))

        def rarely(*args: P.args, **kwargs: P.kwargs) -> R:
            for takes, form in choices:
                if len(takes) == len(args) and all(
                    take.fits(value) for take, value in zip(takes, args, strict=True)
                ):
                    return form(*args, **kwargs)
            raise TypeError(f"{self.name} takes {' or '.join(self.signatures)}")

        checked = _quickly(choices, rarely)
        self.sure = forms[0] if len(forms) == 1 else checked
        self._best = checked


def kernel(*signatures: str) -> Callable[[Callable[P, R]], Kernel[P, R]]:
    """Make a kernel of a function.

    Args:
        signatures: Of each way in which it is called, as ``"f8(f8[::1], i8)"``.

    Raises:
        ValueError: A signature is none, or takes more than numbers and arrays.
    """

    def made(plain: Callable[P, R]) -> Kernel[P, R]:
        found = Kernel(plain, signatures)
        _kernels.append(found)
        return found

    return made


def inner(plain: Callable[P, R]) -> Callable[P, R]:
    """Mark a function that only kernels call, and that is compiled into them."""
    _inners.add(_function(plain))
    return plain


def inlined(plain: Callable[P, R]) -> Callable[P, R]:
    """Mark an inner of which each place that calls it gets a copy.

    A call with a few arrays takes 20 ns. For those that are called for every bit.
    """
    _inlined.add(_function(plain).__code__)
    return inner(plain)


def kernels() -> list[Kernel[..., Any]]:
    """Return every kernel of the modules that were imported, in order of name."""
    return sorted(_kernels, key=lambda found: found.name)


def warm(folder: str | None = None) -> str | None:
    """Compile every kernel that was imported, and let it answer.

    Args:
        folder: Where numba keeps what it compiled, to find it again; None keeps
            nothing.

    Returns:
        Why the plain forms go on answering; None if they do not.
    """
    try:
        numba = import_numba()
    except ImportError as error:
        return f"numba is not installed ({error}); the plain kernels serve"
    if numba.config.DISABLE_JIT:
        return "NUMBA_DISABLE_JIT is set; the plain kernels serve"
    if folder is not None:
        numba.config.CACHE_DIR = folder
    linked: dict[FunctionType, object] = {}
    try:
        for found in kernels():
            if not found.is_compiled:
                whole = link(found.plain, compile_inner, linked)
                types = list(found.signatures)
                compile_ = numba.njit(types, cache=folder is not None, **OPTIONS)
                found.use(compile_(whole))
    except (RuntimeError, OSError, numba.core.errors.NumbaError) as error:
        return f"numba can't compile here ({error}); the plain kernels serve"
    return None


def compile_inner(plain: FunctionType) -> object:
    """Return what numba makes of an inner: once for all integers.

    By itself it would compile anew for each constant with which it is called.
    """
    numba = import_numba()
    inline = plain.__code__ in _inlined
    part = {"no_cpython_wrapper": True, "pipeline_class": pipeline()}
    found = numba.njit(**OPTIONS, **part, forceinline=inline)(plain)
    template = found.get_call_template

    def without_constants(args: Sequence[Any], kwargs: dict[str, Any]) -> object:
        return template([numba.types.unliteral(each) for each in args], kwargs)

    found.get_call_template = without_constants
    return found


def import_numba() -> Any:  # noqa: ANN401 - a module
    """Import numba, which takes half a second, for any processor of this kind."""
    numba: Any = import_module("numba")
    numba.config.CPU_NAME, numba.config.CPU_FEATURES = "generic", ""
    # A fifteenth of all compiling, for which neither way of coding gets faster.
    numba.config.OPT, numba.config.LOOP_VECTORIZE = type(numba.config.OPT)(2), 0
    return numba


def link(
    plain: Callable[..., Any],
    compile_: Callable[[FunctionType], object],
    linked: dict[FunctionType, object],
) -> FunctionType:
    """Return a plain form as a compiler can take it: with what it calls compiled.

    Args:
        plain: The plain form of a kernel.
        compile_: What makes a function callable from compiled code.
        linked: What was made so, to be made once only; starts empty.
    """
    function = _function(plain)
    names = dict(function.__globals__)
    for name, value in _named(function):
        if (called := _called(value)) is not None:
            if called not in linked:
                linked[called] = compile_(link(called, compile_, linked))
            names[name] = linked[called]
    copy = FunctionType(
        function.__code__, names, function.__name__, function.__defaults__
    )
    copy.__qualname__ = function.__qualname__
    return copy


def fingerprint() -> str:
    """Return what changes when a kernel, what it calls or a table of it changes.

    Raises:
        TypeError: A kernel names something of which that can't be told.
    """
    digest = sha256()
    for found in kernels():
        digest.update(repr((found.name, found.signatures)).encode())
        for fact in _facts(_function(found.plain)):
            digest.update(fact)
    return digest.hexdigest()


def _facts(function: FunctionType) -> Iterator[bytes]:
    """Yield all that decides what a function computes."""
    yield from _code_facts(function.__code__)
    yield repr(function.__defaults__).encode()
    for name, value in _named(function):
        yield name.encode()
        if (called := _called(value)) is not None:
            yield from _facts(called)
        elif isinstance(value, np.ndarray):
            yield f"{value.dtype.str}{value.shape}".encode()
            yield value.tobytes()
        elif isinstance(value, bool | int | float | str | bytes | tuple | np.generic):
            yield repr(value).encode()
        elif isinstance(value, type | ModuleType | BuiltinFunctionType | np.ufunc):
            yield value.__name__.encode()
        else:
            kind = type(value).__name__
            raise TypeError(f"{function.__qualname__} names {name}, of type {kind}")


def _code_facts(code: CodeType) -> Iterator[bytes]:
    yield code.co_code
    yield code.co_exceptiontable
    yield repr((code.co_argcount, code.co_names, code.co_varnames)).encode()
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _code_facts(value)
        elif isinstance(value, frozenset):
            yield repr(sorted(map(repr, value))).encode()
        else:
            yield repr(value).encode()


def _named(function: FunctionType) -> Iterator[tuple[str, object]]:
    """Yield the globals that a function names, with their names."""
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield name, function.__globals__[name]


def _called(value: object) -> FunctionType | None:
    """Return the plain form of a kernel or an inner; None of anything else."""
    if isinstance(value, Kernel):
        return _function(value.plain)
    return value if isinstance(value, FunctionType) and value in _inners else None


def _quickly(
    choices: Sequence[tuple[Sequence["_Argument"], Callable[P, R]]],
    rarely: Callable[P, R],
) -> Callable[P, R]:
    """Return what calls a native form with arguments that look as they mostly do.

    To ask each argument whether it fits takes longer than a kernel that is given a
    short message; so their types are compared all at once, and arrays then looked at.

    Args:
        choices: The forms, and what they believe of their arguments.
        rarely: What takes all other arguments, or refuses them.
    """
    forms = [
        (
            [take.number or np.ndarray for take in takes],
            [
                (at, take.dtype, take.dimensions)
                for at, take in enumerate(takes)
                if take.dtype is not None
            ],
            form,
        )
        for takes, form in choices
    ]

    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        given: Sequence[Any] = args
        types = [*map(type, given)]
        for expected, arrays, form in forms:
            if types == expected:
                for at, dtype, dimensions in arrays:
                    array = given[at]
                    if (
                        array.dtype is not dtype
                        or array.ndim != dimensions
                        or not array.flags.carray
                    ):
                        break
                else:
                    return form(*args, **kwargs)
        return rarely(*args, **kwargs)

    return checked


class _Argument(NamedTuple):
    """What a native form believes of one argument.

    Attributes:
        dtype: Of an array; None of a number.
        dimensions: Likewise.
        number: The type that such a number nearly always has; None of an array.
        fits: Whether a value is that, however it came about.
    """

    dtype: np.dtype[Any] | None
    dimensions: int
    number: type | None
    fits: Callable[[object], bool]


def _arguments(signature: str) -> Iterator[_Argument]:
    """Yield the arguments of a signature."""
    whole = _SIGNATURE.fullmatch(signature)
    at = 0
    while whole is not None and at < len(whole[1]):
        if (found := _ARGUMENT.match(whole[1], at)) is None:
            whole = None
        else:
            yield _argument(found[1], found[2])
            at = found.end()
    if whole is None:
        raise ValueError(f"{signature!r} is no signature of numbers and arrays")


def _argument(kind: str, layout: str | None) -> _Argument:
    """Return what is a number or array as numba would take it."""
    if layout is None:
        scalars = _SCALARS[kind[0]]
        usual = float if kind[0] == "f" else int
        return _Argument(None, 0, usual, lambda value: isinstance(value, scalars))
    dtype, dimensions = np.dtype(kind), layout.count(":") - layout.count("::")
    contiguous = layout.endswith("::1")

    def fits(value: object) -> bool:
        return (
            isinstance(value, np.ndarray)
            and value.dtype == dtype
            and value.ndim == dimensions
            and (value.flags.carray if contiguous else value.flags.behaved)
        )

    return _Argument(dtype, dimensions, None, fits)


def _function(plain: Callable[..., Any]) -> FunctionType:
    """Return what is known to be a function as one."""
    return cast("FunctionType", plain)
