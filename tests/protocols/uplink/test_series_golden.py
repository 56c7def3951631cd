"""Series and the very bytes that they are, for every decoder there will be."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from protocols.uplink.grids import ABSENT
from protocols.uplink.profiles import SETS
from protocols.uplink.series import Column, Series, _check_of, decode, encode
from tests.protocols.uplink.some_series import column, form, same

_GOLDEN: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "golden" / "series.json").read_text()
)


def _column(texts: list[str | None]) -> Column:
    pairs = [_pair(text) for text in texts]
    return column([number for number, _ in pairs], [power for _, power in pairs])


def _pair(text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, ABSENT
    sign, digits, power = Decimal(text).as_tuple()
    number = int("".join(map(str, digits)))
    return -number if sign else number, int(power)


@pytest.mark.parametrize("kernels", ["plain", "compiled"])
@pytest.mark.parametrize("golden", _GOLDEN, ids=[each["name"] for each in _GOLDEN])
def test_a_series_is_the_bytes_that_it_ever_was(
    golden: dict[str, Any], kernels: str
) -> None:
    """What a station of before has sent must stay readable."""
    given = Series(_column(golden["time"]), tuple(map(_column, golden["values"])))
    message = bytes.fromhex(golden["hex"])

    with form(kernels):
        assert same(decode(message), given)
        if not golden.get("earlier"):
            assert encode(given, fast=golden["fast"]) == message


def test_they_have_every_form_of_a_message() -> None:
    firsts = {bytes.fromhex(each["hex"])[0] for each in _GOLDEN}
    assert {0xFE, 0xFF} < firsts
    assert min(firsts) < 0xF8


def test_they_have_every_set_of_models() -> None:
    """A set that no message here was written with might change unseen."""
    messages = [bytes.fromhex(each["hex"]) for each in _GOLDEN]
    long = [message for message in messages if len(message) > 12]

    counts = [
        sum(each[-2:] == _check_of(each[:-2], models, short=False) for each in long)
        for models in SETS
    ]

    assert min(counts) >= 2
    assert sum(counts) == len(long)
