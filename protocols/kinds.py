"""Kinds of payload by name, each with the function that shows one.

A kind's name is its family and its value: ``gatt.glucose_measurement``. What
it shows is an object for people and for JSON, in the specification's words;
drivers use the decoders themselves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from functools import cache
from importlib import import_module

from protocols.errors import DecodeError

Shown = dict[str, object]

_MODULES = (
    "protocols.crc",
    "protocols.gatt.battery",
    "protocols.gatt.blood_pressure",
    "protocols.gatt.blood_pressure_enhanced",
    "protocols.gatt.blood_pressure_record",
    "protocols.gatt.body_composition",
    "protocols.gatt.cgm",
    "protocols.gatt.cgm_ops",
    "protocols.gatt.cgm_session",
    "protocols.gatt.device_information",
    "protocols.gatt.glucose",
    "protocols.gatt.heart_rate",
    "protocols.gatt.local_time",
    "protocols.gatt.pulse_oximeter",
    "protocols.gatt.racp",
    "protocols.gatt.reference_time",
    "protocols.gatt.thermometer",
    "protocols.gatt.time",
    "protocols.gatt.user_data",
    "protocols.gatt.weight_scale",
    "protocols.ieee11073",
    "protocols.vendor.abbott_hid",
    "protocols.vendor.abbott_libre",
    "protocols.vendor.abbott_text",
    "protocols.vendor.and_pbt",
    "protocols.vendor.andon",
    "protocols.vendor.ascensia",
    "protocols.vendor.ascensia_clock",
    "protocols.vendor.ascensia_records",
    "protocols.vendor.bioland",
    "protocols.vendor.glucomen",
    "protocols.vendor.isens",
    "protocols.vendor.jpi",
    "protocols.vendor.lifescan",
    "protocols.vendor.lifescan_ultra2",
    "protocols.vendor.lifescan_verio_ble",
    "protocols.vendor.maibobo",
    "protocols.vendor.microlife",
    "protocols.vendor.microlife_answers",
    "protocols.vendor.omron",
    "protocols.vendor.omron_eeprom",
    "protocols.vendor.omron_hbp9030",
    "protocols.vendor.omron_measurement",
    "protocols.vendor.omron_memory",
    "protocols.vendor.omron_scale",
    "protocols.vendor.sdbiosensor",
    "protocols.vendor.sinocare",
    "protocols.vendor.taidoc",
    "protocols.vendor.urion",
    "protocols.vendor.vivachek",
    "protocols.vendor.yonker",
)


class UnknownKind(Exception):
    """There is no kind of that name, or the kind has no such option."""


@dataclass(frozen=True)
class PayloadKind:
    """How to show one kind of payload.

    Attributes:
        show: Takes the payload, and the options by name.
        options: What a decoder may have to be told, and the values it knows.
    """

    show: Callable[..., Shown]
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@cache
def kinds() -> Mapping[str, PayloadKind]:
    """Return every kind by its name, in order."""
    found: dict[str, PayloadKind] = {}
    for module in _MODULES:
        found |= import_module(module).KINDS
    return dict(sorted(found.items()))


def show(name: str, payload: bytes, options: Mapping[str, str]) -> Shown:
    """Decode ``payload`` as a value of the kind ``name``.

    Args:
        name: One of `kinds`.
        payload: The bytes in order of transmission.
        options: What this kind's decoder must be told.

    Raises:
        UnknownKind: No such kind, option or value of an option.
        DecodeError: The bytes are wrong.
    """
    if (kind := kinds().get(name)) is None:
        raise UnknownKind(f"no kind '{name}'; 'vitalwire decode --list' names all")
    for key, value in options.items():
        known = kind.options.get(key)
        if known is None:
            names = ", ".join(kind.options) or "none"
            raise UnknownKind(f"{name} has no option '{key}'; its options: {names}")
        if value not in known:
            raise UnknownKind(
                f"option '{key}' of {name} is {' or '.join(known)}, not '{value}'"
            )
    return kind.show(payload, **options)


def flag_names(flags: type[IntFlag], value: int) -> list[str]:
    """Return the names of the bits of ``value`` that ``flags`` knows, in order."""
    return [(flag.name or "").lower() for flag in flags if flag in flags(value)]


def trailing(data: bytes) -> Shown:
    """Show how many bytes stand behind a value's last known field, if any do."""
    return {"trailing_bytes": len(data)} if data else {}


def show_error(error: DecodeError) -> Shown:
    """Return a `DecodeError` as an object."""
    return {
        "error": error.fault.value,
        "what": error.what,
        "field": error.field,
        "offset": error.offset,
        "problem": error.problem,
        "bytes": error.data.hex(),
    }
