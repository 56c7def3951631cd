"""The codecs that are measured, by name; each is imported when it is asked for."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import cast

from edge_agent.bench.rivals.codec import Codec
from protocols.uplink.series import Series

Maker = Callable[[Sequence[Series]], Codec]
"""Makes a codec that may have learnt from messages of other devices."""

OURS = ("vitalwire", "vitalwire-fast")

_RIVALS = "edge_agent.bench.rivals"
_MAKERS = {
    "vitalwire": "ours:codec",
    "vitalwire-fast": "ours:fast",
    "pcodec": "pcodec:codec",
    "zstd": "zstd:codec",
    "brotli": "brotli:codec",
    "json": "json_text:codec",
    "json-zlib": "json_zlib:codec",
    "cbor": "cbor:codec",
    "senml-cbor": "senml:codec",
    "sparkplug-b": "sparkplug:codec",
    "fhir-json": "fhir:codec",
}

NAMES = tuple(_MAKERS)


def load(name: str) -> Maker:
    """Return what makes a codec.

    Args:
        name: One of `NAMES`.

    Raises:
        ModuleNotFoundError: Its library is not installed.
    """
    module, _, function = _MAKERS[name].partition(":")
    return cast("Maker", getattr(import_module(f"{_RIVALS}.{module}"), function))
