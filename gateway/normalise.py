"""What is served of a stored reading: canonical values, codes and names."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import IntEnum
from functools import lru_cache

from gateway.store import Amendment, Quarantined, Stored, StoredDevice
from gateway.vocabulary import vocabulary
from protocols.kinds import flag_names
from protocols.observation import (
    Kind,
    LinkSecurity,
    Observation,
    Quality,
    Quantity,
    State,
    TimeMethod,
    Unit,
)
from protocols.observation import Value as Seen
from protocols.units import canonical

Served = dict[str, object]

LOINC = "http://loinc.org"
MDC = "urn:iso:std:iso:11073:10101"

_EPOCH, _DAY_MS = date(1970, 1, 1).toordinal(), 86_400_000
_FEW, _MANY = 1 << 10, 1 << 14
_Pairs = tuple[tuple[str, str], ...]


def codes(seen: Observation, value: Seen) -> list[Served]:
    """Return the codes of a value: LOINC first, then MDC; empty if there is none."""
    term = vocabulary().term(seen, value)
    found = ((LOINC, term.loinc), (MDC, term.mdc))
    return [{"system": system, "code": one.code} for system, one in found if one]


def reading(stored: Stored) -> Served:
    """Return a reading as it is served, numbers as exact decimals."""
    read, seen = stored.reading, stored.reading.observation
    about = seen.kind, seen.context
    return {
        "id": str(stored.id),
        "tenant": stored.station.tenant,
        "station": stored.station.station,
        "device": read.device.id,
        "kind": seen.kind.value,
        "values": [_value(*about, *_told(one)) for one in seen.values],
        "device_time": None if seen.device_time is None else str(seen.device_time),
        "offset_min": seen.offset_min,
        "time": {
            "utc": iso(read.utc_ms),
            "method": _METHODS[read.time_method],
            "bound_s": _seconds(read.time_bound_ms),
        },
        "sequence": seen.sequence,
        "slot": seen.slot,
        "status": list(seen.status),
        "context": dict(seen.context),
        "quality": [*_flags(read.quality)],
        "link": _LINKS[read.link],
        "driver": {"name": read.driver, "version": read.driver_version},
        "captured": iso(read.captured_ms),
        "received": iso(stored.received_ms),
        "amended": stored.amendments > 0,
    }


def unnamed(stored: Stored) -> Served:
    """Return a reading for who sees no names: its device is the store's number."""
    return reading(stored) | {"station": "", "device": str(stored.device)}


def reading_whole(stored: Stored, amendments: list[Amendment]) -> Served:
    """Return a reading with the device's own bytes and all other reports of it."""
    return _with_raw(stored) | {"amendments": [_report(one) for one in amendments]}


def amendment(other: Amendment) -> Served:
    """Return another report of a stored reading, which it names."""
    return _report(other) | {"reading": str(other.reading)}


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
        "first_seen": iso(stored.first_seen_ms),
        "last_seen": iso(stored.last_seen_ms),
        "first_reading": iso(min(earliest, default=None)),
        "last_reading": iso(max(latest, default=None)),
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
        "received": iso(kept.received_ms),
        "last_received": iso(kept.last_received_ms),
        "deliveries": kept.deliveries,
        "size": len(kept.message),
        "message": kept.message.hex(),
    }


def _told(value: Seen) -> tuple[Quantity, Unit, str | None, State]:
    number = None if value.number is None else str(value.number)
    return value.quantity, value.unit, number, value.state


# By the number's text: 1.0 and 1.00 are equal, and are not served alike.
@lru_cache(_MANY)
def _value(  # noqa: PLR0917 - all that it depends on
    kind: Kind,
    context: _Pairs,
    quantity: Quantity,
    unit: Unit,
    number: str | None,
    state: State,
) -> Served:
    """Return a value as it is served, to be put into answers and never changed."""
    exact = None if number is None else Decimal(number)
    value = Seen(quantity, unit, exact, state)
    measured = state == State.MEASURED
    return {
        "quantity": value.quantity.value,
        "value": value.number if measured else None,
        "unit": value.unit.value,
        "state": _STATES[value.state],
        # The number beside HI or LO is where the meter's range ends.
        "limit": None if measured else value.number,
        "canonical": _canonical(value) if measured else None,
        "codes": codes(Observation(kind, (value,), context=context), value),
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


def _report(other: Amendment) -> Served:
    return _with_raw(other.stored) | {"batch_sha256": other.digest.hex()}


def _with_raw(stored: Stored) -> Served:
    raw = stored.reading.observation.raw
    return reading(stored) | {"raw": [frame.hex() for frame in raw]}


def _names(kind: type[IntEnum]) -> Mapping[int, str]:
    return {one: one.name.lower().replace("_", "-") for one in kind}


# A name is looked up, not made, for each of a page's readings.
_STATES, _METHODS, _LINKS = map(_names, (State, TimeMethod, LinkSecurity))


@lru_cache(_FEW)
def _flags(quality: Quality) -> tuple[str, ...]:
    return tuple(flag_names(Quality, quality))


def _seconds(time_ms: int | None) -> Decimal | None:
    return None if time_ms is None else Decimal(time_ms).scaleb(-3)


def iso(time_ms: int | None) -> str | None:
    """Return ms since 1970 UTC as 2026-03-01T07:30:00.000Z."""
    if time_ms is None:
        return None
    days, ms = divmod(time_ms, _DAY_MS)
    minutes, ms = divmod(ms, 60_000)
    return f"{_date(days)}T{_clock(minutes)}:{ms // 1000:02}.{ms % 1000:03}Z"


@lru_cache(_FEW)
def _date(days: int) -> str:
    return date.fromordinal(_EPOCH + days).isoformat()


@lru_cache(None)
def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
