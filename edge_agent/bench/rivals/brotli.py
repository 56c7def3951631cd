"""Brotli at quality 11 over differences.

Its smallest heading belongs to a window of 64 kB, which holds nearly every message.
"""

from collections.abc import Sequence

import brotli

from edge_agent.bench.rivals.codec import Codec
from edge_agent.bench.rivals.deltas import packed, unpacked
from protocols.uplink.series import Series

_SMALL, _USUAL = 16, 22  # powers of two


def codec(_: Sequence[Series]) -> Codec:
    """Return the codec."""
    return Codec(_encode, lambda message: unpacked(brotli.decompress(message)))


def _encode(series: Series) -> bytes:
    data = packed(series)
    window = _SMALL if len(data) <= 1 << _SMALL else _USUAL
    return bytes(brotli.compress(data, quality=11, lgwin=window))
