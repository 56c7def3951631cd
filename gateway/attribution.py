"""Which device's readings of what time are whose.

An attribution is a fact of its own, made by somebody, with its evidence. It is revised
by another one that names it; no row goes away. What none covers for certain is
nobody's, until somebody with the right to it claims it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gateway import revision
from gateway.revision import ALWAYS_MS, OPEN_MS
from gateway.store import Span, Stored, marks
from gateway.store.database import Change, Database, Scalar
from protocols.observation import Kind

__all__ = ["ALWAYS_MS", "OPEN_MS", "Attribution", "Attributions", "Stale", "Taken",
           "Theirs", "Unknown"]  # fmt: skip


class Taken(Exception):
    """Something else stands there already; the text names it, and says what to do."""


class Stale(Exception):
    """It was changed by somebody else since it was read; read it again."""


class Unknown(Exception):
    """There is no such patient, device, reading or attribution in this tenant."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """That a device's readings of an interval of true time are a patient's.

    Attributes:
        id: From 1.
        tenant: Whose device and patient.
        device: By `StoredDevice.id`.
        slot: The device's user slot; None is every slot, and readings without one.
        patient: By `Patient.id`.
        from_ms: True time, inclusive, ms since 1970 UTC; `ALWAYS_MS` is from ever, of
            a device that was nobody's before.
        until_ms: True time, exclusive; `OPEN_MS` is still going on.
        evidence: Why, as "handed over at the counter": 1 to 256 characters.
        made_ms: When it was made.
        made_by: By whom, by `Principal.name`.
        ended_ms: When it ceased to hold, revised or taken back; None is active.
        replaces: The attribution that it revises.

    Raises:
        ValueError: It ends before it begins.
    """

    id: int
    tenant: str
    device: int
    slot: int | None
    patient: int
    from_ms: int
    until_ms: int
    evidence: str
    made_ms: int
    made_by: str
    ended_ms: int | None = None
    replaces: int | None = None

    def __post_init__(self) -> None:
        if not self.from_ms < self.until_ms:
            raise ValueError("an attribution ends after it begins")


@dataclass(frozen=True, slots=True)
class Theirs:
    """Whose a reading is, and why.

    Attributes:
        patient: By `Patient.id`.
        fact: What says so: ``attribution-`` or ``claim-`` and its id, or ``name-`` and
            the patient's.
        since_ms: Since when that says so, ms since 1970 UTC.
    """

    patient: int
    fact: str
    since_ms: int


_ATTRIBUTION = """id, tenant, device, slot, patient, from_ms, until_ms, evidence,
    made_ms, made_by, ended_ms, replaces"""
_ATTRIBUTE = """
    INSERT INTO attribution (tenant, device, slot, patient, from_ms, until_ms, evidence,
        made_ms, made_by, replaces)
    VALUES (:tenant, :device, :slot, :patient, :from_ms, :until_ms, :evidence, :made_ms,
        :made_by, :replaces)
    RETURNING id
"""
_CLAIMED = """
    SELECT reading, patient, id, made_ms FROM claim
    WHERE ended_ms IS NULL AND reading IN ({})
"""
_RELEASED = "SELECT reading, ended_ms FROM released WHERE reading IN ({})"
_IN_TURN = """
    INSERT INTO attributed (device, changes) VALUES (:device, 1)
    ON CONFLICT (device) DO UPDATE SET changes = attributed.changes + 1
