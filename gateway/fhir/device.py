"""A device of the store as a FHIR Device.

What it is follows from the kinds of its readings. The guide's profile PhdDevice is not
claimed: it demands an EUI-64 and the version of a specialization, and neither is kept.

Source: PHD guide 1.1.0, page PhdDeviceProfile; HL7 v2 table 0203 for SNO.
"""

import re

from gateway.fhir.elements import (
    MDC,
    OURS,
    PHD,
    TERMS,
    Resource,
    coding,
    codings,
    concept,
    identifier,
    meta,
    plain,
)
from gateway.store import StoredDevice
from gateway.vocabulary import vocabulary

# An id that stands for the address a device was met at, made by the agent.
_AT_ADDRESS = re.compile(r"at:((?:[0-9a-f]{2}-){5}[0-9a-f]{2})")


def device(stored: StoredDevice, *, named: bool = True) -> Resource:
    """Return a device as a resource, with what it said of itself.

    Args:
        stored: The device.
        named: Whether to tell its own id, serial number and address.
    """
    said = stored.device
    found: Resource = {
        "resourceType": "Device",
        "id": str(stored.id),
        "meta": meta(1, stored.last_seen_ms),
        "status": "active",
        "type": concept(
            "MDC_MOC_VMS_MDS_SIMP: personal health device",
            [coding(MDC, "65573", "MDC_MOC_VMS_MDS_SIMP")],
        ),
    }
    if named:
        found["identifier"] = _identifiers(stored)
    words = (
        ("manufacturer", said.manufacturer),
        ("serialNumber", said.serial if named else ""),
        ("modelNumber", said.model),
    )
    found |= {name: plain(text) for name, text in words if plain(text)}
    if special := _specialisations(stored):
        found["specialization"] = special
    if firmware := plain(said.firmware):
        kind = coding(MDC, "531976", "MDC_ID_PROD_SPEC_FW")
        found["version"] = [
            {"type": concept("Firmware revision", [kind]), "value": firmware}
        ]
    return found


def _identifiers(stored: StoredDevice) -> list[Resource]:
    said = stored.device
    found = [identifier(f"{OURS}:device:{stored.tenant}", plain(said.id))]
    if (at := _AT_ADDRESS.fullmatch(said.id)) is not None:
        kind = coding(f"{PHD}/CodeSystem/ContinuaDeviceIdentifiers", "BTMAC")
        system = "http://hl7.org/fhir/sid/eui-48/bluetooth"
        found.append(identifier(system, at[1].upper(), kind))
    if serial := plain(said.serial):
        sno: Resource = {
            "type": {"coding": [coding(f"{TERMS}/v2-0203", "SNO")]},
            "value": serial,
        }
        found.append(sno)
    return found


def _specialisations(stored: StoredDevice) -> list[Resource]:
    """Return what a device is for, by the kinds of its readings, each once."""
    terms = {
        term.mdc.code: term
        for tally in stored.tallies
        if (term := vocabulary().devices[tally.kind]).mdc is not None
    }
    return [
        {"systemType": concept(term.text, codings((), term.mdc))}
        for _code, term in sorted(terms.items())
    ]
