"""Finds what somebody may see of patients, devices and observations, as resources.

An observation is shown only of a reading that is a patient's for certain, and that a
consent covers now; whatever else there is, it is as if it were not there.
"""

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gateway.access import Access, Forbidden, Principal, Role
from gateway.attribution import Theirs
from gateway.chart import START, Chart, Place, place_of
from gateway.consent import Grant
from gateway.fhir.bundle import issue
from gateway.fhir.dates import BadSearch
from gateway.fhir.devices import Devices, show
from gateway.fhir.elements import Resource, Unprojectable
from gateway.fhir.observation import observations
from gateway.fhir.patient import patient as patient_resource
from gateway.fhir.reach import kinds_with
from gateway.fhir.search import Search
from gateway.registry import Patient, Registry
from gateway.store import Store, Stored
from protocols.observation import Kind

_STEP = 200
_LARGEST = (1 << 63) - 1
_OBSERVATION = re.compile(r"([1-9]\d{0,18})-([a-z-]{1,40})")
_NUMBER = re.compile(r"[1-9]\d{0,18}")


@dataclass
class Page:
    """Some of what a search finds.

    Attributes:
        found: The resources.
        patients: Whom they are about, by id, each once.
        issues: Readings that cannot be shown, and why.
        next: Where to go on; empty if there is nothing more.
    """

    found: list[Resource] = field(default_factory=list)
    patients: dict[int, None] = field(default_factory=dict)
    issues: list[Resource] = field(default_factory=list)
    next: str = ""


@dataclass(frozen=True, slots=True)
class _Cursor:
    """A place among observations: whose, which reading, how many of its are shown."""

    patient: int = 0
    place: Place = START
    shown: int = 0

    def __str__(self) -> str:
        text = f"1.{self.patient}.{self.place[0]}.{self.place[1]}.{self.shown}"
        return urlsafe_b64encode(text.encode()).decode().rstrip("=")


