"""Our decoder beside one in C that was written from the reference alone."""

from hashlib import sha256
from pathlib import Path

from protocols.errors import DecodeError
from protocols.uplink import series
from protocols.uplink.grids import ABSENT

_MESSAGES = Path(__file__).parents[2] / "golden" / "independent.txt"


def _rows(message: bytes) -> str:
    """Return a message's rows as the other decoder prints them, by their digest."""
    try:
        found = series.decode(message)
    except DecodeError:
        return "refused"
    columns = [
        [
            "absent" if power == ABSENT else f"{mantissa},{power}"
            for mantissa, power in zip(
                column.mantissa.tolist(), column.exponent.tolist(), strict=True
            )
        ]
        for column in (found.time, *found.values)
    ]
    lines = (" ".join(row) for row in zip(*columns, strict=True))
    return sha256("\n".join(lines).encode()).hexdigest()[:16]


def test_each_message_says_what_the_reference_says() -> None:
    """Encoder and decoder may share an error; a stranger who read the page does not."""
    lines = _MESSAGES.read_text().splitlines()
    pairs = [line.split() for line in lines]

    found = [_rows(bytes.fromhex(message)) for message, _ in pairs]

    assert found == [rows for _, rows in pairs]
    assert len(pairs) > 200
    assert 50 < found.count("refused") < 100
