"""What is served of a stored reading: canonical values, codes and names.

Source: IEEE 11073-10101 for the MDC terms, as 32-bit context-free codes; LOINC
2.78 for the others; glucose by what was measured, the unit and the finger.
"""

from datetime import UTC, datetime
from decimal import Decimal

from gateway.store import Amendment, Quarantined, Stored, StoredDevice
from protocols.kinds import flag_names
from protocols.observation import Kind, Observation, Quality, Quantity, State, Unit
from protocols.observation import Value as Seen
from protocols.units import canonical

Served = dict[str, object]

_LOINC = "http://loinc.org"
_MDC = "urn:iso:std:iso:11073:10101"

_MASS = (Unit.KG_PER_L, Unit.MG_PER_DL)

# By sample, the MDC term, as in MDC_CONC_GLU_CAPILLARY_WHOLEBLOOD.
_GLUCOSE_MDC = {
    "capillary_whole_blood": "160184",
    "capillary_plasma": "160188",
    "venous_whole_blood": "160192",
    "venous_plasma": "160196",
    "arterial_whole_blood": "160200",
    "arterial_plasma": "160204",
    "control_solution": "160208",
    "interstitial_fluid": "160212",
    "undetermined_whole_blood": "160364",
    "undetermined_plasma": "160368",
}
# The LOINC codes by mass and by amount of substance; None where there is none.
_BY_GLUCOMETER = ("41653-7", "14743-9")
_IN_BLOOD = ("2339-0", "15074-8")
_GLUCOSE_LOINC: dict[str | None, tuple[str | None, str | None]] = {
    None: _IN_BLOOD,
    "capillary_whole_blood": _BY_GLUCOMETER,
    "capillary_plasma": _BY_GLUCOMETER,
    "venous_whole_blood": _IN_BLOOD,
    "venous_plasma": ("2345-7", "14749-6"),
    "arterial_whole_blood": ("104598-8", None),
    "arterial_plasma": ("104598-8", None),
    "interstitial_fluid": ("99504-3", "105272-9"),
    "undetermined_whole_blood": _IN_BLOOD,
}
_FROM_A_FINGER = ("undetermined_whole_blood", "undetermined_plasma")

# The others have one code each: LOINC, MDC.
_CODES: dict[Quantity, tuple[str | None, str | None]] = {
    Quantity.SYSTOLIC: ("8480-6", "150021"),
    Quantity.DIASTOLIC: ("8462-4", "150022"),
    Quantity.MEAN_PRESSURE: ("8478-0", "150023"),
    Quantity.PULSE_RATE: ("8867-4", "149546"),
    Quantity.KETONE: ("66441-7", None),
    Quantity.OXYGEN_SATURATION: ("59408-5", "150456"),
    Quantity.BODY_TEMPERATURE: ("8310-5", "150364"),
    Quantity.BODY_WEIGHT: ("29463-7", "188736"),
    Quantity.BODY_HEIGHT: ("8302-2", "188740"),
    Quantity.BODY_MASS_INDEX: ("39156-5", "188752"),
    Quantity.BODY_FAT: (None, "188748"),
}
_PULSE_OF_OXIMETER = Kind.OXYGEN_SATURATION, Quantity.PULSE_RATE
_PULSE_BY_OXIMETER = ("8867-4", "149530")


def codes(seen: Observation, value: Seen) -> list[Served]:
    """Return the codes of a value: LOINC first, then MDC; empty if there is none."""
    loinc: str | None
    mdc: str | None
    if seen.kind == Kind.INTERSTITIAL_GLUCOSE and value.quantity == Quantity.GLUCOSE:
        by_unit = _GLUCOSE_LOINC["interstitial_fluid"]
        loinc = by_unit[0 if value.unit in _MASS else 1]
        mdc = _GLUCOSE_MDC["interstitial_fluid"]
    elif value.quantity == Quantity.GLUCOSE:
        loinc, mdc = _glucose_codes(seen, value.unit)
    elif (seen.kind, value.quantity) == _PULSE_OF_OXIMETER:
        loinc, mdc = _PULSE_BY_OXIMETER
    else:
        loinc, mdc = _CODES.get(value.quantity, (None, None))
    if seen.kind == Kind.CONTROL_SOLUTION:
        # LOINC codes what is measured of a person.
        loinc = None
    found = ((_LOINC, loinc), (_MDC, mdc))
    return [{"system": system, "code": code} for system, code in found if code]


