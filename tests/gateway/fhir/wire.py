"""Resources as they go over the wire, and readings to make them of."""

from datetime import UTC, datetime
from decimal import Decimal
from math import isclose

import msgspec
import simplejson
from fhir.resources.R4B import get_fhir_model_class

from gateway.attribution import Theirs
from gateway.fhir.elements import Resource
from gateway.registry import Patient
from gateway.store import Stored
from protocols.gatt.time import DateTime
from protocols.observation import (
    Device,
    Kind,
    Observation,
    Quantity,
    Reading,
    State,
    TimeMethod,
    Unit,
    Value,
)
from tests.gateway.stations import STATION

PATIENT = Patient(3, "clinic", "P-0001", created_ms=5, version=2, updated_ms=6)
THEIRS = Theirs(3, "attribution-9", 7)
RECEIVED_MS = 1_800_000_000_000

_JSON = msgspec.json.Encoder(decimal_format="number")


def wire(resource: Resource) -> bytes:
    return _JSON.encode(resource)


def valid(resource: Resource) -> Resource:
    """Check a resource as R4B has it, there and back; return it as a reader sees it.

    Raises:
        ValueError: It is none, or it does not come back the same.
    """
    sent = wire(resource)
    model = get_fhir_model_class(str(resource["resourceType"]))
    back = model.model_validate_json(sent).model_dump_json()
    seen = simplejson.loads(sent, use_decimal=True)
    again = simplejson.loads(back, use_decimal=True)
    if not _alike(again, seen):
        raise ValueError(f"{seen} came back as {again}")
    return dict(seen)


def _alike(one: object, other: object) -> bool:
    """Whether JSON says the same, as far as the models can hold it."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _alike(one[name], other[name]) for name in one
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, Decimal | int) and isinstance(other, Decimal | int):
        # They write floats, and read those of over 15 digits to the last bit or not.
        return isclose(one, other, rel_tol=1e-15)
    return _moment(one) == _moment(other)


def _moment(found: object) -> object:
    """Return a time by what it names, for models write it another way."""
    if isinstance(found, str) and found[4:5] == "-" and found[10:11] == "T":
        try:
            moment = datetime.fromisoformat(found)
        except ValueError:
            return found  # a device's impossible clock, as a string
        return moment.astimezone(UTC) if moment.tzinfo else found
    return found


def told(facts: dict[str, object]) -> Stored:
    """Return the reading that a golden file describes, as a device told it."""
    values = tuple(
        Value(
            Quantity(quantity),
            Unit(unit),
            None if number is None else Decimal(number),
            State[state[0]] if state else State.MEASURED,
        )
        for quantity, number, unit, *state in facts["values"]
    )
    utc = datetime.fromisoformat(facts["utc"])
    reading = Reading(
        device=Device("meter-1"),
        observation=Observation(
            kind=Kind(facts["kind"]),
            values=values,
            device_time=DateTime.parse(facts["device_time"]),
            status=tuple(facts.get("status", ())),
            context=tuple((name, text) for name, text in facts.get("context", ())),
        ),
        driver="gatt-glucose",
        driver_version="1",
        captured_ms=RECEIVED_MS,
        utc_ms=round(utc.timestamp() * 1000),
        time_method=TimeMethod.DEVICE,
        time_bound_ms=1_500,
    )
    return Stored(7, 2, STATION, reading, RECEIVED_MS, 0)
