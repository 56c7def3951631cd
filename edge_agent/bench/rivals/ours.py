"""What the agent sends: the columns of protocols/uplink/series.py."""

from collections.abc import Sequence
from functools import partial

from edge_agent.bench.rivals.codec import Codec
from protocols.uplink import series
from protocols.uplink.series import Series


def codec(_: Sequence[Series]) -> Codec:
    """Return the codec in its smaller form."""
    return Codec(series.encode, series.decode)


def fast(_: Sequence[Series]) -> Codec:
    """Return the codec in its faster form."""
    return Codec(partial(series.encode, fast=True), series.decode)
