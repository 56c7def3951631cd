"""What every decoder must hold whatever bytes come, as functions that find breaches.

The tests and ``scripts/fuzz.py`` run them, in processes of their own.
"""

import sys
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from random import Random
from traceback import extract_tb
from typing import Any

import simplejson

from edge_agent.cli import _dumps, _table
from protocols import kinds
from protocols.errors import DecodeError
from protocols.stream import Damaged, Frames
from tests.protocols.mutations import Mutator, vectors
from tests.protocols.streams import (
    Stream,
    Tapped,
    decoders,
    goldens,
    inner,
    is_stream,
)

_MOST_FINDINGS = 5  # of one decoder: one mistake is found a thousand times
_PART_FOLLOWED = 0.25  # of the streams, by a message that must be found behind them
_SIZES = (16_000, 64_000)  # bytes of the two payloads that are compared
_AT_ONCE = 256  # bytes that a stream decoder may look at together
_GROWTH = 2 * _SIZES[1] // _SIZES[0]  # twice that of what is linear
_LEAST_STEPS = 20_000  # below that it costs nothing
_BYTES_PER_BYTE = 400  # of memory for what is shown of a payload
_LONGEST_MESSAGE = 1 << 17  # bytes: twice of what two bytes can count


@dataclass
class Outcome:
    """What came of many payloads at one decoder.

    Attributes:
        name: The kind, with its options, or the stream decoder.
        executions: How many payloads.
        refused: Those with a `DecodeError`; of streams, with damage only.
        shown: Those with a value; of streams, with a message or more.
        findings: What must not be, each with the payload that shows it.
    """

    name: str
    executions: int = 0
    refused: int = 0
    shown: int = 0
    findings: list[str] = field(default_factory=list)
    _seen: set[tuple[str, ...]] = field(default_factory=set)

    def is_new(self, *facts: str) -> bool:
        """Whether something is worth a costly look: no such was seen, or the 8th."""
        before = len(self._seen)
        self._seen.add(facts)
        return len(self._seen) > before or self.executions % 8 == 0

    def find(self, payload: bytes, problem: str) -> None:
        """Note a breach, unless there are many of it."""
        if len(self.findings) < _MOST_FINDINGS:
            self.findings.append(f"{self.name} [{payload.hex()}]: {problem}")


def ways(kind: str) -> list[dict[str, str]]:
    """Return every combination of a kind's options."""
    options = kinds.kinds()[kind].options
    return [
        dict(zip(options, values, strict=True)) for values in product(*options.values())
    ]


def fuzz_kind(kind: str, count: int, seed: int) -> list[Outcome]:
    """Show changed vectors of one kind, by every combination of its options.

    Args:
        kind: One of `protocols.kinds.kinds`.
        count: How many payloads; each is shown by every combination.
        seed: Of the changes.
    """
    show = kinds.kinds()[kind].show
    judged = [
        (options, Outcome(" ".join([kind, *map("=".join, options.items())])))
        for options in ways(kind)
    ]
    mutator = Mutator(vectors().get(kind, (b"",)), Random(f"{kind} {seed}"))
    for _ in range(count):
        payload = mutator.make()
        for options, outcome in judged:
            _judge(show, payload, options, outcome)
    return [outcome for _, outcome in judged]


def _judge(
    show: Callable[..., kinds.Shown],
    payload: bytes,
    options: Mapping[str, str],
    outcome: Outcome,
) -> None:
    outcome.executions += 1
    try:
        shown = show(payload, **options)
    except DecodeError as error:
        outcome.refused += 1
        if error.data != payload:
            outcome.find(payload, f"its error is about {error.data!r}")
        if not 0 <= error.offset <= len(payload):
            outcome.find(payload, f"its error is at {error.offset}")
        if not outcome.is_new(error.field, error.fault):
            return
        try:
            _dumps(kinds.show_error(error))
            _table({"error": str(error)})
        except Exception as broken:  # noqa: BLE001 - each is a finding
            outcome.find(payload, f"its error can't be told: {_name(broken)}")
        return
    except Exception as error:  # noqa: BLE001 - each is a finding
        outcome.find(payload, _name(error))
        return
    outcome.shown += 1
    if not outcome.is_new(*shown):
        return
    try:
        text = _dumps(shown)
        _table(shown)
        if "NaN" in text or "Infinity" in text:
            simplejson.loads(text, parse_constant=_no_json)
    except Exception as error:  # noqa: BLE001 - each is a finding
        outcome.find(payload, f"what it shows is no JSON: {_name(error)}")


