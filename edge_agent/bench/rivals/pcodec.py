"""Pcodec at level 12 over integers of one scale; it finds its own differences.

    count u16 | what deltas.py says of the columns
    per row of integers: width u8 | metadata | page

Its wrapped format is used, and 32 bits where they suffice, for both save bytes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pcodec import ChunkConfig, wrapped

from edge_agent.bench.rivals.codec import Codec
from edge_agent.bench.rivals.deltas import headed, series_of, unheaded
from protocols.uplink.series import Series

_CONFIG = ChunkConfig(compression_level=12)
_ROOM = 256  # to a multiple of which it reads


def codec(_: Sequence[Series]) -> Codec:
    """Return the codec."""
    return Codec(_encode, _decode)


def _encode(series: Series) -> bytes:
    head, integers = headed(series)
    file = wrapped.FileCompressor()
    count = len(series.time.mantissa).to_bytes(2, "little")
    parts = [count, head, file.write_header()]
    for row in integers:
        narrow = row.astype(np.int32)
        fits = np.array_equal(narrow, row)
        chunk = file.chunk_compressor(narrow if fits else row, _CONFIG)
        parts += [bytes([4 if fits else 8]), chunk.write_meta(), chunk.write_page(0)]
    return b"".join(parts)


def _decode(message: bytes) -> Series:
    count = int.from_bytes(message[:2], "little")
    heads, size = unheaded(message[2:])
    rest = message[2 + size :]
    file, used = wrapped.FileDecompressor.new(rest)
    room = -(-count // _ROOM) * _ROOM
    integers = []
    while rest := rest[used:]:
        kind = "i32" if rest[0] == 4 else "i64"
        chunk, met = file.chunk_decompressor(rest[1:], kind)
        row: NDArray[np.int32 | np.int64] = np.empty(room, kind[0] + str(rest[0]))
        _, paged = chunk.read_page_into(rest[1 + met :], count, row)
        integers.append(row[:count].astype(np.int64))
        used = 1 + met + paged
    return series_of(heads, integers)
