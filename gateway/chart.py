"""A patient's readings in order of true time, and the tray of those that are nobody's.

What is a patient's comes from three places: their attributions, claims of single
readings, and stations that named them. `Registry.whose` has the last word on each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway import revision
from gateway.attribution import Theirs
from gateway.consent import Grant
from gateway.registry import OPEN_MS, Patient, Registry, Taken, Unknown
from gateway.store import Filter, Span, Store, Stored
from gateway.store.database import Change, Scalar
from protocols.observation import Kind

_STEPS = 20
_STRETCH = 500
_PERSONS = frozenset(Kind) - {Kind.CONTROL_SOLUTION}

_ALL = Grant()

Place = tuple[int, int]
"""True time in ms since 1970 UTC and id of a reading; `OPEN_MS` is without a time."""

START: Place = (-OPEN_MS, 0)
"""Before every reading."""

_CLAIMED = """
    SELECT utc_ms, reading FROM claim
    WHERE patient = :patient AND ended_ms IS NULL AND (utc_ms, reading) > (:utc, :id)
    ORDER BY utc_ms, reading LIMIT :limit
"""
_TIMED = """
    SELECT r.utc_ms, r.id FROM reading r JOIN device d ON d.id = r.device
    WHERE r.person = :name AND d.tenant = :tenant AND (r.utc_ms, r.id) > (:utc, :id)
    ORDER BY r.utc_ms, r.id LIMIT :limit
"""
_UNTIMED = """
    SELECT r.id FROM reading r JOIN device d ON d.id = r.device
    WHERE r.person = :name AND d.tenant = :tenant AND r.utc_ms IS NULL AND r.id > :id
    ORDER BY r.id LIMIT :limit
"""
_CLAIM = """
    INSERT INTO claim (reading, patient, utc_ms, evidence, made_ms, made_by)
    VALUES (:reading, :patient, :utc_ms, :evidence, :now_ms, :by)
    ON CONFLICT (reading) WHERE ended_ms IS NULL DO NOTHING RETURNING id
"""
_RELEASED = """
    INSERT INTO released (reading, ended_ms) VALUES (:reading, :now_ms)
    ON CONFLICT (reading) DO UPDATE SET ended_ms = excluded.ended_ms
    WHERE released.ended_ms < excluded.ended_ms