"""


class Attributions:
    """Keeps attributions, and says by them whose a reading is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def attribute(self, change: Change, made: Attribution) -> Attribution:
        """Write an attribution down; return it with its id.

        Args:
            change: The transaction.
            made: Whose id and end are not looked at. The one that it ``replaces``
                ends with it.

        Raises:
            Taken: Another active one of this device and slot overlaps; the text names
                it. One without a slot overlaps with every slot's.
            Unknown: The patient or the device is not this tenant's, or what it replaces
                is not this device's, or has ended.
        """
        change.rows(_IN_TURN, device=made.device)
        for what, number in (("device", made.device), ("patient", made.patient)):
            if not change.rows(
                f"SELECT 1 FROM {what} WHERE id = :id AND tenant = :tenant",  # noqa: S608
                id=number,
                tenant=made.tenant,
            ):
                raise Unknown(f"there is no {what} {number}")
        ended = [] if made.replaces is None else [self._end(change, made)]
        for other in _active(change, made.device):
            slots = {made.slot, other.slot}
            apart = len(slots) == 2 and None not in slots
            earlier = other.until_ms <= made.from_ms or made.until_ms <= other.from_ms
            if not (apart or earlier):
                raise Taken(
                    f"attribution {other.id} says that this is patient "
                    f"{other.patient}'s already: revise that one first"
                )
        values: dict[str, Scalar] = {
            name: getattr(made, name)
            for name in ("tenant", "device", "slot", "patient", "from_ms", "until_ms",
                         "evidence", "made_ms", "made_by", "replaces")
        }  # fmt: skip
        # Before it gets its id, so that these are in order of commit as well.
        for patient in sorted({one.patient for one in (made, *ended)}):
            theirs = [one for one in (made, *ended) if one.patient == patient]
            revision.add(
                change,
                patient,
                made.made_ms,
                min(one.from_ms for one in theirs),
                max(one.until_ms for one in theirs),
                device=made.device,
            )
        ((number,),) = change.rows(_ATTRIBUTE, **values)
        return replace(made, id=number, ended_ms=None)

    def take_back(
        self, change: Change, number: int, tenant: str, by: str, now_ms: int
    ) -> Attribution:
        """End an attribution that should not have been made, and put none in its place.

        Raises:
            Unknown: There is no such active attribution in this tenant.
        """
        rows = change.rows(
            "UPDATE attribution SET ended_ms = :now_ms, ended_by = :by "  # noqa: S608
            "WHERE id = :number AND tenant = :tenant AND ended_ms IS NULL "
            f"RETURNING {_ATTRIBUTION}",
            number=number,
            tenant=tenant,
            by=by,
            now_ms=now_ms,
        )
        if not rows:
            raise Unknown(f"there is no active attribution {number}")
        ended = Attribution(*rows[0])
        revision.add(
            change,
            ended.patient,
            now_ms,
            ended.from_ms,
            ended.until_ms,
            device=ended.device,
        )
        return ended

    def listed(
        self,
        tenant: str,
        after: int,
        limit: int,
        *,
        patient: int | None = None,
        device: int | None = None,
        active: bool = False,
    ) -> list[Attribution]:
        """Return at most ``limit`` attributions behind ``after``, in order of id.

        Args:
            tenant: Whose; empty is every tenant's.
            after: The id of the last one seen; 0 is from the beginning.
            limit: How many at most.
            patient: Only theirs.
            device: Only its, by `StoredDevice.id`.
            active: Leave out what has ended.
        """
        values = marks.given(tenant=tenant or None, patient=patient, device=device)
        where = ["id > :after", *(f"{name} = :{name}" for name in values)]
        if active:
            where.append("ended_ms IS NULL")
        rows = self._database.rows(
            f"SELECT {_ATTRIBUTION} FROM attribution "  # noqa: S608
            f"WHERE {' AND '.join(where)} ORDER BY id LIMIT :limit",
            after=after,
            limit=limit,
            **values,
        )
        return [Attribution(*row) for row in rows]

    def names(self, devices: Iterable[int]) -> dict[int, str]:
        """Return the devices' own ids, by `StoredDevice.id`."""
        sql = "SELECT id, device FROM device WHERE id IN ({})"
        return dict(marks.among(self._database, sql, devices))

    def spans(self, patient: int) -> list[Span]:
        """Return what of which device is a patient's now, revisions applied.

        Not all that a span holds need be theirs: `whose` says.
        """
        rows = self._database.rows(
            "SELECT device, slot, from_ms, until_ms FROM attribution "
            "WHERE patient = :patient AND ended_ms IS NULL ORDER BY id",
            patient=patient,
        )
        return [Span(*row) for row in rows]

    def whose(
        self, stored: Sequence[Stored], change: Change | None = None
    ) -> list[int | None]:
        """Return whose each reading is, by `Patient.id`, as `theirs` says."""
        facts = self.theirs(stored, change)
        return [None if one is None else one.patient for one in facts]

    def theirs(
        self, stored: Sequence[Stored], change: Change | None = None
    ) -> list[Theirs | None]:
        """Return whose each reading is, and why; None is nobody's for certain.

        Control solution is nobody's. Else the first of these that says something:

        1. a claim of this very reading;
        2. the person that the station named: the tenant's patient of that name, and
           nobody if there is none;
        3. the one active attribution in which [utc - bound, utc + bound] lies wholly. A
           time of unknown bound may be anything up to when the gateway received it, so
           only an attribution from `ALWAYS_MS` holds it. A reading without a true time
           is in none.

        Args:
            stored: The readings.
            change: A transaction in which to look; None is what is committed.
        """
        if not stored:
            return []
        database = self._database if change is None else change
        numbers = {one.id for one in stored}
        claims = {
            reading: Theirs(patient, f"claim-{number}", made_ms)
            for reading, patient, number, made_ms in marks.among(
                database, _CLAIMED, numbers
            )
        }
        released = dict[int, int](marks.among(database, _RELEASED, numbers))
        named = {one.reading.person for one in stored if one.reading.person is not None}
        people = {
            (tenant, name): Theirs(number, f"name-{number}", named_ms)
            for tenant, name, number, named_ms in marks.among(
                database,
                "SELECT tenant, name, id, named_ms FROM patient WHERE name IN ({})",
                named,
            )
        }
        spans: dict[int, list[tuple[Attribution, Theirs]]] = defaultdict(list)
        for row in marks.among(
            database,
            f"SELECT {_ATTRIBUTION} FROM attribution "  # noqa: S608
            "WHERE ended_ms IS NULL AND device IN ({})",
            {one.device for one in stored},
        ):
            made = Attribution(*row)
            says = Theirs(made.patient, f"attribution-{made.id}", made.made_ms)
            spans[made.device].append((made, says))
        facts = [_theirs(one, claims, people, spans[one.device]) for one in stored]
        for at, one in enumerate(stored if released else ()):
            # While it was claimed, nothing else said anything.
            fact, ended_ms = facts[at], released.get(one.id, 0)
            if fact is not None and fact.since_ms < ended_ms:
                facts[at] = replace(fact, since_ms=ended_ms)
        return facts

    def _end(self, change: Change, made: Attribution) -> Attribution:
        """End the attribution that ``made`` replaces, and return it."""
        rows = change.rows(
            "UPDATE attribution SET ended_ms = :now_ms, ended_by = :by "  # noqa: S608
            "WHERE id = :number AND tenant = :tenant AND device = :device "
            f"AND ended_ms IS NULL RETURNING {_ATTRIBUTION}",
            number=made.replaces,
            tenant=made.tenant,
            device=made.device,
            by=made.made_by,
            now_ms=made.made_ms,
        )
        if not rows:
            raise Unknown(f"this device has no active attribution {made.replaces}")
        return Attribution(*rows[0])


