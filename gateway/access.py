"""Who may see what: principals by token, programmes by consent, every look on record.

All is denied that no rule here allows. A principal sees its own tenant only; a steward
sees the tenant's patients, and a programme's reader those who consented to it, for the
kinds and times they consented to, until it expires or is withdrawn.

Source: RFC 6750, §2.1, for the header.
"""

import hashlib
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from gateway.audit import Audit
from gateway.consent import Consents, Grant, Purpose
from gateway.registry import Patient, Taken
from gateway.store import Stored, marks
from gateway.store.database import Change, Database, Row
from protocols.observation import Kind

__all__ = ["LOCAL", "Access", "Forbidden", "Grant", "Issued", "Principal", "Purpose",
           "Role", "Unauthorised"]  # fmt: skip

_TOKEN_BYTES = 32
_BEARER = re.compile(r"bearer +(vw_[A-Za-z0-9_-]{43})", re.IGNORECASE)


class Role(StrEnum):
    """What a principal is for; each allows nothing of the others."""

    OPERATOR = "operator"  # stations, devices, quarantine, metrics, raw readings
    STEWARD = "steward"  # patients, attributions, consents, programmes, tokens, audit
    READER = "reader"  # a programme's; consented patients only


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody or something that asks.

    Attributes:
        id: From 1; 0 is who asks on this machine without a token, where that may be.
        tenant: Whose it is; empty is every tenant's.
        name: What it was called when its token was made, 1 to 64 characters.
        roles: What it is for.
        programme: Whose reader it is, if that is all that it is.
        purpose: That programme's.

    Raises:
        ValueError: Its roles and its programme do not go together.
    """

    id: int
    tenant: str
    name: str
    roles: frozenset[Role]
    programme: int | None = None
    purpose: Purpose | None = None

    def __post_init__(self) -> None:
        if not self.roles:
            raise ValueError("a principal needs a role")
        reader = self.roles == {Role.READER}
        if Role.READER in self.roles and not reader and self.roles != {*Role}:
            raise ValueError("a reader has no other role, or all of them")
        if reader is (self.programme is None):
            raise ValueError("a reader is one programme's, and nobody else is")

    @property
    def sees_names(self) -> bool:
        """Whether it is shown what leads to somebody elsewhere: research is not.

        That is names of patients, of their devices and of the stations they are at.
        """
        return self.purpose != Purpose.RESEARCH


LOCAL = Principal(0, "", "local", frozenset(Role))
"""Who asks without a token where the API is open to its own machine."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A principal, and the life of its token.

    Attributes:
        principal: Who.
        created_ms: When the token was made, ms since 1970 UTC.
        expires_ms: When it ends by itself.
        revoked_ms: When it was revoked; None is not.
    """

    principal: Principal
    created_ms: int
    expires_ms: int
    revoked_ms: int | None

    @property
    def id(self) -> int:
        """The principal's."""
        return self.principal.id


class Unauthorised(Exception):
    """Nobody is known by this token, or not any more; the text says what to do."""


class Forbidden(Exception):
    """They are known, and may not; the text says what is missing, and of nobody."""


_PRINCIPALS = """
    SELECT p.id, p.tenant, p.name, p.roles, p.programme, g.purpose, p.created_ms,
        p.expires_ms, p.revoked_ms
    FROM principal p LEFT JOIN programme g ON g.id = p.programme
    WHERE {} ORDER BY p.id LIMIT :limit
"""


