"""Meters that implement the Bluetooth Glucose Service.

Measures: glucose, with meal and other context; control solution as such.
Modes:    stored records by RACP, everything behind the last one known.
Clock:    internal clock and offset in each reading; never set here.
History:  rereadable; nothing is ever deleted here.
Source:   Bluetooth SIG, Glucose Service 1.0.1, Glucose Profile 1.0.1.
Tested:   firmware_sim.devices.gatt_glucose; no hardware yet.
"""

from collections.abc import AsyncGenerator, Iterator
from decimal import Decimal
from zlib import crc32

from drivers.sdk import (
    Checkpoint,
    DecodeError,
    Event,
    GattDriver,
    GattLink,
    Kind,
    NoReply,
    Observation,
    Packet,
    Quantity,
    State,
    Terms,
    Undecoded,
    Unit,
    Value,
    identify,
    read_clock,
    receive,
)
from protocols.gatt import glucose, racp
from protocols.gatt.glucose import Context, Flag, Measurement, Status
from protocols.kinds import flag_names
from protocols.medfloat import Special, show_number

_RECORDS_PER_CHECKPOINT = 64
_KETONE_TEST = 6  # a reserved meal, by which i-SENS marks what is no glucose
_UNUSABLE = (
    Status.SENSOR_MALFUNCTION
    | Status.SAMPLE_SIZE_INSUFFICIENT
    | Status.STRIP_INSERTION_ERROR
    | Status.STRIP_TYPE_INCORRECT
    | Status.TEMPERATURE_TOO_HIGH
    | Status.TEMPERATURE_TOO_LOW
    | Status.READ_INTERRUPTED
    | Status.GENERAL_DEVICE_FAULT
)


async def _session(link: GattLink, terms: Terms) -> AsyncGenerator[Event, None]:
    if not link.has(racp.RECORD_ACCESS_CONTROL_POINT):
        raise NoReply("the device has no Record Access Control Point")
    yield await identify(link)
    if (clock := await read_clock(link)) is not None:
        yield clock
    for uuid in (
        racp.RECORD_ACCESS_CONTROL_POINT,
        glucose.GLUCOSE_MEASUREMENT,
        glucose.GLUCOSE_MEASUREMENT_CONTEXT,
    ):
        if link.has(uuid):
            await link.subscribe(uuid)
    stamp, since = (0, None) if terms.mark is None else divmod(terms.mark, 1 << 16)
    download = racp.Download(since, stamp)
    async for event in _records(link, download):
        yield event
        if isinstance(event, Observation) and event.sequence is not None:
            download.record(event.sequence, crc32(str(event.device_time).encode()))
            at_checkpoint = event.sequence % _RECORDS_PER_CHECKPOINT == 0
            if at_checkpoint and download.mark is not None:
                yield _checkpoint(download)
    if download.mark is not None:
        yield _checkpoint(download)


def _checkpoint(download: racp.Download) -> Checkpoint:
    """Return a mark that a reset meter's record of the same number does not fit."""
    return Checkpoint(download.mark_stamp << 16 | (download.mark or 0))


async def _records(
    link: GattLink, download: racp.Download
) -> AsyncGenerator[Event, None]:
    pairs = _Pairs()
    while download.request is not None:
        await link.write(racp.RECORD_ACCESS_CONTROL_POINT, download.request.encode())
        while True:
            packet = await receive(link, racp.PROCEDURE_TIMEOUT_S)
            if packet.uuid == racp.RECORD_ACCESS_CONTROL_POINT:
                break
            for event in pairs.add(packet):
                yield event
        if download.is_last_attempt:
            for event in pairs.give_up():
                yield event
        download.end(racp.decode_answer(packet.payload))