def _no_json(text: str) -> None:
    raise ValueError(text)


def _name(error: Exception) -> str:
    frames = extract_tb(error.__traceback__)
    places = [f"{Path(one.filename).name}:{one.lineno}" for one in frames[-2:]]
    return f"{type(error).__name__}: {error} ({', '.join(places)})"


def fuzz_stream(name: str, count: int, seed: int) -> list[Outcome]:
    """Feed damaged streams to one decoder, cut in several ways.

    Args:
        name: One of `decoders`.
        count: How many streams.
        seed: Of the damage.
    """
    outcome, random = Outcome(name), Random(f"{name} {seed}")
    make, whole = decoders()[name], goldens(name)
    mutator = Mutator(whole, random)
    for turn in range(count):
        stream = b"".join(mutator.make() for _ in range(1 + int(random.random() * 2)))
        outcome.executions += 1
        try:
            found = _cut_in_several_ways(make, stream, whole[turn % len(whole)], random)
        except Breach as error:
            outcome.find(stream, str(error))
        except Exception as error:  # noqa: BLE001 - each is a finding
            outcome.find(stream, _name(error))
        else:
            outcome.shown += found
            outcome.refused += not found
    return [outcome]


class Breach(Exception):
    """A stream decoder does what it must not."""


def _cut_in_several_ways(
    make: Callable[[], Stream], stream: bytes, golden: bytes, random: Random
) -> bool:
    """Return whether a message was in the stream."""
    if not is_stream(decoder := make()):
        events = [*decoder.feed(golden), *decoder.feed(stream), *decoder.resync()]
        return any(not isinstance(event, Damaged) for event in events)
    one = Tapped(make).feed(stream).drain()
    if one.told != stream:
        raise Breach(f"of its bytes come out {one.told.hex()}")
    cut = Tapped(make).feed(*_pieces(stream, random)).drain()
    if cut.messages != one.messages:
        raise Breach(f"in pieces {_told(cut)}, else {_told(one)}")
    if cut.told != stream:
        raise Breach(f"in pieces, of its bytes come out {cut.told.hex()}")
    if random.random() > _PART_FOLLOWED:
        return bool(one.messages)
    again = Tapped(make).feed(stream).drain().feed(golden)
    if again.taken[-1][0] != golden or again.taken[-1][1] is None:
        raise Breach(f"behind it {golden.hex()} is not found")
    if isinstance(inner(make()), Frames):
        _check_found_behind(Tapped(make).feed(stream, golden).drain(), stream, golden)
    return bool(one.messages)


def _check_found_behind(found: Tapped, stream: bytes, golden: bytes) -> None:
    for at, data, _ in found.messages:
        if (at, data) == (len(stream), golden) or at < len(stream) < at + len(data):
            return  # found, or taken for the end of what looks like a message
    raise Breach(f"right behind it {golden.hex()} is not found")


def _pieces(stream: bytes, random: Random) -> list[bytes]:
    """Return a stream in pieces: byte by byte, or of random sizes."""
    if random.random() < 0.25:
        return [stream[at : at + 1] for at in range(len(stream))]
    pieces, at = [], 0
    most = random.choice((3, 20, 64))
    while at < len(stream):
        size = 1 + int(random.random() * most)
        pieces.append(stream[at : at + size])
        at += size
    return pieces


def _told(tapped: Tapped) -> list[tuple[int, str]]:
    return [(at, data.hex()) for at, data, _ in tapped.messages]


