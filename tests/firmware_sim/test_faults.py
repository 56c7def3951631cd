"""What goes wrong with a radio or a cable: which packets it hits, and how."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import pytest

from firmware_sim.bench import (
    Action,
    AttError,
    GattBench,
    HangUp,
    Send,
    SerialBench,
    Wait,
)
from firmware_sim.devices.gatt_blood_pressure import (
    BloodPressureCuff,
    BloodPressureRecord,
)
from firmware_sim.devices.gatt_glucose import GlucoseMeter, GlucoseRecord
from firmware_sim.faults import Faults, faulty


def _sig(number: int) -> UUID:
    return UUID(f"{number:08x}-0000-1000-8000-00805f9b34fb")


_PRESSURE, _GLUCOSE, _POINT = _sig(0x2A35), _sig(0x2A18), _sig(0x2A52)
_TIME = datetime.fromisoformat("2024-06-15T14:30:45")


def _faults(**numbers: object) -> Faults:
    return Faults(
        **{k: frozenset(v) if type(v) is set else v for k, v in numbers.items()}
    )


def _cuff(*systolics: int, **numbers: object) -> BloodPressureCuff:
    records = [BloodPressureRecord(Decimal(n), Decimal(80), _TIME) for n in systolics]
    return faulty(BloodPressureCuff(records), _faults(**numbers))


def _visit(cuff: BloodPressureCuff) -> list[object]:
    """Enable a cuff as a carrier does; return systolics, pauses, and its end."""
    cuff.connected()
    found = list(_carried(cuff.enabled(_PRESSURE, on=True)))
    cuff.disconnected()
    return found


def _carried(actions: Iterable[Action]) -> Iterator[object]:
    for action in actions:
        match action:
            case Send(_, payload):
                yield payload[1]
            case Wait(seconds):
                yield f"{seconds:g} s"
            case HangUp():
                yield "hung up"
                return


def _meter(**numbers: object) -> GlucoseMeter:
    records = [GlucoseRecord(n, _TIME, Decimal(100)) for n in range(1, 6)]
    meter = faulty(GlucoseMeter(records), _faults(**numbers))
    _connect(meter)
    return meter


def _connect(meter: GlucoseMeter) -> None:
    meter.connected()
    for uuid in (_GLUCOSE, _POINT):
        assert list(meter.enabled(uuid, on=True)) == []


def _report(meter: GlucoseMeter) -> list[object]:
    """Ask for every record; return the numbers that come, and 0 for the end."""
    found = []
    for action in meter.write(_POINT, b"\x01\x01"):
        if isinstance(action, HangUp):
            return [*found, "hung up"]
        found.append(action.payload[1] if action.uuid == _GLUCOSE else 0)
    return found


class _Echo:
    """A serial device that answers each byte with a frame of three."""

    baud = 9600

    def plugged(self) -> Iterable[bytes | Wait]:
        return ()

    def feed(self, data: bytes) -> Iterable[bytes | Wait]:
        return [bytes([byte] * 3) for byte in data]


def test_nothing_wrong_is_the_device_itself() -> None:
    meter = GlucoseMeter(())

    assert faulty(meter, Faults()) is meter


def test_an_indication_that_is_lost_takes_the_link_and_comes_again() -> None:
    """The cuff must not take for delivered what nobody confirmed."""
    cuff = _cuff(120, 130, 140, lost={2})

    assert _visit(cuff) == [120, "hung up"]
    assert [int(record.systolic) for record in cuff.unsent] == [130, 140]
    assert _visit(cuff) == [130, 140, "hung up"]


def test_a_notification_that_is_lost_is_missed_by_nobody() -> None:
    """It is counted over all visits, so that a second attempt gets it."""
    meter = _meter(lost={2})

    assert _report(meter) == [1, 3, 4, 5, 0]
    assert _report(meter) == [1, 2, 3, 4, 5, 0]


def test_an_answer_that_is_lost_takes_the_link() -> None:
    meter = _meter(lost={6})

    assert _report(meter) == [1, 2, 3, 4, 5, "hung up"]
    _connect(meter)
    assert _report(meter) == [1, 2, 3, 4, 5, 0]


def test_a_packet_can_come_twice() -> None:
    assert _visit(_cuff(120, 130, repeated={1})) == [120, 120, 130, "hung up"]
    assert _report(_meter(repeated={3})) == [1, 2, 3, 3, 4, 5, 0]


def test_a_packet_can_come_late_and_all_behind_it_too() -> None:
    cuff = _cuff(120, 130, late={1}, late_s=1.5)

    assert _visit(cuff) == ["1.5 s", 120, 130, "hung up"]


def test_a_link_that_drops_leaves_the_rest_for_later_and_no_more() -> None:
    """What was confirmed before it dropped is not told again."""
    cuff = _cuff(120, 130, 140, hang_up_after={2})

    assert _visit(cuff) == [120, 130, "hung up"]
    assert _visit(cuff) == [140, "hung up"]


def test_a_silent_device_speaks_again_when_it_is_visited_again() -> None:
    meter = _meter(silent_after={2})

    assert _report(meter) == [1, 2]
    with pytest.raises(AttError):  # it is still at the first request
        meter.write(_POINT, b"\x01\x01")
    meter.disconnected()
    _connect(meter)
    assert _report(meter) == [1, 2, 3, 4, 5, 0]


def test_a_write_is_refused_with_the_error_that_is_named() -> None:
    meter = _meter(refused={1}, refusal=0x81)

    with pytest.raises(AttError) as refused:
        meter.write(_POINT, b"\x01\x01")

    assert refused.value.code == 0x81
    assert _report(meter) == [1, 2, 3, 4, 5, 0]


def test_one_bit_of_a_packet_is_wrong() -> None:
    assert _visit(_cuff(120, damaged={1}))[1:] == ["hung up"]
    (sent,) = faulty(_Echo(), _faults(damaged={1})).feed(b"\x01")

    assert sent == bytes([1, 1 ^ 0x04, 1])


@pytest.mark.parametrize(
    ("faults", "arrived"),
    [
        (_faults(lost={2}), [b"aaa", b"ccc"]),
        (_faults(repeated={2}), [b"aaa", b"bbb", b"bbb", b"ccc"]),
        (_faults(late={2}), [b"aaa", Wait(3.0), b"bbb", b"ccc"]),
        (_faults(noisy={2}), [b"aaa", b"\xff\x02\x00bbb\x02", b"ccc"]),
        (_faults(silent_after={2}), [b"aaa", b"bbb"]),
    ],
)
def test_answers_go_wrong_on_a_cable(
    faults: Faults, arrived: list[bytes | Wait]
) -> None:
    device = faulty(_Echo(), faults)

    assert list(device.plugged()) == []
    assert list(device.feed(b"abc")) == arrived
    assert bool(list(device.feed(b"d"))) is not bool(faults.silent_after)
    assert list(device.plugged()) == []
    assert list(device.feed(b"d")) == [b"ddd"]


@pytest.mark.parametrize(
    ("device", "faults", "problem"),
    [
        (_Echo(), _faults(hang_up_after={1}), "hang_up_after is one of a BLE device"),
        (_Echo(), _faults(refused={1}), "refused is one of a BLE device"),
        (GlucoseMeter(()), _faults(noisy={1}), "noisy is one of a serial device"),
    ],
)
def test_what_cannot_happen_on_a_carrier_is_refused(
    device: GattBench | SerialBench, faults: Faults, problem: str
) -> None:
    """A scenario that asks for it would show nothing, and nobody would notice."""
    with pytest.raises(ValueError, match=problem):
        faulty(device, faults)
