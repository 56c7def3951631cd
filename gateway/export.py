"""Readings as files: CSV and Parquet by value, NDJSON with the API's objects.

All are made a page at a time, so memory does not grow with what is exported. An export
ends with what was stored when it began.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation
from enum import StrEnum
from typing import Any

from gateway import normalise
from gateway.exact import encode
from gateway.store import Filter, Store, Stored

_PAGE = 1_000
_GROUP_ROWS = 10_000  # of Parquet
_PLACES = 12
_DIGITS = 38
_LAST_PLACE = Decimal(1).scaleb(-_PLACES)
_ROUNDED = Context(_DIGITS, ROUND_HALF_EVEN, traps=[InvalidOperation])
_EXACTLY = Context(_DIGITS, traps=[InvalidOperation, Inexact])

# What a spreadsheet takes for the start of a formula.
_FORMULA = frozenset(
    "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
)  # the last four are full-width

# By column: the type that Parquet has it in.
_COLUMNS = {
    "id": "int64",
    "tenant": "text",
    "station": "text",
    "device": "text",
    "kind": "text",
    "utc": "time",
    "time_method": "text",
    "time_bound_s": "decimal",
    "device_time": "text",
    "offset_min": "int64",
    "sequence": "int64",
    "slot": "int64",
    "quantity": "text",
    "value": "decimal",
    "unit": "text",
    "state": "text",
    "limit": "decimal",
    "canonical_value": "rounded",  # Celsius of Fahrenheit may have no last digit
    "canonical_unit": "text",
    "loinc": "text",
    "mdc": "text",
    "status": "text",
    "context": "text",
    "quality": "text",
    "link": "text",
    "driver": "text",
    "driver_version": "text",
    "captured": "time",
    "received": "time",
    "amended": "bool",
}
# The decimals of these are beside them as text, with the digits as they were sent.
_EXACT = ("value", "limit", "canonical_value")

Pages = Iterable[Sequence[Stored]]


class Format(StrEnum):
    """The kinds of files."""

    CSV = "csv"
    PARQUET = "parquet"
    NDJSON = "ndjson"


MEDIA_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.NDJSON: "application/x-ndjson",
}


def pages(
    store: Store, which: Filter, seen: Callable[[int], None]
) -> Iterator[list[Stored]]:
    """Yield the readings that are stored now, in order of arrival, a page at a time.

    Args:
        store: Where they are.
        which: Which of them.
        seen: Told how many there were, after each page.

    Raises:
        StoreUnavailable: The store can't be read now.
    """
    last, after, count = store.last(), 0, 0
    while rows := store.readings(which, after, _PAGE):
        after = rows[-1].id
        some = [row for row in rows if row.id <= last]
        if some:
            yield some
        count += len(some)
        seen(count)
        if len(rows) < _PAGE or after >= last:
            return


def write(form: Format, some: Pages) -> Iterator[bytes]:
    """Yield the bytes of a file of readings, in pieces.

    Args:
        form: The kind of file.
        some: Readings, a page at a time.
    """
    return {Format.CSV: _csv, Format.PARQUET: _parquet, Format.NDJSON: _ndjson}[form](
        some
    )


def _ndjson(some: Pages) -> Iterator[bytes]:
    """Yield the API's objects a line each, and in the last line how many there are."""
    count = 0
    for page in some:
        count += len(page)
        yield b"".join(encode(normalise.reading(one)) + b"\n" for one in page)
    yield encode({"readings": count}) + b"\n"


def _csv(some: Pages) -> Iterator[bytes]:
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\r\n")
    out.writerow(_COLUMNS)
    for page in some:
        for row in _rows(page):
            out.writerow([_cell(part) for part in row])
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()


def _cell(part: object) -> object:
    if isinstance(part, str) and part[:1] in _FORMULA:
        return f"'{part}"
    return str(part).lower() if isinstance(part, bool) else part


def _parquet(some: Pages) -> Iterator[bytes]:
    # Only who wants Parquet waits for it.
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    types = {
        "int64": pa.int64(),
        "text": pa.string(),
        "time": pa.timestamp("ms", "UTC"),
        "decimal": pa.decimal128(_DIGITS, _PLACES),
        "rounded": pa.decimal128(_DIGITS, _PLACES),
        "bool": pa.bool_(),
    }
    schema = pa.schema(
        [
            *((name, types[kind]) for name, kind in _COLUMNS.items()),
            *((f"{name}_text", pa.string()) for name in _EXACT),
        ]
    )
    sink = _Sink()
    with parquet.ParquetWriter(sink, schema, compression="zstd") as out:
        for rows in _groups(some):
            columns = dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True))
            texts = [[_text(part) for part in columns[name]] for name in _EXACT]
            made = [
                pa.array([_typed(kind, part) for part in columns[name]], types[kind])
                for name, kind in _COLUMNS.items()
            ]
            made += [pa.array(text, pa.string()) for text in texts]
            out.write_table(pa.Table.from_arrays(made, schema=schema))
            yield sink.take()
    yield sink.take()


def _groups(some: Pages) -> Iterator[list[tuple[Any, ...]]]:
    rows: list[tuple[Any, ...]] = []
    for page in some:
        rows += _rows(page)
        if len(rows) >= _GROUP_ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


def _typed(kind: str, part: Any) -> object:  # noqa: ANN401 - whatever a cell holds
    if part is None:
        return None
    match kind:
        case "int64":
            return int(part)
        case "decimal":
            return _placed(part, _EXACTLY)
        case "rounded":
            return _placed(part, _ROUNDED)
        case "time":
            return datetime.fromisoformat(part)
        case _:
            return part


def _placed(number: Decimal, context: Context) -> Decimal | None:
    """Return a number as Parquet's decimals hold it; None if they can't."""
    try:
        return number.quantize(_LAST_PLACE, context=context)
    except (InvalidOperation, Inexact):
        return None


def _text(number: Decimal | None) -> str | None:
    return None if number is None else str(number)


class _Sink(io.RawIOBase):
    """A file whose bytes are taken away as they are written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, part: Any) -> int:  # noqa: ANN401 - any buffer
        self._parts.append(bytes(part))
        return len(self._parts[-1])

    def take(self) -> bytes:
        """Return what was written since the last time."""
        taken, self._parts = b"".join(self._parts), []
        return taken


def _rows(page: Sequence[Stored]) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each value of each reading, in the order of `_COLUMNS`."""
    for stored in page:
        one: Any = normalise.reading(stored)
        about = (one["id"], one["tenant"], one["station"], one["device"], one["kind"])
        when = (
            one["time"]["utc"],
            one["time"]["method"],
            one["time"]["bound_s"],
            one["device_time"],
            one["offset_min"],
            one["sequence"],
            one["slot"],
        )
        rest = (
            *(encode(one[name]).decode() for name in ("status", "context", "quality")),
            one["link"],
            one["driver"]["name"],
            one["driver"]["version"],
            one["captured"],
            one["received"],
            one["amended"],
        )
        for value in one["values"]:
            codes = {code["system"]: code["code"] for code in value["codes"]}
            canonical = value["canonical"] or {"value": None, "unit": None}
            yield (
                *about,
                *when,
                value["quantity"],
                value["value"],
                value["unit"],
                value["state"],
                value["limit"],
                canonical["value"],
                canonical["unit"],
                codes.get(normalise.LOINC),
                codes.get(normalise.MDC),
                *rest,
            )
