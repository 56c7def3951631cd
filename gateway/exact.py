"""JSON that keeps every digit."""

import msgspec

_JSON = msgspec.json.Encoder(decimal_format="number")


def encode(content: object) -> bytes:
    """Return JSON in which a `Decimal` is a number with all of its digits."""
    return _JSON.encode(content)
