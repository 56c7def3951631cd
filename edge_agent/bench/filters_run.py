"""Measures how fast the station's filters are, and what they find, on one file."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any, TypeAlias

import numpy as np

from edge_agent import series_file
from edge_agent.bench.warming import warmed
from edge_agent.kernels.biquad import Biquad, low_pass
from edge_agent.kernels.hampel import Hampel
from edge_agent.kernels.rate import RateGate
from edge_agent.kernels.streams import F8, I8, MOST_TIME, U1
from protocols.config import ConfigError

Row: TypeAlias = dict[str, Any]
Timed: TypeAlias = tuple[str, int, Callable[[], object]]
"""Who, on how many samples, and what is done with them."""

_OURS = "vitalwire"
_GAP_MS = 20 * 60_000
_PER_MINUTE = 5.0
_WINDOWS = 7, 11, 31
_SLOW = 1_000  # samples for a rival that takes microseconds for each
_SPIKES = 0.005  # share of the values that become spikes
_LEAST_SPIKE, _MOST_SPIKE = 40.0, 150.0
# Of Hampel's filter: window, ahead, least sigma. The second is what the agent does.
_HAMPELS = (7, 3, 2.0), (5, 0, 12.0), (7, 0, 2.0)


def measure(path: Path, *, missing: Sequence[float], rounds: int) -> Row:
    """Measure the filters on a file.

    Args:
        path: The file, as of a glucose sensor.
        missing: Values that stand for none.
        rounds: How often each is timed; the median counts.

    Returns:
        "file"; "kernels", which form of ours was measured; and "results". Of speed
        these have "filter", "by", "ns_per_sample", "times_ours", "samples". Of what is
        found "filter", "judged" (share of all values), "flagged" (of those judged),
        "recall" (of the spikes among them), "spikes"; a share of none is None.

    Raises:
        ConfigError: The file can't be read as series.
        OSError: It can't be opened.
    """
    times, values = _stream(path)
    values[np.isin(values, missing)] = np.nan
    if np.isnan(values).all():
        raise ConfigError(f"{path}: there is no value to judge")
    form = warmed()
    results = [*_speeds(times, values, rounds), *_findings(times, values)]
    return {"file": str(path), "kernels": form, "results": results}


def _stream(path: Path) -> tuple[I8, F8]:
    """Return the times in ms and the values of all devices, one behind the other."""
    file = series_file.read(path)
    read = file.devices.values()
    shown = [np.rint(series_file.floats(one.time) * 1000) for one in read]
    for before, behind in pairwise(shown):
        # No clock goes forward from one device to the next: nothing is judged across.
        behind[:] -= max(behind[0] - before[-1], 0.0)
    stream = np.concatenate(shown)
    far = np.flatnonzero(abs(stream) >= MOST_TIME)
    if far.size:
        line = np.concatenate([*file.lines.values()])[far[0]]
        raise ConfigError(f"{path}: line {line}: the time is beyond 2^53 ms")
    values = np.concatenate([series_file.floats(one.values[0]) for one in read])
    return stream.astype(np.int64), values


def hampel(window: int, ahead: int, least_sigma: float) -> Hampel:
    """Return Hampel's filter for glucose sensors."""
    return Hampel(
        window,
        ahead=ahead,
        sigmas=3.0,
        least_sigma=least_sigma,
        most_gap_ms=_GAP_MS,
    )


def _gate() -> RateGate:
    return RateGate(_PER_MINUTE, most_gap_ms=_GAP_MS)


