"""The Urion driver against the simulated cuff."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from drivers.sdk import (
    DateTime,
    Identity,
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
)
from drivers.urion import DRIVER
from firmware_sim.bench import Action, Send
from firmware_sim.devices.urion import UrionCuff, UrionRecord
from firmware_sim.link import SimGattLink
from protocols.gatt.uuid import sig
from tests.drivers.collecting import Visit, visit

NOW = datetime(2026, 3, 14, 9, 26, 53)  # noqa: DTZ001 - a wall clock
TIME = datetime(2024, 6, 15, 14, 30)  # noqa: DTZ001 - a wall clock
NOTIFIES = sig(0xFFF1)
RECORDS = [UrionRecord(120 + n, 80, 72, TIME + timedelta(hours=n)) for n in range(3)]
BYTES = bytes.fromhex("fd fd fe 78 50 48 00 07 e8 06 0f 0e 1e 0d 0a")
SEEN = Observation(
    kind=Kind.BLOOD_PRESSURE,
    values=(
        Value(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(120)),
        Value(Quantity.DIASTOLIC, Unit.MM_HG, Decimal(80)),
        Value(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(72)),
    ),
    device_time=DateTime(2024, 6, 15, 14, 30, 0),
    raw=(BYTES,),
)
ASK = bytes.fromhex("fd fd fa 07 1a 03 0e 09 1a 35 0d 0a")
CONFIRM = bytes.fromhex("fd fd fa 60 0d 0a")


def now() -> datetime:
    return NOW


async def read(device: UrionCuff) -> tuple[Visit, list[bytes]]:
    """Visit with leave to set the clock; return also what was written."""
    link = SimGattLink(device)
    found = await visit(DRIVER, link, terms=Terms(set_clock=now))
    return found, [payload for _, payload in link.written]


def systolic(found: Visit) -> list[Decimal | None]:
    return [seen.values[0].number for seen in found.of(Observation)]


async def test_a_record_is_read_whole_and_confirmed() -> None:
    device = UrionCuff(RECORDS[:1], now)

    found, written = await read(device)

    assert found.error is None
    assert found.events == [Identity("Urion", "U9", "", "1.0"), SEEN]
    assert written == [ASK, CONFIRM]
    assert device.unsent == ()


async def test_without_leave_to_set_its_clock_it_is_not_touched() -> None:
    """The request for records sets the clock: there is no other."""
    device = UrionCuff(RECORDS, now)
    link = SimGattLink(device)

    found = await visit(DRIVER, link)

    assert isinstance(found.error, NoReply)
    assert "set_clock = true" in str(found.error)
    assert link.written == []
    assert device.unsent == tuple(RECORDS)


async def test_a_cuff_is_never_started() -> None:
    """Nobody may be under a cuff that inflates by itself."""
    device = UrionCuff(RECORDS, now, greeting=[b"\xa5"])

    await read(device)

    assert not device.was_started
    start = bytes.fromhex("fd fd fa 05 0d 0a")
    dated = bytes.fromhex("fd fd fa 05 1a 03 0e 09 1a 35 0d 0a")
    for payload in (start, dated):
        assert not any(one.fits(sig(0xFFF2), payload) for one in DRIVER.writes)


async def test_a_record_that_comes_five_times_is_confirmed_once() -> None:
    """Each confirmation marks a record as sent, heard or not."""
    device = UrionCuff(RECORDS, now, times=5)

    found, written = await read(device)

    assert systolic(found) == [120, 121, 122]
    assert written == [ASK, CONFIRM, CONFIRM, CONFIRM]


class _Mixed(UrionCuff):
    """A cuff that repeats the first record behind the second."""

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Answer, and repeat the first record."""
        first = RECORDS[0].notification()
        answers = list(super().write(uuid, payload))
        return [*answers, first] if len(self.unsent) == 2 else answers


async def test_a_late_repetition_confirms_nothing() -> None:
    """It would mark a third record as sent that was never heard."""
    device = _Mixed(RECORDS, now)

    found, written = await read(device)

    assert found.error is None
    assert systolic(found) == [120, 121, 122]
    assert written.count(CONFIRM) == 3


class _Losing(UrionCuff):
    """A cuff whose first answers are lost."""

    losses = 1

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Answer, if no answer is to be lost any more."""
        answers = super().write(uuid, payload)
        self.losses -= 1
        return () if self.losses >= 0 else answers


@pytest.mark.parametrize(("losses", "is_read"), [(1, True), (2, True), (3, False)])
async def test_a_request_that_is_not_heard_is_repeated(
    losses: int, is_read: bool
) -> None:
    device = _Losing(RECORDS, now)
    device.losses = losses

    found, _ = await read(device)

    assert systolic(found) == ([120, 121, 122] if is_read else [])
    assert isinstance(found.error, NoReply) is not is_read


async def test_what_a_crash_left_behind_is_read_again() -> None:
    """The agent has the packet on its disk before anything confirms it."""
    events = DRIVER.decode(Packet(NOTIFIES, BYTES), Identity())

    assert events == [SEEN]


@pytest.mark.parametrize(
    "frame",
    [
        "fd fd fc 78 50 48 0d 0a",  # a result without a time
        "fd fd fd 02 0d 0a",  # a failure
        "fd fd fe 00 78 50 48 00 07 e8 06 0f 0e 1e 0d 0a",  # 16 bytes
        "00",
    ],
)
async def test_what_is_no_record_is_kept_as_bytes_and_not_confirmed(
    frame: str,
) -> None:
    """What nobody could read must stay in the cuff."""
    payload = bytes.fromhex(frame)
    device = UrionCuff(RECORDS, now, greeting=[payload])

    found, written = await read(device)

    assert [one.payload for one in found.of(Undecoded)] == [payload]
    assert written.count(CONFIRM) == 3
    assert systolic(found) == [120, 121, 122]


@pytest.mark.parametrize(
    "frame", ["a5", "fd fd 05 0d 0a", "fd fd fb 00 b9 0d 0a", "fd fd fa 60 0d 0a"]
)
async def test_what_tells_nothing_becomes_nothing(frame: str) -> None:
    device = UrionCuff(RECORDS[:1], now, greeting=[bytes.fromhex(frame)])

    found, _ = await read(device)

    assert found.events[1:] == [SEEN]


async def test_an_irregular_pulse_comes_with_the_values() -> None:
    device = UrionCuff([UrionRecord(120, 80, 0, TIME, irregular=True)], now)

    found, _ = await read(device)

    (seen,) = found.of(Observation)
    assert seen.status == ("irregular_pulse",)
    assert seen.values[2].state == State.NO_VALUE


class _Endless(UrionCuff):
    """A cuff that never comes to an end of its records."""

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Answer with what is new each time."""
        del uuid, payload
        return [
            Send(NOTIFIES, b"\xfd\xfd\xfb" + n.to_bytes(2) + b"\r\n")
            for n in range(12_000)
        ]


async def test_a_cuff_that_never_ends_is_stopped() -> None:
    found, _ = await read(_Endless([], now))

    assert isinstance(found.error, NoReply)
    assert "does not come to an end" in str(found.error)