def _theirs(
    stored: Stored,
    claims: dict[int, Theirs],
    people: dict[tuple[str, str], Theirs],
    spans: list[tuple[Attribution, Theirs]],
) -> Theirs | None:
    read = stored.reading
    if read.observation.kind == Kind.CONTROL_SOLUTION:
        return None
    if stored.id in claims:
        return claims[stored.id]
    if read.person is not None:
        return people.get((stored.station.tenant, read.person))
    if read.utc_ms is None:
        return None
    if read.time_bound_ms is None:
        # An attribution holds nothing before 1970, not even one from ever.
        first_ms = min(ALWAYS_MS, read.utc_ms)
        last_ms = max(read.utc_ms, stored.received_ms)
    else:
        first_ms = read.utc_ms - read.time_bound_ms
        last_ms = read.utc_ms + read.time_bound_ms
    slot = read.observation.slot
    for span, fact in spans:
        if span.slot in {None, slot} and span.from_ms <= first_ms:  # noqa: SIM102
            if last_ms < span.until_ms:
                return fact
    return None


def _active(change: Change, device: int) -> list[Attribution]:
    rows = change.rows(
        f"SELECT {_ATTRIBUTION} FROM attribution "  # noqa: S608
        "WHERE ended_ms IS NULL AND device = :device ORDER BY id",
        device=device,
    )
    return [Attribution(*row) for row in rows]
