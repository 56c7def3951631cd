"""What is sent and answered about patients, for the API and its document.

Answers are made by `gateway.people` and not by these; a test holds them together.
"""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.access import Role
from gateway.api.paging import Id, Moment, Number
from gateway.api.shapes import Page, Reading, Shape
from gateway.consent import Purpose
from protocols.observation import Kind

Name = Annotated[
    str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")
]
_Text = Annotated[str, Field(max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Evidence = Annotated[
    str, Field(min_length=1, max_length=256, description="Why; nothing of a person's")
]
_Slot = Annotated[int, Field(ge=0, le=255)]
_PROBLEM = {
    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
}
CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"description": "Something else stands there already", "content": _PROBLEM}
}
STALE: dict[int | str, dict[str, Any]] = {
    412: {"description": "It was changed since it was read", "content": _PROBLEM}
}
_TENANT = Field(default=None, description="Needed by a token that is every tenant's")
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def _within(moment: datetime) -> datetime:
    if not _FIRST <= moment < _LAST:
        raise ValueError("is not within the years 1970 to 9998")
    return moment


def _day(text: str) -> str:
    """Check a date of which the day, or the month too, may be left out."""
    if text:
        date.fromisoformat(f"{text}-01-01"[:10])
    return text


When = Annotated[Moment, AfterValidator(_within)]
_DATE = r"^(\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?)?$"


class Sent(BaseModel):
    """What is sent, with these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class Identifier(Sent):
    """Somebody else's name of a patient."""

    system: str = Field(min_length=1, max_length=256, examples=["urn:oid:1.2.36.146"])
    value: str = Field(min_length=1, max_length=128)


class PatientChange(Sent):
    """A patient as they are to be kept; empty is not kept."""

    name: Name = Field(description="An opaque identifier", examples=["P-0001"])
    identifiers: list[Identifier] = Field(default_factory=list, max_length=32)
    family: _Text = ""
    given: _Text = ""
    birth_date: Annotated[str, AfterValidator(_day)] = Field(
        default="", pattern=_DATE, examples=["1951-03", ""]
    )
    gender: Literal["", "male", "female", "other", "unknown"] = ""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({(one.system, one.value) for one in self.identifiers}) < len(
            self.identifiers
        ):
            raise ValueError("an identifier stands there twice")
        return self


class NewPatient(PatientChange):
    """A patient to be kept."""

    tenant: Id | None = _TENANT


class NewAttribution(Sent):
    """That a device's readings of an interval of true time are a patient's."""

    device: Id = Field(description="The device's id")
    slot: _Slot | None = Field(
        default=None, description="Its user slot; null is every slot, and none"
    )
    patient: Number
    since: When | None = Field(
        default=None,
        alias="from",
        description="True time, inclusive; null is from ever",
    )
    until: When | None = Field(
        default=None, description="True time, exclusive; null is still going on"
    )
    evidence: _Evidence
    replaces: Number | None = Field(
        default=None, description="The attribution that this one revises"
    )


class NewClaim(Sent):
    """Readings that are nobody's, and whose they are."""

    patient: Number
    readings: list[Number] = Field(min_length=1, max_length=1_000)
    evidence: _Evidence


class NewProgramme(Sent):
    """Somebody who reads about consenting patients."""

    name: Name
    purpose: Purpose
    tenant: Id | None = _TENANT


class NewConsent(Sent):
    """That a patient agrees."""

    programme: Number
    kinds: list[Kind] | None = Field(
        default=None,
        min_length=1,
        max_length=len(Kind),
        description="Null is every kind",
    )
    since: When | None = Field(
        default=None, alias="from", description="Readings of this true time on"
    )
    until: When | None = Field(default=None, description="Readings before this time")
    expires: When = Field(description="When it ends by itself")


class NewPrincipal(Sent):
    """Somebody or something that shall have a token."""

    name: Name
    roles: list[Role] = Field(min_length=1, max_length=len(Role))
    programme: Number | None = Field(default=None, description="Whose reader it is")
    expires: When = Field(description="When the token ends by itself")
    tenant: Id | None = Field(default=None, description="A token's own at most")


class Patient(Shape):
    """A patient. Research is shown no identifiers, names and birth dates."""

    id: str
    tenant: str
    name: str
    identifiers: list[Identifier]
    family: str
    given: str
    birth_date: str
    gender: str
    created: str
    updated: str
    version: int


class Attribution(Shape):
    """That a device's readings of an interval of true time are a patient's."""

    id: str
    tenant: str
    device: str
    slot: int | None
    patient: str
    since: str | None = Field(alias="from", description="Null is from ever")
    until: str | None = Field(description="Null is still going on")
    evidence: str
    made: str
    made_by: str
    ended: str | None = Field(description="When it ceased to hold; null is active")
    replaces: str | None


class Claim(Shape):
    """That one reading is a patient's, whatever the attributions say."""

    id: str
    reading: str
    patient: str
    evidence: str
    made: str
    made_by: str
    ended: str | None


class Programme(Shape):
    """Somebody who reads about consenting patients."""

    id: str
    tenant: str
    name: str
    purpose: Purpose
    created: str


class Consent(Shape):
    """That a patient agreed."""

    id: str
    patient: str
    programme: str
    kinds: list[Kind] | None
    since: str | None = Field(alias="from")
    until: str | None
    expires: str
    given: str
    given_by: str
    withdrawn: str | None


class Principal(Shape):
    """Somebody or something that has a token."""

    id: str
    tenant: str
    name: str
    roles: list[Role]
    programme: str | None
    purpose: Purpose | None
    created: str
    expires: str
    revoked: str | None


class Issued(Principal):
    """A principal whose token was made just now."""

    token: str = Field(description="Shown this once, and kept nowhere")


class Entry(Shape):
    """A row of the audit log."""

    tenant: str
    sequence: int
    at: str
    principal: str = Field(description="0 is who asked on this machine without a token")
    name: str
    action: str
    patient: str | None
    programme: str | None
    purpose: str
    what: str
    hash: str


class Head(Shape):
    """Where an audit log ends: to be noted where its keeper cannot change it."""

    tenant: str
    sequence: int
    hash: str


class Heads(Shape):
    """Where each audit log ends."""

    heads: list[Head]


class Erased(Shape):
    """What was taken away, and what may still be there."""

    readings: int
    amendments: int
    quarantine: list[str] = Field(
        description="Messages in quarantine of the stations that sent them, which may "
        "hold more of theirs: `vitalwire gateway quarantine delete` takes them away"
    )
    overwritten: bool = Field(
        description="Whether the store's files hold no byte of it any more"
    )


class Patients(Page):
    """A page of patients."""

    patients: list[Patient]


class PatientReadings(Page):
    """A page of a patient's readings, in order of true time."""

    readings: list[Reading]


class Attributions(Page):
    """A page of attributions."""

    attributions: list[Attribution]


class Claims(Shape):
    """All claims for a patient."""

    claims: list[Claim]


class Programmes(Page):
    """A page of programmes."""

    programmes: list[Programme]


class Consents(Shape):
    """All that a patient ever agreed to."""

    consents: list[Consent]


class Principals(Page):
    """A page of principals."""

    principals: list[Principal]


class Entries(Page):
    """A page of the audit log."""

    entries: list[Entry]
