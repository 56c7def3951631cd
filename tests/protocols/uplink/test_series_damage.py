"""Whatever bytes come, a series or a DecodeError comes out of them, and soon.

Compiled kernels look at no index, so a body that leads one outside its array would
read, or write, the memory beside.
"""

import json
import random
import time
import tracemalloc
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cbor2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.errors import DecodeError
from protocols.uplink import plain
from protocols.uplink import series as series_module
from protocols.uplink.heading import COLUMNS, PERIOD, ROWS, SCALES, START, heading
from protocols.uplink.rangecoder import WRITE
from protocols.uplink.room import room
from protocols.uplink.series import MAX_COLUMNS, MAX_ROWS, Series, decode, encode
from tests.protocols.uplink.bounds import SLOW_ROWS, Bounded, Checked, checked
from tests.protocols.uplink.some_series import (
    TIMES,
    VALUES,
    few_rows,
    form,
    made,
    same,
    sealed,
    series,
)

_PRESSURES = next(
    bytes.fromhex(each["hex"])
    for each in json.loads(
        (Path(__file__).parents[2] / "golden" / "series.json").read_text()
    )
    if each["name"] == "pressures of a worn cuff"
)
"""A message of the second set of models."""


@cache
def _messages() -> list[bytes]:
    """Return messages of every form: with each kind of value and of time."""
    times = sorted(TIMES)
    with form("compiled"):
        return [
            encode(made(at, rows, times[at % len(times)], [kind, "walk"]), fast=fast)
            for at, kind in enumerate(VALUES)
            for rows in (1, 2, 20)
            for fast in (False, True)
        ]


def _bodies() -> list[bytes]:
    return [message[: -1 if len(message) <= 12 else -2] for message in _messages()]


def _changed(rng: random.Random) -> bytes:
    """Return a body as no encoder makes one."""
    body = bytearray(rng.choice(_bodies()))
    for _ in range(rng.choice([0, 1, 1, 1, 2, 5])):
        at = rng.randrange(len(body) + 1)
        match rng.randrange(5):
            case 0:
                body[at : at + 1] = rng.choice([b"\0", b"\xff", b"\x7f", b"\x80"])
            case 1:
                body[at : at + 1] = bytes([rng.randrange(256)])
            case 2:
                body[at:at] = rng.randbytes(rng.choice([1, 2, 9]))
            case 3:
                del body[at : at + rng.choice([1, 2, 9])]
            case _:
                del body[at:]
    return bytes(body)


