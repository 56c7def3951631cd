"""Zstandard at level 19 over differences, with a dictionary of other devices.

The frame has no magic number, checksum, size or dictionary id: both sides know them.
"""

from collections.abc import Sequence

import zstandard

from edge_agent.bench.rivals.codec import Codec
from edge_agent.bench.rivals.deltas import packed, unpacked
from protocols.uplink.series import Series

_LEVEL = 19
_DICTIONARY = 112_640  # bytes at most, as the zstd command trains
_FEWEST = 8  # samples, below which nothing can be trained


def codec(training: Sequence[Series]) -> Codec:
    """Return the codec with a dictionary trained on other series.

    Args:
        training: Messages like those to come; with few there is no dictionary.
    """
    dictionary = _trained([packed(series) for series in training])
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL,
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=0,
        write_checksum=0,
        write_dict_id=0,
    )
    if dictionary is not None:
        dictionary.precompute_compress(compression_params=parameters)
    compressor = zstandard.ZstdCompressor(
        compression_params=parameters, dict_data=dictionary
    )
    decompressor = zstandard.ZstdDecompressor(
        format=zstandard.FORMAT_ZSTD1_MAGICLESS, dict_data=dictionary
    )
    return Codec(
        lambda series: compressor.compress(packed(series)),
        lambda message: unpacked(decompressor.decompressobj().decompress(message)),
    )


def _trained(
    samples: list[bytes | bytearray | memoryview],
) -> zstandard.ZstdCompressionDict | None:
    if len(samples) < _FEWEST:
        return None
    try:
        return zstandard.train_dictionary(_DICTIONARY, samples, level=_LEVEL)
    except zstandard.ZstdError:  # it says so where samples hold too little
        return None
