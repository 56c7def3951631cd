"""What is known of columns before the first number: the trained models, as data.

Each file of ``priors/`` is CBOR: [parameters, weights, chances, counts], the last three
zlib-compressed; ``scripts/train_priors.py`` makes them and says from which series, and
``scripts/train_second_set.py`` those of the second set. A message says by number which
it was made with, and its check covers the stamp of their set, so that no message is
ever read with other models than its own.
"""

import zlib
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import cbor2
import numpy as np
from numpy.typing import NDArray

from protocols.uplink import times, values
from protocols.uplink.heading import ANY_CLOCK, CLOCKS, KINDS, PROFILES
from protocols.uplink.rangecoder import SQUASH

I8 = NDArray[np.int64]
I4 = NDArray[np.int32]

_STEP = 24  # of a chance as it is kept, in the logistic domain
_SECOND = ("systolic", "diastolic", "mean-pressure", "pulse", "cuff")


class Models(NamedTuple):
    """The models that the numbers in a message stand for.

    Attributes:
        stamp: CRC-32 of all constants and models of it; a test keeps it true.
        clocks: The name of each clock's model; the first has none.
        profiles: The name of each profile's model.
    """

    stamp: bytes
    clocks: tuple[str, ...]
    profiles: tuple[str, ...]


SETS = (
    Models(bytes.fromhex("6e89ff49"), CLOCKS, PROFILES),
    Models(
        bytes.fromhex("b30a2b1d"),
        (*CLOCKS[:ANY_CLOCK], "clock-any-2"),
        tuple(f"{name}-2" if name in _SECOND else name for name in PROFILES),
    ),
)
"""All sets there ever were. They differ in what is measured now and then, and cuffs."""


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


class Loaded(NamedTuple):
    """The models of a set, as far as they were asked for; zeros where they were not.

    Attributes:
        parameters: Of each profile, shape (`KINDS`, `PROFILE`).
        profiles: Shape (`KINDS`, `values.MODEL`).
        clocks: Shape (clocks, `times.MODEL`).
    """

    parameters: I8
    profiles: I4
    clocks: I4


_held: dict[bytes, int] = {}  # by a set's stamp, which of its models are filled


# Pages of zeros that nobody wrote to take no memory.
_ROOM = {
    models.stamp: Loaded(
        np.zeros((KINDS, values.PROFILE), np.int64),
        np.zeros((KINDS, values.MODEL), np.int32),
        np.zeros((len(CLOCKS), times.MODEL), np.int32),
    )
    for models in SETS
}


def loaded(models: Models, wanted: int) -> Loaded:
    """Return the models of a set, to be read only.

    Args:
        models: The set.
        wanted: Which of its models are needed, as `heading` says it.
    """
    room = _ROOM[models.stamp]
    missing = wanted & ~_held.get(models.stamp, 0)
    if missing:
        for place, name in enumerate((*models.profiles, *models.clocks)):
            if missing >> place & 1:
                found = prior(name)
                if place < KINDS:
                    room.parameters[place] = found.parameters
                    room.profiles[place] = found.model
                else:
                    room.clocks[place - KINDS] = found.model
        # Two threads at once write the same, and at worst one of them once more.
        _held[models.stamp] = _held.get(models.stamp, 0) | missing
    return room


def viewed(models: Loaded) -> Any:  # noqa: ANN401 - no arrays
    """Return models for plain kernels, which are slow on arrays."""
    return Loaded(
        models.parameters.tolist(),
        [memoryview(each) for each in models.profiles],  # type: ignore[arg-type]
        [memoryview(each) for each in models.clocks],  # type: ignore[arg-type]
    )


def prior(name: str) -> Prior:
    """Return the model ``name``, one of a set's clocks (but the first) or profiles."""
    parameters, weights, chances, counts = cbor2.loads(_read(name))
    place = np.frombuffer(zlib.decompress(chances), np.uint8).astype(np.int64)
    chance = tables()[SQUASH + 3072 + (place - 128) * _STEP] * 32
    count = np.frombuffer(zlib.decompress(counts), np.uint8)
    slots = (chance << 10 | count).astype(np.int32)
    mixture = np.frombuffer(zlib.decompress(weights), "<i4").astype(np.int32)
    return Prior(np.array(parameters, np.int64), np.concatenate([mixture, slots]))


def stamp(models: Models) -> bytes:
    """Return what the stamp of ``models`` must be."""
    found = zlib.crc32(tables().tobytes())
    for name in models.clocks[1:] + models.profiles:
        for part in prior(name):
            found = zlib.crc32(part.tobytes(), found)
    return found.to_bytes(4, "big")


def _read(name: str) -> bytes:
    return files("protocols.uplink").joinpath("priors", name).read_bytes()
