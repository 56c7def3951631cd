"""What the kit does for every driver: who it is, what time it shows, what it says."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from drivers.gatt_blood_pressure import DRIVER as CUFF
from drivers.gatt_glucose import DRIVER as METER
from drivers.sdk import (
    DateTime,
    DeviceClock,
    GattDriver,
    Identity,
    Kind,
    LinkLost,
    NoReply,
    Observation,
    Packet,
    Quantity,
    Refused,
    Terms,
    Undecoded,
    Unit,
    Value,
    apart,
    ends_with,
    identify,
    mark_of,
    marked,
    read_clock,
)
from protocols.gatt import blood_pressure, device_information, time
from protocols.observation import POSITION

_CURRENT_TIME = bytes.fromhex("ea 07 0b 16 0e 1e 00 07 00 00")
_PRESSURE = bytes.fromhex("00 78 00 50 00 5d 00")


class Link:
    """A device that answers from a table, refuses what is an int, and hangs up."""

    def __init__(
        self, values: Mapping[UUID, bytes | int], packets: tuple[bytes, ...] = ()
    ) -> None:
        self.values = values
        self.packets = list(packets)
        self.asked: list[UUID] = []

    def has(self, uuid: UUID) -> bool:
        return uuid in self.values

    async def read(self, uuid: UUID) -> bytes:
        self.asked.append(uuid)
        value = self.values[uuid]
        if isinstance(value, int):
            raise Refused(uuid, value)
        return value

    async def write(self, uuid: UUID, payload: bytes) -> None:
        raise AssertionError(f"nothing is written, least of all {payload!r} to {uuid}")

    async def subscribe(self, uuid: UUID) -> None:
        self.asked.append(uuid)

    async def receive(self) -> Packet:
        if not self.packets:
            raise LinkLost("gone")
        return Packet(blood_pressure.BLOOD_PRESSURE_MEASUREMENT, self.packets.pop(0))


async def test_a_device_says_who_it_is_as_far_as_it_can() -> None:
    """What it has not is empty; text that is none is empty, at every visit."""
    link = Link(
        {
            device_information.MANUFACTURER_NAME: b"Acme\0\0",
            device_information.MODEL_NUMBER: b"\xff\xfe",
            device_information.SERIAL_NUMBER: b"SN 1 ",
        }
    )

    assert await identify(link) == Identity("Acme", "", "SN 1", "")


async def test_a_refused_identity_is_no_empty_one() -> None:
    """Else the device would have another id at the next visit."""
    link = Link({device_information.SERIAL_NUMBER: 0x05})

    with pytest.raises(Refused, match="0x05"):
        await identify(link)


@pytest.mark.parametrize(
    ("values", "clock"),
    [
        ({}, None),
        ({time.CURRENT_TIME: 0x05}, None),
        ({time.CURRENT_TIME: b"\xea\x07"}, None),
        ({time.CURRENT_TIME: 0x05, time.DATE_TIME: _CURRENT_TIME[:7]}, True),
        ({time.CURRENT_TIME: _CURRENT_TIME}, True),
    ],
)
async def test_a_clock_that_cannot_be_read_corrects_nothing(
    values: Mapping[UUID, bytes | int], clock: bool | None
) -> None:
    shown = DateTime.of(datetime(2026, 11, 22, 14, 30, tzinfo=UTC))

    found = await read_clock(Link(values))

    assert found == (DeviceClock(shown) if clock else None)


async def test_a_known_cuff_is_enabled_first_and_its_clock_is_read() -> None:
    """It may hang up within moments; its clock is read if it is still there."""
    link = Link(
        {
            blood_pressure.BLOOD_PRESSURE_MEASUREMENT: b"",
            device_information.SERIAL_NUMBER: b"never asked for",
            time.CURRENT_TIME: _CURRENT_TIME,
        },
        (_PRESSURE,),
    )

    events = [event async for event in CUFF.visit(link, Terms(identity=Identity()))]

    assert link.asked == [blood_pressure.BLOOD_PRESSURE_MEASUREMENT, time.CURRENT_TIME]
    assert isinstance(events[0], DeviceClock)
    assert isinstance(events[1], Observation)
    assert len(events) == 2


@pytest.mark.parametrize("driver", [CUFF, METER], ids=lambda driver: driver.id)
async def test_a_device_of_another_kind_is_told_as_such(driver: GattDriver) -> None:
    """An empty answer would look like an empty memory."""
    with pytest.raises(NoReply, match=r"has no"):
        [event async for event in driver.visit(Link({}), Terms())]


def test_readings_that_look_alike_are_told_apart_by_their_place() -> None:
    """Two tests of one minute with one value are two, at every visit the same two."""
    value = Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(100))
    context, time = (("meal", "fasting"),), DateTime(2026, 3, 1, 7, 30, 0)
    one = Observation(Kind.GLUCOSE, (value,), time, context=context)
    second = replace(one, context=(*one.context, ("position-at-this-time", "2")))
    other = replace(one, slot=2)
    damaged = Undecoded("record", b"\xff", "is none")

    found = [*apart([one, damaged, other, one, damaged])]

    assert found == [one, damaged, other, second, damaged]


def test_those_without_a_date_have_a_place_where_they_are_told_again() -> None:
    """Only by it the first of a visit is the first of the one before."""
    value = Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(100))
    undated = Observation(Kind.GLUCOSE, (value,))

    again = [dict(one.context) for one in apart([undated] * 2)]
    once = [dict(one.context) for one in apart([undated] * 2, undated_again=False)]

    assert again == [{POSITION: "1"}, {POSITION: "2"}]
    assert once == [{}, {}]


WALK = [b"newest", b"newer", b"older", b"oldest"]


@pytest.mark.parametrize("count", range(1, 5))
def test_a_mark_is_found_again_where_its_records_end(count: int) -> None:
    """Found too early, what is behind it would never be fetched."""
    mark = mark_of(WALK[:count])
    walk = [b"since", *WALK]

    assert marked(mark) == count
    ends = [end for end in range(len(walk) + 1) if ends_with(walk[:end], mark)]
    assert ends == [1 + count]


def test_a_mark_stays_what_earlier_versions_wrote() -> None:
    """Another one would have every device read anew after an update."""
    digest = 0xD5355E84CD8E92  # of b2sum -l 56

    assert mark_of([b"a", b"bc"]) == digest * 8 + 2


@pytest.mark.parametrize("mark", [None, 0, 8])
def test_no_mark_is_found_nowhere(mark: int | None) -> None:
    """At the first visit there is none, and all must be read."""
    assert marked(mark) == 0
    assert not any(ends_with(WALK[:end], mark) for end in range(5))
