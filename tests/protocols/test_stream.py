"""Frames and lines out of streams that are cut, noisy, and broken off.

The frames here are made up: a hash, how many letters follow, the letters, a dot.
"""

from collections.abc import Callable, Iterable
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import DecodeError, Fault
from protocols.stream import Damaged, Frames, Lines

Either: TypeAlias = Frames[bytes] | Lines[bytes]
Maker: TypeAlias = Callable[[], Either]


def _decode(data: bytes) -> bytes:
    if not data.endswith(b"."):
        raise DecodeError("frame", "end", "is no dot", data, len(data), Fault.BAD_FRAME)
    return data[:-1]


def _size(data: bytes) -> int:
    if len(data) < 2:
        return 2
    return data[1] - 0x30 + 3 if b"0" <= data[1:2] <= b"9" else 0


def frames() -> Frames[bytes]:
    return Frames(b"#", _size, _decode)


def two_start_bytes() -> Frames[bytes]:
    return Frames(b"##", lambda data: _size(data[1:]) + 1, _decode)


def no_start() -> Frames[bytes]:
    return Frames(b"", lambda _: 1, bytes)


def lines() -> Lines[bytes]:
    return Lines(b"\r\n", lambda line: _decode(line[:-2]), most=12)


MAKERS: list[Maker] = [frames, two_start_bytes, no_start, lines]
STREAMS = st.lists(
    st.sampled_from(
        [
            *(b"#2ab.", b"##2ab.", b"#0.", b"#", b"#9", b"#9#2ab.", b"x", b"#2ab!"),
            *(b"ab.\r\n", b"\r", b"\n", b"\r\n", b"\0" * 13, b"abcdefghijk.\r\n"),
        ]
    ),
    max_size=20,
).map(b"".join)


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def fed(decoder: Either, pieces: Iterable[bytes]) -> list[bytes | Damaged]:
    return [event for piece in pieces for event in decoder.feed(piece)]


def messages(events: list[bytes | Damaged]) -> list[bytes]:
    return [event for event in events if isinstance(event, bytes)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"#2ab.", [b"#2ab"]),
        (b"#2ab.#0.", [b"#2ab", b"#0"]),
        (b"x\xff#2ab.", [Damaged(b"x\xff", "noise"), b"#2ab"]),
        (b"#x#0.", [Damaged(b"#", Fault.BAD_FRAME), Damaged(b"x", "noise"), b"#0"]),
        (b"#2ab", []),
        (b"", []),
    ],
)
def test_a_frame_comes_out_and_what_is_none_is_damaged(
    stream: bytes, events: list[bytes | Damaged]
) -> None:
    """The agent counts damage: a failing cable is seen before it is silent."""
    assert frames().feed(stream) == events


def test_a_frame_is_found_inside_one_that_is_damaged() -> None:
    """A frame whose end was lost must not take the next one with it."""
    events = frames().feed(b"#4ab#2cd.")

    assert messages(events) == [b"#2cd"]
    assert events[0] == Damaged(b"#", Fault.BAD_FRAME)


def test_a_stray_start_holds_back_what_follows_until_it_is_given_up() -> None:
    """One flipped bit in a length would else cost the answer behind it."""
    decoder = frames()
    assert decoder.feed(b"#9#2ab.") == []

    assert decoder.resync() == [
        Damaged(b"#", "given up"),
        Damaged(b"9", "noise"),
        b"#2ab",
    ]
    assert decoder.resync() == []


def test_a_start_of_two_bytes_may_come_in_two_pieces() -> None:
    """Its first byte alone must not be thrown away as noise."""
    decoder = two_start_bytes()

    assert decoder.feed(b"x#") == [Damaged(b"x", "noise")]
    assert decoder.feed(b"#1a.") == [b"##1a"]


def test_half_a_start_that_never_goes_on_is_given_up() -> None:
    """It would else be waited for at every question."""
    decoder = two_start_bytes()
    decoder.feed(b"#")

    assert decoder.resync() == [Damaged(b"#", "given up")]


def test_what_has_no_start_is_taken_from_the_first_byte_on() -> None:
    """Protocols of single control bytes have no start to look for."""
    assert no_start().feed(b"ab") == [b"a", b"b"]


