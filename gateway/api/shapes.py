"""What the answers look like, for the OpenAPI document.

Answers are made by `gateway.normalise` and not by these; a test holds them together.
Numbers are JSON numbers with all the digits that the device sent.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from protocols.observation import Kind, Quantity, State, Unit

Content = Literal["ids", "readings"]
"""What a webhook is told of a reading."""

_ID = Field(description="Its place in the order of arrival", examples=["17"])
_TIME = "As 2026-03-01T07:31:00.000Z"


class Shape(BaseModel):
    """An object with these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class Page(Shape):
    """What every list has."""

    next: str = Field(description="The `after` of the next page; always there")
    more: bool = Field(description="Whether there is more behind `next` now")


class Code(Shape):
    """A code, and the system that it is of."""

    system: str = Field(examples=["http://loinc.org"])
    code: str = Field(examples=["14743-9"])


class Canonical(Shape):
    """A value in its quantity's one unit."""

    value: float
    unit: Unit


class Value(Shape):
    """One value of a reading."""

    quantity: Quantity
    value: float | None = Field(description="Null unless `state` is measured")
    unit: Unit = Field(description="As the device sent it, in UCUM")
    state: Literal[*[one.name.lower().replace("_", "-") for one in State]]  # type: ignore[valid-type]
    limit: float | None = Field(
        description="Where the device's range ends, by HI or LO"
    )
    canonical: Canonical | None
    codes: list[Code] = Field(description="LOINC, then IEEE 11073-10101")


class Time(Shape):
    """When it was measured."""

    utc: str | None = Field(description=f"{_TIME}; null where nobody knows")
    method: Literal["unknown", "device", "corrected", "reconstructed"]
    bound_s: float | None = Field(description="By how much `utc` may be wrong, in s")


class Driver(Shape):
    """What read it from the device."""

    name: str
    version: str


class Reading(Shape):
    """One act of measuring."""

    id: str = _ID
    tenant: str
    station: str
    device: str
    kind: Kind
    values: list[Value]
    device_time: str | None = Field(description="The device's clock, without a zone")
    offset_min: int | None = Field(description="What the device says to add to it")
    time: Time
    sequence: int | None = Field(description="The device's own number of it")
    slot: int | None = Field(description="The device's user slot")
    status: list[str] = Field(description="What the device said of it")
    context: dict[str, str] = Field(description="Sample, location, meal and the like")
    quality: list[str] = Field(description="What the station's filters noticed")
    link: Literal["none", "wired", "encrypted", "authenticated"]
    driver: Driver
    captured: str = Field(description=f"When the station wrote it down. {_TIME}")
    received: str = Field(description=f"When the gateway did. {_TIME}")
    amended: bool = Field(description="Whether another report of it is kept")


class Raw(Reading):
    """A reading with the bytes that it was read from."""

    raw: list[str] = Field(description="The device's payloads, in hex")


class Report(Raw):
    """Another report of a stored reading."""

    batch_sha256: str


class Whole(Raw):
    """A reading with all that is kept of it."""

    amendments: list[Report]


class Amendment(Report):
    """Another report, and the reading that it is of."""

    reading: str = Field(description="The `id` of the reading that stands")


class Device(Shape):
    """A device, with what is counted of it."""

    id: str = Field(description="Names the device within its tenant")
    tenant: str
    name: str
    manufacturer: str
    model: str
    serial: str
    firmware: str
    first_seen: str
    last_seen: str
    first_reading: str | None
    last_reading: str | None
    readings: int
    flagged: int
    kinds: dict[Kind, int]


class Quarantined(Shape):
    """A message that could not be read."""

    id: str = _ID
    topic: str
    tenant: str | None
    station: str | None
    reason: str
    received: str
    last_received: str
    deliveries: int
    size: int
    message: str = Field(description="Its bytes, in hex")


class Readings(Page):
    """A page of readings."""

    readings: list[Reading]


class Amendments(Page):
    """A page of other reports."""

    amendments: list[Amendment]


class Devices(Page):
    """A page of devices."""

    devices: list[Device]


class Quarantine(Page):
    """A page of messages."""

    quarantine: list[Quarantined]


class Webhook(Shape):
    """Who is told of readings, and how that goes."""

    id: str
    tenant: str
    url: str
    kinds: list[Kind]
    patient: str | None
    programme: str | None
    content: Content
    created: str
    created_by: str
    told: str = Field(
        description="The `after` behind which it is yet to be told of readings"
    )
    failures: int = Field(description="How often its next message failed")
    failing_since: str | None
    next_attempt: str | None
    problem: str | None = Field(description="What was wrong the last time")


class NewWebhook(Webhook):
    """A webhook just made."""

    secret: str = Field(description="What its messages are signed with; shown once")


class Webhooks(Page):
    """A page of webhooks."""

    webhooks: list[Webhook]


class DeadLetter(Shape):
    """What the gateway has given up telling a webhook."""

    id: str
    about: Literal["readings", "revisions"] = Field(description="What was not told")
    after: str = Field(description="The `after` behind which its readings are listed")
    through: str = Field(description="The `id` of the last one that it can hold")
    failures: int
    failing_since: str | None
    problem: str | None


class DeadLetters(Page):
    """A page of dead letters."""

    dead: list[DeadLetter]


class Fault(Shape):
    """A parameter that cannot be what was sent."""

    parameter: str
    detail: str


class Problem(BaseModel):
    """Why there is no answer (RFC 9457)."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Bad Request"])
    status: int
    detail: str
    errors: list[Fault] = Field(default_factory=list)