def check_growth(name: str) -> list[Outcome]:
    """Give one kind or stream decoder what is long and vicious, and count.

    No time is taken: of a kind, the lines are counted that Python runs, and the
    bytes that it holds; of a stream decoder, how often it looks at a byte.
    """
    outcome, looks = Outcome(name), {}
    is_kind = name in kinds.kinds()
    for make in _vicious(vectors().get(name) or goldens(name)):
        outcome.executions += 1
        try:
            looks[make] = _check_kind(name, make) if is_kind else _looks(name, make)
        except Exception as error:  # noqa: BLE001 - each is a finding
            outcome.find(make(64), f"and on like this: {_name(error)}")
    outcome.shown = len(looks)
    if looks and not is_kind:
        worst = max(looks, key=lambda make: looks[make])
        try:
            _check_looks(name, worst(_SIZES[1]))
        except Breach as error:
            outcome.find(worst(64), f"and on like this: {error}")
    return [outcome]


def _vicious(seeds: Sequence[bytes]) -> list[Callable[[int], bytes]]:
    """Return what makes a payload of a size, each of another form."""
    seed = max(seeds, key=len)
    broken = seed[:-1] + bytes([seed[-1] ^ 1])
    half = seed[: len(seed) // 2] or seed
    repeated = (b"\0", b"\xff", b"0", seed[:1], seed, broken, half)
    made = [partial(_filled, b"", fill) for fill in repeated]
    return [*made, *(partial(_filled, seed, seed[-size:]) for size in (1, 10))]


def _filled(head: bytes, fill: bytes, size: int) -> bytes:
    return (head + fill * (size // len(fill) + 1))[:size]


def _check_kind(name: str, make: Callable[[int], bytes]) -> int:
    small, large = (make(size) for size in _SIZES)
    for options in ways(name):
        show = partial(kinds.kinds()[name].show, **options)
        before, after = _steps(show, small), _steps(show, large)
        if after > max(_GROWTH * before, _LEAST_STEPS):
            raise Breach(f"{_SIZES} bytes cost {before} and {after} steps")
        tracemalloc.start()
        try:
            with suppress(DecodeError):
                show(large)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        if peak > _BYTES_PER_BYTE * len(large):
            raise Breach(f"{peak} bytes were held for {len(large)}")
    return 0


def _steps(show: Callable[[bytes], object], payload: bytes) -> int:
    """Return how many lines Python runs to show a payload, or to refuse it."""
    steps = 0

    def step(*_: object) -> Any:  # noqa: ANN401 - it returns itself
        nonlocal steps
        steps += 1
        return step

    before = sys.gettrace()
    sys.settrace(step)
    try:
        with suppress(DecodeError):
            show(payload)
    finally:
        sys.settrace(before)
    return steps


def _looks(name: str, make: Callable[[int], bytes]) -> int:
    """Return how often a stream decoder looks at a byte; check what comes out."""
    decoder, short = decoders()[name], make(_SIZES[0] // 16)
    if not is_stream(decoder()):
        decoder().feed(make(_SIZES[1]))
        return 0
    one = Tapped(decoder).feed(short).drain()
    cut = Tapped(decoder).feed(*(bytes([byte]) for byte in short)).drain()
    if not cut.told == one.told == short:
        raise Breach("not all of its bytes come out")
    if cut.messages != one.messages:
        raise Breach(f"in pieces {_told(cut)}, else {_told(one)}")
    return _check_looks(name, make(_SIZES[0] // 8))


def _check_looks(name: str, stream: bytes) -> int:
    decoder = decoders()[name]
    if not is_stream(decoder()):
        return 0
    tapped = Tapped(decoder).feed(stream[:-64], stream[-64:])
    held, looks = tapped.held, tapped.work // len(stream)
    if held > _LONGEST_MESSAGE:
        raise Breach(f"{held} of {len(stream)} bytes were kept")
    if looks > 4 * (held + _AT_ONCE):
        raise Breach(f"each byte was looked at {looks} times, with {held} held")
    return looks
