"""All that is kept of a patient, as lines of JSON: what they may ask for.

Each line is an object whose ``type`` says what it is. First the patient, then
attributions, claims and consents, then every reading with its raw bytes and all other
reports of it, in order of true time, and last who did and saw what of them.
"""

from collections.abc import Iterator

from gateway import normalise, people
from gateway.audit import Audit
from gateway.chart import START, Chart
from gateway.consent import Consents, Grant
from gateway.exact import encode
from gateway.normalise import Served
from gateway.registry import Patient, Registry
from gateway.store import Store

_PAGE = 500


def lines(
    store: Store, registry: Registry, audit: Audit, patient: Patient
) -> Iterator[bytes]:
    """Return all that is kept of a patient, as lines.

    Raises:
        StoreUnavailable: The store can't be read any more; what came is not all.
    """
    for told in _told(store, registry, audit, patient):
        yield encode(told) + b"\n"


def _told(
    store: Store, registry: Registry, audit: Audit, patient: Patient
) -> Iterator[Served]:
    chart, consents = Chart(store, registry), Consents(store.database)
    yield {"type": "patient"} | people.person(patient)
    after = 0
    while some := registry.attributions.listed(
        patient.tenant, after, _PAGE, patient=patient.id
    ):
        names = registry.attributions.names({one.device for one in some})
        for one in some:
            yield {"type": "attribution"} | people.attribution(one, names[one.device])
        after = some[-1].id
    for claimed in chart.claims(patient.id):
        yield {"type": "claim"} | people.claim(claimed)
    for given in consents.of_patient(patient.id):
        yield {"type": "consent"} | people.consent(given)
    place, more = START, True
    while more:
        found = chart.readings(patient, [Grant()], place, _PAGE)
        for stored in found.rows:
            whole = normalise.reading_whole(stored, store.amendments(stored.id))
            yield {"type": "reading"} | whole
        place, more = found.reached, found.more
    after = 0
    while rows := audit.entries(patient.tenant, after, _PAGE, patient=patient.id):
        for row in rows:
            yield {"type": "audit"} | people.entry(row)
        after = rows[-1].sequence
