"""A reading as a row of the SQLite store, and back."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import cbor2
import msgspec

from protocols.gatt.time import DateTime
from protocols.observation import (
    Device,
    Kind,
    LinkSecurity,
    Observation,
    Quality,
    Quantity,
    Reading,
    State,
    TimeMethod,
    Unit,
    Value,
)

FACTS = (
    "sequence", "device_time", "offset_min", "arrival", "utc_ms", "time_method",
    "time_bound_ms", "captured_ms", "received_ms", "link", "quality", "person",
    "evidence", "status", "context", '"values"', "raw",
)  # fmt: skip

_Pairs = tuple[tuple[str, str], ...]
_VALUES = msgspec.json.Decoder(list[tuple[Quantity, Unit, str | None, int]])
_PAIRS = msgspec.json.Decoder(_Pairs)
_NAMES = msgspec.json.Decoder(tuple[str, ...])


def facts(reading: Reading, received_ms: int) -> tuple[Any, ...]:
    """Return what a reading says, in the order of `FACTS`."""
    seen = reading.observation
    return (
        seen.sequence,
        None if seen.device_time is None else str(seen.device_time),
        seen.offset_min,
        reading.arrival,
        reading.utc_ms,
        int(reading.time_method),
        reading.time_bound_ms,
        reading.captured_ms,
        received_ms,
        int(reading.link),
        int(reading.quality),
        reading.person,
        _json(reading.evidence),
        _json(seen.status),
        _json(seen.context),
        _json([_show(value) for value in seen.values]),
        cbor2.dumps(list(seen.raw)) if seen.raw else None,
    )


def reading_of(
    device: Device,
    driver: tuple[str, str],
    row: Sequence[Any],
    *,
    kind: str,
    slot: int,
    generation: int,
) -> Reading:
    """Return the reading that a row tells.

    Args:
        device: Of the row of its device.
        driver: Name and version.
        row: In the order of `FACTS`.
        kind: Its kind's name.
        slot: -1 is none.
        generation: Which filling of the device's memory.
    """
    return Reading(
        device=device,
        driver=driver[0],
        driver_version=driver[1],
        observation=Observation(
            kind=Kind(kind),
            values=tuple(_value(*parts) for parts in _VALUES.decode(row[15])),
            device_time=None if row[1] is None else DateTime.parse(row[1]),
            offset_min=row[2],
            sequence=row[0],
            slot=None if slot < 0 else slot,
            status=_NAMES.decode(row[13]) if row[13] else (),
            context=_PAIRS.decode(row[14]) if row[14] else (),
            raw=tuple(cbor2.loads(row[16])) if row[16] else (),
        ),
        captured_ms=row[7],
        utc_ms=row[4],
        time_method=TimeMethod(row[5]),
        time_bound_ms=row[6],
        link=LinkSecurity(row[9]),
        quality=Quality(row[10]),
        generation=generation,
        arrival=row[3],
        person=row[11],
        evidence=_PAIRS.decode(row[12]) if row[12] else (),
    )


def _json(parts: Sequence[object]) -> str | None:
    return msgspec.json.encode(parts).decode() if parts else None


def _show(value: Value) -> tuple[str, str, str | None, int]:
    # An exact decimal is kept as text: 5.50 must not come back as 5.5.
    number = None if value.number is None else str(value.number)
    return value.quantity.value, value.unit.value, number, int(value.state)


def _value(quantity: Quantity, unit: Unit, number: str | None, state: int) -> Value:
    exact = None if number is None else Decimal(number)
    return Value(quantity, unit, exact, State(state))
