"""What is known of columns before the first number: the trained models, as data.

Each file of ``priors/`` is CBOR: [parameters, weights, chances, counts], the last three
zlib-compressed; ``scripts/train_priors.py`` makes them and says from which series.
A message says by number which it was made with, and its check covers `STAMP`, so that
no message is ever read with other models than its own.
"""

import zlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import cbor2
import numpy as np
from numpy.typing import NDArray

from protocols.uplink.rangecoder import SQUASH

I8 = NDArray[np.int64]
I4 = NDArray[np.int32]

# Numbers in messages never change their meaning; new ones are added at the end.
CLOCKS = ("clock-even", "clock-regular", "clock-jittery", "clock-any")
PROFILES = (
    "cgm",
    "cgm-smooth",
    "cgm-mmol",
    "glucose",
    "glucose-mmol",
    "systolic",
    "diastolic",
    "mean-pressure",
    "pulse",
    "cuff",
    "arterial",
    "any",
)
ANY, ANY_CLOCK = PROFILES.index("any"), CLOCKS.index("clock-any")
STAMP = bytes.fromhex("6e89ff49")
"""CRC-32 of all constants and models; a test keeps it true."""

_STEP = 24  # of a chance as it is kept, in the logistic domain


class Prior(NamedTuple):
    """A model before its first number.

    Attributes:
        parameters: What `values` is told, shape (`PROFILE`,); empty for a clock.
        model: Weights and slots, as `learnt` wants them.
    """

    parameters: I8
    model: I4


@cache
def tables() -> I8:
    """Return the constants of the range coder, shape (`TABLES`,)."""
    return np.frombuffer(zlib.decompress(_read("tables")), "<i4").astype(np.int64)


@cache
def table_list() -> list[int]:
    """Return the same, for plain kernels."""
    found: list[int] = tables().tolist()
    return found


@cache
def prior(name: str) -> Prior:
    """Return the model ``name``, one of `CLOCKS` (but the first) or `PROFILES`."""
    parameters, weights, chances, counts = cbor2.loads(_read(name))
    place = np.frombuffer(zlib.decompress(chances), np.uint8).astype(np.int64)
    chance = tables()[SQUASH + 3072 + (place - 128) * _STEP] * 32
    count = np.frombuffer(zlib.decompress(counts), np.uint8)
    slots = (chance << 10 | count).astype(np.int32)
    mixture = np.frombuffer(zlib.decompress(weights), "<i4").astype(np.int32)
    return Prior(np.array(parameters, np.int64), np.concatenate([mixture, slots]))


def stamp() -> bytes:
    """Return what `STAMP` must be."""
    found = zlib.crc32(tables().tobytes())
    for name in CLOCKS[1:] + PROFILES:
        for part in prior(name):
            found = zlib.crc32(part.tobytes(), found)
    return found.to_bytes(4, "big")


def _read(name: str) -> bytes:
    return files("protocols.uplink").joinpath("priors", name).read_bytes()
