"""The ``gateway access`` and ``gateway audit`` commands: tokens, and who saw what.

Whoever may open the store needs no token to use them; what they do is on record.
"""

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.opened import at_the_console, configured, opened

if TYPE_CHECKING:  # loaded by who uses them
    from gateway.audit import Audit, Head
    from gateway.store import Store

_DAY_MS = 86_400_000
_HEAD = re.compile(r"(?P<tenant>[^:]*):(?P<sequence>\d{1,18}):(?P<hash>[0-9a-f]{64})")


@click.group()
def access() -> None:
    """Make, list and revoke the tokens that the API asks for."""


@access.command()
@click.argument("name")
@click.option(
    "--role",
    "roles",
    type=click.Choice(["operator", "steward", "reader"]),
    multiple=True,
    required=True,
    help="What it is for; may be given twice.",
)
@click.option("--tenant", default="", help="Whose; without it every tenant's.")
@click.option("--programme", help="Whose reader it is, by name.")
@click.option(
    "--days", type=click.IntRange(1, 3_660), default=365, show_default=True,
    help="How long it lasts.",
)  # fmt: skip
@configured
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def create(  # noqa: PLR0917 - click gives them all by name
    name: str,
    roles: tuple[str, ...],
    tenant: str,
    programme: str | None,
    days: int,
    file: Path | None,
    data: Path | None,
    *,
    as_json: bool,
) -> None:
    """Make a token for NAME, and show it this once.

    An operator sees stations, devices and raw readings; a steward sees patients and
    says who may see them; a reader sees who consented to its programme.

    \b
    Example:
        vitalwire gateway access create desk --role steward --tenant clinic-3
    """
    from gateway import people  # noqa: PLC0415
    from gateway.access import Principal, Role  # noqa: PLC0415
    from gateway.registry import Taken  # noqa: PLC0415

    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise click.ClickException("NAME has 1 to 64 printable characters")
    with opened(file, data, may_make=True) as (config, store):
        whose = tenant or config.tenant
        number = None if programme is None else _programme(store, whose, programme)
        granted = frozenset(Role(role) for role in roles)
        try:
            new = Principal(0, whose, name, granted, number)
        except ValueError as error:
            raise click.ClickException(f"--role, --programme: {error}") from error
        kept, who = at_the_console(store)
        try:
            with kept.making(whose) as change:
                issued, token = kept.principals.issue(
                    change, new, kept.now_ms() + days * _DAY_MS
                )
                what = f"principal {issued.id}"
                kept.note(change, who, "principal.made", tenant=whose, what=what)
        except Taken as error:
            raise click.ClickException(f"{error}: choose another") from error
    if as_json:
        click.echo(json.dumps(people.issued(issued) | {"token": token}))
        return
    click.echo(token)
    click.echo("It is kept nowhere and shown this once.", err=True)


@access.command(name="list")
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(file: Path | None, data: Path | None, *, as_json: bool) -> None:
    """List who has a token, or had one; never the tokens.

    \b
    Example:
        vitalwire gateway access list --data ./clinic
    """
    from gateway import people  # noqa: PLC0415

    with opened(file, data) as (config, store):
        (kept, _), after = at_the_console(store), 0
        while some := kept.principals.page(config.tenant, after, 1_000):
            for one in some:
                told = people.issued(one)
                ended = one.revoked_ms is not None or one.expires_ms <= kept.now_ms()
                click.echo(json.dumps(told) if as_json else _line(told, ended=ended))
            after = some[-1].id


@access.command()
@click.argument("number", type=click.IntRange(1))
@configured
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def revoke(number: int, file: Path | None, data: Path | None, *, as_json: bool) -> None:
    """End the token of the principal NUMBER at once.

    \b
    Example:
        vitalwire gateway access revoke 3 --data ./clinic
    """
    with opened(file, data) as (config, store):
        kept, who = at_the_console(store)
        found = kept.principals.page(config.tenant, number - 1, 1)
        if not found or found[0].id != number:
            raise click.ClickException(f"there is no principal {number}")
        tenant, name = found[0].principal.tenant, found[0].principal.name
        with kept.recorded(
            who, "principal.revoked", tenant=tenant, what=f"principal {number}"
        ) as change:
            done = kept.principals.revoke(change, number, tenant)
    if as_json:
        click.echo(json.dumps({"id": str(number), "name": name, "revoked": done}))
    else:
        click.echo(f"{name}: {'revoked' if done else 'was revoked before'}")


