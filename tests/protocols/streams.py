"""Every stream decoder of ``protocols``, what it is to be fed, and what it does.

They are found by what they return and by how they are fed; nothing is listed by
hand.
"""

import ast
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cache, partial
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, Protocol, get_origin, get_type_hints

import protocols
from protocols.stream import Damaged, Frames, Lines
from tests.protocols.mutations import vectors

_TESTS = Path(__file__).parent


class Stream(Protocol):
    """What `protocols.stream.Frames` and all decoders of its form are."""

    def feed(self, data: bytes) -> list[Any]:
        """Add received bytes; return everything they complete, in order."""

    def resync(self) -> list[Any]:
        """Give up on what is being waited for; return what stands behind it."""


@cache
def decoders() -> Mapping[str, Callable[[], Stream]]:
    """Return what makes every stream decoder in ``protocols``, by its name.

    They are the public functions of no argument that return `Frames` or `Lines`,
    and the public classes that feed and resync as these do, by each of their
    switches.
    """
    found: dict[str, Callable[[], Stream]] = {}
    for module in pkgutil.walk_packages(protocols.__path__, "protocols."):
        if module.name == Frames.__module__:
            continue
        for name, one in sorted(vars(import_module(module.name)).items()):
            if getattr(one, "__module__", None) == module.name and name[0] != "_":
                place = f"{module.name.removeprefix('protocols.')}.{name}"
                found |= {place + way: make for way, make in _makers(one)}
    return found


def _makers(one: object) -> Iterator[tuple[str, Callable[[], Stream]]]:
    if inspect.isclass(one) and hasattr(one, "feed") and hasattr(one, "resync"):
        switches = inspect.signature(one).parameters
        for values in product((False, True), repeat=len(switches)):
            given = dict(zip(switches, values, strict=True))
            yield (
                "".join(f" {key}={given[key]}" for key in given),
                partial(one, **given),
            )
    elif inspect.isfunction(one) and not inspect.signature(one).parameters:
        made = get_type_hints(one).get("return")
        if (get_origin(made) or made) in {Frames, Lines}:
            yield "", one


def is_stream(decoder: Stream) -> bool:
    """Whether it joins pieces; others take what they are fed for whole payloads."""
    return "data" in inspect.signature(decoder.feed).parameters and bool(vars(decoder))


def inner(decoder: Stream) -> Frames[Any] | Lines[Any]:
    """Return the decoder, or the one of `protocols.stream` that it stands on."""
    held = (decoder, *vars(decoder).values())
    return next(one for one in held if isinstance(one, Frames | Lines))


@cache
def goldens(name: str) -> tuple[bytes, ...]:
    """Return what a stream decoder takes for one message, and all of it.

    It is looked for among the golden vectors, and among the bytes that the tests
    of its module hold.
    """
    make = decoders()[name]
    found: dict[bytes, None] = {}
    for raw in (*(raw for some in vectors().values() for raw in some), *_held(name)):
        for data in filter(None, (raw, raw + b"\r\n", raw + b"\r")):
            events: list[object] = []
            with suppress(Exception):  # that is what the fuzzing is to find
                decoder = make()
                events = [*decoder.feed(data), *decoder.resync()]
            if len(events) == 1 and not isinstance(events[0], Damaged):
                found[data] = None
                break
    return tuple(found)


def _held(name: str) -> Iterator[bytes]:
    """Yield the bytes that stand, or are made, in the tests of a decoder's module."""
    module = name.partition(" ")[0].split(".")[-2]
    for path in sorted(_TESTS.glob("test_*.py")):
        text = path.read_text("utf-8")
        if module in text and path.stem != "test_fuzz":
            holds = vars(import_module(f"tests.protocols.{path.stem}"))
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.expr) and (raw := _bytes(node, holds)):
                    yield raw


def _bytes(node: ast.expr, holds: dict[str, Any]) -> bytes | None:
    """Return what an expression of a test is, if that is bytes, or is hex of some."""
    match node:
        case ast.Constant(bytes(value)):
            return value
        case ast.Constant(str(value)):
            with suppress(ValueError):
                return bytes.fromhex(value)
        case ast.Name(name) if isinstance(value := holds.get(name), bytes):
            return value
        case ast.Call(ast.Name(name)) if inspect.isfunction(make := holds.get(name)):
            if make.__annotations__.get("return") is bytes:
                with suppress(Exception):  # what a test's own variable stands in
                    made = eval(ast.unparse(node), holds)
                    return made if isinstance(made, bytes) else None
    return None


@dataclass(frozen=True, slots=True)
class _Taken:
    """A message with the bytes that it was made of."""

    data: bytes
    message: object


class Tapped:
    """A stream decoder that tells which bytes became of what.

    Attributes:
        work: How many bytes it looked at, each time that it did so anew.
        held: The most bytes that it kept between two pieces.
        taken: What came out, in order: the bytes, and the message or None.
    """

    def __init__(self, make: Callable[[], Stream]) -> None:
        self.work = self.held = 0
        self.taken: list[tuple[bytes, object]] = []
        self._decoder = make()
        self._inner = inner(self._decoder)
        self._decode = self._inner._decode
        self._inner._decode = self._tap
        if isinstance(self._inner, Frames):
            self._size = self._inner._size
            self._inner._size = self._measure

    def feed(self, *pieces: bytes) -> "Tapped":
        """Feed pieces, one after another."""
        for piece in pieces:
            self._take(self._decoder.feed(piece))
            self.held = max(self.held, len(self._inner._buffer))
        return self

    def drain(self) -> "Tapped":
        """Give up until nothing is waited for."""
        while events := self._decoder.resync():
            self._take(events)
        return self

    @property
    def messages(self) -> list[tuple[int, bytes, object]]:
        """Every message, with its bytes and where these stood."""
        at, found = 0, []
        for data, message in self.taken:
            if message is not None:
                found.append((at, data, message))
            at += len(data)
        return found

    @property
    def told(self) -> bytes:
        """All bytes of messages and damage, in order."""
        return b"".join(data for data, _ in self.taken)

    def _tap(self, data: bytes) -> object:
        self.work += len(data)
        message = self._decode(data)
        return _Taken(data, message) if self._inner is self._decoder else message

    def _measure(self, data: bytes) -> int:
        self.work += len(data)
        return self._size(data)

    def _take(self, events: list[Any]) -> None:
        for event in events:
            match event:
                case Damaged(data) | _Taken(data, Damaged()):
                    self.taken.append((data, None))
                case _Taken(data, message):
                    self.taken.append((data, message))
                case message:
                    self.taken.append((_raw(message), message))


def _raw(message: Any) -> bytes:  # noqa: ANN401 - of any decoder
    """Return the bytes that a message keeps, of a decoder that stands on another."""
    values = (getattr(message, one.name) for one in fields(message))
    return next(value for value in values if isinstance(value, bytes))
