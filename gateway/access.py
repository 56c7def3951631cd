"""Who may see what: principals by token, programmes by consent, every look on record.

All is denied that no rule here allows. A principal sees its own tenant only; a steward
sees the tenant's patients, and a programme's reader those who consented to it, for the
kinds and times they consented to, until it expires or is withdrawn.

Source: RFC 6750, §2.1, for the header.
"""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager

from gateway.audit import Audit
from gateway.consent import Consents, Grant, Purpose
from gateway.principals import LOCAL, Principal, Principals, Role, Unauthorised
from gateway.registry import Patient
from gateway.store import Stored, marks
from gateway.store.database import Change, Database
from protocols.observation import Kind

__all__ = ["LOCAL", "Access", "Forbidden", "Grant", "Principal", "Purpose", "Role",
           "Unauthorised"]  # fmt: skip

_BEARER = re.compile(r"bearer +(vw_[A-Za-z0-9_-]{43})", re.IGNORECASE)


class Forbidden(Exception):
    """They are known, and may not; the text says what is missing, and of nobody."""


class Access:
    """Decides who may see what, and writes down who saw it.

    Args:
        database: Where principals, consents and the audit log are.
        open_local: Whether who brings no token is `LOCAL`, with every role; only for
            an API that this machine alone can reach.
        now_ms: The clock, ms since 1970 UTC.

    Attributes:
        principals: Who has a token.
    """

    def __init__(
        self,
        database: Database,
        *,
        open_local: bool,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._database, self._open_local, self._now_ms = database, open_local, now_ms
        self.principals = Principals(database, now_ms)
        self._consents = Consents(database)
        self._audit = Audit(database, now_ms)

    def now_ms(self) -> int:
        """Return the time by which consents and tokens are judged."""
        return self._now_ms()

    def authenticate(self, authorization: str | None) -> Principal:
        """Return who asks, by the Authorization header.

        Raises:
            Unauthorised: There is no token, or it is unknown, expired or revoked.
        """
        if authorization is None and self._open_local:
            return LOCAL
        if authorization is None:
            raise Unauthorised("send a token, as Authorization: Bearer vw_...")
        token = _BEARER.fullmatch(authorization.strip())
        if token is None:
            raise Unauthorised("the Authorization header is no Bearer with a vw_ token")
        return self.principals.holding(token[1])

    def check_holds(self, number: int) -> None:
        """Go on only if a token still holds: what takes long asks again and again.

        Args:
            number: Whose, by `Principal.id`; who needs no token has none that ends.

        Raises:
            Unauthorised: It was revoked meanwhile, or has expired.
        """
        if number != LOCAL.id:
            self.principals.check_holds(number)

    def require(self, who: Principal, role: Role) -> None:
        """Go on only if ``who`` has the role.

        Raises:
            Forbidden: It has not.
        """
        if role not in who.roles:
            raise Forbidden(f"this needs the role {role.value}")

    def visible(self, who: Principal, at_ms: int) -> frozenset[int] | None:
        """Return the ids of the patients that ``who`` may see anything of now.

        Returns:
            None is every patient of its tenant, for a steward; a reader's are those
            who consented to its programme; others see none.
        """
        if Role.STEWARD in who.roles:
            return None
        if Role.READER not in who.roles or who.programme is None:
            return frozenset()
        return self._consents.patients(who.programme, at_ms)

    def granted(self, who: Principal, patient: int, at_ms: int) -> tuple[Grant, ...]:
        """Return what ``who`` may see of one patient now; empty is nothing."""
        if Role.STEWARD in who.roles:
            tenants = set(self._tenants([patient]).values())
            return (Grant(),) if tenants and who.tenant in {"", *tenants} else ()
        if Role.READER not in who.roles or who.programme is None:
            return ()
        return self._consents.granted(who.programme, patient, at_ms)

    def may_see(
        self, who: Principal, patient: int, kind: Kind | None, at_ms: int
    ) -> None:
        """Go on only if ``who`` may see something of a patient now.

        Args:
            who: Who asks.
            patient: Whom about, by `Patient.id`.
            kind: Readings of which kind; None is any.
            at_ms: The time by which consents are judged.

        Raises:
            Forbidden: Nothing allows it. `granted` and `seen` tell of which readings.
        """
        for grant in self.granted(who, patient, at_ms):
            if kind is None or grant.kinds is None or kind in grant.kinds:
                return
        # The same words whether there is such a patient or not.
        raise Forbidden("no consent that holds now allows this")

    def shown(self, who: Principal, patient: Patient) -> Patient:
        """Return what of a patient's own data ``who`` may see: research knows no names.

        Args:
            who: Who asks, and `may_see` them.
            patient: Whom about.
        """
        return patient if who.sees_names else patient.opaque()

    def seen(
        self, who: Principal, patient: int, stored: Collection[Stored], at_ms: int
    ) -> list[Stored]:
        """Return those of a patient's readings that ``who`` may see now."""
        grants = self.granted(who, patient, at_ms)
        return [
            one
            for one in stored
            if any(
                grant.covers(one.reading.observation.kind, one.reading.utc_ms)
                for grant in grants
            )
        ]

    def record(
        self,
        who: Principal,
        action: str,
        *,
        patient: int | Collection[int] | None = None,
        tenant: str | None = None,
        what: str = "",
    ) -> None:
        """Write down durably what ``who`` is about to see; call it before the answer.

        Args:
            who: Who asks.
            action: What is done, as ``readings.list``.
            patient: Whom about, by `Patient.id`, one or each of several; None is
                nobody in particular.
            tenant: In whose log; None is the patient's tenant, or else the principal's.
            what: Which of it, by ids and counts; never a value, a name or a birth date.

        Raises:
            StoreUnavailable: It could not be written down, so nothing may be shown.
        """
        with self.recorded(who, action, patient=patient, tenant=tenant, what=what):
            pass

    @contextmanager
    def recorded(
        self,
        who: Principal,
        action: str,
        *,
        patient: int | Collection[int] | None = None,
        tenant: str | None = None,
        what: str = "",
    ) -> Iterator[Change]:
        """Begin a change that is durable together with the record of who made it.

        The arguments are those of `record`.
        """
        about = (patient,) if patient is None or isinstance(patient, int) else patient
        logs: dict[str, list[int | None]] = defaultdict(list)
        if tenant is None:
            tenants = self._tenants(one for one in about if one is not None)
            for one in about:
                log = who.tenant if one is None else tenants.get(one, who.tenant)
                logs[log].append(one)
        else:
            logs[tenant] += about
        with self._database.change() as change:
            # In order, so that no two wait for each other.
            for log, patients in sorted(logs.items()):
                self._audit.write(
                    change, who, action, tenant=log, patients=patients, what=what
                )
            yield change

    @contextmanager
    def making(self, tenant: str) -> Iterator[Change]:
        """Begin a change whose record has to name what it makes; see `note`."""
        with self._database.change() as change:
            self._audit.hold(change, tenant)
            yield change

    def note(
        self,
        change: Change,
        who: Principal,
        action: str,
        *,
        tenant: str,
        patient: int | None = None,
        what: str = "",
    ) -> None:
        """Write the record of a change that `making` began, as `record` does."""
        about = (patient,)
        self._audit.write(change, who, action, tenant=tenant, patients=about, what=what)

    def _tenants(self, patients: Iterable[int]) -> dict[int, str]:
        rows = marks.among(
            self._database, "SELECT id, tenant FROM patient WHERE id IN ({})", patients
        )
        return dict(rows)
