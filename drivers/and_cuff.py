"""A&D cuffs on Bluetooth LE, as the UA-651BLE.

Measures: systolic, diastolic and mean pressure, pulse rate.
Modes:    indications of what is stored, when told to send it; then it hangs up.
Clock:    local time; set first of all, where the operator allows it.
History:  once only; a cuff sends what no host has confirmed yet.
Source:   protocols.vendor.and_medical.
Tested:   firmware_sim.devices.and_cuff; no hardware yet.
"""

import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress

from drivers.sdk import (
    DateTime,
    Event,
    GattDriver,
    GattLink,
    Identity,
    Kind,
    LinkLost,
    Model,
    NoReply,
    Observation,
    Packet,
    Refused,
    Terms,
    Write,
    clock_to_set,
    identify,
    read_clock,
    receive,
)
from protocols.gatt import blood_pressure, blood_pressure_reading, time
from protocols.vendor import and_medical
from protocols.vendor.and_medical import COMMAND, HANG_UP, SEND_ALL

_MEASUREMENT = blood_pressure.BLOOD_PRESSURE_MEASUREMENT
_SILENCE_S = 10.0  # after which it has no more to send
_HANGS_UP_S = 5.0
_MOST = 10_000  # packets in one visit


async def _session(link: GattLink, terms: Terms) -> AsyncGenerator[Event, None]:
    if not link.has(_MEASUREMENT):
        raise NoReply("the device has no Blood Pressure Measurement")
    identity = terms.identity
    if identity is None:
        yield (identity := await identify(link))
    # Its window is short, and it wants just this order.
    if (clock := await read_clock(link)) is not None:
        yield clock
    if link.has(COMMAND):
        await link.write(COMMAND, SEND_ALL)
    await _set_clock(link, terms, None if clock is None else clock.time)
    await link.subscribe(_MEASUREMENT)
    async for packet in _packets(link):
        for event in DRIVER.decode(packet, identity):
            yield event


async def _packets(link: GattLink) -> AsyncGenerator[Packet, None]:
    """Yield what the cuff sends until it hangs up, as it does when all is told.

    Raises:
        NoReply: It does not stop, or neither sends anything nor hangs up.
    """
    silences = [_HANGS_UP_S, _SILENCE_S] if link.has(COMMAND) else [_SILENCE_S]
    heard = 0
    with suppress(LinkLost):
        while silences:
            try:
                packet = await receive(link, silences[-1])
            except NoReply:
                if len(silences) > 1:
                    # While it is being paired it has nothing to send, and waits.
                    await _hang_up(link)
                silences.pop()
                continue
            yield packet
            heard += 1
            if heard > _MOST:
                raise NoReply("the cuff does not stop sending")
        if not heard:
            raise NoReply("the cuff neither sends nor hangs up")


async def _hang_up(link: GattLink) -> None:
    try:
        await link.write(COMMAND, HANG_UP)
    except Refused as error:
        link.note(error)  # it hangs up by itself sooner or later


async def _set_clock(link: GattLink, terms: Terms, shown: DateTime | None) -> None:
    now = clock_to_set(terms, shown)
    if now is None or not link.has(time.DATE_TIME):
        return
    try:
        await link.write(time.DATE_TIME, and_medical.encode_clock(DateTime.of(now)))
    except Refused as error:
        link.note(error)  # its readings are worth more than its clock


def _observations(payload: bytes, _identity: Identity) -> Iterator[Observation]:
    yield blood_pressure_reading.observation(blood_pressure.decode(payload), payload)


DRIVER = GattDriver(
    id="and-cuff",
    version="1",
    service=blood_pressure.SERVICE,
    observes=(Kind.BLOOD_PRESSURE,),
    models=(
        Model(
            "A&D UA-651BLE",
            ("A&D_UA-651BLE",),
            note="at its first visit hold the start key until Pr is shown",
        ),
    ),
    writes=(
        Write(re.escape(SEND_ALL), "have it send what it has stored", COMMAND),
        Write(re.escape(HANG_UP), "have it hang up", COMMAND),
        Write(
            rb".[\x07\x08][\x01-\x0c][\x01-\x1f][\x00-\x17][\x00-\x3b]{2}",
            "set the clock",
            time.DATE_TIME,
            sets_clock=True,
        ),
    ),
    on={_MEASUREMENT: _observations},
    session=_session,
    once_only=True,
)
