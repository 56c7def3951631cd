"""Urion U9 cuffs and relatives that keep records and speak FD FD.

Measures: systolic and diastolic pressure, pulse rate.
Modes:    records that the cuff has not yet sent, one by one, when asked.
Clock:    minutes of local time, with each record; every request for records sets it.
History:  once only; a record is marked as sent when the station has it.
Source:   protocols.vendor.urion.
Tested:   firmware_sim.devices.urion; no hardware yet.
"""

from collections.abc import AsyncGenerator, Iterator

from drivers.sdk import (
    DateTime,
    DecodeError,
    Event,
    GattDriver,
    GattLink,
    Identity,
    Kind,
    Model,
    NoReply,
    Observation,
    Packet,
    Terms,
    Write,
    identify,
    receive,
)
from protocols.gatt.blood_pressure_reading import whole_pressures
from protocols.gatt.uuid import sig
from protocols.vendor import urion
from protocols.vendor.urion import (
    Failed,
    NoMoreRecords,
    Received,
    Record,
    Result,
    SendRecords,
)

_SERVICE, _RECEIVES, _SENDS = sig(0xFFF0), sig(0xFFF1), sig(0xFFF2)
_SILENCE_S = 10.0  # in which the cuff may repeat a frame
_ATTEMPTS = 3
_MOST = 10_000  # packets of one visit
_NOTE = "Every reading of it sets its clock: set_clock = true must be allowed."


async def _session(link: GattLink, terms: Terms) -> AsyncGenerator[Event, None]:
    if terms.set_clock is None:
        raise NoReply(
            "the cuff can be read only by setting its clock; allow that with "
            "set_clock = true, on a station whose own clock is kept right"
        )
    yield (identity := await identify(link))
    await link.subscribe(_RECEIVES)
    waits, heard = 0, set[Packet]()
    for _ in range(_MOST):
        if not heard:
            now = DateTime.of(terms.set_clock())
            await link.write(_SENDS, SendRecords(now).encode())
        try:
            packet = await receive(link, _SILENCE_S)
        except NoReply:
            waits += 1
            heard.clear()
            if waits == _ATTEMPTS:
                raise
            continue
        # A frame comes several times. To confirm a record twice would confirm the
        # next one too, whether or not it was heard.
        if packet in heard:
            link.note(packet)
            continue
        heard.add(packet)
        for event in DRIVER.decode(packet, identity):
            yield event
        match _message(packet.payload):
            case NoMoreRecords():
                return
            case Record():
                waits = 0
                await link.write(_SENDS, Received().encode())
    raise NoReply("the cuff does not come to an end of its records")


def _message(payload: bytes) -> urion.Message | None:
    try:
        return urion.decode_frame(payload)
    except DecodeError:
        return None


def _observations(payload: bytes, _identity: Identity) -> Iterator[Observation]:
    match message := urion.decode_frame(payload):
        case Result() | Failed():
            # Five times the same, and nothing that tells it from the next one's.
            raise ValueError(f"{message} has no time, and is not read")
        case Record():
            yield Observation(
                kind=Kind.BLOOD_PRESSURE,
                values=whole_pressures(
                    message.systolic, message.diastolic, message.pulse
                ),
                device_time=message.time,
                status=("irregular_pulse",) if message.irregular else (),
                raw=(payload,),
            )


DRIVER = GattDriver(
    id="urion",
    version="1",
    service=_SERVICE,
    observes=(Kind.BLOOD_PRESSURE,),
    models=(
        Model("U9", ("Bluetooth BP", "Urion BP"), note=_NOTE),
        Model("U9, older", ("Wileless BP", "BLE to UART_2"), note=_NOTE),
    ),
    writes=(
        Write(
            rb"\xfd\xfd\xfa\x07.{6}\r\n",
            "ask for the records not yet sent",
            _SENDS,
            sets_clock=True,
        ),
        Write(rb"\xfd\xfd\xfa\x60\r\n", "confirm a record", _SENDS),
    ),
    on={_RECEIVES: _observations},
    session=_session,
    once_only=True,
    pairs=False,
)
