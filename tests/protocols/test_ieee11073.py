"""IEEE 11073-20601 APDUs, against public frames and bytes made by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import kinds
from protocols.errors import DecodeError, Fault
from protocols.ieee11073_apdu import (
    PHD,
    Action,
    AssociationRequest,
    AssociationResponse,
    Attributes,
    Choice,
    Data,
    Ending,
    Event,
    Failure,
    Message,
    decode_apdu,
    encode_apdu,
    encode_data,
)

AARQ = bytes.fromhex(
    "e2000032 80000000 0001002a 50790026 80000000 8000 80000000 00000000 00800000"
    "0008 00220922580803cc 4000 00010100 00000000"
)
EVENT = bytes.fromhex("e7000012 0010 0007 0101 000a 0000 00000001 0d1c 0000")
ACTION = bytes.fromhex("e7000010 000e 0008 0207 0008 0006 0c1c 0002 0000")
ATTRIBUTES = bytes.fromhex("e7000014 0012 0009 0203 000c 0000 0001 0006 0951 0002 0003")
ERROR = bytes.fromhex("e700000e 000c 000a 0300 0006 0017 0002 abcd")
REJECT = bytes.fromhex("e700000a 0008 000b 0400 0002 0009")
OTHER = bytes.fromhex("e700000c 000a 000c 0103 0004 00000000")
WHOLE = [AARQ, EVENT, ACTION, ATTRIBUTES, ERROR, REJECT, OTHER]


def test_an_association_request_says_who_asks() -> None:
    apdu = decode_apdu(AARQ)

    assert isinstance(apdu, AssociationRequest)
    (protocol,) = apdu.protocols
    assert protocol.id == PHD
    assert protocol.association is not None
    assert protocol.association.system_id.hex() == "00220922580803cc"
    assert protocol.association.config_id == 0x4000
    assert protocol.association.requests.hex() == "00010100"


def test_another_data_protocol_comes_as_raw_bytes() -> None:
    """A meter may offer more than we speak; that must not stop it."""
    offered = "0001 0002 abcd" + AARQ.hex()[24:]
    size = len(bytes.fromhex(offered))
    raw = f"e200{size + 8:04x} 80000000 0002{size:04x} {offered}"

    apdu = decode_apdu(bytes.fromhex(raw))

    assert isinstance(apdu, AssociationRequest)
    assert [each.id for each in apdu.protocols] == [1, PHD]
    assert apdu.protocols[0].raw == b"\xab\xcd"
    shown = kinds.show("ieee11073.apdu", bytes.fromhex(raw), {})
    assert (shown["protocols"], shown["protocol"]) == ([1, PHD], PHD)


def test_a_rejection_may_name_no_protocol() -> None:
    raw = bytes.fromhex("e3000006 0005 0000 0000")

    apdu = decode_apdu(raw)

    assert isinstance(apdu, AssociationResponse)
    assert (apdu.result, apdu.protocol.id, apdu.protocol.association) == (5, 0, None)
    shown = kinds.show("ieee11073.apdu", raw, {})
    assert shown["result"] == "rejected_no_common_parameter"


def test_a_reserved_result_is_shown_as_its_number() -> None:
    shown = kinds.show("ieee11073.apdu", bytes.fromhex("e3000006 00ff 0000 0000"), {})

    assert shown["result"] == "0x00FF"


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (EVENT, Data(7, Message.CONFIRMED_EVENT, Event(0, 1, 0x0D1C, b""))),
        (ACTION, Data(8, Message.ACTION_RESPONSE, Action(6, 0x0C1C, b"\0\0"))),
        (
            ATTRIBUTES,
            Data(9, Message.GET_RESPONSE, Attributes(0, ((2385, b"\x00\x03"),))),
        ),
        (ERROR, Data(10, Message.ERROR, Failure(0x17, b"\xab\xcd"))),
        (REJECT, Data(11, Message.REJECT, Failure(9))),
        (OTHER, Data(12, Message.GET, bytes(4))),
    ],
)
def test_a_message_is_read_by_its_code(raw: bytes, data: Data) -> None:
    assert decode_apdu(raw) == data


def test_an_ending_has_its_reason() -> None:
    assert decode_apdu(bytes.fromhex("e5000002 0000")) == Ending(Choice.RLRE, 0)
    assert encode_apdu(Choice.RLRQ, bytes(2)).hex() == "e40000020000"


def test_lengths_are_counted_from_the_inside_out() -> None:
    raw = encode_data(0x0102, Message.CONFIRMED_ACTION, b"\xaa\xbb\xcc")

    assert raw.hex(" ") == "e7 00 00 0b 00 09 01 02 01 07 00 03 aa bb cc"


@pytest.mark.parametrize("raw", WHOLE)
def test_every_cut_is_refused_as_too_short(raw: bytes) -> None:
    """Half an answer must never be taken for a whole one."""
    for size in range(len(raw)):
        with pytest.raises(DecodeError) as caught:
            decode_apdu(raw[:size])
        assert caught.value.fault == Fault.TRUNCATED


@pytest.mark.parametrize(
    ("raw", "places"),
    [
        (AARQ, (2, 10, 14)),
        (EVENT, (2, 4, 10, 20)),
        (ACTION, (2, 4, 10, 16)),
        (ATTRIBUTES, (2, 4, 10, 16, 20)),
        (ERROR, (2, 4, 10, 14)),
        (REJECT, (2, 4, 10)),
        (OTHER, (2, 4, 10)),
    ],
)
@pytest.mark.parametrize("by", [-1, 1, 0x100])
def test_every_length_that_contradicts_another_is_refused(
    raw: bytes, places: tuple[int, ...], by: int
) -> None:
    """A wrong length makes the next field a wrong number."""
    for at in places:
        length = int.from_bytes(raw[at : at + 2], "big") + by & 0xFFFF
        changed = raw[:at] + length.to_bytes(2, "big") + raw[at + 2 :]
        with pytest.raises(DecodeError) as caught:
            decode_apdu(changed)
        assert caught.value.fault in (Fault.TRUNCATED, Fault.BAD_LENGTH)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ("e1000002 0000", Fault.BAD_HEADER),
        ("e6000002 0000 00", Fault.BAD_LENGTH),
        ("e6000003 0000 00", Fault.BAD_LENGTH),
        ("e6000001 0000", Fault.BAD_LENGTH),
        ("e7000014 0012 0009 0203 000c 0000 0002 0006 0951 0002 0003", Fault.TRUNCATED),
        (
            "e7000014 0012 0009 0203 000c 0000 0000 0006 0951 0002 0003",
            Fault.BAD_LENGTH,
        ),
    ],
)
def test_a_wrong_apdu_is_refused_with_its_fault(raw: str, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_apdu(bytes.fromhex(raw))

    assert caught.value.fault == fault


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (EVENT, {"message": "confirmed_event", "type": "0x0D1C", "handle": 0}),
        (ACTION, {"message": "action_response", "info": "0000"}),
        (ATTRIBUTES, {"attributes": [{"attribute": 2385, "value": "0003"}]}),
        (ERROR, {"message": "error", "code": 0x17, "parameter": "abcd"}),
        (OTHER, {"message": "get", "arguments": "00000000"}),
    ],
)
def test_a_message_is_shown_in_the_standards_words(
    raw: bytes, shown: dict[str, object]
) -> None:
    found = kinds.show("ieee11073.apdu", raw, {})

    assert {"choice": "PRST", **shown}.items() <= found.items()


def test_a_reserved_message_is_shown_with_its_number() -> None:
    raw = bytes.fromhex("e7000008 0006 000c 0999 0000")

    shown = kinds.show("ieee11073.apdu", raw, {})

    assert (shown["message"], shown["message_code"]) == ("reserved", "0x0999")


@given(st.sampled_from(WHOLE), st.integers(0, 60), st.binary(max_size=6))
@settings(max_examples=300, deadline=None)
def test_any_change_is_read_or_refused(raw: bytes, at: int, more: bytes) -> None:
    """Another exception than `DecodeError` would stop a device for good."""
    changed = raw[:at] + more + raw[at + len(more) :]
    try:
        decode_apdu(changed)
    except DecodeError as error:
        assert error.data == changed  # noqa: PT017 - either is right
