"""What the drivers' tests share: a visit, and what came of it."""

from dataclasses import dataclass, field
from typing import TypeVar

from drivers.sdk import Checkpoint, Event, GattDriver, SerialDriver, Terms
from firmware_sim.link import SimGattLink, SimSerialLink

_E = TypeVar("_E")


@dataclass
class Visit:
    """One visit's events in order, and how it ended; None is well."""

    events: list[Event] = field(default_factory=list)
    error: Exception | None = None

    def of(self, kind: type[_E]) -> list[_E]:
        """Return the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def told(self) -> list[Event]:
        """The events, without what only the next visit is to know."""
        return [one for one in self.events if not isinstance(one, Checkpoint)]


async def visit(
    driver: GattDriver | SerialDriver,
    link: SimGattLink | SimSerialLink,
    mark: int | None = None,
    terms: Terms | None = None,
) -> Visit:
    """Visit, and keep what was yielded before an error."""
    found = Visit()
    try:
        terms = terms or Terms(mark=mark)
        async for event in driver.visit(link, terms):  # type: ignore[arg-type]
            found.events.append(event)
    except Exception as error:  # noqa: BLE001 - the test looks at it
        found.error = error
    return found
