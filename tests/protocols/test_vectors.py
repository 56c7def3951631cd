"""Every kind of payload against golden vectors, their cuts, and noise."""

import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import kinds
from protocols.errors import DecodeError, Fault
from protocols.kinds import UnknownKind

_ROOT = Path(__file__).parents[2]
_FOLDERS = (_ROOT / "tests" / "vectors", _ROOT.parent / "shared" / "vectors")
_CHANGED = 20_000

# Kinds whose length follows from their first bytes, so that a cut is told.
_OPEN_ENDED = {
    "gatt.blood_pressure_record",
    "gatt.cgm_measurement",
    "gatt.cgm_session_run_time",
    "gatt.cgm_session_start_time",
    "gatt.cgm_specific_ops",
    "gatt.cgm_status",
    "gatt.heart_rate_measurement",
    "gatt.plx_features",
    "gatt.racp",
    "gatt.string",
    "gatt.user_control_point",
    "microlife.history_payload",
    "urion.frame",
}

# GATT values of a fixed size, or of one that they tell themselves.
_GATT_STRICT = {
    "gatt.battery_level",
    "gatt.cgm_feature",
    "gatt.cgm_measurement",
    "gatt.cgm_session_run_time",
    "gatt.cgm_session_start_time",
    "gatt.cgm_specific_ops",
    "gatt.cgm_status",
    "gatt.temperature_type",
}

# GATT values whose last field takes what comes.
_GATT_GROWING = {
    "gatt.blood_pressure_record",
    "gatt.plx_features",
    "gatt.string",
    "gatt.user_control_point",
}

# Frames whose checksum finds every single bit that is wrong.
_CHECKED = {
    "abbott.libre_record",
    "abbott.text_response",
    "ascensia.astm_frame",
    "glucomen.text",
    "lifescan.frame",
    "lifescan.ultra2_line",
    "maibobo.frame",
    "microlife.frame",
    "omron.frame",
    "sdbiosensor.frame",
    "sinocare.wechat_frame",
    "taidoc.frame",
    "vivachek.frame",
}


def _read() -> Iterator[dict[str, Any]]:
    known: set[tuple[str, str, str]] = set()
    for folder in _FOLDERS:
        for path in sorted(folder.glob("*.json")):
            for vector in json.loads(path.read_text(), parse_float=Decimal)["vectors"]:
                options = json.dumps(vector.get("options", {}), sort_keys=True)
                name = vector["kind"], vector["hex"], options
                if vector["kind"] in kinds.kinds() and name not in known:
                    known.add(name)
                    yield vector


VECTORS = list(_read())
VALID = [vector for vector in VECTORS if vector["valid"]]
INVALID = [vector for vector in VECTORS if not vector["valid"]]
WAYS = [
    (name, dict(zip(kind.options, values, strict=True)))
    for name, kind in kinds.kinds().items()
    for values in product(*kind.options.values())
]


# A checksum takes any bytes: it has no fields that could be cut off.
FIELDS = [vector for vector in VALID if not vector["kind"].startswith("crc.")]


def _name(vector: dict[str, Any]) -> str:
    return f"{vector['kind']}: {vector['name']}"


def _options(vector: dict[str, Any]) -> dict[str, str]:
    """Return the options of a vector that its kind knows here."""
    known = kinds.kinds()[vector["kind"]].options
    return {k: str(v) for k, v in vector.get("options", {}).items() if k in known}


def _show(vector: dict[str, Any], payload: bytes | None = None) -> dict[str, object]:
    raw = bytes.fromhex(vector["hex"]) if payload is None else payload
    return kinds.show(vector["kind"], raw, _options(vector))


def _plain(value: object) -> object:
    """Make a list a set, and a number an exact decimal."""
    if isinstance(value, list):
        return frozenset(map(_plain, value))
    if isinstance(value, dict):
        return frozenset((name, _plain(part)) for name, part in value.items())
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return value
    return Decimal(value)


def test_there_are_vectors_for_every_kind() -> None:
    """A kind without a vector would be tested by nothing but our own idea of it."""
    own = [json.loads(path.read_text()) for path in _FOLDERS[0].glob("*.json")]
    carried = {one["kind"] for some in own for one in some["vectors"] if one["valid"]}

    assert carried == set(kinds.kinds()), "in the repository itself"


@pytest.mark.parametrize("vector", VALID, ids=_name)
def test_a_valid_vector_shows_at_least_what_is_expected(vector: dict[str, Any]) -> None:
    """The meaning of bytes by their document, not by our encoder."""
    shown = _show(vector)

    found = {name: _plain(shown.get(name)) for name in vector["expected"]}
    assert found == {key: _plain(value) for key, value in vector["expected"].items()}


@pytest.mark.parametrize("vector", INVALID, ids=_name)
def test_an_invalid_vector_is_refused_with_its_fault(vector: dict[str, Any]) -> None:
    """What is no such value must be told apart by class, not by wording."""
    with pytest.raises(DecodeError) as caught:
        _show(vector)

    assert caught.value.fault == Fault(vector["error"])


