"""Stations to measure with, and the messages that they send.

Two persons make a group: each has a glucose meter, read 4 times a day, and a cuff, used
4 times a day. A message is what a station tells of one group for 16 days: 256 readings
with all that a driver makes of real frames. Ten groups are drawn, and each tells one
message after the other; a group beyond these tells the same under its own devices'
names. What is drawn depends on nothing but its number, so it is the same at each run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from math import sin, tau
from random import Random
from struct import pack
from typing import Any, NamedTuple

from protocols.gatt import (
    blood_pressure,
    blood_pressure_reading,
    glucose,
    glucose_reading,
)
from protocols.observation import (
    Device,
    Kind,
    LinkSecurity,
    Observation,
    Reading,
    TimeMethod,
)
from protocols.uplink import envelope
from protocols.uplink.batch import Batch
from protocols.uplink.opening import unwrap
from protocols.uplink.topics import Station

TENANT = "bench"
READINGS = 256
PATTERNS = 10
DEVICES = 4
RUN = READINGS // DEVICES
DAYS = 16  # that a message tells of

START_MS = 1_767_222_000_000  # 2026-01-01 by the devices' clocks
_START = datetime(2026, 1, 1)  # noqa: DTZ001 - a device's clock has no zone
_ZONE = timedelta(hours=1)
_HOURS = 7, 12, 18, 22
_PER_DAY = len(_HOURS)
_READ_OUT = timedelta(minutes=20)  # after the last measurement
_BOUND_MS, _DRIFT_MS = 120_000, 2_000  # a device's clock: at first, and a day
_NAMES = "bench-{}"


class Sent(NamedTuple):
    """One message as it is published.

    Attributes:
        group: Which group it tells of.
        block: The how manyth of that group it is, from 0.
        topic: Its station's.
        payload: A batch.
    """

    group: int
    block: int
    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Fleet:
    """Stations, and the groups that they serve in turn.

    Attributes:
        stations: At least 1.
        groups: So many times as many; group g belongs to station g modulo ``stations``.
    """

    stations: int
    groups: int

    def messages(self, blocks: Sequence[int]) -> Iterator[Sent]:
        """Yield all groups' messages of each of ``blocks`` in turn, groups mixed."""
        for block in blocks:
            mixed = Random(block)  # noqa: S311 - an order, no secret
            turns = mixed.sample(range(self._turns), self._turns)
            for place, turn in enumerate(turns):
                counter = block * self._turns + place + 1
                stations = mixed.sample(range(self.stations), self.stations)
                for station in stations:
                    yield self.message(turn * self.stations + station, block, counter)

    def message(self, group: int, block: int, counter: int) -> Sent:
        """Return a message, byte by byte what an agent makes of `readings`."""
        station = self.station(group)
        devices = [[*astuple(device)] for device in _devices(group)]
        own = {1: station.station, 2: counter, 4: devices}
        content = _content(group % PATTERNS, block) | own
        return Sent(group, block, station.up("batch"), envelope.wrap(content))

    def readings(self, group: int, block: int) -> list[Reading]:
        """Return what a message tells."""
        devices = dict(zip(_devices(group % PATTERNS), _devices(group), strict=True))
        told = pattern(group % PATTERNS, block)
        return [replace(one, device=devices[one.device]) for one in told]

    def station(self, group: int) -> Station:
        """Return whose group that is."""
        return Station(TENANT, _NAMES.format(group % self.stations))

    @property
    def _turns(self) -> int:
        return self.groups // self.stations


@cache
def pattern(number: int, block: int) -> tuple[Reading, ...]:
    """Return what one of the first `PATTERNS` groups tells in a message."""
    meter, cuff, other_meter, other_cuff = _devices(number)
    random = Random(number << 20 | block)  # noqa: S311 - data, no secret
    readings = [
        *_meter(meter, random, block, with_meals=False),
        *_cuff(cuff, random, block),
        *_meter(other_meter, random, block, with_meals=True),
        *_cuff(other_cuff, random, block),
    ]
    return tuple(readings)


@cache
def _content(number: int, block: int) -> dict[int, Any]:
    readings = pattern(number, block)
    made_ms = max(reading.captured_ms for reading in readings) + 1_000
    content = unwrap("batch", Batch("bench", 1, made_ms, readings).encode(fast=True))
    if not isinstance(content, dict):
        raise TypeError("a batch is a map")
    return content


def device_name(number: int) -> str:
    """Return the id of a device; group g has those from 4 g on."""
    return _NAMES.format(number)


