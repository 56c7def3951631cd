"""Readings for an outbox, and what it holds; as a program it captures for ever."""

import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import apsw

from edge_agent.outbox import Outbox
from edge_agent.outbox_batches import Message
from protocols.gatt.time import DateTime
from protocols.observation import (
    Device,
    Kind,
    Observation,
    Quantity,
    Reading,
    Unit,
    Value,
)
from protocols.uplink import batch

METER = Device("sim:meter:0001", "sim", "meter", "0001", "1.0")
PEER = "C0:FF:EE:00:00:01"
MARK = (METER.id, "test", 7)


def reading(number: int, **more: object) -> Reading:
    """Return a reading whose number says which one it is."""
    told: dict[str, object] = {
        "kind": Kind.GLUCOSE,
        "values": (
            Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(number % 500 + 20)),
        ),
        "device_time": DateTime(2026, 3, 1, 7, 30, 0),
        "sequence": number,
        "raw": (number.to_bytes(4, "big"),),
        **more,
    }
    return Reading(METER, Observation(**told), "test", "1", 1_772_000_000_000 + number)  # type: ignore[arg-type]


def stored(path: Path) -> list[Reading]:
    """Return every reading in the file, in order, as another process sees it."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    rows = db.execute("SELECT record FROM reading ORDER BY id").fetchall()
    db.close()
    return [batch.decode(row[0]).readings[0] for row in rows]


def sequences(made: Message | None) -> list[int | None]:
    """Return the numbers of a batch's readings, in order."""
    assert made is not None
    found = batch.decode(made.message).readings
    return [one.observation.sequence for one in found]


def _capture_for_ever(path: Path, start: int) -> Iterator[int]:
    outbox = Outbox(path)
    number = start
    while True:
        outbox.journal(PEER, "test", [("source", number.to_bytes(4, "big"))] * 3, 0)
        readings = [reading(number), reading(number + 1)]
        outbox.capture(PEER, readings, mark=(METER.id, "test", number + 1))
        yield number + 1
        number += 2


if __name__ == "__main__":
    for done in _capture_for_ever(Path(sys.argv[1]), int(sys.argv[2])):
        print(done, flush=True)  # noqa: T201 - its parent reads it
