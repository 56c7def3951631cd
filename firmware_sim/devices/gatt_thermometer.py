"""A thermometer with the Bluetooth Health Thermometer Service.

Source: Bluetooth SIG, Health Thermometer Service 1.0, §3; IEEE 11073-20601,
FLOAT-Type.

    flags u8, temperature FLOAT, [time 7], [type u8]

It keeps what nobody has confirmed, ten at most, our choice, and sends it as soon
as its indications are enabled. While somebody measures it would notify a first
temperature too; here every measurement was over before the link is made. Then it
hangs up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from struct import pack
from uuid import UUID

from firmware_sim.bench import Characteristic, Pairing, Security, Send
from firmware_sim.fields import date_time
from firmware_sim.label import Label, services
from firmware_sim.once_only import OnceOnly
from firmware_sim.trial import Shown, SimClock, Span, Trial
from protocols.gatt.uuid import sig
from protocols.observation import Kind, Quantity, Unit

_THERMOMETER, _MEASUREMENT = sig(0x1809), sig(0x2A1C)

_FAHRENHEIT, _TIME, _TYPE = 1, 2, 4
_SITES = {"armpit": 1, "ear": 3, "mouth": 6}
_NO_NUMBER = 0x007FFFFF
_CAPACITY = 10
_LABEL = Label("Thermometer", "00000037")


@dataclass(frozen=True, slots=True)
class TemperatureRecord:
    """One measurement.

    Attributes:
        temperature: In °C or `fahrenheit`; NaN if it failed.
        time: The thermometer's clock, without a zone; None leaves the field out.
        site: 1 to 9; 3 is the ear, 6 the mouth. None leaves the field out.
        fahrenheit: Whether the temperature is in °F.
    """

    temperature: Decimal
    time: datetime | None = None
    site: int | None = None
    fahrenheit: bool = False

    def indication(self) -> Send:
        """Return the measurement as it is sent."""
        flags, fields = _FAHRENHEIT * self.fahrenheit, _float(self.temperature)
        if self.time is not None:
            flags |= _TIME
            fields += date_time(self.time)
        if self.site is not None:
            flags |= _TYPE
            fields += bytes([self.site])
        return Send(_MEASUREMENT, bytes([flags]) + fields)


class Thermometer(OnceOnly[TemperatureRecord]):
    """A thermometer's firmware: a `GattBench`.

    Args:
        records: What it has measured and not yet sent, oldest first.
    """

    name = "Thermometer 37"
    advertised = (_THERMOMETER,)
    pairing, passkey = Pairing.JUST_WORKS, 0
    services = {  # noqa: RUF012 - nobody changes it
        _THERMOMETER: (
            Characteristic(_MEASUREMENT, frozenset({"indicate"}), Security.ENCRYPTED),
        ),
        **services(Security.NONE),
    }

    def __init__(self, records: Iterable[TemperatureRecord]) -> None:
        super().__init__(
            records, [_MEASUREMENT], lambda one: [one.indication()], _CAPACITY
        )

    def read(self, uuid: UUID) -> bytes:
        """Return a value; raise `AttError` for what is not readable."""
        return _LABEL.read(uuid)


def _float(value: Decimal) -> bytes:
    """Encode a number: 24 bits of mantissa, low byte first, then the exponent."""
    if value.is_nan():
        return pack("<I", _NO_NUMBER)
    sign, digits, exponent = value.as_tuple()
    mantissa = int("".join(map(str, digits))) * (-1 if sign else 1)
    return pack("<i", mantissa)[:3] + pack("<b", exponent)


def _record(shown: Shown) -> TemperatureRecord:
    site = shown.context.get("site")
    return TemperatureRecord(
        temperature=Decimal(str(shown.values[Quantity.BODY_TEMPERATURE])),
        time=shown.time,
        site=None if site is None else _SITES[site],
    )


def _make(shown: Sequence[Shown], _clock: SimClock) -> Thermometer:
    return Thermometer([_record(one) for one in shown])


def _take(thermometer: Thermometer, shown: Shown) -> None:
    thermometer.store(_record(shown))


TRIAL = Trial(
    make=_make,
    take=_take,
    spans={
        Kind.BODY_TEMPERATURE: (
            Span(
                Quantity.BODY_TEMPERATURE,
                Unit.CELSIUS,
                Decimal("32.0"),
                Decimal("43.0"),
                step=Decimal("0.1"),
            ),
        )
    },
    contexts=({}, *({"site": site} for site in _SITES)),
    capacity=_CAPACITY,
)