@click.group()
def audit() -> None:
    """List who did and saw what, and prove that the record is whole."""


@audit.command(name="list")
@click.option("--tenant", default="", help="Whose record; else what concerns no one.")
@click.option("--patient", type=click.IntRange(1), help="Only about them, by number.")
@click.option("--after", type=click.IntRange(0), default=0, help="Behind this row.")
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def entries(
    tenant: str,
    patient: int | None,
    after: int,
    file: Path | None,
    data: Path | None,
    *,
    as_json: bool,
) -> None:
    """List who did and saw what, the oldest first.

    \b
    Example:
        vitalwire gateway audit list --tenant clinic-3 --patient 17
    """
    from gateway import people  # noqa: PLC0415

    with opened(file, data) as (config, store):
        whose = tenant or config.tenant
        while some := _audit(store).entries(whose, after, 1_000, patient=patient):
            for one in some:
                told = people.entry(one)
                click.echo(json.dumps(told) if as_json else _row(told))
            after = some[-1].id


@audit.command()
@click.option(
    "--noted",
    multiple=True,
    metavar="HEAD",
    help="A head as this command printed it before; may be given twice.",
)
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def verify(
    noted: tuple[str, ...], file: Path | None, data: Path | None, *, as_json: bool
) -> None:
    """Check every row of every tenant's record, and print where each ends.

    Note what it prints where the keeper of the store cannot change it: only a head that
    was noted shows that a whole record was made anew, or its end cut off. The exit
    status is 1 if a record does not hold.

    \b
    Example:
        vitalwire gateway audit verify --noted clinic-3:412:9f…
    """
    from gateway.audit import Tampered  # noqa: PLC0415

    before = [_head(text) for text in noted]
    with opened(file, data) as (_, store):
        log = _audit(store)
        tenants = {head.tenant for head in [*log.heads(), *before]}
        tenants |= log.tenants()
        for tenant in sorted(tenants):
            try:
                known = [head for head in before if head.tenant == tenant]
                head = log.verify(tenant, *known)
            except Tampered as error:
                raise click.ClickException(str(error)) from error
            text = f"{tenant}:{head.sequence}:{head.hash.hex()}"
            told = {"tenant": tenant, "rows": head.sequence, "head": text}
            click.echo(json.dumps(told) if as_json else text)


def _audit(store: "Store") -> "Audit":
    from gateway.audit import Audit  # noqa: PLC0415

    return Audit(store.database, lambda: time.time_ns() // 1_000_000)


def _programme(store: "Store", tenant: str, name: str) -> int:
    from gateway.consent import Consents  # noqa: PLC0415

    after, kept = 0, Consents(store.database)
    while some := kept.programmes(tenant, after, 1_000):
        for one in some:
            if one.name == name:
                return one.id
        after = some[-1].id
    whose = f"of tenant {tenant!r}" if tenant else "of any tenant"
    raise click.ClickException(f"--programme {name!r}: there is none {whose}")


def _head(text: str) -> "Head":
    from gateway.audit import Head  # noqa: PLC0415

    found = _HEAD.fullmatch(text)
    if found is None:
        raise click.ClickException(
            f"--noted {text!r}: is no head as 'audit verify' prints it"
        )
    return Head(found["tenant"], int(found["sequence"]), bytes.fromhex(found["hash"]))


def _line(told: dict[str, Any], *, ended: bool) -> str:
    roles = ",".join(told["roles"])
    state = "revoked" if told["revoked"] else "expired" if ended else "holds"
    return (
        f"{told['id']:>6}  {told['tenant'] or '(every tenant)':<16}  {roles:<18}  "
        f"{state:<8}  until {told['expires'][:10]}  {told['name']}"
    )


def _row(told: dict[str, Any]) -> str:
    about = f"patient {told['patient']}" if told["patient"] else ""
    parts = (about, told["purpose"], told["what"])
    return (
        f"{told['sequence']:>8}  {told['at'][:19]}Z  {told['name']:<20}  "
        f"{told['action']:<18}  {'  '.join(part for part in parts if part)}"
    ).rstrip()
