"""From a simulated device to the disk, with the real outbox and no fakes.

Capturing uses threads, so each test runs a loop of its own.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from drivers import (
    and_cuff,
    gatt_blood_pressure,
    gatt_glucose,
    gatt_pulse_oximeter,
    microlife,
    omron_standard,
    onetouch_ultraeasy,
    taidoc,
)
from drivers.sdk import (
    Checkpoint,
    DateTime,
    DeviceClock,
    Event,
    GattDriver,
    Identity,
    Kind,
    LinkLost,
    NoReply,
    Observation,
    Packet,
    Quantity,
    Refused,
    SerialDriver,
    Terms,
    Unit,
    Value,
)
from edge_agent import health
from edge_agent.capture import Capture, Station
from edge_agent.config import Device
from edge_agent.health import DeviceHealth
from edge_agent.identity import device_of
from edge_agent.visits import attend
from firmware_sim.devices.and_cuff import AndCuff, CuffRecord
from firmware_sim.devices.gatt_blood_pressure import (
    BloodPressureCuff,
    BloodPressureRecord,
)
from firmware_sim.devices.gatt_glucose import GlucoseMeter, GlucoseRecord
from firmware_sim.devices.gatt_pulse_oximeter import PulseOximeter
from firmware_sim.devices.microlife import MicrolifeRecord
from firmware_sim.devices.omron_standard import (
    Abilities,
    StandardCuff,
    StandardRecord,
)
from firmware_sim.devices.onetouch_ultraeasy import UltraEasy, UltraEasyRecord
from firmware_sim.devices.taidoc import StripRecord
from firmware_sim.label import Label
from firmware_sim.link import SimGattLink, SimSerialLink
from protocols.gatt.uuid import sig
from protocols.observation import Quality, Reading, TimeMethod
from protocols.uplink import batch
from protocols.vendor import omron_measurement
from tests.edge_agent.unset import (
    FACTORY,
    UNSET,
    Unset,
    microlife_cuff,
    spot,
    strip_meter,
)
from tests.edge_agent.visiting import DEVICE, PEER, Journaling, read

NOW = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
START = NOW - timedelta(days=2)


pytestmark = pytest.mark.usefixtures("hasty")


def waiting(station: Station) -> list[Reading]:
    """Return all readings that wait, in order."""
    found: list[Reading] = []
    while (made := station.outbox.batches.make("s-1", 0, 256)) is not None:
        found += batch.decode(made.message).readings
    return found


def numbers(station: Station) -> list[int | None]:
    return [reading.observation.sequence for reading in waiting(station)]


def _now() -> datetime:
    """The station's clock, as a meter that is set right shows it."""
    return datetime.now(UTC).replace(microsecond=0, tzinfo=None)


def meter(count: int, serial: str = "00012345", **more: object) -> GlucoseMeter:
    records = [
        GlucoseRecord(n, START + timedelta(minutes=5 * n), Decimal(90 + n % 200))
        for n in range(1, count + 1)
    ]
    label = Label("Glucose meter", serial)
    return GlucoseMeter(records, clock=_now, label=label, **more)  # type: ignore[arg-type]


def test_a_visit_brings_every_reading_to_the_disk_once(station: Station) -> None:
    read(station, gatt_glucose.DRIVER, meter(150))

    assert station.outbox.counts().waiting == 150
    device = "vitalwire-simulation:glucose-meter:00012345"
    assert (station.outbox.mark(device, "gatt-glucose") or 0) % 65536 == 150
    found = waiting(station)
    assert sorted(r.observation.sequence or 0 for r in found) == [*range(1, 151)]
    first = next(r for r in found if r.observation.sequence == 1)
    assert first.device.serial == "00012345"
    assert first.time_method == TimeMethod.DEVICE
    expected = START + timedelta(minutes=5)
    assert first.utc_ms == int(expected.replace(tzinfo=UTC).timestamp() * 1000)
    assert (first.driver, first.quality) == ("gatt-glucose", Quality.NONE)
    assert station.captured.is_set()
    assert station.health.devices[PEER].captured == 150


