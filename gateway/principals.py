"""Who asks: principals, what each is for, and the life of its token."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from gateway import revision
from gateway.consent import Purpose
from gateway.registry import Taken
from gateway.store.database import Change, Database, Row

_TOKEN_BYTES = 32
_PRINCIPALS = """
    SELECT p.id, p.tenant, p.name, p.roles, p.programme, g.purpose, p.created_ms,
        p.expires_ms, p.revoked_ms
    FROM principal p LEFT JOIN programme g ON g.id = p.programme
    WHERE {} ORDER BY p.id LIMIT :limit
"""


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


class Principals:
    """Makes principals with their tokens, finds them and ends them.

    Args:
        database: Where they are.
        now_ms: The clock, ms since 1970 UTC.
    """

    def __init__(self, database: Database, now_ms: Callable[[], int]) -> None:
        self._database, self._now_ms = database, now_ms

    def holding(self, token: str) -> Principal:
        """Return whose a token is that holds now.

        Raises:
            Unauthorised: It is unknown, expired or revoked.
        """
        return self._holding("p.token = :token", token=_digest(token))

    def check_holds(self, number: int) -> None:
        """Go on only if the token of the principal ``number`` still holds.

        Raises:
            Unauthorised: It does not.
        """
        self._holding("p.id = :number", number=number)

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
        revision.hold(change)  # so that ids are in order of commit, for who walks them
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

    def page(self, tenant: str, after: int, limit: int) -> list[Issued]:
        """Return at most ``limit`` principals behind ``after``, in order of id.

        Args:
            tenant: Whose; empty is every tenant's.
            after: The id of the last one seen; 0 is from the beginning.
            limit: How many at most.
        """
        if tenant:
            where = "p.id > :after AND p.tenant = :tenant"
            return self._found(where, limit, after=after, tenant=tenant)
        return self._found("p.id > :after", limit, after=after)

    def _holding(self, where: str, **values: int | bytes) -> Principal:
        found = self._found(where, 1, **values)
        if not found:
            raise Unauthorised("nobody is known by this token")
        if found[0].revoked_ms is not None:
            raise Unauthorised("this token was revoked; ask a steward for another one")
        if found[0].expires_ms <= self._now_ms():
            raise Unauthorised("this token has expired; ask a steward for another one")
        return found[0].principal

    def _found(
        self, where: str, limit: int, **values: int | str | bytes
    ) -> list[Issued]:
        rows = self._database.rows(_PRINCIPALS.format(where), limit=limit, **values)
        return [_issued(row) for row in rows]


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
