"""FHIR R4: a Bundle of Observations in JSON, one a row.

Each has what the resource demands and a receiver can't do without: status, code,
subject, device, time, value with its unit. A row with several values has components.
A value that is absent has its reason.

Source: HL7 FHIR R4 (4.0.1), Observation, Bundle, data types dateTime and decimal.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from edge_agent.bench.rivals.codec import CannotHold, Codec
from edge_agent.bench.rivals.decimals import Number, column, numbers
from protocols.uplink.series import Series

_LOINC = "http://loinc.org"
_UCUM = "http://unitsofmeasure.org"
_ABSENT = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason",
            "code": "unknown",
        }
    ]
}
_encoder = msgspec.json.Encoder(decimal_format="number")


class _Quantity(msgspec.Struct):
    value: int | Decimal


class _Part(msgspec.Struct):
    valueQuantity: _Quantity | None = None  # noqa: N815 - FHIR's name


class _Observation(_Part):
    effectiveDateTime: str = ""  # noqa: N815 - FHIR's name
    component: list[_Part] = []


class _Entry(msgspec.Struct):
    resource: _Observation


class _Bundle(msgspec.Struct):
    entry: list[_Entry]


_decoder = msgspec.json.Decoder(_Bundle)


def codec(_: Sequence[Series]) -> Codec:
    """Return the codec."""
    return Codec(_encode, _decode)


def _encode(series: Series) -> bytes:
    times = map(_date_time, numbers(series.time))
    rows = zip(*(numbers(each) for each in series.values), strict=True)
    entries = [
        {"resource": _observation(time, row)}
        for time, row in zip(times, rows, strict=True)
    ]
    return _encoder.encode(
        {"resourceType": "Bundle", "type": "collection", "entry": entries}
    )


def _decode(message: bytes) -> Series:
    found = [entry.resource for entry in _decoder.decode(message).entry]
    times = column([_number(each.effectiveDateTime) for each in found])
    parts = [each.component or [each] for each in found]
    values = ([_read(part) for part in place] for place in zip(*parts, strict=True))
    return Series(times, tuple(map(column, values)))


def _observation(time: str, row: Sequence[Number]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "resourceType": "Observation",
        "status": "final",
        "code": _code("2339-0", "Glucose [Mass/volume] in Blood"),
        "subject": {"reference": "Patient/1"},
        "effectiveDateTime": time,
        "device": {"reference": "Device/1"},
    }
    if len(row) == 1:
        return shown | _shown(row[0])
    parts = [{"code": _code("8480-6", "Systolic blood pressure")} for _ in row]
    return shown | {
        "component": [
            part | _shown(each) for part, each in zip(parts, row, strict=True)
        ]
    }


def _code(code: str, display: str) -> dict[str, Any]:
    return {"coding": [{"system": _LOINC, "code": code, "display": display}]}


def _shown(value: Number) -> dict[str, Any]:
    if value is None:
        return {"dataAbsentReason": _ABSENT}
    quantity = {"value": value, "unit": "mg/dL", "system": _UCUM, "code": "mg/dL"}
    return {"valueQuantity": quantity}


def _read(part: _Part) -> Number:
    return None if part.valueQuantity is None else part.valueQuantity.value


def _date_time(time: Number) -> str:
    """Return seconds since the epoch as a dateTime with the same decimals.

    Raises:
        CannotHold: There is no such year, or decimals but before the point.
    """
    if time is None or (
        isinstance(time, Decimal) and int(time.as_tuple().exponent) > 0
    ):
        raise CannotHold("FHIR writes a time with all digits before the point")
    whole = int(time // 1) if time >= 0 else -int(-time // 1)
    try:
        day = datetime.fromtimestamp(whole, UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError) as error:
        raise CannotHold("FHIR has the years 1 to 9999") from error
    fraction = "" if isinstance(time, int) else f"{time:f}".partition(".")[2]
    if time < 0 and fraction:
        raise CannotHold("FHIR's seconds have no decimals before 1970 here")
    return f"{day.isoformat()}{'.' if fraction else ''}{fraction}Z"


def _number(text: str) -> Number:
    day, _, fraction = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    return Decimal(f"{seconds}.{fraction}") if fraction else seconds