"""


@dataclass(frozen=True, slots=True)
class Found:
    """One step through a list.

    Attributes:
        rows: What it met, maybe fewer than were asked for, or none.
        reached: Where to go on. Of a patient's readings it is the last row's place,
            so that it tells nothing of what may not be seen; only where a long look
            met no row, it is where that look ended.
        more: Whether there is something behind it.
        theirs: Why each of a patient's readings is theirs.
    """

    rows: list[Stored]
    reached: Place
    more: bool
    theirs: Sequence[Theirs] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """That one reading is a patient's, whatever the attributions say.

    Attributes:
        id: From 1.
        reading: By `Stored.id`.
        patient: By `Patient.id`.
        evidence: Why: 1 to 256 characters.
        made_ms: When it was made, ms since 1970 UTC.
        made_by: By whom, by `Principal.name`.
        ended_ms: When it was taken back; None is active.
    """

    id: int
    reading: int
    patient: int
    evidence: str
    made_ms: int
    made_by: str
    ended_ms: int | None


class Chart:
    """Finds a patient's readings, and readings that are nobody's.

    Args:
        store: Where readings are.
        registry: Says whose they are.
    """

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store, self._registry = store, registry
        self._database = store.database

    def readings(
        self,
        patient: Patient,
        grants: Sequence[Grant],
        after: Place,
        limit: int,
        *,
        asked: Grant = _ALL,
    ) -> Found:
        """Return a patient's readings in order of true time; those without one last.

        Args:
            patient: Whose.
            grants: What of them may be seen, as of `Access.granted`.
            after: The place of the last one seen; `START` is from the beginning.
            limit: How many at most.
            asked: Of which kinds and times.
        """
        found: list[Stored] = []
        theirs: list[Theirs] = []
        spans = _within(self._registry.spans(patient.id), grants, asked)
        kinds = _kinds(grants, asked)
        reached, size = after, limit + 1
        for _ in range(_STEPS):
            some, end = self._step(patient, spans, kinds, after, size)
            facts = self._registry.theirs(some)
            for one, fact in zip(some, facts, strict=True):
                seen = one.reading.observation.kind, one.reading.utc_ms
                if (
                    fact is not None
                    and fact.patient == patient.id
                    and asked.covers(*seen)
                    and any(grant.covers(*seen) for grant in grants)
                ):
                    if len(found) == limit:
                        return Found(found, reached, more=True, theirs=theirs)
                    found.append(one)
                    theirs.append(fact)
                    reached = place_of(one)
            if end is None:
                return Found(found, reached, more=False, theirs=theirs)
            after = end
            size = max(size, min(size * 4, _STRETCH))
        return Found(found, reached if found else after, more=True, theirs=theirs)

    def unassigned(self, which: Filter, after: int, limit: int) -> Found:
        """Return readings that are nobody's for certain, in order of arrival.

        Args:
            which: Where to look.
            after: The id of the last one that was looked at.
            limit: How many at most.
        """
        found: list[Stored] = []
        for _ in range(_STEPS):
            some = self._store.readings(which, after, _STRETCH)
            for one, number in zip(some, self._registry.whose(some), strict=True):
                if number is None:
                    if len(found) == limit:
                        return Found(found, (0, after), more=True)
                    found.append(one)
                after = one.id
            if len(some) < _STRETCH:
                return Found(found, (0, after), more=False)
        return Found(found, (0, after), more=True)

    def check_claim(self, patient: Patient, reading: int) -> Stored:
        """Return a reading if it can be claimed for a patient.

        Raises:
            Unknown: There is no such reading in the patient's tenant.
            Taken: It is somebody's already, or it can be nobody's.
        """
        stored = self._store.reading(reading)
        if stored is None or stored.station.tenant != patient.tenant:
            raise Unknown(f"there is no reading {reading}")
        if stored.reading.observation.kind == Kind.CONTROL_SOLUTION:
            raise Taken(f"reading {reading} is of control solution, and nobody's")
        (whose,) = self._registry.whose([stored])
        if whose is not None:
            raise Taken(f"reading {reading} is patient {whose}'s already")
        return stored

    def claim(  # noqa: PLR0917 - what, whose, why, who, when
        self,
        change: Change,
        stored: Stored,
        patient: int,
        evidence: str,
        by: str,
        now_ms: int,
    ) -> Claim:
        """Write down that a reading, as of `check_claim`, is a patient's.

        Raises:
            Taken: Somebody was faster.
        """
        utc_ms, _ = place_of(stored)
        revision.hold(change)  # from here on nobody else says whose it is
        (whose,) = self._registry.attributions.whose([stored], change)
        if whose is not None:
            raise Taken(f"reading {stored.id} became patient {whose}'s meanwhile")
        rows = change.rows(
            _CLAIM,
            reading=stored.id,
            patient=patient,
            utc_ms=utc_ms,
            evidence=evidence,
            now_ms=now_ms,
            by=by,
        )
        if not rows:
            raise Taken(f"reading {stored.id} was claimed meanwhile")
        kind = stored.reading.observation.kind
        _revise(change, patient, stored.id, kind, utc_ms, now_ms)
        return Claim(rows[0][0], stored.id, patient, evidence, now_ms, by, None)

    def release(
        self, change: Change, reading: int, patient: int, by: str, now_ms: int
    ) -> bool:
        """Take a claim back; return whether there was one.

        Something else may say now whose the reading is, and said nothing before.
        """
        # Before it holds what others wait for: it may take another connection.
        stored = self._store.reading(reading)
        kind = None if stored is None else stored.reading.observation.kind
        rows = change.rows(
            "UPDATE claim SET ended_ms = :now_ms, ended_by = :by WHERE "
            "reading = :reading AND patient = :patient AND ended_ms IS NULL "
            "RETURNING utc_ms",
            reading=reading,
            patient=patient,
            by=by,
            now_ms=now_ms,
        )
        for (utc_ms,) in rows:
            _revise(change, patient, reading, kind, utc_ms, now_ms)
            change.rows(_RELEASED, reading=reading, now_ms=now_ms)
            now = [] if stored is None else [stored]
            for whose in self._registry.attributions.whose(now, change):
                if whose not in {None, patient}:
                    _revise(change, whose, reading, kind, utc_ms, now_ms)
        return bool(rows)

    def claims(self, patient: int) -> list[Claim]:
        """Return every claim for a patient, ended or not, in order of id."""
        rows = self._database.rows(
            "SELECT id, reading, patient, evidence, made_ms, made_by, ended_ms "
            "FROM claim WHERE patient = :patient ORDER BY id",
            patient=patient,
        )
        return [Claim(*row) for row in rows]

    def _step(
        self,
        patient: Patient,
        spans: Sequence[Span],
        kinds: frozenset[Kind],
        after: Place,
        limit: int,
    ) -> tuple[list[Stored], Place | None]:
        """Return what may be the patient's at the next ``limit`` places, and the last.

        That is None if there are fewer. A claim outlives a reading that is archived,
        so there may be fewer readings than places.

        The first ``limit`` of all together are among the first ``limit`` of each.
        """
        found: dict[Place, Stored | None] = {}
        if after[0] < OPEN_MS and kinds:
            timed = self._store.of_device(spans, kinds, after, limit)
            found |= {place_of(one): one for one in timed}
        for place in self._told(patient, after, limit):
            found.setdefault(place, None)
        places = sorted(found)[:limit]
        rows = [
            one
            for place in places
            if (one := found[place] or self._store.reading(place[1])) is not None
        ]
        return rows, places[-1] if len(places) == limit else None

    def _told(self, patient: Patient, after: Place, limit: int) -> list[Place]:
        """Return the places of what was claimed for a patient, or names them."""
        utc, number = after
        named: dict[str, Scalar] = {"name": patient.name, "tenant": patient.tenant}
        found = [
            *self._database.rows(
                _CLAIMED, patient=patient.id, utc=utc, id=number, limit=limit
            ),
            *self._database.rows(_TIMED, utc=utc, id=number, limit=limit, **named),
        ]
        # Those without a time stand behind all that have one.
        number = number if utc == OPEN_MS else 0
        untimed = self._database.rows(_UNTIMED, id=number, limit=limit, **named)
        return [
            *((row[0], row[1]) for row in found),
            *((OPEN_MS, row[0]) for row in untimed),
        ]


def _revise(  # noqa: PLR0917 - whose, which, of what, when it was, when this is
    change: Change,
    patient: int,
    reading: int,
    kind: Kind | None,
    utc_ms: int,
    now_ms: int,
) -> None:
    """Write down that a reading, timed as in a `Place`, came to a patient, or went."""
    at = () if utc_ms == OPEN_MS else (utc_ms, utc_ms + 1)
    revision.add(change, patient, now_ms, *at, reading=reading, kind=kind)


def place_of(stored: Stored) -> Place:
    """Return where a reading stands in a chart."""
    utc_ms = stored.reading.utc_ms
    return (OPEN_MS if utc_ms is None else utc_ms), stored.id


def _kinds(grants: Sequence[Grant], asked: Grant) -> frozenset[Kind]:
    """Return the kinds that are asked for, and that some grant is for."""
    granted = (_PERSONS if grant.kinds is None else grant.kinds for grant in grants)
    wanted = _PERSONS if asked.kinds is None else asked.kinds
    return _PERSONS & wanted & frozenset().union(*granted)


def _within(spans: Sequence[Span], grants: Sequence[Grant], asked: Grant) -> list[Span]:
    """Return the spans without what lies outside all grants, or outside ``asked``."""
    from_ms = min((grant.from_ms or 0 for grant in grants), default=OPEN_MS)
    until_ms = max((grant.end_ms for grant in grants), default=0)
    from_ms, until_ms = max(from_ms, asked.from_ms or 0), min(until_ms, asked.end_ms)
    cut = [
        Span(
            one.device, one.slot, max(one.from_ms, from_ms), min(one.until_ms, until_ms)
        )
        for one in spans
    ]
    return [one for one in cut if one.from_ms < one.until_ms]
