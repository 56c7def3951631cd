"""The links in memory: what arrives, what does not, and when a link is gone."""

import asyncio
from collections.abc import Iterable
from decimal import Decimal
from uuid import UUID

import pytest

from firmware_sim.bench import Action, HangUp, Send
from firmware_sim.devices.gatt_blood_pressure import (
    BloodPressureCuff,
    BloodPressureRecord,
)
from firmware_sim.devices.gatt_glucose import GlucoseMeter, GlucoseRecord
from firmware_sim.faults import Faults, faulty
from firmware_sim.link import (
    Damage,
    SimGattLink,
    SimSerialLink,
    bytewise,
    lossy,
    noisy,
    twice,
    whole,
)
from protocols.link import LinkLost, Refused


def _sig(number: int) -> UUID:
    return UUID(f"{number:08x}-0000-1000-8000-00805f9b34fb")


_CUFF, _GLUCOSE, _POINT = _sig(0x2A35), _sig(0x2A18), _sig(0x2A52)
_WAIT_S = 0.01


class _Echo:
    """Says back what it hears, each byte doubled, as one answer."""

    baud = 9600

    def plugged(self) -> Iterable[bytes]:
        return ()

    def feed(self, data: bytes) -> Iterable[bytes]:
        return [bytes([byte, byte]) for byte in data]


async def _arriving(link: SimSerialLink, pieces: int) -> list[bytes]:
    return [await link.read() for _ in range(pieces)]


@pytest.mark.parametrize(
    ("damage", "pieces"),
    [
        (whole, [b"aa", b"bb"]),
        (bytewise, [b"a", b"a", b"b", b"b"]),
        (twice, [b"aa", b"aa", b"bb", b"bb"]),
        (noisy, [b"\xff\x02\x00aa\x02", b"\xff\x02\x00bb\x02"]),
        (lossy(seed=0, rate=0.0), [b"aa", b"bb"]),
        (lossy(seed=0, rate=1.0), []),
    ],
)
async def test_an_answer_arrives_as_its_damage_says(
    damage: Damage, pieces: list[bytes]
) -> None:
    link = SimSerialLink(_Echo(), damage)
    await link.write(b"ab")
    link.unplug()

    assert await _arriving(link, len(pieces)) == pieces
    with pytest.raises(LinkLost):
        await link.read()


async def test_the_same_seed_loses_the_same_answers() -> None:
    """A test that fails must fail again."""

    def survivors(seed: int) -> list[int]:
        damage = lossy(seed)
        return [n for n in range(200) if list(damage(bytes([n])))]

    assert survivors(7) == survivors(7) != survivors(8)
    assert 120 < len(survivors(7)) < 190, "about a fifth is lost"


async def test_a_reader_waits_for_an_answer_and_not_for_longer() -> None:
    link = SimSerialLink(_Echo())
    reader = asyncio.create_task(link.read())
    await asyncio.sleep(0)
    assert not reader.done()
    await link.write(b"a")

    assert await reader == b"aa"


async def test_pulling_the_cable_wakes_the_reader() -> None:
    link = SimSerialLink(_Echo())
    reader = asyncio.create_task(link.read())
    await asyncio.sleep(0)
    link.unplug()

    with pytest.raises(LinkLost):
        await reader
    with pytest.raises(LinkLost):
        await link.write(b"a")


@pytest.mark.parametrize("size", range(1, 7))
async def test_a_cable_can_be_lost_after_any_number_of_bytes(size: int) -> None:
    link = SimSerialLink(_Echo(), lost_after=size)
    await link.write(b"abc")
    heard = b""
    with pytest.raises(LinkLost):  # noqa: PT012 - the last of them comes upon it
        while True:
            heard += await link.read()

    assert heard == b"aabbcc"[:size]
    with pytest.raises(LinkLost):
        await link.write(b"d")


async def test_what_the_driver_notes_and_writes_is_kept() -> None:
    link = SimSerialLink(_Echo())
    link.note("noise")
    await link.write(b"a")

    assert (link.noted, link.written) == (["noise"], [b"a"])


def _cuff() -> BloodPressureCuff:
    return BloodPressureCuff(
        BloodPressureRecord(Decimal(systolic), Decimal(80))
        for systolic in (120, 130, 140)
    )


async def _systolics(link: SimGattLink) -> list[int]:
    """Subscribe to a cuff and receive until it is gone."""
    await link.subscribe(_CUFF)
    seen: list[int] = []
    try:
        while True:
            seen.append((await link.receive()).payload[1])
    except LinkLost:
        return seen


async def test_everything_is_handed_out_before_the_link_is_lost() -> None:
    link = SimGattLink(_cuff())

    assert await _systolics(link) == [120, 130, 140]
    with pytest.raises(LinkLost):
        await link.read(_sig(0x2A49))
    with pytest.raises(LinkLost):
        await link.write(_CUFF, b"")
    with pytest.raises(LinkLost):
        await link.subscribe(_CUFF)


