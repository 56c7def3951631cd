"""Glucose sensors that implement the Bluetooth Continuous Glucose Monitoring Service.

Measures: interstitial glucose, and how fast it changes.
Modes:    stored records by RACP, everything behind the last one known; no live stream.
Clock:    minutes since the session's start, set by whoever started it; never set here.
History:  rereadable; nothing is ever deleted here.
Source:   Bluetooth SIG, Continuous Glucose Monitoring Service 1.0.2.
Tested:   firmware_sim.devices.gatt_cgm; no hardware yet.
"""

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from zlib import crc32

from drivers.sdk import (
    MOST_PACKETS,
    Checkpoint,
    DecodeError,
    DeviceClock,
    Event,
    GattDriver,
    GattLink,
    Kind,
    NoReply,
    Observation,
    Quantity,
    State,
    Terms,
    Undecoded,
    Unit,
    Value,
    Write,
    identify,
    receive,
)
from protocols.gatt import cgm, cgm_session, glucose, racp
from protocols.gatt.cgm import Calibration, Features, Measurement, Status, Warnings
from protocols.gatt.cgm_session import SessionStart
from protocols.gatt.e2e_crc import Expect
from protocols.medfloat import Number, Special, show_number

_CONTROL_POINT = racp.RECORD_ACCESS_CONTROL_POINT
_CONTROL_SOLUTION_TYPE, _CONTROL_SOLUTION_LOCATION = 10, 4
_UNUSABLE = (
    Status.SENSOR_TYPE_INCORRECT
    | Status.SENSOR_MALFUNCTION
    | Status.GENERAL_DEVICE_FAULT
)
_WRONG_TEMPERATURE = Calibration.TEMPERATURE_TOO_HIGH | Calibration.TEMPERATURE_TOO_LOW


@dataclass(frozen=True, slots=True)
class _Session:
    """What holds for all records: the sensor's features, and since when it runs."""

    features: Features
    start: SessionStart

    @property
    def expect(self) -> Expect:
        """Whether its values have an E2E-CRC."""
        return self.features.expect

    def observation(self, seen: Measurement, raw: bytes) -> Observation:
        """Return what one record says."""
        time = self.start.time.plus(seen.offset_min)
        return Observation(
            kind=Kind.INTERSTITIAL_GLUCOSE,
            values=tuple(_values(seen)),
            device_time=time,
            # Another session has the same offsets again, at other times.
            sequence=seen.offset_min if time is None else None,
            status=tuple(seen.annunciation.names),
            context=tuple(sorted(self._notes(seen))),
            raw=(raw,),
        )

    def stamp(self, raw: bytes) -> int:
        """Return what tells a record from that of another session at its offset."""
        return crc32(f"{self.start.time} {raw.hex()}".encode())

    def _notes(self, seen: Measurement) -> Iterator[tuple[str, str]]:
        yield "sample", _named(glucose.TYPES, self.features.sample_type)
        yield "location", _named(glucose.LOCATIONS, self.features.location)
        yield "session-offset-min", str(seen.offset_min)
        if (utc_offset_min := self.start.utc_offset_min) is not None:
            yield "utc-offset-min", str(utc_offset_min)
        if seen.quality is not None:
            yield "quality-percent", str(show_number(seen.quality))


async def _visit(link: GattLink, terms: Terms) -> AsyncGenerator[Event, None]:
    if not link.has(_CONTROL_POINT):
        raise NoReply("the sensor has no Record Access Control Point")
    yield await identify(link)
    features = cgm.decode_feature(await link.read(cgm.CGM_FEATURE))
    if (
        features.sample_type == _CONTROL_SOLUTION_TYPE
        or features.location == _CONTROL_SOLUTION_LOCATION
    ):
        raise NoReply("the sensor says that it is in control solution, and in nobody")
    start = cgm_session.decode_session_start(
        await link.read(cgm_session.CGM_SESSION_START_TIME), features.expect
    )
    session = _Session(features, start)
    if (clock := await _clock(link, session)) is not None:
        yield clock
    await link.subscribe(_CONTROL_POINT)
    await link.subscribe(cgm.CGM_MEASUREMENT)
    stamp, since = (0, None) if terms.mark is None else divmod(terms.mark, 1 << 16)
    download = racp.Download(since, stamp)
    async for event in _records(link, session, download):
        yield event
    if download.mark is not None:
        yield Checkpoint(download.mark_stamp << 16 | download.mark)