def test_an_alarming_reading_is_known_as_urgent_when_it_is_captured(
    station: Station,
) -> None:
    """Else it would wait its turn behind all that the meter remembers."""
    read(station, gatt_glucose.DRIVER, meter(170))

    found = station.outbox.batches.unbatched(999)
    assert (found.urgent, found.others) == (11, 159)  # from 250 mg/dL on


def test_a_second_visit_brings_only_what_is_new(station: Station) -> None:
    device = meter(10)
    read(station, gatt_glucose.DRIVER, device)
    assert sorted(map(int, map(str, numbers(station)))) == [*range(1, 11)]
    device.store(GlucoseRecord(11, NOW, Decimal(111)))

    link = read(station, gatt_glucose.DRIVER, device)

    assert numbers(station) == [11]
    asked = [data.hex() for uuid, data in link.written if uuid == sig(0x2A52)]
    assert "0101" not in asked


def test_a_lost_link_keeps_what_came_and_the_next_visit_the_rest(
    station: Station,
) -> None:
    device = meter(150)
    with pytest.raises(LinkLost):
        read(station, gatt_glucose.DRIVER, device, lost_after=103)
    assert station.outbox.counts().waiting == 100

    link = read(station, gatt_glucose.DRIVER, device)

    assert station.outbox.counts().waiting == 150
    asked = [data.hex() for uuid, data in link.written if uuid == sig(0x2A52)]
    assert "0103014000" in asked  # from 65, behind the checkpoint at 64


