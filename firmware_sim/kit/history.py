"""What a device has shown, and whether a driver read just that."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import cycle, islice
from typing import TypeAlias

from firmware_sim.trial import Limit, Shown, Trial
from protocols.observation import (
    Device,
    Kind,
    Observation,
    Quantity,
    Reading,
    State,
    Unit,
    Value,
    fingerprint,
    is_undated,
    key,
)
from protocols.units import canonical

NOW = datetime(2026, 1, 9, 9, 26, 53)  # noqa: DTZ001 - a wall clock
_POINTS = 7
_FEW = 3
_APART = timedelta(hours=37, minutes=13, seconds=7)  # day, night, and another year
_CLOSE = timedelta(minutes=13, seconds=7)
_STATES = {Limit.HIGH: State.ABOVE_RANGE, Limit.LOW: State.BELOW_RANGE}

Fact: TypeAlias = tuple[object, ...]
"""What makes a reading right: kind, slot, time, values in canonical units."""


def history(trial: Trial) -> list[Shown]:
    """Return measurements across all that a device can show, oldest first."""
    values: list[tuple[Kind, Mapping[Quantity, Decimal | Limit]]] = []
    for kind, spans in trial.spans.items():
        across = zip(*(span.points(_POINTS) for span in spans), strict=True)
        names = [span.quantity for span in spans]
        values += [(kind, dict(zip(names, row, strict=True))) for row in across]
        values += [values[-1]]  # the same value again, at another time
        if kind in trial.limits:
            values += [(kind, dict.fromkeys(names, limit)) for limit in Limit]
    return _told(trial, values, apart=_APART)


def many(trial: Trial, count: int, *, until: datetime = NOW) -> list[Shown]:
    """Return ``count`` measurements, oldest first, the newest before ``until``."""
    kinds = [
        (kind, dict(zip([span.quantity for span in spans], row, strict=True)))
        for kind, spans in trial.spans.items()
        for row in zip(*(span.points(_POINTS) for span in spans), strict=True)
    ]
    return _told(trial, list(islice(cycle(kinds), count)), apart=_CLOSE, until=until)


def twins(shown: Sequence[Shown]) -> list[Shown]:
    """Return measurements, some of which came twice in one minute."""
    middle = len(shown) // 2
    return [*shown[:middle], shown[middle], *shown[middle:], shown[-1]]


def _told(
    trial: Trial,
    values: list[tuple[Kind, Mapping[Quantity, Decimal | Limit]]],
    *,
    apart: timedelta,
    until: datetime = NOW,
) -> list[Shown]:
    slots = cycle(trial.slots or (None,))
    contexts, statuses = cycle(trial.contexts), cycle(trial.statuses)
    start = until - apart * len(values) - timedelta(hours=1)
    told = []
    for at, (kind, row) in enumerate(values):
        time = start + apart * at
        if trial.resolution_s != 1:
            time = time.replace(second=0)
        is_control = kind == Kind.CONTROL_SOLUTION
        context = {} if is_control else next(contexts)
        told.append(Shown(kind, row, time, next(slots), context, next(statuses)))
    return told


@dataclass(frozen=True, slots=True)
class Reader:
    """Compares what a driver tells with what a trial's device showed."""

    trial: Trial

    def truth(self, shown: Iterable[Shown]) -> Counter[Fact]:
        """Return what a driver must tell."""
        return Counter(self._of_shown(one) for one in shown)

    def told(self, seen: Iterable[Observation]) -> Counter[Fact]:
        """Return what a driver told, each reading once by its own key."""
        return Counter(self._of_seen(one) for one in self.once(seen))

    def once(self, seen: Iterable[Observation]) -> Iterator[Observation]:
        """Yield each reading once, as the agent writes it down."""
        names: set[object] = set()
        for one in seen:
            name = named(one)
            if name is None or name not in names:
                names.add(name)
                yield one

    def _of_shown(self, one: Shown) -> Fact:
        units = {span.quantity: span.unit for span in self.trial.spans[one.kind]}
        values = {
            (quantity, _shown(quantity, units[quantity], number))
            for quantity, number in one.values.items()
        }
        time = one.time.isoformat() if self.trial.resolution_s else None
        return one.kind, one.slot, time, frozenset(values)

    def _of_seen(self, one: Observation) -> Fact:
        facing = one.user_facing_time
        moment = None if facing is None else facing.moment
        time = None if moment is None else moment.isoformat()
        values = frozenset((value.quantity, _seen(value)) for value in one.values)
        return one.kind, one.slot, time if self.trial.resolution_s else None, values


def named(one: Observation) -> object:
    """Return what the agent and the gateway know a reading by; None if by nothing."""
    if is_undated(one):
        return None
    reading = Reading(Device("device"), one, "driver", "1", captured_ms=0)
    return key(reading), fingerprint(reading)


def lists(facts: Iterable[Fact]) -> str:
    """Return facts as a text for people, the first few of them."""
    texts = []
    for kind, slot, time, values in facts:
        pairs = values if isinstance(values, frozenset) else ()
        said = ", ".join(sorted(f"{name} {value}" for name, value in pairs))
        where = "" if slot is None else f" in slot {slot}"
        texts.append(f"{kind} at {time}{where}: {said}")
    more = f", and {len(texts) - _FEW} more" if len(texts) > _FEW else ""
    return "; ".join(texts[:_FEW]) + more


def _shown(quantity: Quantity, unit: Unit, number: Decimal | Limit) -> str:
    if isinstance(number, Limit):
        return _STATES[number].name
    return _text(canonical(Value(quantity, unit, number)))


def _seen(value: Value) -> str:
    if value.state != State.MEASURED:
        return value.state.name
    try:
        return _text(canonical(value))
    except ValueError as error:  # a unit that measures something else
        return f"{value.number} {value.unit}: {error}"


def _text(found: tuple[Decimal, Unit] | None) -> str:
    return "nothing" if found is None else f"{found[0].normalize():f} {found[1]}"