async def _clock(link: GattLink, session: _Session) -> DeviceClock | None:
    """Return what the sensor's clock shows; None if its session may be over.

    A sensor that no longer counts would look like one whose clock is days late,
    and each of its readings be moved by that.
    """
    if not (link.has(cgm.CGM_STATUS) and link.has(cgm_session.CGM_SESSION_RUN_TIME)):
        return None
    now = cgm.decode_status(await link.read(cgm.CGM_STATUS), session.expect)
    hours, _ = cgm_session.decode_run_time(
        await link.read(cgm_session.CGM_SESSION_RUN_TIME), session.expect
    )
    stopped = Status.SESSION_STOPPED in Status(now.annunciation.status or 0)
    if stopped or now.offset_min >= hours * 60:
        return None
    time = session.start.time.plus(now.offset_min)
    return None if time is None else DeviceClock(time)


async def _records(
    link: GattLink, session: _Session, download: racp.Download
) -> AsyncGenerator[Event, None]:
    while (request := download.request) is not None:
        await link.write(_CONTROL_POINT, request.encode())
        for _ in range(MOST_PACKETS):
            packet = await receive(link, racp.PROCEDURE_TIMEOUT_S)
            if packet.uuid == _CONTROL_POINT:
                end = racp.decode_answer(packet.payload)
                if request.is_answered_by(end):
                    download.end(end)
                    break
                link.note(packet)
                continue
            try:
                records = cgm.decode_measurement(packet.payload, session.expect)
            except DecodeError as error:
                yield Undecoded(str(packet.uuid), packet.payload, str(error))
                continue
            at = 0
            for seen in records:
                raw = packet.payload[at : at + seen.size]
                yield session.observation(seen, raw)
                download.record(seen.offset_min, session.stamp(raw))
                at += seen.size
        else:
            raise NoReply(f"the sensor sent {MOST_PACKETS} packets and did not stop")


def _values(seen: Measurement) -> Iterator[Value]:
    said = seen.annunciation
    warned = Warnings(said.warning or 0)
    high = Warnings.ABOVE_DEVICE_RANGE in warned
    low = Warnings.BELOW_DEVICE_RANGE in warned
    unusable = bool(
        Status(said.status or 0) & _UNUSABLE
        or Calibration(said.calibration or 0) & _WRONG_TEMPERATURE
    )
    # Sensors were seen that call a value beyond their range a malfunction as well:
    # that it is low must not get lost behind that.
    is_infinite = seen.concentration in (
        Special.POSITIVE_INFINITY,
        Special.NEGATIVE_INFINITY,
    )
    if is_infinite or not (unusable or high or low):
        yield _value(Quantity.GLUCOSE, seen.concentration, Unit.MG_PER_DL)
    elif high is not low:
        state = State.ABOVE_RANGE if high else State.BELOW_RANGE
        yield Value(Quantity.GLUCOSE, Unit.MG_PER_DL, None, state)
    else:
        state = State.DEVICE_ERROR if unusable else State.NO_VALUE
        yield Value(Quantity.GLUCOSE, Unit.MG_PER_DL, None, state)
    if seen.trend is not None:
        unit = Unit.MG_PER_DL_PER_MINUTE
        yield (
            Value(Quantity.GLUCOSE_RATE, unit, None, State.DEVICE_ERROR)
            if unusable
            else Value.of(Quantity.GLUCOSE_RATE, seen.trend, unit)
        )


def _value(quantity: Quantity, number: Number, unit: Unit) -> Value:
    if isinstance(number, Decimal) and number <= 0:
        return Value(quantity, unit, None, State.NO_VALUE)
    return Value.of(quantity, number, unit)


def _named(names: dict[int, str], code: int) -> str:
    return names.get(code, f"reserved-{code}")


DRIVER = GattDriver(
    id="gatt-cgm",
    version="1",
    service=cgm.SERVICE,
    observes=(Kind.INTERSTITIAL_GLUCOSE,),
    writes=(
        Write(rb"\x01[\x01\x05\x06]", "ask for records", _CONTROL_POINT),
        Write(rb"\x01\x03\x01..", "ask for records from an offset on", _CONTROL_POINT),
        Write(rb"\x04\x01", "ask how many records there are", _CONTROL_POINT),
        Write(rb"\x04\x03\x01..", "ask how many from an offset on", _CONTROL_POINT),
    ),
    session=_visit,
)
