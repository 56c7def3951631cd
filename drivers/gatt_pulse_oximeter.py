"""Oximeters that implement the Bluetooth Pulse Oximeter Service.

Measures: oxygen saturation and pulse rate, spot checks; no continuous measurement.
Modes:    stored spot checks by RACP where there is one; else unasked, as they are made.
Clock:    local time in each reading, where the device has a clock; never set here.
History:  once only, without a memory; with one, all of it at each visit.
Source:   Bluetooth SIG, Pulse Oximeter Service 1.0.1, Pulse Oximeter Profile 1.0.1.
Tested:   firmware_sim.devices.gatt_pulse_oximeter; no hardware yet.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal

from drivers.sdk import (
    MOST_PACKETS,
    Checkpoint,
    Event,
    GattDriver,
    GattLink,
    Identity,
    Kind,
    NoReply,
    Observation,
    Packet,
    Quantity,
    Retold,
    State,
    Terms,
    Unit,
    Value,
    Write,
    filling_now,
    identify,
    read_clock,
    receive,
)
from protocols.gatt import pulse_oximeter, racp
from protocols.gatt.pulse_oximeter import (
    DeviceStatus,
    MeasurementStatus,
    SpotCheck,
    SpotFlag,
)
from protocols.kinds import flag_names
from protocols.medfloat import Number, show_number

_CONTROL_POINT = racp.RECORD_ACCESS_CONTROL_POINT
_ALL = racp.Request(racp.OpCode.REPORT_STORED_RECORDS, racp.Operator.ALL_RECORDS)
_SENT = racp.Response(_ALL.op_code, racp.Value.SUCCESS)
_NOTHING_STORED = racp.Response(_ALL.op_code, racp.Value.NO_RECORDS_FOUND)
_NO_PERSONS = (
    MeasurementStatus.DEMONSTRATION
    | MeasurementStatus.TESTING
    | MeasurementStatus.CALIBRATION_ONGOING
    | MeasurementStatus.UNAVAILABLE
    | MeasurementStatus.INVALID
)
_BROKEN = (
    DeviceStatus.EQUIPMENT_MALFUNCTION
    | DeviceStatus.SENSOR_UNCONNECTED
    | DeviceStatus.UNKNOWN_SENSOR
    | DeviceStatus.SENSOR_MALFUNCTIONING
    | DeviceStatus.SENSOR_DISCONNECTED
)


async def _session(link: GattLink, terms: Terms) -> AsyncGenerator[Event, None]:
    way = _stored if link.has(_CONTROL_POINT) else replace(DRIVER, session=None).visit
    async with aclosing(way(link, terms)) as events:
        async for event in events:
            yield event


async def _stored(link: GattLink, terms: Terms) -> AsyncGenerator[Event, None]:
    identity = terms.identity
    if identity is None:
        yield (identity := await identify(link))
    filling = terms.mark
    if filling is None:  # by a mark it is known that all of it is told again
        yield Checkpoint(filling := 0)
    await link.subscribe(_CONTROL_POINT)
    await link.subscribe(pulse_oximeter.PLX_SPOT_CHECK)
    if (clock := await read_clock(link)) is not None:
        yield clock
    await link.write(_CONTROL_POINT, _ALL.encode())
    memory = _memory(filling)
    for count in range(MOST_PACKETS):
        packet = await receive(link, racp.PROCEDURE_TIMEOUT_S)
        is_end = packet.uuid == _CONTROL_POINT
        is_empty = is_end and _says_empty(packet.payload) and not count
        now = filling_now(filling, is_empty=is_empty)
        if now != filling:
            yield Checkpoint(filling := now)
        if is_end:
            return
        for event in DRIVER.decode(packet, identity):
            yield memory.place(event)
    raise NoReply(f"the oximeter sent {MOST_PACKETS} packets and did not stop")


def _says_empty(payload: bytes) -> bool:
    """Check that the indication which ends the procedure says that it is complete.

    Spot checks are indications: between that and the request none can be missing.

    Returns:
        Whether it says that nothing is stored.
    """
    answer = racp.decode_answer(payload)
    if answer not in (_SENT, _NOTHING_STORED):
        raise racp.Incomplete(f"the oximeter ends its stored records with {answer}")
    return answer == _NOTHING_STORED


def _memory(filling: int) -> Retold:
    """Return what places the records of a memory, of which one is told next."""
    return Retold(filling=filling_now(filling, is_empty=False))


def _recover(packets: Sequence[Packet], terms: Terms) -> Iterator[Event]:
    memory = None
    if terms.mark is not None and packets:
        memory = _memory(terms.mark)
        yield Checkpoint(filling_now(terms.mark, is_empty=False))
    for packet in packets:
        for event in DRIVER.decode(packet, terms.identity or Identity()):
            yield event if memory is None else memory.place(event)


def _observation(payload: bytes, _identity: Identity) -> Iterator[Observation]:
    seen = pulse_oximeter.decode_spot_check(payload)
    measured = MeasurementStatus(seen.measurement_status or 0)
    device = DeviceStatus(seen.device_status or 0)
    status = [
        *flag_names(MeasurementStatus, measured),
        *flag_names(DeviceStatus, device),
    ]
    if SpotFlag.CLOCK_NOT_SET in seen.flags:
        status += ["device_clock_not_set", "time_fault"]  # its time is nobody's
    unusable = bool(measured & _NO_PERSONS or device & _BROKEN)
    amplitude = () if seen.amplitude is None else (_amplitude(seen.amplitude),)
    yield Observation(
        kind=Kind.OXYGEN_SATURATION,
        values=tuple(_values(seen, unusable=unusable)),
        device_time=seen.time,
        status=tuple(status),
        context=amplitude,
        raw=(payload,),
    )


def _amplitude(number: Number) -> tuple[str, str]:
    return "pulse-amplitude-percent", str(show_number(number))


def _values(seen: SpotCheck, *, unusable: bool) -> Iterator[Value]:
    for quantity, number, unit in (
        (Quantity.OXYGEN_SATURATION, seen.spo2, Unit.PERCENT),
        (Quantity.PULSE_RATE, seen.pulse_rate, Unit.PER_MINUTE),
    ):
        if unusable:
            yield Value(quantity, unit, None, State.DEVICE_ERROR)
        elif isinstance(number, Decimal) and number <= 0:
            yield Value(quantity, unit, None, State.NO_VALUE)
        else:
            yield Value.of(quantity, number, unit)


DRIVER = GattDriver(
    id="gatt-pulse-oximeter",
    version="1",
    service=pulse_oximeter.SERVICE,
    observes=(Kind.OXYGEN_SATURATION,),
    writes=(Write(rb"\x01\x01", "ask for all stored spot checks", _CONTROL_POINT),),
    on={pulse_oximeter.PLX_SPOT_CHECK: _observation},
    session=_session,
    recover=_recover,
    once_only=True,
)
