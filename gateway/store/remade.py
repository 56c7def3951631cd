"""Readings made again from what a row of either store tells.

What a row says was checked on its way in, and a disk may have changed it since: so a
reading is checked again, as any other is, and only how it is put together is quicker. A
text that was read before is not read again: what it means depends on nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, make_dataclass
from decimal import Decimal, InvalidOperation
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import cbor2
import msgspec

from gateway.store.database import Row
from protocols.gatt.time import DateTime
from protocols.observation import (
    ARRIVALS,
    SEQUENCES,
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
from protocols.uplink import frames
from protocols.uplink.group import KINDS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_REMEMBERED = 1 << 14
_FEW = 1 << 10
_MINUTES = 1 << 11  # a day has 1,440
_USUAL = len("2026-03-01T07:30:00")
_SHORT = 2 + 24  # from 24 bytes on CBOR tells the length apart

_Pairs = tuple[tuple[str, str], ...]
_T = TypeVar("_T", bound="DataclassInstance")
_VALUES = msgspec.json.Decoder(list[tuple[str, str, str | None, int]])
_PAIRS = msgspec.json.Decoder(_Pairs)
_NAMES = msgspec.json.Decoder(tuple[str, ...])


def quickly(kind: type[_T]) -> Callable[..., _T]:
    """Return what makes an instance of a frozen dataclass of all its fields in order.

    Its own constructor sets each field by a call of Python's, for which a page of
    readings has no time; it also checks them, and this does not.

    Args:
        kind: A dataclass with slots and no base.

    Source: The Python Language Reference, 3.3.2.4.1: a class may be assigned if both
    have the same ``__slots__``.
    """
    names = [one.name for one in fields(kind)]
    still_open: Any = make_dataclass(kind.__name__, names, slots=True)

    def make(*values: object) -> _T:
        made: _T = still_open(*values)
        made.__class__ = kind
        return made

    return make


def reading_of(
    device: Device, driver: tuple[str, str], key: Sequence[int], facts: Row
) -> Reading:
    """Return the reading that a row tells.

    Args:
        device: Of the row of its device.
        driver: Name and version.
        key: Of the row, in the order of `KEY`.
        facts: Of the row, in the order of `FACTS`.

    Raises:
        ValueError: No reading can be so: the row is damaged.
    """
    _, generation, slot, kind, ordinal, _ = key
    (
        utc_ms, method, bound_ms, captured_ms, time, offset_min, link, quality, person,
        evidence, status, context, values, raw,
    ) = facts  # fmt: skip
    about, measured, noted = _said(kind, values, context)
    seen = _observation(
        about,
        measured,
        None if time is None else _clock(time),
        offset_min,
        ordinal if ordinal < SEQUENCES else None,
        None if slot < 0 else slot,
        _names(status) if status else (),
        noted,
        _frames(raw) if raw else (),
    )
    read = _reading(
        device,
        seen,
        *driver,
        captured_ms,
        utc_ms,
        _method(method),
        bound_ms,
        _link(link),
        _quality(quality),
        generation,
        ordinal - ARRIVALS if ordinal >= ARRIVALS else None,
        person,
        _PAIRS.decode(evidence) if evidence else (),
    )
    read.__post_init__()
    return read


_observation, _reading = quickly(Observation), quickly(Reading)
_method, _link = cache(TimeMethod), cache(LinkSecurity)
_quality = lru_cache(_FEW)(Quality)
_names, _pairs = lru_cache(_FEW)(_NAMES.decode), lru_cache(_FEW)(_PAIRS.decode)


@lru_cache(_REMEMBERED)
def _said(
    kind: int, values: str, context: str | None
) -> tuple[Kind, tuple[Value, ...], _Pairs]:
    """Return what an observation says, of which its own check looks at no more."""
    found = tuple([_value(*parts) for parts in _VALUES.decode(values)])
    noted = _pairs(context) if context else ()
    return KINDS[kind], found, Observation(KINDS[kind], found, context=noted).context


@lru_cache(_REMEMBERED)
def _value(quantity: str, unit: str, number: str | None, state: int) -> Value:
    try:
        exact = None if number is None else Decimal(number)
    except InvalidOperation as error:  # which is no ValueError
        raise ValueError(f"{number!r:.20} is no number") from error
    return Value(Quantity(quantity), Unit(unit), exact, State(state))


def _frames(raw: bytes) -> tuple[bytes, ...]:
    # Most are one short frame, which CBOR has behind two bytes.
    if 2 <= len(raw) < _SHORT and raw[0] == 0x81 and raw[1] == 0x40 + len(raw) - 2:
        return (raw[2:],)
    try:
        found = cbor2.loads(raw)
    except cbor2.CBORDecodeError as error:
        raise ValueError(f"its frames are damaged: {error}") from error
    if not frames.are(found):
        raise ValueError("its frames are damaged: they are no bytes")
    return tuple(found)


def _clock(text: str) -> DateTime:
    if len(text) != _USUAL or text[10] != "T":
        return DateTime.parse(text)
    # Each part comes again, and hardly ever the whole.
    return DateTime._make(_date(text[:10]) + _minute(text[11:17]) + _second(text[17:]))


@lru_cache(_REMEMBERED)
def _date(text: str) -> tuple[int, ...]:
    return DateTime.parse(f"{text}T00:00:00")[:3]


@lru_cache(_MINUTES)
def _minute(text: str) -> tuple[int, ...]:
    return DateTime.parse(f"0000-00-00T{text}00")[3:5]


@lru_cache(_FEW)
def _second(text: str) -> tuple[int, ...]:
    return DateTime.parse(f"0000-00-00T00:00:{text}")[5:]