async def test_an_indication_is_confirmed_when_it_is_received() -> None:
    """As BlueZ does: a driver that stops here has lost the record on the cuff."""
    cuff = _cuff()
    link = SimGattLink(cuff)
    await link.subscribe(_CUFF)
    for left in (2, 1, 0):
        await link.receive()
        assert len(cuff.unsent) == left


async def test_a_lost_indication_takes_the_link_with_it_unconfirmed() -> None:
    cuff = _cuff()

    lossy_cuff = faulty(cuff, Faults(lost=frozenset({2})))
    assert await _systolics(SimGattLink(lossy_cuff)) == [120]
    assert await _systolics(SimGattLink(cuff)) == [130, 140]


async def test_a_repeated_packet_arrives_twice() -> None:
    cuff = faulty(_cuff(), Faults(repeated=frozenset({2})))

    assert await _systolics(SimGattLink(cuff)) == [120, 130, 130, 140]


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_a_link_can_be_lost_after_any_number_of_packets(count: int) -> None:
    cuff = _cuff()

    assert (
        await _systolics(SimGattLink(cuff, lost_after=count)) == [120, 130, 140][:count]
    )
    assert len(cuff.unsent) == 3 - count


async def _meter(**faults: frozenset[int]) -> tuple[SimGattLink, list[int]]:
    """Return a link to a meter that is asked for all its records."""
    meter = GlucoseMeter(GlucoseRecord(n, None, Decimal(100)) for n in (1, 2, 3))
    link = SimGattLink(faulty(meter, Faults(**faults)))
    await link.subscribe(_POINT)
    await link.subscribe(_GLUCOSE)
    await link.write(_POINT, b"\x01\x01")
    seen = []
    while (packet := await link.receive()).uuid == _GLUCOSE:
        seen.append(packet.payload[1])
    assert packet.payload == b"\x06\x00\x01\x01"
    return link, seen


async def test_a_lost_notification_is_missed_by_nobody() -> None:
    """The meter still says that all went well."""
    link, seen = await _meter(lost=frozenset({2}))

    assert seen == [1, 3]
    assert link.written == [(_POINT, b"\x01\x01")]


async def test_a_receiver_waits_for_a_packet() -> None:
    link, _ = await _meter()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(_WAIT_S):
            await link.receive()
    receiver = asyncio.create_task(link.receive())
    await asyncio.sleep(0)
    await link.write(_POINT, b"\x04\x01")

    assert (await receiver).payload == b"\x05\x00\x03\x00"


async def test_pulling_the_link_wakes_the_receiver() -> None:
    link, _ = await _meter()
    receiver = asyncio.create_task(link.receive())
    await asyncio.sleep(0)
    link.unplug()

    with pytest.raises(LinkLost):
        await receiver


async def test_what_the_device_refuses_is_refused_with_its_code() -> None:
    link = SimGattLink(GlucoseMeter(()))
    codes = []
    for call in (
        link.write(_POINT, b"\x01\x01"),  # nothing is enabled
        link.read(_GLUCOSE),
        link.read(_CUFF),  # it has none
        link.subscribe(_sig(0x2A51)),  # it is only readable
    ):
        with pytest.raises(Refused) as refused:
            await call
        codes.append(refused.value.code)

    assert codes == [0x81, 0x02, 0x0A, 0x06]


async def test_it_has_what_the_bench_has() -> None:
    link = SimGattLink(GlucoseMeter(()))

    assert link.has(_POINT)
    assert not link.has(_CUFF)
    assert await link.read(_sig(0x2A25)) == b"00012345"


class _Log:
    """Sends one packet that nobody enabled, one that is, and hangs up."""

    name, advertised, passkey = "log", (), 0

    def __init__(self) -> None:
        cuff, meter = _cuff(), GlucoseMeter(())
        self.services = {**cuff.services, **meter.services}
        self.pairing = cuff.pairing
        self.heard: list[str] = []

    def connected(self) -> None:
        self.heard.append("connected")

    def disconnected(self) -> None:
        self.heard.append("disconnected")

    def read(self, _uuid: UUID) -> bytes:
        return b""

    def write(self, _uuid: UUID, _payload: bytes) -> Iterable[Action]:
        return [Send(_CUFF, b"dropped"), Send(_GLUCOSE, b"1"), HangUp()]

    def enabled(self, _uuid: UUID, *, on: bool) -> Iterable[Action]:
        self.heard.append(f"enabled {on}")
        return ()


async def test_what_is_not_enabled_is_dropped_and_a_hang_up_ends_it() -> None:
    bench = _Log()
    link = SimGattLink(bench)
    await link.subscribe(_GLUCOSE)
    await link.write(_POINT, b"")

    assert (await link.receive()).payload == b"1"
    with pytest.raises(LinkLost):
        await link.receive()
    link.unplug()
    assert bench.heard == ["connected", "enabled True", "disconnected"]