@pytest.mark.parametrize("unset", [UNSET["taidoc"], UNSET["omron-users"]])
def test_a_visit_never_waits_for_the_disk_where_others_run(
    station: Station, unset: Unset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outbox that is damaged is renewed for seconds, and all devices stood still."""
    threads: set[str] = set()
    file = station.outbox._file

    def noted(way: Callable[[], Any]) -> Any:  # noqa: ANN401
        threads.add(threading.current_thread().name)
        return way()

    for name in ("reading", "transaction"):
        monkeypatch.setattr(file, name, partial(noted, getattr(file, name)))
    device = unset.make([unset.record(None)])
    for _ in range(2):
        read(station, unset.driver, device)

    assert threads
    assert threading.main_thread().name not in threads


def test_another_meter_at_the_same_place_is_read_from_its_beginning(
    station: Station,
) -> None:
    """A replaced meter gets the old one's address; its first records are not known."""
    read(station, gatt_glucose.DRIVER, meter(20))

    read(station, gatt_glucose.DRIVER, meter(5, serial="99999999"))

    found = waiting(station)
    other = [r for r in found if r.device.serial == "99999999"]
    assert sorted(r.observation.sequence or 0 for r in other) == [1, 2, 3, 4, 5]


def cuff(*systolic: int, time: datetime | None = START) -> BloodPressureCuff:
    return BloodPressureCuff(
        BloodPressureRecord(
            Decimal(n), Decimal(80), time and time + timedelta(minutes=n)
        )
        for n in systolic
    )


def pressures(station: Station) -> list[Decimal | None]:
    return [reading.observation.values[0].number for reading in waiting(station)]


def test_a_cuffs_indications_are_journaled_before_they_are_read(
    station: Station,
) -> None:
    """A cuff forgets what was confirmed: the journal is all that is left of it."""
    device = cuff(120, 130)
    seen: list[int] = []
    plain = station.outbox.capture

    def capture(*args, **more):  # type: ignore[no-untyped-def]  # noqa: ANN002, ANN003, ANN202
        seen.append(station.outbox.counts().journaled)
        return plain(*args, **more)

    station.outbox.capture = capture  # type: ignore[method-assign]
    read(station, gatt_blood_pressure.DRIVER, device)

    assert seen[0] == 2
    assert station.outbox.counts().journaled == 0
    assert pressures(station) == [Decimal(120), Decimal(130)]


def test_what_was_journaled_before_a_crash_is_captured_at_the_next_visit(
    station: Station,
) -> None:
    """The journal is of no use if nobody reads it."""
    read(station, gatt_blood_pressure.DRIVER, cuff(120))
    payload = BloodPressureRecord(Decimal(131), Decimal(80), NOW).indication().payload
    source = str(sig(0x2A35))
    station.outbox.journal(PEER, "gatt-blood-pressure", [(source, payload)], 1)

    read(station, gatt_blood_pressure.DRIVER, cuff())

    assert pressures(station) == [Decimal(120), Decimal(131)]
    assert station.outbox.counts().journaled == 0


def test_a_reading_of_two_packets_is_whole_behind_a_crash(station: Station) -> None:
    """Each by itself is none; and a half of one is kept, for nobody tells it again."""
    able = Abilities(own_parts=2)
    read(station, omron_standard.DRIVER, StandardCuff([], able))
    taken = StandardRecord(START, Decimal(120), Decimal(80))
    first, second = taken.own(1, parts=2)
    half, _ = taken.own(2, parts=2)
    rows = [
        (str(omron_measurement.BLOOD_PRESSURE), first),
        (str(sig(0x2A2B)), b"the clock"),  # tells no reading
        (str(omron_measurement.BLOOD_PRESSURE), first),  # repeated
        (str(omron_measurement.BLOOD_PRESSURE), second),
        (str(omron_measurement.BLOOD_PRESSURE), half),
    ]
    station.outbox.journal(PEER, "omron-standard", rows, 1)
    assert station.outbox.counts().journaled == len(rows)

    read(station, omron_standard.DRIVER, StandardCuff([], able))

    (found,) = waiting(station)
    assert found.observation.raw == (first, second)
    counts = station.outbox.counts()
    assert (counts.undecoded, counts.journaled) == (1, 0)


def test_readings_without_any_time_are_kept_apart(station: Station) -> None:
    """Two equal pressures of a cuff without a clock are two readings."""
    read(station, gatt_blood_pressure.DRIVER, cuff(120, 120, time=None))

    found = waiting(station)
    assert len(found) == 2
    assert {r.time_method for r in found} == {TimeMethod.UNKNOWN}
    assert {r.quality for r in found} == {Quality.CLOCK_UNSET}


@pytest.mark.parametrize("time", [None, FACTORY])
@pytest.mark.parametrize("unset", UNSET.values(), ids=UNSET)
def test_equal_readings_of_a_clock_that_nobody_set_are_neither_lost_nor_doubled(
    station: Station, unset: Unset, time: datetime | None
) -> None:
    """The same values before each of three visits are three readings, and stay three.

    Also where the link is lost in between, of a device that then tells them again.
    """
    device = unset.make([])
    for count in (1, 2, 3):
        device.store(unset.record(time))
        read(station, unset.driver, device)
        assert station.outbox.counts().waiting == count
    device.store(unset.record(time))
    device.store(unset.record(time))
    if unset.retells:
        with suppress(LinkLost, NoReply):
            read(station, unset.driver, device, lost_after=4)
    read(station, unset.driver, device)
    read(station, unset.driver, device)

    assert station.outbox.counts().waiting == 5


@pytest.mark.parametrize("has_memory", [False, True])
def test_a_clock_that_is_told_to_be_unset_names_no_reading(
    station: Station, *, has_memory: bool
) -> None:
    """It begins at the same moment with each battery: two of three were lost."""
    device = PulseOximeter([], has_memory=has_memory)
    for count in (1, 2, 3):
        device.store(spot(FACTORY.replace(year=2015)))
        read(station, gatt_pulse_oximeter.DRIVER, device)

        assert station.outbox.counts().waiting == count


def _undated_strip(number: int) -> StripRecord:
    return StripRecord(None, Quantity.GLUCOSE, 100 + number)


def _undated_pressure(number: int) -> MicrolifeRecord:
    return MicrolifeRecord(100 + number, 80, 70, None)


class _Memory(NamedTuple):
    """A device without a clock: its driver, how it and a record are made, its room."""

    driver: GattDriver
    make: Callable[[list[Any]], Any]
    record: Callable[[int], Any]
    holds: int


_MEMORIES = pytest.mark.parametrize(
    "memory",
    [
        _Memory(taidoc.DRIVER, strip_meter, _undated_strip, 120),
        _Memory(
            microlife.DRIVER, partial(microlife_cuff, user=0), _undated_pressure, 99
        ),
    ],
    ids=["taidoc", "microlife"],
)


@_MEMORIES
def test_a_memory_that_is_filled_up_between_visits_is_not_told_anew(
    station: Station, memory: _Memory
) -> None:
    """Two measured, and room for one: by neither count the old records were known."""
    driver, make, record, holds = memory
    device = make([record(number) for number in range(holds - 1)])
    read(station, driver, device)
    for number in (holds - 1, holds):
        device.store(record(number))
    read(station, driver, device)

    assert station.outbox.counts().waiting == holds + 1


@_MEMORIES
def test_a_crash_in_front_of_the_checkpoint_doubles_nothing(
    station: Station, memory: _Memory
) -> None:
    """Undated ones, written down without it, came once more under other names."""
    driver, make, record, holds = memory
    device = make([record(number) for number in range(holds - 5)])
    capture, box = station.outbox.capture, station.outbox

    def crash(*given: Any, mark: object, **more: Any) -> int:  # noqa: ANN401
        if mark is not None:
            raise asyncio.CancelledError
        return capture(*given, mark=None, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(box, "capture", crash)
        with pytest.raises(asyncio.CancelledError):
            read(station, driver, device)
    read(station, driver, device)

    assert box.counts().waiting == holds - 5


def test_a_cuff_that_tells_one_user_at_a_time_has_a_mark_of_each(
    station: Station,
) -> None:
    """Of one mark for both, each turn of the switch told a memory anew."""
    users = {
        number: microlife_cuff(
            [_undated_pressure(10 * number + n) for n in range(3)], number
        )
        for number in (1, 2)
    }
    for number in (1, 2, 1, 2, 2):
        read(station, microlife.DRIVER, users[number])
    users[1].store(_undated_pressure(12))
    read(station, microlife.DRIVER, users[1])

    assert station.outbox.counts().waiting == 7


@pytest.mark.parametrize("once", [False, True])
def test_an_undated_record_that_is_told_again_is_the_same(
    station: Station, once: bool
) -> None:
    """A memory that is read every quarter of an hour would fill the store with it."""
    value = Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(120))
    undated = Observation(Kind.GLUCOSE, (value,), DateTime(0, 0, 0, 0, 0, 0))

    async def session(_: object, __: Terms) -> AsyncGenerator[Event, None]:
        yield Identity("Acme", "Meter", "SERIAL-42")
        yield undated

    driver = SerialDriver("scripted", "1", (), 9600, session=session, once_only=once)
    station.health.devices[PEER] = DeviceHealth("scripted")
    for _ in range(3):
        capture = Capture(station, DEVICE, driver)
        asyncio.run(capture.hear(partial(driver.visit, SimSerialLink(UltraEasy()))))

    assert len(waiting(station)) == (3 if once else 1)


def test_bytes_that_are_no_reading_are_kept(station: Station) -> None:
    device = cuff(120)
    device._tell = (
        lambda plain=device._tell: (  # type: ignore[method-assign]
            type(s)(s.uuid, s.payload[:5]) if hasattr(s, "payload") else s
            for s in plain()
        )
    )

    read(station, gatt_blood_pressure.DRIVER, device)

    counts = station.outbox.counts()
    assert (counts.waiting, counts.undecoded, counts.journaled) == (0, 1, 0)


def test_a_serial_meter_is_read_to_the_disk(station: Station) -> None:
    records = [
        UltraEasyRecord(START + timedelta(hours=n), Decimal(100 + n)) for n in range(9)
    ]
    device = UltraEasy(records, clock=_now)

    read(station, onetouch_ultraeasy.DRIVER, device)
    device.store(UltraEasyRecord(NOW, Decimal(150)))
    link = read(station, onetouch_ultraeasy.DRIVER, device)

    assert pressures(station) == [*(Decimal(108 - n) for n in range(9)), Decimal(150)]
    # the count, the new one, and the four that tell where it was last time
    assert sum(frame[3:5] == b"\x05\x1f" for frame in link.written) == 6


def test_a_meter_whose_clock_is_wrong_is_corrected(station: Station) -> None:
    """Ten minutes late at the visit is ten minutes late at the measurement."""
    device = UltraEasy(
        [UltraEasyRecord(START, Decimal(100))],
        clock=lambda: _now() - timedelta(minutes=10),
    )

    read(station, onetouch_ultraeasy.DRIVER, device)

    (found,) = waiting(station)
    assert found.time_method == TimeMethod.CORRECTED
    assert found.utc_ms is not None
    right = (START + timedelta(minutes=10)).replace(tzinfo=UTC).timestamp() * 1000
    assert abs(found.utc_ms - right) < 120_000


@pytest.mark.parametrize("wrong_by", [timedelta(days=-200), timedelta(days=3)])
def test_a_station_that_does_not_know_the_time_moves_no_right_one(
    station: Station, wrong_by: timedelta
) -> None:
    """A Pi without a clock of its own starts in the past; nothing mends it later."""
    station.is_synchronised = lambda: False
    at = START - wrong_by  # as if the station's clock was wrong by so much
    device = UltraEasy(
        [UltraEasyRecord(at, Decimal(100))], clock=lambda: _now() - wrong_by
    )

    read(station, onetouch_ultraeasy.DRIVER, device)

    (found,) = waiting(station)
    assert (found.time_method, found.time_bound_ms) == (TimeMethod.DEVICE, None)
    assert found.utc_ms == at.replace(tzinfo=UTC).timestamp() * 1000
    assert found.quality == Quality.NONE
    assert "not synchronised" in station.health.clock


def test_a_clock_that_was_right_is_believed_when_its_server_is_gone(
    station: Station,
) -> None:
    """The kernel says no after nine hours without a server, and a week is promised."""
    said = iter([True])
    station.is_synchronised = lambda: next(said, False)

    assert [station.knows_time() for _ in range(3)] == [True] * 3
    assert station.health.clock == "synchronised"


class _LostBehindItsSetting(Journaling):
    """A link that is gone as soon as the device's clock is set."""

    async def write(self, uuid: UUID, payload: bytes) -> None:
        if uuid not in {sig(0x2A08), sig(0x2A2B)}:
            await super().write(uuid, payload)
            return
        with suppress(Refused):  # an Omron takes the time, and says so
            await super().write(uuid, payload)
        raise LinkLost("out of reach")


@pytest.mark.parametrize("wrong_by", [timedelta(days=-5), timedelta(days=5)])
@pytest.mark.parametrize("able", [None, Abilities(), Abilities(records=True)])
@pytest.mark.parametrize("lost_after", [(None,), (4,), (None, 5), (4, 5, 5)])
def test_a_link_lost_behind_the_setting_of_a_clock_makes_no_time_wrong(
    station: Station,
    wrong_by: timedelta,
    able: Abilities | None,
    lost_after: tuple[int | None, ...],
) -> None:
    """The next visit meets a clock that is right, and readings that it did not stamp.

    Where the clock was ahead, nothing tells by which of both a time is; it is unknown.
    """
    right = [START + timedelta(minutes=n) for n in range(12)]
    made = [
        _pressure(able, moment + wrong_by, 100 + n) for n, moment in enumerate(right)
    ]
    clock = lambda: _now() + wrong_by  # noqa: E731
    device: Any = (
        AndCuff(made, clock=clock)
        if able is None
        else StandardCuff(made, able, clock=clock)
    )
    driver = and_cuff.DRIVER if able is None else omron_standard.DRIVER
    allowed = Device("any", address=PEER, set_clock=True)
    for count in lost_after:
        kind = _LostBehindItsSetting if count is None else Journaling
        with suppress(LinkLost):
            read(station, driver, device, config=allowed, kind=kind, lost_after=count)
        assert device.set_to is not None
    read(station, driver, device, config=allowed)

    found = waiting(station)
    assert len(found) == len(right)
    for reading, moment in zip(found, right, strict=True):
        if len(lost_after) > 1 and wrong_by > timedelta():
            continue  # that its device was cut off again, and did not end, nobody sees
        assert reading.time_bound_ms is None
        if reading.utc_ms is not None:
            true_ms = moment.replace(tzinfo=UTC).timestamp() * 1000
            assert abs(reading.utc_ms - true_ms) < 120_000
        else:
            assert wrong_by > timedelta()
            assert reading.quality == Quality.CLOCK_UNSET
    # What is measured from now on has the clock's own time, with a bound.
    device.store(_pressure(able, _now(), 190))
    read(station, driver, device, config=allowed)
    *_, newest = waiting(station)
    assert newest.time_method == TimeMethod.DEVICE
    assert newest.time_bound_ms in {130_000, 190_000}  # if it has whole minutes


def _pressure(
    able: Abilities | None, time: datetime, systolic: int
) -> CuffRecord | StandardRecord:
    make = CuffRecord if able is None else StandardRecord
    return make(time, Decimal(systolic), Decimal(80))


def test_what_a_paused_device_said_is_written_while_it_pauses(
    station: Station,
) -> None:
    """A cuff that goes on for 10 s must not hold back what it already said."""
    device = cuff(120)
    device._tell = lambda: iter([device._unsent[0].indication()])  # type: ignore[method-assign]
    station.health.devices[PEER] = DeviceHealth("x")
    driver = gatt_blood_pressure.DRIVER

    async def run() -> None:
        capture = Capture(station, DEVICE, driver)
        taking = asyncio.ensure_future(
            capture.hear(partial(driver.visit, SimGattLink(device)))
        )
        await asyncio.wait_for(station.captured.wait(), 2)
        assert not taking.done()
        taking.cancel()
        await asyncio.wait({taking})

    asyncio.run(run())
    assert pressures(station) == [Decimal(120)]


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let virtual time pass, which no thread would see."""

    async def call(function: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401
        return function(*args)

    monkeypatch.setattr(asyncio, "to_thread", call)


@pytest.mark.usefixtures("no_threads")
async def test_a_faulty_driver_is_told_and_tried_again(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    """The one boundary: a bug in one driver stops no other device, for ever."""
    device = Device("onetouch-ultraeasy", port="nowhere")

    tries = 0

    def broken(*_: object) -> None:
        nonlocal tries
        tries += 1
        raise ZeroDivisionError("a bug")

    driver = SerialDriver("onetouch-ultraeasy", "1", (), 9600, session=broken)  # type: ignore[arg-type]
    task = asyncio.ensure_future(attend(station, device, driver))
    await asyncio.sleep(200)
    found = station.health.devices["nowhere"]
    assert found.state == "failing"
    assert found.failures == 14, "a port is looked at every 15 s"
    assert "nowhere" in found.problem
    assert not task.done()
    task.cancel()
    await asyncio.wait({task})
    assert caplog.text.count("visit.failed onetouch-ultraeasy at nowhere") == 1


@pytest.mark.usefixtures("no_threads")
async def test_a_device_that_is_away_for_days_stops_nothing(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    """An unplugged meter fails again and again; the agent must outlast it."""
    caplog.set_level("CRITICAL")
    device = Device("onetouch-ultraeasy", port="nowhere")
    task = asyncio.ensure_future(attend(station, device, onetouch_ultraeasy.DRIVER))

    await asyncio.sleep(2 * 86_400)

    if task.done():
        pytest.fail(f"its task died: {task.exception()!r}")
    assert station.health.devices["nowhere"].failures > 4000
    task.cancel()
    await asyncio.wait({task})


def test_the_health_file_is_whole_and_says_what_was_done(station: Station) -> None:
    """A technician sees counters; nothing of any person."""
    read(station, gatt_glucose.DRIVER, meter(3))
    station.health.save()

    found = health.read(station.health.folder)

    assert found is not None
    assert found["devices"] == {
        PEER: {
            "driver": "gatt-glucose",
            "state": "waiting",
            "visits": 0,
            "failures": 0,
            "captured": 3,
            "damaged": 0,
            "problem": "",
            "visited_at": None,
        }
    }
    assert health.is_running(found["pid"])
    assert not list(station.health.folder.glob("*.part"))


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00", '"x"'])
def test_a_damaged_health_file_is_as_if_there_was_none(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "status.json").write_text(text)

    assert health.read(tmp_path) is None


@pytest.mark.parametrize(
    ("pid", "there"), [(None, False), ("1", False), (2**22 + 1, False)]
)
def test_a_process_that_is_gone_is_not_running(pid: object, *, there: bool) -> None:
    assert health.is_running(pid) is there


def test_packets_that_cannot_be_journaled_wait_for_room(station: Station) -> None:
    """A cuff tells them once: a full disk must not lose them."""
    station.health.devices[PEER] = DeviceHealth("gatt-blood-pressure")
    capture = Capture(station, DEVICE, gatt_blood_pressure.DRIVER)
    packet = Packet(sig(0x2A35), bytes.fromhex("00 78 00 50 00 5d 00"))
    db = station.outbox._file.db

    async def fill_and_free() -> int:
        size = db.pragma("page_count")
        db.pragma("max_page_count", size)
        big = [Packet(packet.uuid, packet.payload * 20_000)]
        writing = asyncio.ensure_future(capture.journal(big))
        await asyncio.sleep(0.3)
        held = station.outbox.counts().journaled
        db.pragma("max_page_count", size + 1_000)
        async with asyncio.timeout(10):
            await writing
        return held

    assert asyncio.run(fill_and_free()) == 0
    assert station.outbox.counts().journaled == 1


def test_what_one_device_told_is_not_written_as_the_next_ones(
    station: Station,
) -> None:
    """Two cuffs that share a port may speak in one burst, each with its own clock."""
    station.health.devices[PEER] = DeviceHealth("scripted")
    serials = ("FIRST-42", "SECOND-77")
    late = {"FIRST-42": timedelta(minutes=10), "SECOND-77": timedelta(hours=5)}

    async def session(_: Terms) -> AsyncGenerator[Event, None]:
        for serial in serials:
            yield Identity("Acme", "Cuff", serial)
            yield DeviceClock(DateTime.of(_now() - late[serial]))
            yield Observation(
                Kind.BLOOD_PRESSURE,
                (Value(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(120)),),
                device_time=DateTime.of(START),
            )

    driver = SerialDriver(
        "scripted", "1", (), 9600, session=lambda _, terms: session(terms)
    )
    asyncio.run(Capture(station, DEVICE, driver).hear(session))

    found = waiting(station)
    names = [device_of(Identity("Acme", "Cuff", one), PEER).id for one in serials]
    assert [one.device.id for one in found] == names
    for one, serial in zip(found, serials, strict=True):
        right = (START + late[serial]).replace(tzinfo=UTC).timestamp() * 1000
        assert one.utc_ms is not None
        assert abs(one.utc_ms - right) < 120_000


_STAMPED = Observation(
    Kind.BLOOD_PRESSURE,
    (Value(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(120)),),
    device_time=DateTime.of(START),
)


def _hear(station: Station, *said: Event | LinkLost) -> None:
    """Visit a port whose clocks may be set, and whose device says so much."""

    async def session(_: object, __: Terms) -> AsyncGenerator[Event, None]:
        for event in said:
            if isinstance(event, LinkLost):
                raise event
            yield event

    driver = SerialDriver("scripted", "1", (), 9600, session=session)
    with suppress(LinkLost):
        read(
            station,
            driver,
            UltraEasy(),
            config=Device("any", address=PEER, set_clock=True),
        )


def test_a_clock_that_was_set_stays_that_of_its_device(station: Station) -> None:
    """Another one hangs at the port before the first has told what it recorded."""
    one, two = (
        Identity("Acme", "Cuff", serial) for serial in ("FIRST-42", "SECOND-77")
    )
    late, right = timedelta(hours=30), DeviceClock(DateTime.of(_now()))
    _hear(station, one, DeviceClock(DateTime.of(_now() - late)), LinkLost("pulled"))
    _hear(station, two, right, _STAMPED)
    _hear(station, one, right, _STAMPED)

    its, others = waiting(station)
    assert others.device == device_of(two, PEER)
    assert (others.time_method, others.utc_ms) == (TimeMethod.DEVICE, _ms(START))
    assert its.device == device_of(one, PEER)
    assert its.time_method == TimeMethod.RECONSTRUCTED
    assert its.utc_ms is not None
    assert abs(its.utc_ms - _ms(START + late)) < 120_000


def test_one_devices_clock_says_nothing_of_one_without(station: Station) -> None:
    """Both were plugged in at one visit, and only the first can be asked for it."""
    one, two = (
        Identity("Acme", "Cuff", serial) for serial in ("FIRST-42", "SECOND-77")
    )
    wrong = DeviceClock(DateTime.of(_now() - timedelta(hours=5)))
    _hear(station, one, wrong, one, _STAMPED, two, _STAMPED)

    first, last = waiting(station)
    assert (first.device, last.device) == (device_of(one, PEER), device_of(two, PEER))
    assert first.time_method == TimeMethod.CORRECTED
    assert (last.time_method, last.utc_ms) == (TimeMethod.DEVICE, _ms(START))


def _ms(moment: datetime) -> int:
    return int(moment.replace(tzinfo=UTC).timestamp() * 1000)


def test_a_driver_is_started_again_with_the_mark_of_the_device_that_is_there(
    station: Station,
) -> None:
    """By another device's mark it would leave out what it has not been asked for."""
    station.health.devices[PEER] = DeviceHealth("scripted")
    given: list[int | None] = []

    async def session(terms: Terms) -> AsyncGenerator[Event, None]:
        given.append(terms.mark)
        yield Identity("Acme", "Meter", "SECOND-77")
        yield Checkpoint(9)

    one = device_of(Identity("Acme", "Meter", "FIRST-42"), PEER)
    station.outbox.meet(PEER, one)
    driver = SerialDriver(
        "scripted", "1", (), 9600, session=lambda _, terms: session(terms)
    )
    station.outbox.capture(PEER, [], mark=(one.id, "scripted", 500))

    asyncio.run(Capture(station, DEVICE, driver).hear(session))

    assert given == [500, None]
    two = device_of(Identity("Acme", "Meter", "SECOND-77"), PEER)
    assert station.outbox.mark(two.id, "scripted") == 9
    assert station.outbox.mark(one.id, "scripted") == 500