@pytest.mark.parametrize("vector", FIELDS, ids=_name)
def test_every_cut_is_refused_or_says_less(vector: dict[str, Any]) -> None:
    """A field announced by a flag and cut off must never be taken for absent."""
    raw = bytes.fromhex(vector["hex"])
    whole = _show(vector)
    declared = len(raw) - int(str(whole.get("trailing_bytes", 0)))
    for size in range(len(raw)):
        if size >= declared or vector["kind"] in _OPEN_ENDED:
            try:
                assert _show(vector, raw[:size]) != whole
            except DecodeError:
                assert size < declared or vector["kind"] in _OPEN_ENDED
            continue
        with pytest.raises(DecodeError) as caught:
            _show(vector, raw[:size])
        assert caught.value.fault in (Fault.TRUNCATED, Fault.BAD_LENGTH)
        assert caught.value.data == raw[:size]
        assert 0 <= caught.value.offset <= size


@pytest.mark.parametrize("more", [b"\x00", b"\xff", b"\x00\xff\x00"])
@pytest.mark.parametrize("vector", FIELDS, ids=_name)
def test_bytes_behind_a_gatt_value_are_counted_and_those_of_a_frame_refused(
    vector: dict[str, Any], more: bytes
) -> None:
    """A later version may append fields; a frame with a checksum may not grow."""
    raw = bytes.fromhex(vector["hex"]) + more
    kind, expected = vector["kind"], vector["expected"]
    strict = not kind.startswith("gatt.") or kind in _GATT_STRICT
    if strict or expected.get("count") or expected.get("rr_raw"):
        if vector["kind"] == "gatt.racp" and len(more) == 2:
            return
        with pytest.raises(DecodeError):
            _show(vector, raw)
        return
    if kind in _GATT_GROWING:
        return
    before, after = _show(vector), _show(vector, raw)
    trailing = int(str(before.pop("trailing_bytes", 0)))
    assert after == {**before, "trailing_bytes": trailing + len(more)}


@pytest.mark.parametrize("way", WAYS, ids=str)
@given(payload=st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_random_bytes_are_shown_or_refused(
    way: tuple[str, dict[str, str]], payload: bytes
) -> None:
    """Another exception than `DecodeError` would stop a device for good."""
    name, options = way
    try:
        shown = kinds.show(name, payload, options)
    except DecodeError as error:
        assert str(error)  # noqa: PT017 - either is right
        assert error.data == payload  # noqa: PT017 - either is right
    else:
        assert shown


def test_thousands_of_changed_vectors_are_shown_or_refused() -> None:
    """Real values with a few bytes wrong reach deeper than random ones do."""
    random = Random(11073)
    outcomes = {"shown": 0, "refused": 0}
    for turn in range(_CHANGED):
        vector = FIELDS[turn % len(FIELDS)]
        payload = bytearray.fromhex(vector["hex"])
        for _ in range(random.randint(1, 4)):
            at = random.randrange(len(payload) + 1)
            match random.randrange(4):
                case 0:
                    payload[at : at + 1] = bytes([random.randrange(256)])
                case 1:
                    del payload[at:]
                case 2:
                    payload[at:at] = random.randbytes(random.randint(1, 6))
                case 3 if at < len(payload):
                    payload[at] ^= 1 << random.randrange(8)
        try:
            _show(vector, bytes(payload))
        except DecodeError:
            outcomes["refused"] += 1
        else:
            outcomes["shown"] += 1

    assert sum(outcomes.values()) == _CHANGED
    assert min(outcomes.values()) > _CHANGED // 10


@pytest.mark.parametrize(
    "vector", [v for v in VALID if v["kind"] in _CHECKED], ids=_name
)
def test_every_flipped_bit_of_a_frame_is_refused(vector: dict[str, Any]) -> None:
    """A CRC-16 finds every single error; one let through is a wrong glucose."""
    raw = bytes.fromhex(vector["hex"])
    for bit in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            _show(vector, bytes(damaged))


@pytest.mark.parametrize(
    ("kind", "options", "text"),
    [
        ("gatt.nothing", {}, "no kind 'gatt.nothing'"),
        ("gatt.racp", {"rôle": "any"}, "gatt.racp has no option 'rôle'; its options: "),
        ("gatt.string", {"a": "b"}, "gatt.string has no option 'a'; its options: none"),
        ("gatt.racp", {"role": "x"}, "any or request or response, not 'x'"),
    ],
)
def test_an_unknown_kind_or_option_is_named(
    kind: str, options: dict[str, str], text: str
) -> None:
    """A technician's typing error must not look like damaged bytes."""
    with pytest.raises(UnknownKind, match=text):
        kinds.show(kind, b"", options)


def test_an_error_as_an_object_names_field_offset_and_bytes() -> None:
    """Who reads the log needs no debugger to find the byte."""
    with pytest.raises(DecodeError) as caught:
        kinds.show("gatt.battery_level", b"\x65", {})

    assert kinds.show_error(caught.value) == {
        "error": "out_of_range",
        "what": "Battery Level",
        "field": "level",
        "offset": 0,
        "problem": "is 101, above 100 percent",
        "bytes": "65",
    }


def test_a_value_that_is_none_has_no_shift_to_another_unit() -> None:
    payload = bytes.fromhex("02 05 00 e8 07 06 0f 0a 1e 00 ff 07 11")

    shown = kinds.show("gatt.glucose_measurement", payload, {})

    assert shown["concentration"] == "NaN"
    assert "mg_per_dl" not in shown