def reading(stored: Stored) -> Served:
    """Return a reading as it is served, numbers as exact decimals."""
    read, seen = stored.reading, stored.reading.observation
    return {
        "id": str(stored.id),
        "tenant": stored.station.tenant,
        "station": stored.station.station,
        "device": read.device.id,
        "kind": seen.kind.value,
        "values": [_value(seen, value) for value in seen.values],
        "device_time": None if seen.device_time is None else str(seen.device_time),
        "offset_min": seen.offset_min,
        "time": {
            "utc": _iso(read.utc_ms),
            "method": _name(read.time_method.name),
            "bound_s": _seconds(read.time_bound_ms),
        },
        "sequence": seen.sequence,
        "slot": seen.slot,
        "status": list(seen.status),
        "context": dict(seen.context),
        "quality": flag_names(Quality, read.quality),
        "link": _name(read.link.name),
        "driver": {"name": read.driver, "version": read.driver_version},
        "captured": _iso(read.captured_ms),
        "received": _iso(stored.received_ms),
        "amended": stored.amendments > 0,
    }


def reading_whole(stored: Stored, amendments: list[Amendment]) -> Served:
    """Return a reading with the device's own bytes and all other reports of it."""
    others = [
        _with_raw(other.stored) | {"batch_sha256": other.digest.hex()}
        for other in amendments
    ]
    return _with_raw(stored) | {"amendments": others}


def device(stored: StoredDevice) -> Served:
    """Return a device with what is counted of it."""
    said = stored.device
    name = " ".join(part for part in (said.manufacturer, said.model) if part)
    # A check with control solution is nobody's reading, nor the device's last.
    tallies = [one for one in stored.tallies if one.kind != Kind.CONTROL_SOLUTION]
    latest = [tally.last_ms for tally in tallies if tally.last_ms is not None]
    earliest = [tally.first_ms for tally in tallies if tally.first_ms is not None]
    return {
        "id": said.id,
        "tenant": stored.tenant,
        "name": name or said.id,
        "manufacturer": said.manufacturer,
        "model": said.model,
        "serial": said.serial,
        "firmware": said.firmware,
        "first_seen": _iso(stored.first_seen_ms),
        "last_seen": _iso(stored.last_seen_ms),
        "first_reading": _iso(min(earliest, default=None)),
        "last_reading": _iso(max(latest, default=None)),
        "readings": sum(tally.readings for tally in tallies),
        "flagged": sum(tally.flagged for tally in tallies),
        "kinds": {tally.kind.value: tally.readings for tally in stored.tallies},
    }


def quarantined(kept: Quarantined) -> Served:
    """Return a message in quarantine; its bytes as hex."""
    return {
        "id": str(kept.id),
        "topic": kept.topic,
        "tenant": kept.station and kept.station.tenant,
        "station": kept.station and kept.station.station,
        "reason": kept.reason,
        "received": _iso(kept.received_ms),
        "last_received": _iso(kept.last_received_ms),
        "deliveries": kept.deliveries,
        "size": len(kept.message),
        "message": kept.message.hex(),
    }


def _glucose_codes(seen: Observation, unit: Unit) -> tuple[str | None, str | None]:
    context = dict(seen.context)
    sample = context.get("sample")
    by_unit = _GLUCOSE_LOINC.get(sample, (None, None))
    if sample in _FROM_A_FINGER and context.get("location") == "finger":
        by_unit = _BY_GLUCOMETER
    mdc = None if sample is None else _GLUCOSE_MDC.get(sample)
    if seen.kind == Kind.CONTROL_SOLUTION:
        mdc = _GLUCOSE_MDC["control_solution"]
    return by_unit[0 if unit in _MASS else 1], mdc


def _value(seen: Observation, value: Seen) -> Served:
    measured = value.state == State.MEASURED
    return {
        "quantity": value.quantity.value,
        "value": value.number if measured else None,
        "unit": value.unit.value,
        "state": _name(value.state.name),
        # The number beside HI or LO is where the meter's range ends.
        "limit": None if measured else value.number,
        "canonical": _canonical(value) if measured else None,
        "codes": codes(seen, value),
    }


def _canonical(value: Seen) -> Served | None:
    try:
        found = canonical(value)
    except ValueError:
        return None  # a unit that does not measure the quantity, as it was sent
    if found is None:
        return None
    number, unit = found
    return {"value": number, "unit": unit.value}


def _with_raw(stored: Stored) -> Served:
    raw = stored.reading.observation.raw
    return reading(stored) | {"raw": [frame.hex() for frame in raw]}


def _name(name: str) -> str:
    return name.lower().replace("_", "-")


def _seconds(time_ms: int | None) -> Decimal | None:
    return None if time_ms is None else Decimal(time_ms).scaleb(-3)


def _iso(time_ms: int | None) -> str | None:
    if time_ms is None:
        return None
    moment = datetime.fromtimestamp(time_ms // 1000, UTC).replace(tzinfo=None)
    return f"{moment.isoformat()}.{time_ms % 1000:03}Z"
