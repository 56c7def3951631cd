"""Brotli at quality 11 over differences."""

from collections.abc import Sequence

import brotli

from edge_agent.bench.rivals.codec import Codec
from edge_agent.bench.rivals.deltas import packed, unpacked
from protocols.uplink.series import Series


def codec(_: Sequence[Series]) -> Codec:
    """Return the codec."""
    return Codec(
        lambda series: brotli.compress(packed(series), quality=11),
        lambda message: unpacked(brotli.decompress(message)),
    )
