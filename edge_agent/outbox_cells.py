"""Readings of a damaged outbox whose page SQLite does not read any more.

Most damage is in a page's first bytes, and leaves the rows behind them as they were.
A row is a cell, and is believed where all of its lengths agree, its number is one that
is missing, and its record bears the right check.

    length of what follows the number | number | length of the header | a type for each
    of id, batch, captured_ms, record, urgent | batch | captured_ms | record

All but the last three are varints. The id is NULL, for it is the number. What goes on
in another page is not found here.

Source: SQLite's Database File Format, 1.6 B-tree Pages and 2.1 Record Format.
"""

from collections.abc import Container, Iterable, Iterator

from edge_agent import records
from protocols.errors import DecodeError

_BEGINS = b"\xa4\x00\x02\x01\x00\x02"  # a record: an envelope of version 2, plain
_BEFORE = range(9, 40)  # bytes of a cell before its record
_WIDTHS = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}  # by type
_BLOB = 12


def find(
    pages: Iterable[bytes], missing: Container[int]
) -> Iterator[tuple[int, int, bytes]]:
    """Yield id, captured_ms and record of rows that are missing and whole here."""
    for page in pages:
        at = page.find(_BEGINS)
        while at >= 0:
            for before in _BEFORE:
                cell = _cell(page, at - before, at, missing) if before <= at else None
                if cell is not None:
                    yield cell
                    break
            at = page.find(_BEGINS, at + 1)


def _cell(
    data: bytes, start: int, record_at: int, missing: Container[int]
) -> tuple[int, int, bytes] | None:
    """Return the row of a cell; None if no missing one begins there."""
    length, at = _varint(data, start)
    number, header = _varint(data, at)
    if number not in missing:
        return None  # before its record is decoded, which takes long
    size, at = _varint(data, header)
    types = []
    while at < min(header + size, record_at):
        kind, at = _varint(data, at)
        types.append(kind)
    if len(types) != 5 or at != header + size:
        return None
    id_type, batch_type, time_type, record_type, urgent_type = types
    if id_type or urgent_type not in {8, 9} or record_type < _BLOB or record_type % 2:
        return None
    widths = _WIDTHS.get(batch_type), _WIDTHS.get(time_type)
    record_size = (record_type - _BLOB) // 2
    ends = at + sum(w or 0 for w in widths), header + length
    if None in widths or ends != (record_at, record_at + record_size):
        return None
    record = data[record_at : record_at + record_size]
    try:
        return number, records.from_record(record).captured_ms, record
    except DecodeError:
        return None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of up to 9 bytes, 7 bits each, and where it ends."""
    value = 0
    for byte in data[at : at + 8]:
        value, at = value << 7 | byte & 0x7F, at + 1
        if byte < 0x80:
            return value, at
    return value << 8 | int.from_bytes(data[at : at + 1], "big"), at + 1