class _Pairs:
    """Joins a measurement with its context by number, whichever comes first."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[Measurement, bytes]] = {}
        self._early: dict[int, tuple[Context, bytes]] = {}

    def add(self, packet: Packet) -> list[Event]:
        """Take a packet; return the observation that it completes, if any."""
        try:
            return list(self._add(packet))
        except DecodeError as error:
            return [Undecoded(str(packet.uuid), packet.payload, str(error))]

    def _add(self, packet: Packet) -> Iterator[Observation]:
        if packet.uuid == glucose.GLUCOSE_MEASUREMENT_CONTEXT:
            context = glucose.decode_context(packet.payload)
            waiting = self._waiting.pop(context.sequence, None)
            if waiting is None:
                self._early[context.sequence] = context, packet.payload
            else:
                yield _observation(*waiting, context, packet.payload)
        elif packet.uuid == glucose.GLUCOSE_MEASUREMENT:
            measurement = glucose.decode_measurement(packet.payload)
            early = self._early.pop(measurement.sequence, None)
            if early is not None:
                yield _observation(measurement, packet.payload, *early)
            elif Flag.CONTEXT_FOLLOWS in measurement.flags:
                self._waiting[measurement.sequence] = measurement, packet.payload
            else:
                yield _observation(measurement, packet.payload)

    def give_up(self) -> Iterator[Observation]:
        """Yield the measurements whose announced context never came."""
        for measurement, payload in self._waiting.values():
            yield _observation(measurement, payload)
        self._waiting.clear()


def _observation(
    seen: Measurement,
    payload: bytes,
    context: Context | None = None,
    context_payload: bytes = b"",
) -> Observation:
    status = Status(seen.status or 0)
    notes = dict(_notes(seen, context))
    if context is None and Flag.CONTEXT_FOLLOWS in seen.flags:
        notes["context"] = "missing"
    return Observation(
        kind=Kind.CONTROL_SOLUTION if seen.is_control else Kind.GLUCOSE,
        values=(_value(seen, status, None if context is None else context.meal),),
        device_time=seen.base_time,
        offset_min=seen.offset_min,
        sequence=seen.sequence,
        status=tuple(flag_names(Status, status)),
        context=tuple(sorted(notes.items())),
        raw=(payload, context_payload) if context else (payload,),
    )


def _value(seen: Measurement, status: Status, meal: int | None) -> Value:
    unit = Unit.MOL_PER_L if Flag.MOL_PER_L in seen.flags else Unit.KG_PER_L
    sent = seen.concentration
    number = sent if isinstance(sent, Decimal) and sent > 0 else None
    high = Status.RESULT_TOO_HIGH in status or sent == Special.POSITIVE_INFINITY
    low = Status.RESULT_TOO_LOW in status or sent == Special.NEGATIVE_INFINITY
    if status & _UNUSABLE:
        number, state = None, State.DEVICE_ERROR
    elif meal == _KETONE_TEST or (high and low):
        number, state = None, State.NO_VALUE
    elif high or low:
        # A number beside these is the meter's limit, not what it measured.
        state = State.ABOVE_RANGE if high else State.BELOW_RANGE
    elif isinstance(sent, Special):
        return Value.of(Quantity.GLUCOSE, sent, unit)
    else:
        state = State.NO_VALUE if number is None else State.MEASURED
    return Value(Quantity.GLUCOSE, unit, number, state)


def _notes(seen: Measurement, context: Context | None) -> Iterator[tuple[str, str]]:
    if seen.sample_type is not None:
        yield "sample", _named(glucose.TYPES, seen.sample_type)
    if seen.location is not None:
        yield "location", _named(glucose.LOCATIONS, seen.location)
    if context is None:
        return
    for name, code, names in (
        ("carbohydrate", context.carbohydrate, glucose.CARBOHYDRATES),
        ("meal", context.meal, glucose.MEALS),
        ("tester", context.tester, glucose.TESTERS),
        ("health", context.health, glucose.HEALTH),
        ("medication", context.medication, glucose.MEDICATIONS),
    ):
        if code is not None:
            yield name, _named(names, code)
    litres = context.medication_in_litres
    for name, number in (
        ("carbohydrate-kg", context.carbohydrate_kg),
        ("medication-L" if litres else "medication-kg", context.medication_amount),
        ("hba1c-percent", context.hba1c),
    ):
        if number is not None:
            yield name, str(show_number(number))
    if context.exercise_duration_s is not None:
        yield "exercise-s", str(context.exercise_duration_s)
        yield "exercise-percent", str(context.exercise_intensity)


def _named(names: dict[int, str], code: int) -> str:
    return names.get(code, f"reserved-{code}")


DRIVER = GattDriver(
    id="gatt-glucose",
    version="1",
    service=glucose.SERVICE,
    observes=(Kind.GLUCOSE, Kind.CONTROL_SOLUTION),
    session=_session,
)
