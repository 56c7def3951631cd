"""Readings as they are stored: what is taken in can always be sent."""

from random import Random

import pytest

from edge_agent import records
from protocols.observation import Device, Reading
from protocols.uplink import batch
from protocols.uplink.envelope import MAX_MESSAGE
from tests.edge_agent.filling import reading


def _long(size: int) -> Reading:
    """Return a reading of about ``size`` bytes, with nothing in it to compress."""
    random = Random(1)
    notes = "".join(chr(random.randrange(0x10000, 0x20000)) for _ in range(32 * 256))
    context = tuple((f"{at:02}", notes[at * 256 : at * 256 + 256]) for at in range(32))
    rest = size - 32 * 1024
    raw = [random.randbytes(min(4096, rest - at)) for at in range(0, rest, 4096)]
    return reading(1, context=context, raw=tuple(raw))


def test_a_reading_comes_back_as_it_was_stored() -> None:
    one = _long(40_000)
    assert records.from_record(records.to_record(one)) == one


def test_the_longest_reading_that_is_taken_in_fits_under_any_name() -> None:
    """One that fits only under a short name would stop its station for ever."""
    fits, over = 40_000, 65_536
    while fits + 1 < over:
        size = (fits + over) // 2
        try:
            records.to_record(_long(size))
        except ValueError:
            over = size
        else:
            fits = size
    assert over < 65_536
    with pytest.raises(ValueError, match="is over 65440"):
        records.to_record(_long(over))

    count, message = records.fit(
        "s" * 64, records.MOST_COUNTER, (1 << 63) - 1, [_long(fits)]
    )

    assert count == 1
    assert 65_000 < len(message) <= MAX_MESSAGE
    assert batch.decode(message).readings == (_long(fits),)


def test_readings_of_one_device_stand_together() -> None:
    """Else each would be a group of its own, with all its names."""
    one_device = [reading(n, raw=()) for n in range(64)]
    others = [
        Reading(
            Device(f"other:{n % 2}"),
            one.observation,
            "test",
            "1",
            one.captured_ms,
        )
        for n, one in enumerate(one_device)
    ]
    apart = sorted(others, key=lambda one: one.device.id)

    assert records.fit("s", 1, 1, others) == records.fit("s", 1, 1, apart)


def test_what_fits_not_even_alone_is_an_error() -> None:
    with pytest.raises(ValueError, match="is over 65536"):
        records.fit("s", 1, 1, [_long(65_536), reading(2)])
