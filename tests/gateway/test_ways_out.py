"""Whatever a station sends, each way out of the gateway says the same of it.

What is expected is said here again, plainly and by other means than the gateway's:
fractions and not decimals, tables of its own and not the vocabulary's.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import cbor2
import msgspec
import pytest
import simplejson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from gateway import export
from gateway.archive import archive
from gateway.exact import encode
from gateway.fhir.elements import Unprojectable
from gateway.fhir.observation import observations
from gateway.normalise import reading
from gateway.store import Filter, Store, Stored
from gateway.store.rows import FACTS, KEY
from protocols.observation import Kind, Quality, Reading, State, TimeMethod, Value, key
from tests.gateway.fhir.wire import PATIENT, THEIRS
from tests.gateway.stations import accepted
from tests.protocols.test_uplink import _READINGS as READINGS

_YEARS_MS = st.integers(-2_208_988_800_000, 253_370_764_799_999)  # 1900 to 9998
_MANTISSAS = st.integers(-2048, 2047) | st.integers(-(1 << 62), 1 << 62)

# Into which unit a quantity's values are converted, and by what.
_FACTORS = {
    "kg/L": ("mg/dL", "100000"),
    "mol/L": ("mmol/L", "1000"),
    "kPa": ("mm[Hg]", "7.50062"),
    "[lb_av]": ("kg", "0.45359237"),
    "[in_i]": ("m", "0.0254"),
    "kcal": ("kJ", "4.184"),
}
_IN_FHIR = {
    **{unit: _FACTORS[unit] for unit in ("kg/L", "mol/L", "kPa")},
    "m": ("cm", "100"),
}
_DAY_MS = 86_400_000
_NUMBERS = count(1)


def _facts_of(told: Reading) -> tuple[object, ...]:
    """Return what one reading says, in the order of `FACTS`."""
    seen = told.observation
    return (
        told.utc_ms,
        int(told.time_method),
        told.time_bound_ms,
        told.captured_ms,
        None if seen.device_time is None else str(seen.device_time),
        seen.offset_min,
        int(told.link),
        int(told.quality),
        told.person,
        _text_of(told.evidence),
        _text_of(seen.status),
        _text_of(seen.context),
        _text_of([_shown(value) for value in seen.values]),
        cbor2.dumps(list(seen.raw)) if seen.raw else None,
    )


def _shown(value: Value) -> tuple[str, str, str | None, int]:
    # An exact decimal is kept as text: 5.50 must not come back as 5.5.
    number = None if value.number is None else str(value.number)
    return value.quantity.value, value.unit.value, number, int(value.state)


def _text_of(parts: Sequence[object]) -> str | None:
    return msgspec.json.encode(parts).decode() if parts else None


def _sent(told: Sequence[tuple[Reading, int, int]]) -> list[Reading]:
    """Return readings of devices of their own, at times that a gateway takes."""
    found = []
    for one, time_ms, mantissa in told:
        device = replace(one.device, id=f"{next(_NUMBERS)} {one.device.id}")
        utc_ms = None if one.utc_ms is None else time_ms
        # A station draws a number only where the device gives none.
        arrival = one.arrival if one.observation.sequence is None else None
        first, *rest = one.observation.values
        if first.number is not None:
            _, _, exponent = first.number.as_tuple()
            number = Decimal(mantissa).scaleb(int(exponent))
            first = replace(first, number=number)
        found.append(
            replace(
                one,
                device=device,
                observation=replace(one.observation, values=(first, *rest)),
                captured_ms=time_ms,
                utc_ms=utc_ms,
                arrival=arrival,
            )
        )
    return found


def _instant(time_ms: int | None) -> str | None:
    if time_ms is None:
        return None
    days, rest_ms = divmod(time_ms, _DAY_MS)
    minutes, ms = divmod(rest_ms, 60_000)
    day = date(1970, 1, 1) + timedelta(days=days)
    clock = f"{minutes // 60:02}:{minutes % 60:02}:{ms // 1000:02}.{ms % 1000:03}"
    return f"{day.isoformat()}T{clock}Z"


def _canonical(value: Value) -> tuple[Fraction, str]:
    assert value.number is not None
    number, unit = Fraction(value.number), str(value.unit)
    if unit == "[degF]":
        return (number - 32) * 5 / 9, "Cel"
    unit, factor = _FACTORS.get(unit, (unit, "1"))
    number *= Fraction(factor)
    if value.quantity == "glucose" and unit == "mmol/L":
        return number * Fraction("18.0156"), "mg/dL"
    return number, unit


def _check_value(shown: dict[str, Any], value: Value) -> None:
    measured = value.state == State.MEASURED
    told = None if value.number is None else str(value.number)
    number, limit = shown["value"], shown["limit"]
    assert (None if number is None else str(number)) == (told if measured else None)
    assert (None if limit is None else str(limit)) == (None if measured else told)
    assert (shown["quantity"], shown["unit"]) == (value.quantity, value.unit)
    assert shown["state"] == value.state.name.lower().replace("_", "-")
    if not measured:
        assert shown["canonical"] is None
        return
    exact, unit = _canonical(value)
    assert shown["canonical"]["unit"] == unit
    _check_close(shown["canonical"]["value"], exact)


def _check_close(number: Decimal, exact: Fraction) -> None:
    assert abs(Fraction(number) - exact) <= abs(exact) * Fraction("1e-25")


def _check_served(shown: dict[str, Any], sent: Reading) -> None:
    seen = sent.observation
    for one, value in zip(shown["values"], seen.values, strict=True):
        _check_value(one, value)
    bound = sent.time_bound_ms
    assert shown["time"]["utc"] == _instant(sent.utc_ms)
    assert shown["time"]["method"] == sent.time_method.name.lower()
    assert shown["time"]["bound_s"] == (
        None if bound is None else Decimal(bound) / 1000
    )
    assert shown["captured"] == _instant(sent.captured_ms)
    clock = seen.device_time
    assert shown["device_time"] == (
        None if clock is None else "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*clock)
    )
    assert (shown["device"], shown["kind"]) == (sent.device.id, seen.kind)
    assert (shown["sequence"], shown["slot"]) == (seen.sequence, seen.slot)
    assert shown["offset_min"] == seen.offset_min
    assert (shown["status"], shown["context"]) == ([*seen.status], dict(seen.context))
    assert shown["quality"] == [
        flag.name.lower() for flag in Quality if flag & sent.quality and flag.name
    ]
    assert shown["driver"] == {"name": sent.driver, "version": sent.driver_version}


def _exact(text: bytes) -> Any:  # noqa: ANN401 - any JSON
    return simplejson.loads(text, use_decimal=True)


def _numbered(rows: Sequence[Stored]) -> Iterator[tuple[Stored, int, Value]]:
    for row in rows:
        for at, value in enumerate(row.reading.observation.values):
            yield row, at, value


def _check_csv(rows: Sequence[Stored]) -> None:
    text = b"".join(export.write(export.Format.CSV, [rows])).decode()
    found = [*csv.DictReader(io.StringIO(text, newline=""))]
    for shown, (row, _, value) in zip(found, _numbered(rows), strict=True):
        measured = value.state == State.MEASURED
        told = "" if value.number is None else str(value.number)
        assert (shown["value"], shown["limit"]) == (
            (told, "") if measured else ("", told)
        )
        assert (shown["quantity"], shown["unit"]) == (value.quantity, value.unit)
        assert shown["utc"] == (_instant(row.reading.utc_ms) or "")
        assert shown["id"] == str(row.id)
        if measured:
            exact, unit = _canonical(value)
            assert shown["canonical_unit"] == unit
            _check_close(Decimal(shown["canonical_value"]), exact)


def _check_parquet(rows: Sequence[Stored]) -> None:
    body = b"".join(export.write(export.Format.PARQUET, [rows]))
    found = parquet.read_table(io.BytesIO(body)).to_pylist()
    for shown, (row, _, value) in zip(found, _numbered(rows), strict=True):
        measured = value.state == State.MEASURED
        told = None if value.number is None else str(value.number)
        name, other = ("value", "limit") if measured else ("limit", "value")
        assert (shown[f"{name}_text"], shown[f"{other}_text"]) == (told, None)
        assert shown[name] == value.number
        assert (shown["quantity"], shown["unit"]) == (value.quantity, value.unit)
        utc = shown["utc"]
        assert (utc is None) == (row.reading.utc_ms is None)
        if utc is not None:
            since = utc.replace(tzinfo=None) - type(utc)(1970, 1, 1)
            assert since // timedelta(milliseconds=1) == row.reading.utc_ms
        assert (shown["id"], shown["device"]) == (row.id, row.reading.device.id)


def _check_fhir(row: Stored) -> None:
    seen = row.reading.observation
    try:
        found = observations(row, PATIENT, THEIRS)
    except Unprojectable:
        assert seen.kind == Kind.CONTROL_SOLUTION
        return
    resources: list[Any] = [_exact(encode(one)) for one in found]
    named = {one["id"].removeprefix(f"{row.id}-"): one for one in resources}
    panel = iter(named.get("blood-pressure", {}).get("component", ()))
    for value in seen.values:
        shown = named.get(value.quantity.value) or next(panel)
        if value.number is None:
            assert "valueQuantity" not in shown
            assert "dataAbsentReason" in shown
            continue
        quantity = shown["valueQuantity"]
        unit, factor = _IN_FHIR.get(value.unit, (value.unit, "1"))
        assert quantity["code"] == unit
        assert Fraction(quantity["value"]) == Fraction(value.number) * Fraction(factor)
        comparator = {State.ABOVE_RANGE: ">", State.BELOW_RANGE: "<"}
        assert quantity.get("comparator") == comparator.get(value.state)
        if "extension" in quantity:
            (sent,) = quantity["extension"]
            assert Fraction(sent["valueQuantity"]["value"]) == Fraction(value.number)
            assert sent["valueQuantity"]["code"] == value.unit
    for one in resources:
        assert one["subject"] == {"reference": f"Patient/{PATIENT.id}"}
        assert one["device"] == {"reference": f"Device/{row.device}"}
        if row.reading.utc_ms is None:
            assert "effectiveDateTime" not in one
        elif one["effectiveDateTime"].endswith("Z"):
            assert one["effectiveDateTime"] == _instant(row.reading.utc_ms)
        else:
            assert row.reading.time_method == TimeMethod.DEVICE


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found


def test_each_way_out_says_what_was_sent(store: Store, tmp_path: Path) -> None:
    """A number, unit or time that changed on its way is somebody's wrong treatment."""
    all_of_it: dict[int, Reading] = {}

    @given(st.lists(st.tuples(READINGS, _YEARS_MS, _MANTISSAS), min_size=1, max_size=6))
    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    def each_way(told: list[tuple[Reading, int, int]]) -> None:
        sent = _sent(told)
        last = store.last()
        store.commit([accepted(next(_NUMBERS), *sent)])
        rows = store.readings(Filter(), last, 100)
        rows += store.readings(Filter(kind=Kind.CONTROL_SOLUTION), last, 100)
        rows.sort(key=lambda row: row.id)
        assert [row.reading for row in rows] == sent
        for row, one in zip(rows, sent, strict=True):
            _check_served(_exact(encode(reading(row))), one)
            _check_fhir(row)
            all_of_it[row.id] = one
        _check_csv(rows)
        _check_parquet(rows)
        *lines, _ = b"".join(export.write(export.Format.NDJSON, [rows])).splitlines()
        for line, one in zip(lines, sent, strict=True):
            _check_served(_exact(line), one)

    each_way()
    (month,) = archive(store, date(2026, 1, 1), tmp_path / "archive")
    assert month.file is not None
    kept = parquet.read_table(month.file).to_pylist()
    assert len(kept) == len(all_of_it) == month.readings
    for row in kept:
        one = all_of_it[row["id"]]
        facts = [row[name.strip('"')] for name in FACTS]
        assert facts == [*_facts_of(one)]
        assert row["device_id"] == one.device.id
        assert [row[name] for name in KEY][1:] == [
            *key(one)[1:3],
            [*Kind].index(one.observation.kind),
            *key(one)[4:],
        ]