def _hostile(seed: int, count: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    for turn in range(count):
        match turn % 4:
            case 0:
                yield bytes([rng.choice([0xFE, 0xFF])]) + rng.randbytes(
                    rng.randrange(40)
                )
            case 1:
                yield rng.randbytes(rng.randrange(40))
            case _:
                yield _changed(rng)


def _outcome(message: bytes) -> Series | str:
    try:
        return decode(message)
    except DecodeError as error:
        return str(error)


def _is_one(message: bytes) -> bool:
    """Whether a message holds a series, which then survives like any other."""
    found = _outcome(message)
    if isinstance(found, Series):
        assert same(decode(encode(found)), found)
        assert same(decode(encode(found, fast=True)), found)
    return isinstance(found, Series)


@pytest.mark.parametrize("change", ["flipped", "cut", "longer"])
def test_every_damage_to_a_message_is_noticed(change: str) -> None:
    """A reading of damaged bytes would be somebody's wrong reading."""
    rng, count, passed = random.Random(1), 0, 0
    with form("compiled"):
        for message in [*_messages()[::3], _PRESSURES]:
            if change == "flipped":
                number = int.from_bytes(message, "big")
                wrong = [
                    (number ^ 1 << place).to_bytes(len(message), "big")
                    for place in range(8 * len(message))
                ]
            elif change == "cut":
                wrong = [message[:size] for size in range(len(message))]
            else:
                wrong = [message + rng.randbytes(size) for size in range(1, 9)]
                wrong += [message + bytes(size) for size in range(1, 9)]
            count += len(wrong)
            passed += sum(isinstance(_outcome(each), Series) for each in wrong)
    # Of short messages cut or made longer, a check of 8 bits lets pass one in 256.
    assert passed <= (0 if change == "flipped" else count / 256)


def test_random_bytes_are_no_series() -> None:
    rng = random.Random(2)
    with form("compiled"):
        for size in range(200):
            _outcome(rng.randbytes(size))


def test_no_bytes_are_no_series() -> None:
    with pytest.raises(DecodeError, match="'check' is not that of these bytes"):
        decode(b"")


def test_whatever_body_has_a_right_check_is_a_series_or_refused() -> None:
    """A check of two bytes is no seal: anybody can compute it."""
    with form("compiled"):
        found = [_is_one(sealed(body)) for body in _hostile(3, 3000)]
    assert sum(found) > 100  # whole ones, and some that came out as others


def test_plain_and_compiled_kernels_agree_on_whatever_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(series_module, "MAX_ROWS", SLOW_ROWS)
    for body in _hostile(4, 1000):
        message = sealed(body)
        with form("plain"):
            plain_one = _outcome(message)
        with form("compiled"):
            other = _outcome(message)
        if isinstance(plain_one, Series) and isinstance(other, Series):
            assert same(plain_one, other)
        else:
            assert plain_one == other


def test_no_body_leads_a_kernel_outside_its_arrays() -> None:
    """Compiled it would read the memory beside, or write to it."""
    with checked():
        for body in _hostile(5, 300):
            _outcome(sealed(body))


@given(few_rows() | series((1, 2, 17), columns=2), st.booleans())
@example(made(1, 17, "far jumps", ["sawtooth", "ends"]), False)
@settings(max_examples=60, deadline=None)
def test_no_series_leads_a_kernel_outside_its_arrays(
    given_: Series, fast: bool
) -> None:
    with checked():
        assert same(decode(encode(given_, fast=fast)), given_)


def test_the_bounds_are_looked_at() -> None:
    """A check that looks at nothing would find nothing."""
    with pytest.raises(AssertionError, match="is outside"):
        Bounded([1])[-1]
    with pytest.raises(AssertionError, match="too wide"):
        Bounded([1], 31)[0] = 1 << 31
    with pytest.raises(AssertionError, match="no int64"):
        _ = (1 << 40) * Checked(1 << 40)


@pytest.mark.parametrize("row", [1, 5, 9])
def test_a_patch_far_beyond_the_rows_is_refused(row: int) -> None:
    """Its row would come out below 0 in 64 bits, and be written to."""
    patches = bytes([row, 1]) + b"\xff" * 8 + b"\x7f\x01"
    columns = bytes(4) + b"\x00\x00\x00\x02" + patches
    with form("compiled"), pytest.raises(DecodeError, match="it is damaged"):
        decode(sealed(b"\xfe\x0a\x01\x00\x00" + columns))


@pytest.mark.parametrize("start", [-(1 << 47), 1 << 47, (1 << 63) - 1])
def test_a_time_that_no_encoder_writes_is_refused(start: int) -> None:
    """Those after it would come out below 0 in 64 bits."""
    with form("compiled"):
        place = room(heading)
        code = np.zeros(99, np.uint8)
        place.fields[: SCALES + 8] = [0] * (SCALES + 8)
        place.fields[ROWS], place.fields[COLUMNS] = 2, 1
        place.fields[PERIOD], place.fields[START] = 300, start
        place.run(heading, WRITE, 99, place.fields, place.coder, code, place.tables)
        body = bytes(code).rstrip(b"\0") + b"\x80"
        with pytest.raises(DecodeError, match="a time is out of range"):
            decode(sealed(body))


def test_few_bytes_that_claim_the_longest_series_cost_little() -> None:
    """Ten bytes from a stranger must not stop a gateway."""
    heads = [b"\xfe" + bytes([0x90, 0x4E, MAX_COLUMNS]) + bytes(MAX_COLUMNS + 1)]
    heads += [head + bytes(4 * (MAX_COLUMNS + 1)) for head in heads]
    with form("compiled"):
        longest = encode(made(1, MAX_ROWS, "jitter", ["constant"] * MAX_COLUMNS))
        heads += [longest[:size] for size in (4, 8, 16, 64, 256)]
        tracemalloc.start()
        start = time.process_time()
        for head in heads:
            _outcome(sealed(head))
        seconds = time.process_time() - start
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert seconds < 20
    assert most < 100 * MAX_ROWS * MAX_COLUMNS


_SHARED = b"\xd8\x1c", b"\xd8\x1d\x00"  # tags 28 and 29: a value said once more


@pytest.mark.parametrize(
    "item",
    [
        [],
        [1],
        0,
        {},
        [[1], [2.0]],
        [[1], [True]],
        [[1], [1 << 64]],
        [[1], [None]],
        [[1]],
        [[1], [1, 2]],
        [[1], [-128, [5]]],
        [[1, 2, 3, 4], [[-1, -1, -1, -128], [1, 2, 3, 5]]],
        [[1], [[0], [1, 2]]],
        [[1], [200, [1]]],
        [[1], [2, [[1]]]],
        [[]] * 2,
        [[1]] * (MAX_COLUMNS + 2),
        [0, 1, 2],
        [3, 1, 2],
        [2, 1, 2, 3],
        [MAX_COLUMNS + 2, *range(MAX_COLUMNS + 2)],
        [2, 1, cbor2.CBORTag(4, [1])],
        [2, 1, cbor2.CBORTag(4, [1, 2, 3])],
        [2, 1, cbor2.CBORTag(4, [10**18, 1])],
        [2, 1, cbor2.CBORTag(5, [1, 1])],
        [2, 1, cbor2.CBORTag(0, "2020")],
        [2, 1, "a"],
        [list(range(MAX_ROWS + 1))] * 2,
    ],
)
def test_cbor_that_is_no_series_is_refused(item: object) -> None:
    with pytest.raises(DecodeError, match="is no series"):
        decode(sealed(b"\xff" + cbor2.dumps(item)))


@pytest.mark.parametrize(
    "cbor",
    [
        b"\x9f\x81\x01\x81\x02\xff",  # without a length
        b"\x82\x81\x18\x01\x81\x02",  # longer than need be
        b"\x82\x81\x01\x81\x02\x00",  # and one byte more
        b"\x82\x82\x00\x81\x01\x81\x02",  # a power that says nothing
        b"\x9b" + b"\xff" * 8,  # an array of 2^64 - 1
        b"\x81" * 60_000,
        b"\xc4" * 60_000,
        b"\x82\x02\xc2\x5a\x7f\xff\xff\xff",
        b"\x82" + _SHARED[0] + b"\x81" + _SHARED[1] + b"\x80",
        b"\x99\x4e\x20" + _SHARED[0] + b"\x99\x27\x10" + b"\x00" * 10_000
        + _SHARED[1] * 19_999,
    ],
)  # fmt: skip
def test_cbor_as_no_encoder_writes_it_is_refused(cbor: bytes) -> None:
    """Two spellings of one series would be two batches."""
    start = time.process_time()
    with pytest.raises(DecodeError, match="is no series"):
        decode(sealed(b"\xff" + cbor))
    assert time.process_time() - start < 2


def test_what_cbor_needs_at_least_is_never_more_than_it_takes() -> None:
    """What is shorter than the least is sent without a look at CBOR."""
    for kind in VALUES:
        given_ = made(1, 30, "jitter", [kind])
        decimals = [given_.time, *given_.values]
        mantissas = np.array([mantissa for mantissa, _ in decimals])
        assert plain.least(mantissas) < len(plain.encode(decimals))


def test_a_message_of_a_later_version_is_refused() -> None:
    for first in range(0xF8, 0xFE):
        with pytest.raises(DecodeError, match="is no series"):
            decode(sealed(bytes([first]) + bytes(np.arange(20, dtype=np.uint8))))
