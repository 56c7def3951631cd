"""A gateway that receipts what it does not keep: for the bench, which has to notice.

After its first commit one reading is taken away, one is kept twice, under a key that
differs in its last part, and one is changed.
"""

from collections.abc import Sequence

from gateway.cli import gateway
from gateway.store import Delivery, Outcome
from gateway.store.sqlite import SqliteStore

_commit = SqliteStore.commit
_faults = [
    "DELETE FROM reading WHERE id = (SELECT min(id) + 7 FROM reading)",
    "CREATE TEMP TABLE twice AS SELECT * FROM reading LIMIT 1 OFFSET 11",
    "UPDATE twice SET id = id + 1000000000, discriminator = discriminator + 1",
    "INSERT INTO reading SELECT * FROM twice",
    "UPDATE reading SET quality = 1 WHERE id = (SELECT min(id) + 13 FROM reading)",
]


def _faulty(store: SqliteStore, deliveries: Sequence[Delivery]) -> list[Outcome]:
    outcomes = _commit(store, deliveries)
    if any(outcome.new for outcome in outcomes) and _faults:
        with store.database.change() as change:
            for statement in _faults:
                change.rows(statement)
        _faults.clear()
    return outcomes


if __name__ == "__main__":
    SqliteStore.commit = _faulty  # type: ignore[method-assign]
    gateway()
