"""What the bench asks of a store's engine itself, past all code of the gateway's store.

The schema is whatever the gateway's migrations made. What is written here bears another
generation than what stations send, so that neither can be taken for the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Row = tuple[Any, ...]
GROUP = 16_384  # readings a commit
COUNTER = 1_000_000_000  # of what is entered again; above those of any station
LEDGER = (
    "station", "counter", "digest", "made_ms", "received_ms", "new", "known", "amended",
    "first_id", "last_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast something was done.

    Attributes:
        count: How much of it.
        seconds: In which time.
    """

    count: int
    seconds: float

    @property
    def per_s(self) -> float:
        """How much a second; 0.0 where there was no time."""
        return self.count / self.seconds if self.seconds else 0.0


class Engine(Protocol):
    """A database whose store is closed, or open elsewhere."""

    def rows(self, sql: str) -> Sequence[Row]:
        """Run a query that both engines understand."""
        ...

    @property
    def own_ids(self) -> str:
        """What an INSERT says if it brings ids where the engine would give them."""
        ...

    def columns(self, table: str) -> Sequence[str]:
        """Return the names of a table's columns."""
        ...

    def fill(self, statements: Sequence[str]) -> None:
        """Run statements that write many rows, and make the readings' indexes anew."""
        ...

    def size(self) -> int:
        """Return how many bytes the database has, its log of changes left out."""
        ...

    def refill(self, after: int, most: int, generation: int) -> Rate:
        """Write readings again in the barest durable way, under another generation.

        Args:
            after: The readings behind this id are taken; they are read beforehand.
            most: So many at most.
            generation: Of those that are written; used for nothing else.
        """
        ...

    def refill_bare(self, after: int, most: int) -> Rate:
        """Write the same into a table without index, ledger or identity."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


def again(columns: Sequence[str], shift: int, generation: int) -> str:
    """Return what to select of a reading, so that it is another one.

    Args:
        columns: All of the table's, by name.
        shift: What its id is moved by.
        generation: What it becomes.
    """
    other = {"id": f"id + {shift}", "generation": f"generation + {generation}"}
    return ", ".join(other.get(name, f'"{name}"') for name in columns)


def ledger(shift: int, generation: int) -> str:
    """Return what to select of a batch, in the order of `LEDGER`, likewise.

    It names no time, so that nobody looks for readings of a time there.
    """
    other = {
        "counter": f"counter + {COUNTER * generation}",
        "first_id": f"first_id + {shift}",
        "last_id": f"last_id + {shift}",
    }
    return ", ".join(other.get(name, name) for name in LEDGER)