def test_a_mistake_of_the_codec_is_not_taken_for_damage() -> None:
    """Only `DecodeError` is the peer's fault; ours must be seen."""

    def broken(_: bytes) -> bytes:
        raise IndexError

    with pytest.raises(IndexError):
        Frames(b"#", _size, broken).feed(b"#0.")


def test_much_at_once_is_not_copied_once_for_every_byte() -> None:
    """A port that hands over 64 kB of start bytes must not stop the station.

    Each byte may be looked at as often as the longest piece, not as the whole.
    """
    looked = 0

    def size(data: bytes) -> int:
        nonlocal looked
        looked += len(data)
        return 0

    events = Frames(b"#", size, _decode).feed(b"#" * 64_000)

    assert len(events) == 64_000
    assert looked < 64_000 * 300


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"ab.\r\n", [b"ab"]),
        (b"ab.\r\nc.\r\n", [b"ab", b"c"]),
        (b"ab\r\nc.\r\n", [Damaged(b"ab\r\n", Fault.BAD_FRAME), b"c"]),
        (b"abcdefghi.\r\n", [b"abcdefghi"]),
        (b"abcdefghij.\r\nc.\r\n", [Damaged(b"abcdefghij.\r\n", "too long"), b"c"]),
        (b"ab.\r", []),
    ],
)
def test_a_line_comes_out_and_what_is_none_is_damaged(
    stream: bytes, events: list[bytes | Damaged]
) -> None:
    """As for frames; a line of 12 bytes with its end is the longest here."""
    assert lines().feed(stream) == events


@pytest.mark.parametrize("pieces", [bytewise, lambda data: [data]])
def test_the_end_of_a_line_that_is_too_long_is_no_line(
    pieces: Callable[[bytes], list[bytes]],
) -> None:
    """Given up in its middle, its last bytes would pass for a line of their own.

    Whether they did would depend on how the port bundles bytes.
    """
    stream = b"0123456789abc" + b"1.\r\n" + b"2.\r\n"
    events = fed(lines(), pieces(stream))

    assert messages(events) == [b"2"]
    lost = b"".join(event.data for event in events if isinstance(event, Damaged))
    assert lost == b"0123456789abc1.\r\n"


def test_a_line_that_is_given_up_leaves_nothing_behind() -> None:
    """The next answer begins anew, whatever was broken off before it."""
    decoder = lines()
    decoder.feed(b"x" * 20)
    decoder.resync()

    assert decoder.feed(b"ab.\r\n") == [b"ab"]
    assert decoder.resync() == []


@pytest.mark.parametrize("make", MAKERS)
@given(stream=STREAMS, cuts=st.lists(st.integers(1, 9), max_size=60))
def test_messages_do_not_depend_on_how_the_bytes_are_cut(
    make: Maker, stream: bytes, cuts: list[int]
) -> None:
    """A serial port, or a radio, may bundle bytes in any way."""
    pieces, rest = [], stream
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    whole, parts, single = make(), make(), make()

    expected = messages(whole.feed(stream))

    assert messages(fed(parts, [*pieces, rest])) == expected
    assert messages(fed(single, bytewise(stream))) == expected


@pytest.mark.parametrize("make", [frames, two_start_bytes])
@given(stream=STREAMS)
def test_no_byte_is_lost_in_silence(make: Maker, stream: bytes) -> None:
    """Messages and damage together are the stream, in its order."""
    decoder = make()
    events = fed(decoder, bytewise(stream))
    while more := decoder.resync():
        events += more

    told = [e.data if isinstance(e, Damaged) else e + b"." for e in events]
    assert b"".join(told) == stream


@given(stream=STREAMS)
def test_no_byte_of_a_line_is_lost_in_silence(stream: bytes) -> None:
    """As for frames."""
    decoder = lines()
    events = [*fed(decoder, bytewise(stream)), *decoder.resync()]

    told = [e.data if isinstance(e, Damaged) else e + b".\r\n" for e in events]
    assert b"".join(told) == stream


@pytest.mark.parametrize(
    ("make", "most"), [(frames, 11), (two_start_bytes, 12), (lines, 12)]
)
@given(stream=STREAMS)
def test_no_more_is_kept_than_the_longest_message(
    make: Maker, most: int, stream: bytes
) -> None:
    """A device that never stops must not fill the station's memory."""
    decoder = make()
    for piece in bytewise(stream * 3):
        decoder.feed(piece)
        assert len(decoder._buffer) <= most