def _speeds(times: I8, values: F8, rounds: int) -> Iterator[Row]:
    ours: Timed = _OURS, values.size, lambda: _gate().flag(times, values)
    yield from _race("rate gate", [ours, *_gates(times, values)], rounds)
    for window in _WINDOWS:
        flag = hampel(window, window // 2, 2.0).flag
        run: Callable[[], object] = partial(flag, times, values)
        contest = [(_OURS, values.size, run), *_hampels(values, window)]
        yield from _race(f"hampel, window {window}", contest, rounds)
    numbers = values[~np.isnan(values)]
    section = low_pass(10, 200)
    ours = _OURS, numbers.size, lambda: Biquad(section).filter(numbers)
    yield from _race("biquad", [ours, *_biquads(numbers, section)], rounds)


def _gates(times: I8, values: F8) -> Iterator[Timed]:
    if find_spec("pandas"):
        import pandas as pd  # noqa: PLC0415 - only if it is installed

        frame = pd.DataFrame({"time": times, "value": values})

        def flag() -> object:
            steps = frame.diff()
            passed = steps["time"]
            fast = steps["value"].abs() * 60_000 > _PER_MINUTE * passed.clip(60_000)
            return fast & (passed > 0) & (passed <= _GAP_MS)

        yield "pandas, diff", values.size, flag


def _hampels(values: F8, window: int) -> Iterator[Timed]:
    if find_spec("pandas"):
        import pandas as pd  # noqa: PLC0415 - only if it is installed

        series = pd.Series(values)

        def flag() -> object:
            # The usual recipe: two rolling medians, the second nearly Hampel's.
            middle = series.rolling(window, center=True).median()
            away = (series - middle).abs()
            sigma = 1.4826 * away.rolling(window, center=True).median()
            return away > 3.0 * sigma.clip(lower=2.0)

        def once() -> object:
            return series.rolling(window, center=True).median()

        yield "pandas, one rolling median", values.size, once
        yield "pandas, two rolling medians", values.size, flag
    if find_spec("scipy"):
        from scipy.ndimage import median_filter  # noqa: PLC0415 - likewise

        filled = np.nan_to_num(values)

        def smooth() -> object:
            away = np.abs(filled - median_filter(filled, window))
            return away > 3.0 * np.maximum(1.4826 * median_filter(away, window), 2.0)

        yield "scipy, two median filters", values.size, smooth
    if find_spec("hampel"):
        from hampel import hampel as other  # noqa: PLC0415 - likewise

        few = np.nan_to_num(values[:_SLOW])
        yield "hampel", few.size, lambda: other(few, window_size=window)


def _biquads(numbers: F8, section: F8) -> Iterator[Timed]:
    if find_spec("scipy"):
        from scipy.signal import lfilter, sosfilt  # noqa: PLC0415 - likewise

        b, a = section[:3], np.array([1.0, *section[3:]])
        both = np.concatenate([b, a])[None]
        yield "scipy, lfilter", numbers.size, lambda: lfilter(b, a, numbers)
        yield "scipy, sosfilt", numbers.size, lambda: sosfilt(both, numbers)


def _race(what: str, contest: Sequence[Timed], rounds: int) -> Iterator[Row]:
    """Time all in turns, so that a busy moment of the machine meets each."""
    taken: dict[str, list[float]] = {who: [] for who, _, _ in contest}
    for who, size, do in [*contest] * rounds:
        begun = perf_counter_ns()
        do()
        taken[who].append((perf_counter_ns() - begun) / size)
    for who, size, _ in contest:
        ratios = [
            one / ours for one, ours in zip(taken[who], taken[_OURS], strict=True)
        ]
        yield {
            "filter": what,
            "by": who,
            "ns_per_sample": round(median(taken[who]), 2),
            "times_ours": round(median(ratios), 3),
            "samples": size,
        }


def _findings(times: I8, values: F8) -> Iterator[Row]:
    random = np.random.default_rng(1)
    spikes = random.random(values.size) < _SPIKES
    spikes &= ~np.isnan(values)
    spikes[1:] &= ~spikes[:-1]
    heights = random.uniform(_LEAST_SPIKE, _MOST_SPIKE, values.size)
    heights *= random.choice([-1.0, 1.0], values.size)
    spiked = np.where(spikes, values + heights, values)
    judged = _judged(times, values, 2)
    yield _finding(
        f"rate gate, {_PER_MINUTE:g} a minute",
        judged,
        _gate().flag(times, values),
        _gate().flag(times, spiked),
        spikes,
    )
    for window, ahead, least in _HAMPELS:
        yield _finding(
            f"hampel, window {window}, ahead {ahead}, least sigma {least:g}",
            np.roll(_judged(times, values, window), -ahead),
            np.roll(hampel(window, ahead, least).flag(times, values), -ahead),
            np.roll(hampel(window, ahead, least).flag(times, spiked), -ahead),
            spikes,
        )


def _judged(times: I8, values: F8, window: int) -> U1:
    """Return where so many values in a row stand behind each other."""
    passed = np.diff(times, prepend=times[:1])
    missing = np.isnan(values)
    begins = (passed <= 0) | (passed > _GAP_MS) | missing
    numbers = np.arange(values.size)
    since = numbers - np.maximum.accumulate(np.where(begins, numbers, 0))
    # A missing value is no first one of those behind it.
    full = since - missing[numbers - since] >= window - 1
    judged: U1 = (full & ~missing).astype(np.uint8)
    return judged


def _finding(
    what: str,
    judged: U1,
    flags: U1,
    spiked: U1,
    spikes: "np.ndarray[Any, np.dtype[np.bool_]]",
) -> Row:
    seen = judged == 1
    hit = spiked[seen & spikes]
    return {
        "filter": what,
        "judged": round(float(seen.mean()), 4),
        "flagged": round(float(flags[seen].mean()), 5) if seen.any() else None,
        "recall": round(float(hit.mean()), 4) if hit.size else None,
        "spikes": int(hit.size),
    }
