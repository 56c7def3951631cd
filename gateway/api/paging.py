"""What lists share: the parameters, cursors and pages."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Generic, Protocol, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from gateway import normalise
from gateway.access import Access, Principal
from gateway.api.exact import Exact

LAST_ID = (1 << 63) - 1
Number = Annotated[int, Field(ge=1, le=LAST_ID)]
_STRETCH = 1_000
_STRETCHES = 10


def place(text: str) -> int:
    """Return the place in the order of arrival that a cursor names.

    Raises:
        ValueError: No answer gave this cursor.
    """
    padded = text + "=" * (-len(text) % 4)
    try:
        version, _, named = urlsafe_b64decode(padded.encode()).decode().partition(".")
        number = int(named)
    except (binascii.Error, ValueError) as error:
        raise ValueError("is no cursor that an answer gave as 'next'") from error
    if version != "1" or not 0 <= number <= LAST_ID:
        raise ValueError("is no cursor that an answer gave as 'next'")
    return number


def cursor(number: int) -> str:
    """Return the cursor that names a place in the order of arrival."""
    return urlsafe_b64encode(f"1.{number}".encode()).decode().rstrip("=")


def _moment(value: object) -> object:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise ValueError("is no ISO 8601 time, such as 2026-03-01T07:30:00Z") from error
    if moment.tzinfo is None:
        raise ValueError("needs a zone, as the Z of 2026-03-01T07:30:00Z (+ is %2B)")
    return moment


Moment = Annotated[datetime, BeforeValidator(_moment)]
Id = Annotated[str, Field(min_length=1, max_length=128)]


class Paged(BaseModel):
    """The parameters of every list."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[str, AfterValidator(lambda text: cursor(place(text)))] = Field(
        default=cursor(0), description="The 'next' of the page before"
    )
    limit: int = Field(default=100, ge=1, le=1_000, description="Longest page")


class _Row(Protocol):
    @property
    def id(self) -> int: ...


_R = TypeVar("_R", bound=_Row)


@dataclass(frozen=True)
class Walk(Generic[_R]):
    """One step of a walk through a list.

    Attributes:
        rows: What it met.
        reached: The place up to which all was looked at.
        more: Whether there is something behind it now.
    """

    rows: Sequence[_R]
    reached: int
    more: bool

    @classmethod
    def of(cls, rows: Sequence[_R], asked: Paged) -> Self:
        """Return the step to ``rows``; one more than the limit was asked for."""
        some = rows[: asked.limit]
        reached = some[-1].id if some else place(asked.after)
        return cls(some, reached, len(rows) > len(some))

    @classmethod
    def within(
        cls,
        asked: Paged,
        fetch: Callable[[int, int], Sequence[_R]],
        theirs: Callable[[_R], bool] | None,
    ) -> Self:
        """Return the step through the rows that somebody may see among all.

        A step looks at a bounded number of rows, so it may meet fewer than were
        asked for, or none, and there is more.

        Args:
            asked: The parameters.
            fetch: Returns at most so many rows behind a place.
            theirs: Whether they may see a row; None is every one.
        """
        if theirs is None:
            return cls.of(fetch(place(asked.after), asked.limit + 1), asked)
        found: list[_R] = []
        reached = place(asked.after)
        for _ in range(_STRETCHES):
            rows = fetch(reached, _STRETCH)
            for row in rows:
                if len(found) == asked.limit:
                    return cls(found, reached, more=True)
                if theirs(row):
                    found.append(row)
                reached = row.id
            if len(rows) < _STRETCH:
                return cls(found, reached, more=False)
        return cls(found, reached, more=True)

    def record(self, access: Access, who: Principal, action: str) -> None:
        """Write down who is about to see these rows; nothing if there are none."""
        if self.rows:
            ids = f"{len(self.rows)}: {self.rows[0].id} to {self.rows[-1].id}"
            access.record(who, action, what=ids)

    def page(
        self, name: str, show: Callable[[Sequence[_R]], list[normalise.Served]]
    ) -> Exact:
        """Return the answer that shows it."""
        shown = show(self.rows)
        return Exact({name: shown, "next": cursor(self.reached), "more": self.more})


def ms(moment: datetime | None) -> int | None:
    """Return a moment as ms since 1970 UTC, rounded up."""
    if moment is None:
        return None
    # A whole ms is before the moment where it is before this one, and only there.
    return -((datetime(1970, 1, 1, tzinfo=UTC) - moment) // timedelta(milliseconds=1))
