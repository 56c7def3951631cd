"""What is measured: a way to make a message of a series, and back."""

from collections.abc import Callable
from typing import NamedTuple

from protocols.uplink.series import Series


class CannotHold(Exception):
    """The format has no place for something of a series; the text says for what."""


class Codec(NamedTuple):
    """A way to make a message of a series, and back.

    Attributes:
        encode: Raises `CannotHold`.
        decode: Of what ``encode`` made.
    """

    encode: Callable[[Series], bytes]
    decode: Callable[[bytes], Series]