def _devices(group: int) -> list[Device]:
    first = DEVICES * group
    told = [
        ("Roche", "Accu-Chek Guide", "1.8"),
        ("Beurer", "BM54", "2.0"),
        ("Ascensia", "Contour Next One", "1.24"),
        ("Beurer", "BM64", "1.1"),
    ]
    return [
        Device(device_name(first + at), maker, model, f"{first + at:08d}", firmware)
        for at, (maker, model, firmware) in enumerate(told)
    ]


def _times(random: Random, block: int) -> Iterator[datetime]:
    for day in range(block * DAYS, (block + 1) * DAYS):
        for hour in _HOURS:
            minutes = random.triangular(-50, 50)
            yield _START + timedelta(days=day, hours=hour, minutes=minutes)


def _meter(
    device: Device, random: Random, block: int, *, with_meals: bool
) -> Iterator[Reading]:
    """Yield what a read-out of a meter tells."""
    read_out = _START + timedelta(days=(block + 1) * DAYS)
    for at, time in enumerate(_times(random, block)):
        sequence = block * RUN + at
        fasting = 115 + 15 * sin(tau * sequence / 200)
        mg_per_dl = random.lognormvariate(0, 0.22) * (
            fasting + 45 * (at % _PER_DAY > 0)
        )
        frames = _glucose(sequence, time, round(mg_per_dl), with_meals=with_meals)
        days = (read_out - time).days + 1
        yield Reading(
            device=device,
            observation=_glucose_seen(*frames),
            driver="gatt-glucose",
            driver_version="1",
            captured_ms=_utc_ms(read_out + _READ_OUT) + 15 * at,
            utc_ms=_utc_ms(time),
            time_method=TimeMethod.DEVICE,
            time_bound_ms=_BOUND_MS + _DRIFT_MS * days,
            link=LinkSecurity.ENCRYPTED,
        )


def _cuff(device: Device, random: Random, block: int) -> Iterator[Reading]:
    """Yield what a cuff tells, a reading at a time."""
    for time in _times(random, block):
        systolic = round(random.gauss(134, 12))
        diastolic = round(systolic * 0.6 + random.gauss(0, 5))
        pulse = round(random.gauss(72, 8))
        frame = _pressure(time, systolic, diastolic, pulse)
        seen = blood_pressure_reading.observation(blood_pressure.decode(frame), frame)
        yield Reading(
            device=device,
            observation=seen,
            driver="gatt-blood-pressure",
            driver_version="1",
            captured_ms=_utc_ms(time) + random.randrange(2_000, 9_000),
            utc_ms=_utc_ms(time),
            time_method=TimeMethod.DEVICE,
            link=LinkSecurity.ENCRYPTED,
        )


def _glucose(
    sequence: int, time: datetime, mg_per_dl: int, *, with_meals: bool
) -> tuple[bytes, ...]:
    """Return a Glucose Measurement, and perhaps the context of it."""
    flags = 0x03 | 0x10 * with_meals  # offset, concentration; context follows
    offset_min, finger_capillary = _ZONE // timedelta(minutes=1), 0x11
    head = pack("<BH", flags, sequence) + _clock(time - _ZONE)
    concentration = 0xB << 12 | mg_per_dl  # 10^-5 kg/L
    frame = head + pack("<hHB", offset_min, concentration, finger_capillary)
    if not with_meals:
        return (frame,)
    meal = (3, 1, 2, 5)[sequence % _PER_DAY]  # fasting, before, after, bedtime
    return frame, pack("<BHB", 0x02, sequence, meal)


def _glucose_seen(frame: bytes, context_frame: bytes | None = None) -> Observation:
    """Return what the driver of such meters makes of a measurement."""
    seen = glucose.decode_measurement(frame)
    context = None if context_frame is None else glucose.decode_context(context_frame)
    return Observation(
        kind=Kind.GLUCOSE,
        values=(glucose_reading.value(seen, context),),
        device_time=seen.base_time,
        offset_min=seen.offset_min,
        sequence=seen.sequence,
        status=glucose_reading.status(seen),
        context=tuple(sorted(glucose_reading.notes(seen, context).items())),
        raw=(frame,) if context_frame is None else (frame, context_frame),
    )


def _pressure(time: datetime, systolic: int, diastolic: int, pulse: int) -> bytes:
    """Return a Blood Pressure Measurement of user 1, without a mean."""
    no_number, irregular = 0x07FF, 0x0004 * (pulse > 90)
    head = pack("<BHHH", 0x1E, systolic, diastolic, no_number)  # time to status
    return head + _clock(time) + pack("<HBH", pulse, 1, irregular)


def _clock(time: datetime) -> bytes:
    return pack("<H5B", time.year, *time.timetuple()[1:6])


def _utc_ms(time: datetime) -> int:
    return round((time.replace(microsecond=0, tzinfo=UTC) - _ZONE).timestamp() * 1_000)
