"""SenML in CBOR: a pack of records, times relative to the first.

    [{bn: name, bt: base time, t: 0, v: value}, {t: seconds, v: value}, ...]

The base time is in whole seconds, so that sums keep the digits of each time. A
second value of a row is a record of its own, whose name ends in the column's number.
A value that is absent is an empty string, as a record must have a value.

Source: RFC 8428, section 6 and table 4 (labels); section 4.6 (sums).
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal

import cbor2

from edge_agent.bench.rivals.codec import CannotHold, Codec
from edge_agent.bench.rivals.decimals import Number, column, numbers
from protocols.uplink.series import Series

BASE_NAME, BASE_TIME, NAME, VALUE, TEXT, TIME = -2, -3, 0, 2, 3, 6
"""Labels of a record's fields."""

_DEVICE = "d1"


def codec(_: Sequence[Series]) -> Codec:
    """Return the codec."""
    return Codec(_encode, _decode)


def _encode(series: Series) -> bytes:
    times = numbers(series.time)
    if None in times or series.time.exponent.max() > 0:
        raise CannotHold("SenML adds times, and a sum keeps no power of ten above 0")
    base = int(times[0] or 0)
    offsets = [time - base for time in times if time is not None]
    values = [numbers(each) for each in series.values]
    records = list(_records(offsets, values))
    return cbor2.dumps(
        [{BASE_NAME: _DEVICE, BASE_TIME: base} | records[0], *records[1:]]
    )


def _records(
    offsets: Sequence[int | Decimal], values: Sequence[Sequence[Number]]
) -> Iterator[dict[int, object]]:
    for offset, *row in zip(offsets, *values, strict=True):
        for place, value in enumerate(row, 1):
            name = {NAME: str(place)} if place > 1 else {}
            held = {TEXT: ""} if value is None else {VALUE: value}
            yield {**name, TIME: offset, **held}


def _decode(message: bytes) -> Series:
    records = cbor2.loads(message)
    base = records[0][BASE_TIME]
    values: dict[str, list[Number]] = {}
    for record in records:
        values.setdefault(record.get(NAME, ""), []).append(record.get(VALUE))
    times = [base + record[TIME] for record in records if NAME not in record]
    return Series(column(times), tuple(map(column, values.values())))
