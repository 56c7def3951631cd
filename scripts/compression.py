"""Writes the figures of docs/explanation/compression.md, from what the bench printed.

``vitalwire bench codec FILE... --json | python scripts/compression.py``
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
_PAGE = _ROOT / "docs" / "explanation" / "compression.md"
_BEGIN = "<!-- figures: written by scripts/compression.py -->\n"
_END = "<!-- end of figures -->\n"
_CPU = Path("/proc/cpuinfo")


def tables(found: list[dict[str, Any]]) -> str:
    """Return all figures as Markdown.

    Args:
        found: What ``vitalwire bench codec --json`` printed for each file.
    """
    return "\n".join(line for file in found for line in _file(file))


def _file(found: dict[str, Any]) -> Iterator[str]:
    name = Path(found["file"]).name.partition(".")[0]
    yield f"### {name}"
    yield ""
    yield f"{found['rows']:,} readings of {found['devices']:,} devices."
    yield ""
    results = {(each["codec"], each["batch"]): each for each in found["results"]}
    sizes = sorted({size for _, size in results})
    yield _row("bits per reading", [f"{size:,}" for size in sizes])
    yield _row("---", ["--:"] * len(sizes))
    for codec in dict.fromkeys(codec for codec, _ in results):
        cells = [results.get((codec, size)) for size in sizes]
        yield _row(codec, [_bits(each) for each in cells])
    yield _row("*vitalwire to the best other*", [_ratio(results, s) for s in sizes])
    yield ""
    yield _row("million readings/s", [f"{size:,}" for size in sizes])
    yield _row("---", ["--:"] * len(sizes))
    for codec in dict.fromkeys(codec for codec, _ in results):
        cells = [results.get((codec, size)) for size in sizes]
        yield _row(codec, [_speed(each) for each in cells])
    yield ""


def _row(name: str, cells: list[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _bits(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    return f"{found['bits_per_reading']:.2f}{'' if found['lossless'] else ' (lossy)'}"


def _speed(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    encode, decode = found["encode_per_s"] / 1e6, found["decode_per_s"] / 1e6
    return f"{encode:.2f} / {decode:.2f}"


def _ratio(results: dict[tuple[str, int], dict[str, Any]], size: int) -> str:
    ours = results.get(("vitalwire", size))
    others = [
        each["bits_per_reading"]
        for (codec, batch), each in results.items()
        if batch == size and not codec.startswith("vitalwire") and each["lossless"]
    ]
    if ours is None or not others:
        return "-"
    return f"**{ours['bits_per_reading'] / min(others):.2f}**"


def _circumstances(found: list[dict[str, Any]]) -> str:
    cpu = found[0]["machine"]
    if _CPU.exists():
        names = [line for line in _CPU.read_text().splitlines() if "model name" in line]
        if names:
            cpu = f"{cpu}, {names[0].partition(': ')[2]}, {len(names)} cores"
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - git of this machine
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    return (
        f"{cpu}; Python {found[0]['python']}, {found[0]['kernels']} kernels; "
        f"{datetime.now(UTC):%Y-%m-%d}, on top of commit {commit}. Speeds are of "
        "encoding / decoding.\n\n"
    )


def main() -> None:
    """Write the figures into the page."""
    found = [json.loads(line) for line in sys.stdin]
    if not found:
        sys.exit("nothing on standard input; see the first lines of this script")
    before, begin, rest = _PAGE.read_text().partition(_BEGIN)
    _, end, behind = rest.partition(_END)
    if not (begin and end):
        sys.exit(f"{_PAGE} lacks {_BEGIN!r} or {_END!r}")
    figures = _circumstances(found) + tables(found)
    _PAGE.write_text(before + begin + "\n" + figures + "\n" + end + behind)


if __name__ == "__main__":
    main()
