"""The driver of A&D's BLE cuffs against the simulated one."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from drivers.and_cuff import DRIVER
from drivers.sdk import (
    DateTime,
    DeviceClock,
    Identity,
    NoReply,
    Observation,
    Packet,
    State,
    Terms,
    Undecoded,
)
from firmware_sim.bench import AttError, Send
from firmware_sim.devices.and_cuff import AndCuff, CuffRecord
from firmware_sim.link import SimGattLink
from protocols.gatt.uuid import sig
from tests.drivers.collecting import visit

NOW = datetime(2026, 3, 1, 12, 0)  # noqa: DTZ001 - a wall clock
RECORD = CuffRecord(
    NOW - timedelta(hours=1), Decimal(120), Decimal(80), Decimal(93), Decimal(72), 4
)
CUFF = Identity("A&D Medical", "UA-651BLE", "5070300815", "1.0")
KNOWN = Terms(identity=CUFF)
SET = replace(KNOWN, set_clock=lambda: NOW + timedelta(hours=1))
COMMAND = "233bf001-5a34-1b6d-975c-000d5690abe4"


def written(link: SimGattLink) -> list[tuple[str, str]]:
    return [(str(uuid)[:8], payload.hex(" ")) for uuid, payload in link.written]


async def test_a_first_visit_tells_who_when_and_what() -> None:
    found = await visit(DRIVER, SimGattLink(AndCuff([RECORD])))

    assert found.error is None
    assert found.events[:2] == [CUFF, DeviceClock(DateTime(2026, 3, 1, 12, 0, 0))]
    (seen,) = found.of(Observation)
    assert [value.number for value in seen.values] == [120, 80, 93, 72]
    assert (seen.device_time, seen.slot) == (DateTime(2026, 3, 1, 11, 0, 0), None)
    assert seen.status == ("irregular_pulse",)
    assert seen.raw == (
        bytes.fromhex("16 7800 5000 5d00 ea07 03 01 0b 00 00 4800 0400"),
    )


async def test_the_clock_is_written_between_the_command_and_the_measurement() -> None:
    """In any other order the cuff's clock drifts, or nothing is sent."""
    cuff = AndCuff([RECORD])
    link = SimGattLink(cuff)

    found = await visit(DRIVER, link, terms=SET)

    assert (found.error, len(found.of(Observation))) == (None, 1)
    assert written(link) == [
        ("233bf001", "02 00 e1"),
        ("00002a08", "ea 07 03 01 0d 00 00"),
    ]
    assert cuff.set_to == NOW + timedelta(hours=1)


async def test_a_cuff_that_refuses_the_time_is_read_all_the_same() -> None:
    """A reading is worth more than a clock."""
    cuff = AndCuff([RECORD])
    link = SimGattLink(cuff)

    def refuse(_: bytes) -> None:
        raise AttError(0x80)

    cuff._set_clock = refuse  # type: ignore[method-assign]
    found = await visit(DRIVER, link, terms=SET)

    assert (found.error, len(found.of(Observation))) == (None, 1)
    assert len(link.noted) == 1


async def test_a_cuff_that_is_being_paired_is_told_to_hang_up() -> None:
    """Else it shows an error, and the person pairs it again and again."""
    link = SimGattLink(AndCuff(is_pairing=True))

    found = await visit(DRIVER, link)

    assert (found.error, found.of(Observation)) == (None, [])
    assert written(link) == [("233bf001", "02 00 e1"), ("233bf001", "02 01 03")]


async def test_a_cuff_that_neither_sends_nor_hangs_up_is_told() -> None:
    cuff = AndCuff(is_pairing=True)
    cuff.write = lambda *_: ()  # type: ignore[method-assign, assignment]

    found = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)

    assert isinstance(found.error, NoReply)
    assert "neither sends nor hangs up" in str(found.error)


async def test_a_cuff_that_refuses_to_hang_up_has_told_what_it_had() -> None:
    cuff = AndCuff([RECORD])
    cuff._tell = lambda: iter([Send(sig(0x2A35), RECORD.encode())])  # type: ignore[method-assign]
    link = SimGattLink(cuff)
    cuff.write = _refuse_to_hang_up  # type: ignore[method-assign, assignment]

    found = await visit(DRIVER, link, terms=KNOWN)

    assert (found.error, len(found.of(Observation))) == (None, 1)
    assert len(link.noted) == 1


def _refuse_to_hang_up(_: object, payload: bytes) -> tuple[()]:
    if payload == b"\x02\x01\x03":
        raise AttError(0x80)
    return ()


async def test_a_cuff_without_commands_is_only_listened_to() -> None:
    """A relative without A&D's own service must not be written to."""
    cuff = AndCuff([RECORD])
    cuff.services = {  # type: ignore[misc]
        uuid: found for uuid, found in cuff.services.items() if uuid == sig(0x1810)
    }
    cuff._tell = lambda: iter([Send(sig(0x2A35), RECORD.encode())])  # type: ignore[method-assign]
    link = SimGattLink(cuff)

    found = await visit(DRIVER, link, terms=KNOWN)

    assert (found.error, len(found.of(Observation))) == (None, 1)
    assert link.written == []


async def test_a_device_without_the_measurement_is_told() -> None:
    cuff = AndCuff([RECORD])
    cuff.services = {}  # type: ignore[misc]

    found = await visit(DRIVER, SimGattLink(cuff))

    assert "no Blood Pressure Measurement" in str(found.error)


async def test_a_failed_measurement_has_no_numbers() -> None:
    nan = Decimal("NaN")
    failed = CuffRecord(NOW, nan, nan)

    found = await visit(DRIVER, SimGattLink(AndCuff([failed])), terms=KNOWN)

    (seen,) = found.of(Observation)
    assert {value.state for value in seen.values} == {State.NOT_A_NUMBER}


def test_a_cut_indication_is_kept_and_no_reading() -> None:
    payload = RECORD.encode()[:-1]

    (event,) = DRIVER.decode(Packet(sig(0x2A35), payload), CUFF)

    assert isinstance(event, Undecoded)


async def test_a_cuff_that_never_stops_is_stopped() -> None:
    cuff = AndCuff([RECORD])
    reading = Send(sig(0x2A35), RECORD.encode())
    cuff._tell = lambda: iter([reading] * 20_000)  # type: ignore[method-assign]

    found = await visit(DRIVER, SimGattLink(cuff), terms=KNOWN)

    assert "does not stop" in str(found.error)


async def test_a_cuff_whose_clock_cannot_be_read_is_read() -> None:
    cuff = AndCuff([RECORD])
    read = cuff.read

    def refuse(uuid: UUID) -> bytes:
        if uuid == sig(0x2A08):
            raise AttError(0x02)
        return read(uuid)

    cuff.read = refuse  # type: ignore[method-assign]

    found = await visit(DRIVER, SimGattLink(cuff))

    assert (found.error, found.of(DeviceClock)) == (None, [])
    assert len(found.of(Observation)) == 1
