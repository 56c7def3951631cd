"""The simulated blood-pressure cuff, against bytes written down by hand."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import pytest

from firmware_sim.bench import AttError, HangUp, Pairing, Security, Send
from firmware_sim.devices.gatt_blood_pressure import (
    BloodPressureCuff,
    BloodPressureRecord,
)
from firmware_sim.fields import NOT_A_NUMBER


def _sig(number: int) -> UUID:
    return UUID(f"{number:08x}-0000-1000-8000-00805f9b34fb")


_MEASUREMENT = _sig(0x2A35)
_TIME = datetime.fromisoformat("2024-06-15T14:30:45")


def _record(systolic: int) -> BloodPressureRecord:
    return BloodPressureRecord(Decimal(systolic), Decimal(80), _TIME)


def _cuff(*records: BloodPressureRecord, **more: object) -> BloodPressureCuff:
    cuff = BloodPressureCuff(records, **more)
    cuff.connected()
    return cuff


def _told(cuff: BloodPressureCuff) -> list[int | str]:
    """Enable it, confirm everything; return the systolics, and when it hung up."""
    told: list[int | str] = []
    for action in cuff.enabled(_MEASUREMENT, on=True):
        if isinstance(action, HangUp):
            cuff.disconnected()
            cuff.connected()
            return [*told, "hung up"]
        told.append(action.payload[1])
    return told


@pytest.mark.parametrize(
    ("record", "sent"),
    [
        (
            BloodPressureRecord(
                systolic=Decimal(120),
                diastolic=Decimal(80),
                time=_TIME,
                pulse_rate=Decimal(72),
                mean=Decimal(93),
                user=1,
                status=4,
            ),
            "1e 78 00 50 00 5d 00 e8 07 06 0f 0e 1e 2d 48 00 01 04 00",
        ),
        (
            BloodPressureRecord(Decimal("16.0"), Decimal("10.7"), kpa=True),
            "01 a0 f0 6b f0 ff 07",
        ),
        (
            BloodPressureRecord(
                NOT_A_NUMBER, NOT_A_NUMBER, _TIME, user=255, status=0x22
            ),
            "1a ff 07 ff 07 ff 07 e8 07 06 0f 0e 1e 2d ff 22 00",
        ),
    ],
    ids=["the specification's example", "kPa and nothing optional", "failed"],
)
def test_each_field_stands_where_its_flag_says(
    record: BloodPressureRecord, sent: str
) -> None:
    first = next(iter(_cuff(record).enabled(_MEASUREMENT, on=True)))

    assert first == Send(_MEASUREMENT, bytes.fromhex(sent))


def test_everything_unsent_is_told_in_order_and_then_it_hangs_up() -> None:
    assert _told(_cuff(*map(_record, (120, 130, 140)))) == [120, 130, 140, "hung up"]


def test_a_record_is_told_only_once() -> None:
    """What the station loses after confirming it is gone for good."""
    cuff = _cuff(_record(120))
    _told(cuff)

    assert _told(cuff) == ["hung up"]
    cuff.store(_record(130))
    assert _told(cuff) == [130, "hung up"]


def test_a_record_that_was_not_confirmed_is_told_again() -> None:
    """The carrier asks for the next action only after the confirmation."""
    cuff = _cuff(_record(120), _record(130), _record(140))
    actions = iter(cuff.enabled(_MEASUREMENT, on=True))
    next(actions)
    next(actions)  # confirms the first
    actions.close()
    cuff.disconnected()
    cuff.connected()

    assert [record.systolic for record in cuff.unsent] == [130, 140]
    assert _told(cuff) == [130, 140, "hung up"]


def test_disabling_stops_it() -> None:
    cuff = _cuff(_record(120), _record(130))
    actions = iter(cuff.enabled(_MEASUREMENT, on=True))
    next(actions)
    list(cuff.enabled(_MEASUREMENT, on=False))

    assert list(actions) == []


def test_nothing_else_that_is_enabled_makes_it_talk() -> None:
    assert list(_cuff(_record(120)).enabled(_sig(0x2A36), on=True)) == []


def test_it_tells_its_features_and_its_label_and_takes_nothing() -> None:
    cuff = _cuff()

    assert cuff.read(_sig(0x2A49)) == b"\x27\x00"
    assert cuff.read(_sig(0x2A24)) == b"Blood pressure cuff"
    with pytest.raises(AttError) as refused:
        cuff.read(_MEASUREMENT)
    assert refused.value.code == 0x02
    with pytest.raises(AttError) as refused:
        cuff.write(_MEASUREMENT, b"\x00")
    assert refused.value.code == 0x03


def test_only_its_measurements_need_encryption() -> None:
    cuff = _cuff()
    secured = {
        each.uuid: each.security
        for some in cuff.services.values()
        for each in some
        if each.security is not Security.NONE
    }

    assert secured == {_MEASUREMENT: Security.ENCRYPTED}
    assert cuff.pairing is Pairing.JUST_WORKS
