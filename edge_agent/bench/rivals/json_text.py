"""JSON: one array of numbers a column, which keep their digits."""

from collections.abc import Sequence

import msgspec

from edge_agent.bench.rivals.codec import Codec
from edge_agent.bench.rivals.decimals import Number, column, texts
from protocols.uplink.series import Series

_decoder = msgspec.json.Decoder(list[list[Number]])


def codec(_: Sequence[Series]) -> Codec:
    """Return the codec."""
    return Codec(encode, decode)


def encode(series: Series) -> bytes:
    """Return a series as JSON: ``[[times], [values], ...]``."""
    columns = (",".join(texts(each)) for each in (series.time, *series.values))
    return f"[[{'],['.join(columns)}]]".encode()


def decode(message: bytes) -> Series:
    """Return the series of which `encode` made ``message``."""
    time, *values = (column(each) for each in _decoder.decode(message))
    return Series(time, tuple(values))
