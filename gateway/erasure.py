"""Takes away all that is kept of a patient, and keeps the fact that it was done.

Of each reading a digest stays behind that only this store can make, so that a meter
that tells it again adds nothing, and so do the counts of the ledger. What was noted in
the audit log about them stays; it holds ids and no values.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.access import Access, Principal
from gateway.chart import START, Chart
from gateway.consent import Grant
from gateway.registry import Patient
from gateway.store import Store, Stored, marks
from gateway.store.database import Change, Scalar
from gateway.store.gone import keep_digests
from gateway.store.sqlite_overwrite import overwrite
from gateway.webhooks import Webhooks

_PAGE = 500

_THESE = "device = :device AND id IN ({})"
_COUNT = f"""
    SELECT kind, count(*), sum(CASE WHEN quality <> 0 THEN 1 ELSE 0 END)
    FROM reading WHERE {_THESE} GROUP BY kind
"""  # noqa: S608
_AMENDMENTS = "DELETE FROM amendment WHERE reading IN ({}) RETURNING id"
_CLAIMS = (
    "DELETE FROM claim WHERE reading IN ({})",
    "DELETE FROM released WHERE reading IN ({})",
)
_READINGS = f"DELETE FROM reading WHERE {_THESE}"  # noqa: S608
_WEBHOOKS = "SELECT id FROM webhook WHERE patient = :patient ORDER BY id"
_UNCOUNT = """
    UPDATE tally SET readings = readings - :readings, flagged = flagged - :flagged,
        first_utc_ms = :first_ms, last_utc_ms = :last_ms
    WHERE device = :device AND kind = :kind
"""
_BOUNDS = """
    SELECT min(utc_ms), max(utc_ms) FROM reading WHERE device = :device AND kind = :kind
"""
_QUARANTINE = """
    SELECT q.id FROM quarantine q JOIN station s ON s.id = q.station
    WHERE s.tenant = :tenant AND s.station = :station ORDER BY q.id
"""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was taken away, and what may still be there.

    Attributes:
        readings: How many readings, with their raw bytes.
        amendments: How many other reports of them.
        quarantine: Ids of messages in quarantine of the stations that sent those
            readings. Nobody could read them, so nobody knows whom they are about.
        overwritten: Whether the store's files hold no byte of it any more. If not, it
            is not served, and lies there until something is written over it.
    """

    readings: int
    amendments: int
    quarantine: tuple[int, ...]
    overwritten: bool


class Erasure:
    """Erases patients.

    Args:
        store: Where readings are.
        chart: Says which are theirs.
        access: Writes down who did it.
    """

    def __init__(self, store: Store, chart: Chart, access: Access) -> None:
        self._store, self._chart, self._access = store, chart, access
        self._database = store.database
        self._webhooks = Webhooks(store.database)

    def erase(self, who: Principal, patient: Patient) -> Erased:
        """Take away a patient and their readings.

        Readings go first, some at a time, so that others can write between. A crash
        leaves the patient, and whoever asks again ends it.

        Args:
            who: Who asks for it.
            patient: Whom.

        Raises:
            StoreUnavailable: Not all was taken away; ask again.
        """
        readings = amendments = 0
        stations: set[tuple[str, str]] = set()
        for some in self._theirs(patient):
            with self._access.recorded(
                who, "patient.erase", patient=patient.id, what=f"{len(some)} readings"
            ) as change:
                amendments += _take_away(change, some)
            readings += len(some)
            stations |= {(one.station.tenant, one.station.station) for one in some}
        quarantine = tuple(self._quarantined(stations))
        with self._access.recorded(
            who,
            "patient.erased",
            patient=patient.id,
            what=f"{readings} readings, {amendments} amendments",
        ) as change:
            for table in (
                "claim",
                "consent",
                "attribution",
                "patient_identifier",
                "revision",
            ):
                change.rows(
                    f"DELETE FROM {table} WHERE patient = :patient",  # noqa: S608
                    patient=patient.id,
                )
            for (hook,) in change.rows(_WEBHOOKS, patient=patient.id):
                self._webhooks.remove(change, hook)
            change.rows("DELETE FROM patient WHERE id = :patient", patient=patient.id)
        return Erased(
            readings, amendments, quarantine, overwritten=overwrite(self._database)
        )

    def _theirs(self, patient: Patient) -> Iterator[list[Stored]]:
        """Yield a patient's readings, some at a time; a look may meet none."""
        place, more = START, True
        while more:
            found = self._chart.readings(patient, [Grant()], place, _PAGE)
            place, more = found.reached, found.more
            if found.rows:
                yield found.rows

    def _quarantined(self, stations: set[tuple[str, str]]) -> Iterator[int]:
        for tenant, station in sorted(stations):
            rows = self._database.rows(_QUARANTINE, tenant=tenant, station=station)
            yield from (row[0] for row in rows)


def _take_away(change: Change, stored: Sequence[Stored]) -> int:
    """Delete readings and all that hangs on them; return how many amendments."""
    amendments = 0
    of_device: dict[int, list[int]] = defaultdict(list)
    for one in stored:
        of_device[one.device].append(one.id)
    for device, numbers in of_device.items():
        listed, ids = marks.listed(numbers)
        these: dict[str, Scalar] = {**ids, "device": device}
        # Digests first: a meter may tell these readings at this very moment, and an
        # archive take some of them away.
        keep_digests(change, device, listed, ids)
        counted = change.rows(_COUNT.format(listed), **these)
        amendments += len(change.rows(_AMENDMENTS.format(listed), **ids))
        for statement in _CLAIMS:
            change.rows(statement.format(listed), **ids)
        change.rows(_READINGS.format(listed), **these)
        for kind, readings, flagged in counted:
            of_kind = {"device": device, "kind": kind}
            ((first_ms, last_ms),) = change.rows(_BOUNDS, **of_kind)
            change.rows(
                _UNCOUNT,
                readings=readings,
                flagged=flagged,
                first_ms=first_ms,
                last_ms=last_ms,
                **of_kind,
            )
    return amendments
