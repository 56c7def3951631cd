"""A blood-pressure cuff with the Bluetooth Blood Pressure Service.

Source: Bluetooth SIG, Blood Pressure Service 1.1.1, §3; Blood Pressure Profile
1.1.1, §4.

    flags u8, systolic, diastolic and mean SFLOAT, [time 7], [pulse SFLOAT],
    [user u8], [status u16]

As cuffs do, it sends every unsent record as soon as its indications are
enabled, tells each only once, and then hangs up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from struct import pack
from uuid import UUID

from firmware_sim.bench import Characteristic, Pairing, Security, Send
from firmware_sim.fields import NOT_A_NUMBER, date_time, sfloat
from firmware_sim.label import Label, services
from firmware_sim.once_only import OnceOnly
from firmware_sim.trial import Shown, SimClock, Span, Trial
from protocols.gatt.uuid import sig
from protocols.observation import Kind, Quantity, Unit

_BLOOD_PRESSURE, _MEASUREMENT, _FEATURE = sig(0x1810), sig(0x2A35), sig(0x2A49)

_KPA, _TIME, _PULSE_RATE, _USER, _STATUS = 1, 2, 4, 8, 16
_STATUS_BITS = {
    "body_movement": 1 << 0,
    "cuff_too_loose": 1 << 1,
    "irregular_pulse": 1 << 2,
    "improper_position": 1 << 5,
}
_FEATURES = 0x0027  # body movement, cuff fit, irregular pulse, position


@dataclass(frozen=True, slots=True)
class BloodPressureRecord:
    """One stored measurement.

    Attributes:
        systolic: In mmHg or `kpa`; NaN, as the other two, if it failed.
        diastolic: In the same unit.
        time: The cuff's clock, without a zone; None leaves the field out.
        pulse_rate: Per minute; None leaves the field out.
        mean: In the same unit as systolic; NaN is not known.
        user: The user slot, 0 to 254, or 255 for unknown; None leaves it out.
        status: Measurement Status bits; None leaves the field out.
        kpa: Whether the pressures are in kPa.
    """

    systolic: Decimal
    diastolic: Decimal
    time: datetime | None = None
    pulse_rate: Decimal | None = None
    mean: Decimal = NOT_A_NUMBER
    user: int | None = None
    status: int | None = None
    kpa: bool = False

    def indication(self) -> Send:
        """Return the record as it is sent.

        Raises:
            ValueError: A value has more digits than an SFLOAT can hold.
        """
        flags, fields = _KPA * self.kpa, b""
        for pressure in (self.systolic, self.diastolic, self.mean):
            fields += sfloat(pressure)
        if self.time is not None:
            flags |= _TIME
            fields += date_time(self.time)
        if self.pulse_rate is not None:
            flags |= _PULSE_RATE
            fields += sfloat(self.pulse_rate)
        if self.user is not None:
            flags |= _USER
            fields += bytes([self.user])
        if self.status is not None:
            flags |= _STATUS
            fields += pack("<H", self.status)
        return Send(_MEASUREMENT, bytes([flags]) + fields)


class BloodPressureCuff(OnceOnly[BloodPressureRecord]):
    """A blood-pressure cuff's firmware: a `GattBench`.

    Args:
        records: What it has measured and not yet sent, oldest first.
        name: What it advertises.
        label: Its device information and battery.
        pairing: How it pairs.
        passkey: Of use only with another ``pairing``.
        security: What its measurements require; the rest is open.
    """

    advertised = (_BLOOD_PRESSURE,)

    def __init__(
        self,
        records: Iterable[BloodPressureRecord],
        *,
        name: str = "Cuff 0815",
        label: Label = Label("Blood pressure cuff", "00000815"),  # noqa: B008 - frozen
        pairing: Pairing = Pairing.JUST_WORKS,
        passkey: int = 0,
        security: Security = Security.ENCRYPTED,
    ) -> None:
        super().__init__(records, [_MEASUREMENT], lambda one: [one.indication()])
        self.name, self.pairing, self.passkey = name, pairing, passkey
        self.services = {
            _BLOOD_PRESSURE: (
                Characteristic(_MEASUREMENT, frozenset({"indicate"}), security),
                Characteristic(_FEATURE, frozenset({"read"})),
            ),
            **services(Security.NONE),
        }
        self._label = label

    def read(self, uuid: UUID) -> bytes:
        """Return a value; raise `AttError` for what is not readable."""
        if uuid == _FEATURE:
            return pack("<H", _FEATURES)
        return self._label.read(uuid)


def _record(shown: Shown) -> BloodPressureRecord:
    values = {name: Decimal(str(number)) for name, number in shown.values.items()}
    return BloodPressureRecord(
        systolic=values[Quantity.SYSTOLIC],
        diastolic=values[Quantity.DIASTOLIC],
        mean=values[Quantity.MEAN_PRESSURE],
        pulse_rate=values[Quantity.PULSE_RATE],
        time=shown.time,
        user=shown.slot,
        status=sum(_STATUS_BITS[name] for name in shown.status),
    )


def _make(shown: Sequence[Shown], _clock: SimClock) -> BloodPressureCuff:
    return BloodPressureCuff([_record(one) for one in shown])


def _take(cuff: BloodPressureCuff, shown: Shown) -> None:
    cuff.store(_record(shown))


TRIAL = Trial(
    make=_make,
    take=_take,
    spans={
        Kind.BLOOD_PRESSURE: (
            Span(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(60), Decimal(279)),
            Span(Quantity.DIASTOLIC, Unit.MM_HG, Decimal(30), Decimal(200)),
            Span(Quantity.MEAN_PRESSURE, Unit.MM_HG, Decimal(40), Decimal(226)),
            Span(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(40), Decimal(199)),
        )
    },
    slots=(1, 2),
    statuses=(
        (),
        *((name,) for name in _STATUS_BITS),
        ("body_movement", "irregular_pulse"),
        tuple(_STATUS_BITS),
    ),
)
