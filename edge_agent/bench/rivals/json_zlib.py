"""JSON as in json_text.py, compressed by zlib at level 9."""

import zlib
from collections.abc import Sequence

from edge_agent.bench.rivals import json_text
from edge_agent.bench.rivals.codec import Codec
from protocols.uplink.series import Series


def codec(_: Sequence[Series]) -> Codec:
    """Return the codec."""
    return Codec(
        lambda series: zlib.compress(json_text.encode(series), 9),
        lambda message: json_text.decode(zlib.decompress(message)),
    )
