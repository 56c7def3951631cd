"""Visomat Double Comfort and other JPI cuffs on their serial plug.

Measures: blood pressure and pulse rate, of two users.
Modes:    stored readings, all of them at every visit; never sends unasked.
Clock:    local time without seconds; how it is asked for is not known.
History:  rereadable; nothing is ever erased here.
Source:   protocols.vendor.jpi.
Tested:   firmware_sim.devices.visomat; no hardware yet.
"""

from collections.abc import AsyncGenerator

from drivers.sdk import (
    Ask,
    Conversation,
    DecodeError,
    Event,
    Identity,
    Kind,
    Model,
    NoReply,
    Observation,
    SerialDriver,
    SerialLink,
    Terms,
    Undecoded,
    Write,
    apart,
)
from protocols.gatt.blood_pressure_reading import whole_pressures
from protocols.vendor import jpi
from protocols.vendor.jpi import Record

_REPLY_S = 10.0  # until the largest memory has come
_READINGS = 6  # of the memory, until two in a row are equal
_MODEL = "Visomat Double Comfort"


async def _session(link: SerialLink, terms: Terms) -> AsyncGenerator[Event, None]:
    text = await _memory(link)
    users = jpi.split_memory(text)
    yield Identity("JPI", terms.model or _MODEL)
    for user, records in enumerate(users, 1):
        good: list[Observation] = []
        for raw in records:
            try:
                good.append(_observation(user, jpi.decode_record(raw), raw))
            except DecodeError as error:
                yield Undecoded(f"record of user {user}", raw, str(error))
        for seen in apart(good):
            yield seen


async def _memory(link: SerialLink) -> bytes:
    """Return the memory, once it came twice in a row: it has no checksum.

    Raises:
        NoReply: It never did, or none came.
        LinkLost: The port is gone.
    """
    cuff = Conversation[bytes](link, jpi.decoder(), settle_s=0.05)
    last = b""
    for _ in range(_READINGS):
        found = await cuff.ask(_MEMORY, timeout_s=_REPLY_S)
        if found == last:
            return found
        last = found
    raise NoReply(f"the memory was another one each time in {_READINGS}")


def _whole(text: bytes) -> bytes | None:
    try:
        jpi.split_memory(text)
    except DecodeError:
        return None
    return text


def _observation(user: int, record: Record, raw: bytes) -> Observation:
    return Observation(
        kind=Kind.BLOOD_PRESSURE,
        values=whole_pressures(record.systolic, record.diastolic, record.pulse),
        device_time=record.time,
        slot=user,
        # What it means is not certain: an irregular pulse, or a disturbance.
        context=() if record.flag == "0" else (("flag", record.flag),),
        raw=(raw,),
    )


_MEMORY = Ask("memory", jpi.ask_memory(), _whole)

DRIVER = SerialDriver(
    id="visomat",
    version="1",
    observes=(Kind.BLOOD_PRESSURE,),
    baud=9600,
    models=(
        Model(
            "Visomat Double Comfort",
            usb=((0x1247, 0x00F8),),
            note="Linux finds its plug (cdc_acm) faulty and makes no serial port of it "
            "unless told to; its speed does not matter there.",
        ),
        Model("Prevention DS-2200PV", usb=((0x1247, 0x00F8),)),
    ),
    writes=(Write(rb"\x02R00\x03", "ask for the memory"),),
    session=_session,
)