class Access:
    """Decides who may see what, and writes down who saw it.

    Args:
        database: Where principals, consents and the audit log are.
        open_local: Whether who brings no token is `LOCAL`, with every role; only for
            an API that this machine alone can reach.
        now_ms: The clock, ms since 1970 UTC.
    """

    def __init__(
        self,
        database: Database,
        *,
        open_local: bool,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._database, self._open_local, self._now_ms = database, open_local, now_ms
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
        found = self._issued("p.token = :token", 1, token=_digest(token[1]))
        return self._holding(found)

    def check_holds(self, number: int) -> None:
        """Go on only if a token still holds: what takes long asks again and again.

        Args:
            number: Whose, by `Principal.id`; who needs no token has none that ends.

        Raises:
            Unauthorised: It was revoked meanwhile, or has expired.
        """
        if number != LOCAL.id:
            self._holding(self._issued("p.id = :number", 1, number=number))

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

    def issue(
        self, change: Change, principal: Principal, expires_ms: int
    ) -> tuple[Issued, str]:
        """Make a principal and its token.

        Args:
            change: The transaction.
            principal: Whose id and purpose are not looked at.
            expires_ms: When the token ends by itself, ms since 1970 UTC.

        Returns:
            What is kept, and the token, which is not: show it once.

        Raises:
            Taken: The name is another one's in this tenant.
        """
        token = f"vw_{secrets.token_urlsafe(_TOKEN_BYTES)}"
        rows = change.rows(
            "INSERT INTO principal (tenant, name, roles, programme, token, created_ms, "
            "expires_ms) VALUES (:tenant, :name, :roles, :programme, :token, :now_ms, "
            ":expires_ms) ON CONFLICT (tenant, name) DO NOTHING RETURNING id",
            tenant=principal.tenant,
            name=principal.name,
            roles=",".join(sorted(principal.roles)),
            programme=principal.programme,
            token=_digest(token),
            now_ms=self._now_ms(),
            expires_ms=expires_ms,
        )
        if not rows:
            raise Taken(f"the name {principal.name!r} is another principal's")
        found = change.rows(
            _PRINCIPALS.format("p.id = :number"), number=rows[0][0], limit=1
        )
        return _issued(found[0]), token

    def revoke(self, change: Change, number: int, tenant: str = "") -> bool:
        """End a token at once; return whether there was one that was not ended yet.

        Args:
            change: The transaction.
            number: The principal's id.
            tenant: Whose; empty is every tenant's.
        """
        where = "AND tenant = :tenant" if tenant else ""
        return bool(
            change.rows(
                "UPDATE principal SET revoked_ms = :now_ms "  # noqa: S608
                f"WHERE id = :number AND revoked_ms IS NULL {where} RETURNING id",
                number=number,
                now_ms=self._now_ms(),
                **({"tenant": tenant} if tenant else {}),
            )
        )

    def principals(self, tenant: str, after: int, limit: int) -> list[Issued]:
        """Return at most ``limit`` principals behind ``after``, in order of id.

        Args:
            tenant: Whose; empty is every tenant's.
            after: The id of the last one seen; 0 is from the beginning.
            limit: How many at most.
        """
        if tenant:
            where = "p.id > :after AND p.tenant = :tenant"
            return self._issued(where, limit, after=after, tenant=tenant)
        return self._issued("p.id > :after", limit, after=after)

    def _issued(
        self, where: str, limit: int, **values: int | str | bytes
    ) -> list[Issued]:
        rows = self._database.rows(_PRINCIPALS.format(where), limit=limit, **values)
        return [_issued(row) for row in rows]

    def _holding(self, found: list[Issued]) -> Principal:
        """Return whose token was found, if it holds now."""
        if not found:
            raise Unauthorised("nobody is known by this token")
        if found[0].revoked_ms is not None:
            raise Unauthorised("this token was revoked; ask a steward for another one")
        if found[0].expires_ms <= self._now_ms():
            raise Unauthorised("this token has expired; ask a steward for another one")
        return found[0].principal

    def _tenants(self, patients: Iterable[int]) -> dict[int, str]:
        rows = marks.among(
            self._database, "SELECT id, tenant FROM patient WHERE id IN ({})", patients
        )
        return dict(rows)


def _issued(row: Row) -> Issued:
    return Issued(
        Principal(
            id=row[0],
            tenant=row[1],
            name=row[2],
            roles=frozenset(Role(name) for name in row[3].split(",")),
            programme=row[4],
            purpose=None if row[5] is None else Purpose(row[5]),
        ),
        *row[6:],
    )


def _digest(token: str) -> bytes:
    """Return what is kept of a token.

    A plain SHA-256 will do, for a token is 256 random bits that nobody can try through.
    """
    return hashlib.sha256(token.encode()).digest()