class Records:
    """Reads what is kept, for one who asks.

    Args:
        store: Where readings and devices are.
        registry: Where patients are, and whose readings are.
        access: Who may see what.
        most: How much a search looks at before it gives a page, full or not.

    Attributes:
        devices: Which devices they may see.
    """

    def __init__(
        self, store: Store, registry: Registry, access: Access, most: int = 4_000
    ) -> None:
        self._store, self._registry, self._access = store, registry, access
        self._most = most
        self._chart = Chart(store, registry)
        self.devices = Devices(store, registry, access)

    def search(self, who: Principal, asked: Search) -> Page:
        """Return a page of what ``who`` may see of what was asked for.

        Raises:
            BadSearch: The cursor is none that an answer gave.
            Forbidden: They see no patients at all.
        """
        self._check(who)
        if asked.kind == "Patient":
            return self._patients(who, asked)
        if asked.kind == "Device":
            return self._search_devices(who, asked)
        return self._observations(who, asked)

    def read(self, who: Principal, kind: str, name: str) -> tuple[Resource, int | None]:
        """Return one resource, and whom it is about.

        Raises:
            LookupError: There is none that ``who`` may see.
            Forbidden: They see no patients at all.
        """
        self._check(who)
        if kind == "Observation":
            for one, patient in self._of_reading(who, name, Page()):
                if one["id"] == name:
                    return one, patient
        elif _NUMBER.fullmatch(name) and int(name) <= _LARGEST:
            number = int(name)
            if kind == "Patient":
                found = self._patient(who, number)
                if found is not None:
                    return patient_resource(found), found.id
            else:
                for shown in self.devices.of_ids(who, {number}):
                    return shown, None
        raise LookupError(f"{kind}/{name}")

    def patients(self, who: Principal, after: int, limit: int) -> list[Patient]:
        """Return at most ``limit`` patients behind ``after`` that ``who`` may see."""
        among = self._access.visible(who, self._access.now_ms())
        some = self._registry.patients(who.tenant, after, limit, among=among)
        return [self._access.shown(who, one) for one in some]

    def readings(
        self, who: Principal, patient: Patient, through: int
    ) -> Iterator[list[Resource]]:
        """Yield all that ``who`` may see of a patient, reading by reading.

        Args:
            who: Who asks, judged anew with each step.
            patient: Whose.
            through: The id of the last reading to look at.
        """
        place, more = START, True
        while more:
            self._access.check_holds(who.id)
            grants = self._access.granted(who, patient.id, self._access.now_ms())
            step = self._chart.readings(patient, grants, place, _STEP)
            place, more = step.reached, step.more
            for stored, theirs in zip(step.rows, step.theirs, strict=True):
                if stored.id > through:
                    continue
                try:
                    yield self._shown(who, stored, patient, theirs)
                except Unprojectable:
                    continue  # a search tells of it

    def _check(self, who: Principal) -> None:
        if not {Role.STEWARD, Role.READER} & who.roles:
            raise Forbidden("this needs the role reader or steward")

    def _patient(self, who: Principal, number: int) -> Patient | None:
        """Return a patient if ``who`` may see anything of them now."""
        if not self._access.granted(who, number, self._access.now_ms()):
            return None
        found = self._registry.patient(number, who.tenant)
        return None if found is None else self._access.shown(who, found)

    def _patients(self, who: Principal, asked: Search) -> Page:
        page, after = Page(), _number(asked.cursor)
        for _ in range(max(1, self._most // _STEP)):
            some = self.patients(who, after, _STEP)
            for one in some:
                shown = patient_resource(one)
                if asked.finds(shown):
                    if len(page.found) == asked.count:
                        page.next = _cursor(after)
                        return page
                    page.found.append(shown)
                    page.patients[one.id] = None
                after = one.id
            if len(some) < _STEP:
                return page
        page.next = _cursor(after)
        return page

    def _search_devices(self, who: Principal, asked: Search) -> Page:
        page, after = Page(), _number(asked.cursor)
        allowed = self.devices.seen(who)
        for _ in range(max(1, self._most // _STEP)):
            some = self._store.devices(after, _STEP)
            for one in some:
                shown = show(who, one, allowed)
                if shown is not None and asked.finds(shown):
                    if len(page.found) == asked.count:
                        page.next = _cursor(after)
                        return page
                    page.found.append(shown)
                after = one.id
            if len(some) < _STEP:
                return page
        page.next = _cursor(after)
        return page

    def _observations(self, who: Principal, asked: Search) -> Page:
        page = Page()
        if "_id" in asked.named:
            names = sorted({one.partition("-")[0] for one in asked.named["_id"]})
            for name in names:
                some = [
                    (one, patient)
                    for one, patient in self._of_reading(who, f"{name}-x", page)
                    if asked.finds(one)
                ]
                page.found += [one for one, _ in some]
                page.patients |= {patient: None for _, patient in some}
            return page
        self._walk(who, asked, page)
        return page

    def _walk(self, who: Principal, asked: Search, page: Page) -> None:
        """Fill a page, patient by patient, each in order of true time."""
        cursor, budget = _place(asked.cursor), self._most
        # As much as a page needs if all of it is found, and more where little is.
        size = min(_STEP, asked.count + 1)
        wanted = _wanted(asked)
        for patient in self._walked(who, asked, cursor.patient):
            at = cursor if patient.id == cursor.patient else _Cursor(patient.id)
            grants = self._access.granted(who, patient.id, self._access.now_ms())
            place, more = at.place, True
            while more:
                step = self._chart.readings(patient, grants, place, size, asked=wanted)
                for stored, theirs in zip(step.rows, step.theirs, strict=True):
                    shown = at.shown if at.shown and _before(stored) == at.place else 0
                    if self._show(who, stored, patient, theirs, asked, page, shown):
                        return
                place, more = step.reached, step.more
                budget, size = budget - size, min(_STEP, size * 4)
                if budget <= 0:
                    on = _Cursor(patient.id, place) if more else _Cursor(patient.id + 1)
                    page.next = str(on)
                    return

    def _show(  # noqa: PLR0917 - who asks, of what, for what, and where it goes
        self,
        who: Principal,
        stored: Stored,
        patient: Patient,
        theirs: Theirs,
        asked: Search,
        page: Page,
        shown: int,
    ) -> bool:
        """Add what a search finds of a reading; return whether the page is full."""
        try:
            all_of_it = self._shown(who, stored, patient, theirs)
        except Unprojectable as refusal:
            text = f"reading {stored.id} is not shown: {refusal}"
            page.issues.append(issue("warning", "not-supported", text))
            return False
        for number, one in enumerate(filter(asked.finds, all_of_it)):
            if number < shown:
                continue
            if len(page.found) == asked.count:
                page.next = str(_Cursor(patient.id, _before(stored), number))
                return True
            page.found.append(one)
            page.patients[patient.id] = None
        return False

    def _walked(self, who: Principal, asked: Search, first: int) -> Iterator[Patient]:
        """Yield the patients to look at, from one on, in order of id."""
        named = asked.named.get("patient")
        if named is not None:
            numbers = sorted(
                int(one)
                for one in named
                if _NUMBER.fullmatch(one) and int(one) >= first
            )
            found = (self._patient(who, one) for one in numbers if one <= _LARGEST)
            yield from (one for one in found if one is not None)
            return
        after = first - 1
        while some := self.patients(who, after, _STEP):
            yield from some
            after = some[-1].id

    def _of_reading(
        self, who: Principal, name: str, page: Page
    ) -> list[tuple[Resource, int]]:
        """Return the observations of the reading that an id names, and whose it is."""
        parts = _OBSERVATION.fullmatch(name)
        if parts is None or int(parts[1]) > _LARGEST:
            return []
        stored = self._store.reading(int(parts[1]))
        if stored is None:
            return []
        (theirs,) = self._registry.theirs([stored])
        if theirs is None:
            return []
        whose, now_ms = theirs.patient, self._access.now_ms()
        patient = self._patient(who, whose)
        if patient is None or not self._access.seen(who, whose, [stored], now_ms):
            return []
        try:
            found = self._shown(who, stored, patient, theirs)
        except Unprojectable as refusal:
            text = f"reading {stored.id} is not shown: {refusal}"
            page.issues.append(issue("warning", "not-supported", text))
            return []
        return [(one, whose) for one in found]

    def _shown(
        self, who: Principal, stored: Stored, patient: Patient, theirs: Theirs
    ) -> list[Resource]:
        others = self._store.amendments(stored.id) if stored.amendments else []
        return observations(stored, patient, theirs, others, named=who.sees_names)


def _wanted(asked: Search) -> Grant:
    """Return what of a chart can hold what was asked for."""
    kinds: Iterable[Kind] | None = None
    for name in ("code", "component-code"):
        if name in asked.named:
            some = frozenset().union(*(kinds_with(one) for one in asked.named[name]))
            kinds = some if kinds is None else some & frozenset(kinds)
    return Grant(
        kinds=None if kinds is None else frozenset(kinds),
        from_ms=asked.when.from_ms,
        until_ms=asked.when.until_ms,
    )


def _before(stored: Stored) -> Place:
    """Return the place just before a reading."""
    utc_ms, number = place_of(stored)
    return utc_ms, number - 1


def _cursor(number: int) -> str:
    return urlsafe_b64encode(f"1.{number}".encode()).decode().rstrip("=")


def _number(cursor: str) -> int:
    (number,) = _numbers(cursor, 1) if cursor else (0,)
    return number


def _place(cursor: str) -> _Cursor:
    if not cursor:
        return _Cursor()
    patient, utc_ms, number, shown = _numbers(cursor, 4)
    return _Cursor(patient, (utc_ms, number), shown)


def _numbers(cursor: str, count: int) -> tuple[int, ...]:
    wrong = BadSearch("_cursor", "is none that an answer's next link gave")
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        version, *rest = text.split(".")
        found = tuple(map(int, rest))
    except (binascii.Error, ValueError) as error:
        raise wrong from error
    within = all(-_LARGEST <= one <= _LARGEST for one in found)
    if version != "1" or len(found) != count or not within:
        raise wrong
    return found
