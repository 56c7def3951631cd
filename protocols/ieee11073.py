"""IEEE 11073-20601 values that stand by themselves, and APDUs, to be shown."""

from protocols import medfloat
from protocols.cursor import Cursor
from protocols.ieee11073_apdu import (
    Action,
    AssociationRequest,
    AssociationResponse,
    Attributes,
    DataProtocol,
    Ending,
    Event,
    Failure,
    Message,
    Result,
    decode_apdu,
)
from protocols.kinds import PayloadKind, Shown
from protocols.medfloat import show_number


def _show_sfloat(payload: bytes) -> Shown:
    with Cursor("SFLOAT", payload) as read:
        raw = read.u16("value")
    return {"raw": f"0x{raw:04X}", "value": show_number(medfloat.sfloat(raw))}


def _show_float(payload: bytes) -> Shown:
    with Cursor("FLOAT", payload) as read:
        raw = read.u32("value")
    return {"raw": f"0x{raw:08X}", "value": show_number(medfloat.float32(raw))}


def _show_association(protocol: DataProtocol) -> Shown:
    shown: Shown = {"protocol": protocol.id}
    if (said := protocol.association) is None:
        return shown | {"protocol_info": protocol.raw.hex()}
    return shown | {
        "protocol_version": f"{said.version:08x}",
        "system_type": f"{said.system_type:08x}",
        "system_id": said.system_id.hex(),
        "config_id": f"0x{said.config_id:04X}",
    }


def _show_content(content: Event | Action | Attributes | Failure | bytes) -> Shown:
    match content:
        case Event() | Action():
            return {
                "handle": content.handle,
                "type": f"0x{content.type:04X}",
                "info": content.info.hex(),
            }
        case Attributes():
            values = [
                {"attribute": code, "value": value.hex()}
                for code, value in content.values
            ]
            return {"handle": content.handle, "attributes": values}
        case Failure():
            return {"code": content.code, "parameter": content.parameter.hex()}
        case _:
            return {"arguments": content.hex()}


def _show_apdu(payload: bytes) -> Shown:
    match decode_apdu(payload):
        case AssociationRequest(version, protocols):
            spoken = [each for each in protocols if each.association is not None]
            return {
                "choice": "AARQ",
                "assoc_version": f"{version:08x}",
                "protocols": [each.id for each in protocols],
                **(_show_association(spoken[0]) if spoken else {}),
            }
        case AssociationResponse(result, protocol):
            known = result in {*Result}
            return {
                "choice": "AARE",
                "result": Result(result).name.lower() if known else f"0x{result:04X}",
                **_show_association(protocol),
            }
        case Ending(choice, reason):
            return {"choice": choice.name, "reason": reason}
        case data:
            known = data.message in {*Message}
            return {
                "choice": "PRST",
                "invoke_id": data.invoke_id,
                "message": Message(data.message).name.lower() if known else "reserved",
                "message_code": f"0x{data.message:04X}",
                **_show_content(data.content),
            }


KINDS = {
    "ieee11073.apdu": PayloadKind(_show_apdu),
    "ieee11073.float": PayloadKind(_show_float),
    "ieee11073.sfloat": PayloadKind(_show_sfloat),
}
