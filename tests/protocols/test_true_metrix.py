"""TRUE METRIX commands and clock, against the words of the field notes."""

import pytest

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.vendor.true_metrix import ask_clock, decode_clock, frame


def test_the_sum_of_a_command_includes_its_brackets() -> None:
    """28 + 54 + 29 is A5, as the notes have it."""
    assert ask_clock() == b"(T)A5"
    assert frame(b"~~~~") == b"(~~~~)49"  # 28 + 4 * 7e + 29 is 249


def test_the_clock_begins_with_the_seconds() -> None:
    assert decode_clock(b"593107020326") == DateTime(2026, 3, 2, 7, 31, 59)


@pytest.mark.parametrize(
    ("digits", "fault"),
    [
        (b"", Fault.TRUNCATED),
        (b"59310702032", Fault.TRUNCATED),
        (b"5931070203260", Fault.BAD_LENGTH),
        (b"5931070203 6", Fault.BAD_FIELD),
        (b"-93107020326", Fault.BAD_FIELD),
    ],
)
def test_what_is_no_clock_is_refused(digits: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_clock(digits)

    assert caught.value.fault == fault
