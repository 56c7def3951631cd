"""Every decoder against bytes that are nearly right, thousands of them.

A device's radio and cable deliver such bytes every day, and anybody near a station
can send worse. `make fuzz` does the same with a million each.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import pytest

from protocols import kinds
from protocols.errors import DecodeError
from protocols.stream import Damaged, Frames
from tests.protocols import fuzzing
from tests.protocols.fuzzing import Outcome
from tests.protocols.mutations import Mutator, vectors

_SEED = 11073
_PAYLOADS = 20_000  # of each kind, shown by each combination of its options
_STREAMS = 1_500  # of each stream decoder, each cut in several ways

_JOBS: dict[str, Callable[[str], list[Outcome]]] = {
    "test_what_a_kind_cannot_show_it_refuses": partial(
        fuzzing.fuzz_kind, count=_PAYLOADS, seed=_SEED
    ),
    "test_a_stream_gives_the_same_messages_however_it_is_cut": partial(
        fuzzing.fuzz_stream, count=_STREAMS, seed=_SEED
    ),
    "test_what_is_long_and_vicious_costs_no_more_than_its_length": fuzzing.check_growth,
}

Found = Callable[[str], list[Outcome]]


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> Iterator[dict[str, Future]]:
    """Do what the selected tests will ask for, side by side."""
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        yield {
            item.nodeid: pool.submit(
                _JOBS[item.originalname], item.callspec.params["name"]
            )
            for item in request.session.items
            if item.path == request.path and item.originalname in _JOBS
        }
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def outcomes(
    request: pytest.FixtureRequest, results: dict[str, Future]
) -> list[Outcome]:
    """Return what came of this test's job."""
    return results[request.node.nodeid].result()


@pytest.mark.parametrize("name", kinds.kinds())
def test_what_a_kind_cannot_show_it_refuses(name: str, outcomes: list[Outcome]) -> None:
    """Another exception than `DecodeError` would stop a device for good."""
    assert [finding for outcome in outcomes for finding in outcome.findings] == []
    assert len(outcomes) == len(fuzzing.ways(name))
    for outcome in outcomes:
        assert outcome.refused + outcome.shown == outcome.executions == _PAYLOADS


@pytest.mark.parametrize("name", fuzzing.decoders())
def test_a_stream_gives_the_same_messages_however_it_is_cut(
    name: str, outcomes: list[Outcome]
) -> None:
    """A reading must not depend on how a cable's driver bundles its bytes.

    Nothing is raised, no byte is lost in silence, and what comes behind damage is
    found.
    """
    assert fuzzing.goldens(name)
    assert outcomes[0].findings == []
    assert outcomes[0].executions == _STREAMS
    assert outcomes[0].shown > 0


@pytest.mark.parametrize("name", [*kinds.kinds(), *fuzzing.decoders()])
def test_what_is_long_and_vicious_costs_no_more_than_its_length(
    name: str, outcomes: list[Outcome]
) -> None:
    """One device that sends 64 kB of traps must not hold up all others."""
    assert fuzzing.vectors().get(name) or fuzzing.goldens(name)
    assert outcomes[0].findings == []
    assert outcomes[0].executions > 4


def test_every_decoder_that_a_stream_needs_is_found() -> None:
    """A decoder that nobody lists would be fuzzed by nobody."""
    found = fuzzing.decoders()

    assert {"vendor.lifescan.decoder", "vendor.lifescan_ultra2.Decoder"} <= {*found}
    assert not [name for name in found if name.startswith("stream.")]


def test_changes_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    """A finding in CI must be one at the desk."""
    seeds = vectors()["lifescan.frame"]

    def made(seed: int) -> list[bytes]:
        mutator = Mutator(seeds, fuzzing.Random(seed))
        return [mutator.make() for _ in range(500)]

    assert made(1) == made(1) != made(2)


def test_some_changed_frames_have_their_checksum_right() -> None:
    """A checksum would else keep every change from what stands behind it."""
    outcome = fuzzing.fuzz_kind("lifescan.frame", 2_000, 1)[0]

    assert outcome.shown > 200
    assert outcome.refused > 200


def _raises(problem: Exception) -> Callable[..., kinds.Shown]:
    def show(_: bytes) -> kinds.Shown:
        raise problem

    return show


@pytest.mark.parametrize(
    ("show", "told"),
    [
        (_raises(IndexError("no such byte")), "IndexError: no such byte"),
        (_raises(DecodeError("x", "f", "p", b"other", 0)), "is about b'other'"),
        (_raises(DecodeError("x", "f", "p", b"data", 5)), "is at 5"),
        (lambda _: {"value": object()}, "is no JSON: TypeError"),
        (lambda _: {"value": float("nan")}, "is no JSON: ValueError"),
    ],
)
def test_a_kind_that_misbehaves_is_found(
    show: Callable[..., kinds.Shown], told: str
) -> None:
    """A judge that finds nothing in the worst would find nothing anywhere."""
    outcome = Outcome("worst")

    fuzzing._judge(show, b"data", {}, outcome)

    assert len(outcome.findings) == 1
    assert told in outcome.findings[0]
    assert "[64617461]" in outcome.findings[0]


def _forgetful() -> Frames[bytes]:
    """Return a decoder that drops damage in silence."""
    made = Frames(b"\x02", lambda data: len(data) and 3, bytes)
    plain = made.feed
    made.feed = lambda data: [  # type: ignore[method-assign]
        event for event in plain(data) if not isinstance(event, Damaged)
    ]
    return made


def _bundled() -> Frames[bytes]:
    """Return a decoder whose frame is all that came at once."""
    return Frames(b"\x02", len, bytes)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (_forgetful, "of its bytes come out"),
        (_bundled, "in pieces"),
        (lambda: Frames(b"\x02", lambda _: 1 << 20, bytes), "behind it"),
        (lambda: Frames(b"\x02", lambda data: data[9], bytes), "IndexError"),
    ],
)
def test_a_stream_decoder_that_misbehaves_is_found(
    make: Callable[[], Frames[bytes]], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a kind: what is lost in silence must not be lost on this judge too."""
    monkeypatch.setattr(fuzzing, "decoders", lambda: {"worst": make})
    monkeypatch.setattr(fuzzing, "goldens", lambda _: (b"\x02ab", b"\x02cd"))

    outcome = fuzzing.fuzz_stream("worst", 200, 1)[0]

    assert any(told in finding for finding in outcome.findings)
