"""Measures codecs on full batches of every device of a file.

Each message is made, decoded again, and compared with what it was made of: mantissas
and powers of ten, as they stand in the file. Its size is all of it, with its header.
Rates are of the median message, among at least 25 timings, or what 2 s of them hold.

Where a codec learns (zstd's dictionary), it is measured in two folds: batches of the
first half of the devices with what it learnt from the second half, and the other way
round; a file of one device is halved by time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median
from time import perf_counter_ns

import numpy as np

from edge_agent.bench.codecs import OURS, Maker
from edge_agent.bench.rivals import cbor
from edge_agent.bench.rivals.codec import CannotHold, Codec
from edge_agent.series_file import SeriesFile, slices
from protocols.errors import DecodeError
from protocols.uplink.series import Series

_FEWEST_TIMINGS = 25
_MOST_NS = 2_000_000_000  # spent on more timings than one a message
_BYTES = 8  # of a plain number, by which MB/s are counted


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of a codec at one size of batch.

    Attributes:
        codec: Its name.
        batch: Readings a message; a reading is a row, its time and all its values.
        messages: How many were measured.
        bits_per_reading: All bits of all messages, by their readings.
        encode_per_s: Readings.
        decode_per_s: Readings.
        encode_mb_per_s: Of plain numbers, 8 bytes each.
        decode_mb_per_s: Likewise.
        lossless: Whether every message was what it was made of, bit by bit.
        problem: What the format could not hold; such messages are not counted.
        over_cbor_bytes: The most by which one of our messages exceeds plain CBOR of
            the same rows, negative where none does; None of rivals.
    """

    codec: str
    batch: int
    messages: int
    bits_per_reading: float
    encode_per_s: int
    decode_per_s: int
    encode_mb_per_s: float
    decode_mb_per_s: float
    lossless: bool
    problem: str | None = None
    over_cbor_bytes: int | None = None


Fold = tuple[list[Series], list[Series]]
"""Batches to measure, and others to learn from."""


def folds(file: SeriesFile, size: int) -> list[Fold]:
    """Return the full batches of a file in two folds.

    Args:
        file: What was read.
        size: Readings a batch.

    Returns:
        The batches to measure and those to learn from, twice; empty without any batch.
    """
    of_devices = [list(slices(series, size)) for series in file.devices.values()]
    of_devices = [batches for batches in of_devices if batches]
    if not of_devices:
        return []
    if len(of_devices) == 1:
        of_devices = [[batch] for batch in of_devices[0]]
    middle = (len(of_devices) + 1) // 2
    first = [batch for batches in of_devices[:middle] for batch in batches]
    second = [batch for batches in of_devices[middle:] for batch in batches]
    return [(first, second), (second, first)] if second else [(first, second)]


def measure(
    name: str, maker: Maker, batches: Sequence[Fold], done: Callable[[float], None]
) -> Figures | str:
    """Measure a codec.

    Args:
        name: The codec's name.
        maker: What makes it.
        batches: As `folds` gave them; at least one batch.
        done: Told how much of the work is done, from 0 to 1.

    Returns:
        The figures, or why the format can hold none of the batches.
    """
    trial = _Trial(counts_cbor=name in OURS)
    total = sum(len(measured) for measured, _ in batches)
    for measured, others in batches:
        codec = maker(others)
        for batch in measured:
            trial.run(codec, batch)
            done(trial.runs / total)
    if not trial.encode_ns:
        return trial.problem or "nothing to measure"
    trial.repeat()
    return trial.figures(name, batches[0][0][0])


class _Trial:
    """One codec's messages, as they are made one after the other."""

    def __init__(self, *, counts_cbor: bool) -> None:
        self.runs = 0
        self.problem: str | None = None
        self.encode_ns: list[int] = []
        self._counts_cbor = counts_cbor
        self._decode_ns: list[int] = []
        self._sizes: list[int] = []
        self._over_cbor: list[int] = []
        self._wrong = 0
        self._held: list[tuple[Codec, Series]] = []

    def run(self, codec: Codec, batch: Series) -> None:
        """Make a message of a batch, decode it, compare."""
        self.runs += 1
        message = self._timed(codec, batch)
        if message is None:
            self._wrong += 1
            return
        self._held.append((codec, batch))
        self._sizes.append(len(message))
        if self._counts_cbor:
            self._over_cbor.append(len(message) - cbor.plain_size(batch))

    def repeat(self) -> None:
        """Take more timings where there were few, for a median that can be trusted."""
        until = perf_counter_ns() + _MOST_NS
        for codec, batch in cycle(self._held):
            if len(self.encode_ns) >= _FEWEST_TIMINGS or perf_counter_ns() > until:
                return
            self._timed(codec, batch)

    def figures(self, name: str, batch: Series) -> Figures:
        """Return what was found; ``batch`` is any of the batches."""
        rows = len(batch.time.mantissa)
        encode_per_s = 1e9 * rows / median(self.encode_ns)
        decode_per_s = 1e9 * rows / median(self._decode_ns)
        mb = _BYTES * (1 + len(batch.values)) / 1e6
        return Figures(
            codec=name,
            batch=rows,
            messages=len(self._sizes),
            bits_per_reading=8 * sum(self._sizes) / (rows * len(self._sizes)),
            encode_per_s=round(encode_per_s),
            decode_per_s=round(decode_per_s),
            encode_mb_per_s=encode_per_s * mb,
            decode_mb_per_s=decode_per_s * mb,
            lossless=self._wrong == 0,
            problem=self.problem,
            over_cbor_bytes=max(self._over_cbor, default=None),
        )

    def _timed(self, codec: Codec, batch: Series) -> bytes | None:
        """Return the message of a batch, None where there is none to be decoded."""
        began = perf_counter_ns()
        try:
            message = codec.encode(batch)
            encoded = perf_counter_ns()
            found = codec.decode(message)
        except (CannotHold, DecodeError, ValueError) as error:
            self.problem = str(error)
            return None
        decoded = perf_counter_ns()
        self.encode_ns.append(encoded - began)
        self._decode_ns.append(decoded - encoded)
        if not _same(batch, found):
            self._wrong += 1
            self.problem = "what is decoded differs from what was written"
        return message


def _same(one: Series, other: Series) -> bool:
    """Tell whether two series are the same, mantissas and powers of ten."""
    columns, others = ((each.time, *each.values) for each in (one, other))
    return len(columns) == len(others) and all(
        np.array_equal(column.mantissa, found.mantissa)
        and np.array_equal(column.exponent, found.exponent)
        for column, found in zip(columns, others, strict=True)
    )
