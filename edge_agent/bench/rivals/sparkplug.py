"""Sparkplug B: a payload in Protocol Buffers with one metric a value.

    Payload { 1 timestamp u64 | 2 metrics [Metric] | 3 seq u64 }
    Metric  { 2 alias u64 | 3 timestamp u64 | 7 is_null | 10 int u32 | 11 long u64
            | 13 double | 15 string }

Names and types stand in the birth certificate, so a metric has an alias only. A
column's numbers are integers where they were written so, else doubles where their
shortest digits are those that were written, else strings. Timestamps are whole
milliseconds since the epoch: other times can't be held, and it is not told whether
12 s was written 12 or 12.0; it is taken for 12.0 among times that are no whole seconds.

Source: Eclipse Sparkplug 3.0.0, section 6.4 (payload B, field numbers and types).
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from edge_agent.bench.rivals.codec import CannotHold, Codec
from edge_agent.bench.rivals.decimals import Number, column, numbers
from protocols.uplink.series import Series

_Field = descriptor_pb2.FieldDescriptorProto
_METRIC = {
    "alias": (2, _Field.TYPE_UINT64),
    "timestamp": (3, _Field.TYPE_UINT64),
    "is_null": (7, _Field.TYPE_BOOL),
    "int_value": (10, _Field.TYPE_UINT32),
    "long_value": (11, _Field.TYPE_UINT64),
    "double_value": (13, _Field.TYPE_DOUBLE),
    "string_value": (15, _Field.TYPE_STRING),
}
_PAYLOAD = {"timestamp": (1, _Field.TYPE_UINT64), "seq": (3, _Field.TYPE_UINT64)}


def _payload_class() -> Callable[[], Any]:
    file = descriptor_pb2.FileDescriptorProto(name="bench_sparkplug.proto")
    file.package, file.syntax = "bench", "proto2"
    for name, fields in (("Metric", _METRIC), ("Payload", _PAYLOAD)):
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            message.field.add(
                name=field, number=number, type=kind, label=_Field.LABEL_OPTIONAL
            )
    message.field.add(
        name="metrics",
        number=2,
        type=_Field.TYPE_MESSAGE,
        type_name=".bench.Metric",
        label=_Field.LABEL_REPEATED,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found: Callable[[], Any] = message_factory.GetMessageClass(
        pool.FindMessageTypeByName("bench.Payload")
    )
    return found


_Payload = _payload_class()


def codec(_: Sequence[Series]) -> Codec:
    """Return the codec."""
    return Codec(_encode, _decode)


def _encode(series: Series) -> bytes:
    times = [_milliseconds(time) for time in numbers(series.time)]
    columns = [_typed(numbers(each)) for each in series.values]
    payload = _Payload()
    payload.timestamp, payload.seq = times[-1], 0
    for row, time in enumerate(times):
        for alias, (field, values) in enumerate(columns, 1):
            metric = payload.metrics.add(alias=alias, timestamp=time)
            if values[row] is None:
                metric.is_null = True
            else:
                setattr(metric, field, values[row])
    found: bytes = payload.SerializeToString()
    return found


def _decode(message: bytes) -> Series:
    payload = _Payload()
    payload.MergeFromString(message)
    times: list[int] = []
    values: dict[int, list[Number]] = {}
    for metric in payload.metrics:
        if metric.alias == 1:
            times.append(metric.timestamp)
        values.setdefault(metric.alias, []).append(_value(metric))
    return Series(column(_seconds(times)), tuple(map(column, values.values())))


def _milliseconds(time: Number) -> int:
    found = 1000 * time if time is not None else -1
    if found < 0 or found != int(found) or found >= 1 << 64:
        raise CannotHold("Sparkplug has times in whole milliseconds since the epoch")
    return int(found)


def _seconds(times: Sequence[int]) -> list[Number]:
    if all(time % 1000 == 0 for time in times):
        return [time // 1000 for time in times]
    return [Decimal(str(time / 1000)) for time in times]


def _typed(values: Sequence[Number]) -> tuple[str, list[object]]:
    """Return the field that holds a column's numbers exactly, and what it holds."""
    present = [value for value in values if value is not None]
    if all(isinstance(value, int) for value in present):
        whole = [int(value) for value in present]
        name, bits = "int_value", 32
        if any(value not in range(-(1 << 31), 1 << 31) for value in whole):
            name, bits = "long_value", 64
        mask = (1 << bits) - 1
        return name, [None if value is None else int(value) & mask for value in values]
    doubles = [None if value is None else float(value) for value in values]
    if all(
        str(value) == str(double) for value, double in zip(values, doubles, strict=True)
    ):
        return "double_value", list(doubles)
    return "string_value", [None if value is None else str(value) for value in values]


def _value(metric: Any) -> Number:  # noqa: ANN401 - its class is made at run time
    if metric.is_null:
        return None
    if metric.HasField("int_value"):
        return int(np.uint32(metric.int_value).view(np.int32))
    if metric.HasField("long_value"):
        return int(np.uint64(metric.long_value).view(np.int64))
    if metric.HasField("double_value"):
        return Decimal(str(metric.double_value))
    text = metric.string_value
    return int(text) if text.lstrip("-").isdigit() else Decimal(text)
