"""What is said to an Accu-Chek over USB, against the field notes' octets."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.ieee11073_apdu import Attributes
from protocols.medfloat import Special
from protocols.vendor.roche_usb import (
    Meter,
    Record,
    TransferResult,
    accept_association,
    accept_configuration,
    confirm_segment_data,
    decode_configuration,
    decode_meter,
    decode_record,
    decode_segment_data,
    decode_segment_info,
    decode_transfer_result,
    get_attributes,
    get_segment_info,
    release,
    set_time,
    transfer_segment,
)
from protocols.vendor.roche_usb_download import Download

MANAGER = bytes.fromhex("0102030405060708")
AARE = (
    "E3 00 00 2C 00 03 50 79 00 26 80 00 00 02 80 00 80 00 00 00 00 00 00 00"
    "80 00 00 00 00 08 01 02 03 04 05 06 07 08" + "00" * 10
)
AARQ = bytes.fromhex(
    "e2000032 80000000 0001002a 50790026 80000000 8000 80000000 00000000 00800000"
    "0008 00220922580803cc 4000 00010100 00000000"
)
ONE = bytes.fromhex("20 26 03 02 07 30 15 00 00 69 00 00")
TWO = bytes.fromhex("20 26 03 03 08 00 00 00 07 fe 80 00")
THREE = bytes.fromhex("20 26 03 04 09 00 00 00 08 02 00 00")
INFO_2 = bytes.fromhex("0000 00000000 00000002 8000 0018") + ONE + TWO
INFO_1 = bytes.fromhex("0000 00000002 00000001 4000 000c") + THREE


def apdu(invoke_id: int, message: str, arguments: bytes) -> bytes:
    """Build a PRST by hand, each length counted here."""
    inner = invoke_id.to_bytes(2, "big") + bytes.fromhex(message)
    inner += len(arguments).to_bytes(2, "big") + arguments
    octets = len(inner).to_bytes(2, "big") + inner
    return b"\xe7\x00" + len(octets).to_bytes(2, "big") + octets


def event(invoke_id: int, handle: int, kind: str, info: bytes) -> bytes:
    head = handle.to_bytes(2, "big") + bytes(4) + bytes.fromhex(kind)
    return apdu(invoke_id, "0101", head + len(info).to_bytes(2, "big") + info)


def done(invoke_id: int, handle: int, kind: str, info: bytes) -> bytes:
    head = handle.to_bytes(2, "big") + bytes.fromhex(kind)
    return apdu(invoke_id, "0207", head + len(info).to_bytes(2, "big") + info)


STORE = bytes.fromhex("003d 0009 0001 0006 0951 0002 0001")
METRIC = bytes.fromhex("0006 0001 0000 0000")
CONFIGURED = bytes.fromhex("4000 0002 0016") + METRIC + STORE
NOT_CONFIGURED = bytes.fromhex("4000 0001 0008") + METRIC
MODEL = bytes.fromhex("0005") + b"Roche" + bytes.fromhex("0004") + b"929\0"
SERIAL = bytes.fromhex("0002 0014 0003 0000 0002 7631 0001 0000 0006 303031324142")
CLOCK = bytes.fromhex("20 26 03 02 07 31 05 00")


def attributes(*values: tuple[int, bytes]) -> bytes:
    items = b"".join(
        code.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value
        for code, value in values
    )
    return len(values).to_bytes(2, "big") + len(items).to_bytes(2, "big") + items


ATTRIBUTES = attributes((2344, MODEL), (2349, SERIAL), (2439, CLOCK), (2628, b"\x40\0"))
SEGMENTS = bytes.fromhex("0001 0006 0000 0000 0000")


@pytest.mark.parametrize(
    ("sent", "octets"),
    [
        (accept_association(MANAGER), AARE),
        (
            accept_configuration(0x1234, 0x4000),
            (
                "E7 00 00 16 00 14 12 34 02 01 00 0E 00 00 00 00 00 00 0D 1C 00 04"
                "40 00 00 00"
            ),
        ),
        (
            get_attributes(0x1235),
            "E7 00 00 0E 00 0C 12 35 01 03 00 06 00 00 00 00 00 00",
        ),
        (
            get_segment_info(0x1236, 9),
            "E7 00 00 14 00 12 12 36 01 07 00 0C 00 09 0C 0D 00 06 00 01 00 02 00 00",
        ),
        (
            set_time(0x1237, DateTime(2026, 3, 2, 7, 31, 5)),
            (
                "E7 00 00 1A 00 18 12 37 01 07 00 12 00 00 0C 17 00 0C"
                "20 26 03 02 07 31 05 00 00 00 00 00"
            ),
        ),
        (
            transfer_segment(0x1238, 9, 0),
            "E7 00 00 10 00 0E 12 38 01 07 00 08 00 09 0C 1C 00 02 00 00",
        ),
        (
            confirm_segment_data(0x4321, 9, INFO_2),
            (
                "E7 00 00 1E 00 1C 43 21 02 01 00 16 00 09 FF FF FF FF 0D 21 00 0C"
                "00 00 00 00 00 00 00 00 00 02 00 80"
            ),
        ),
        (release(), "E4 00 00 02 00 00"),
    ],
)
def test_what_the_host_says_is_octet_for_octet_what_the_notes_say(
    sent: bytes, octets: str
) -> None:
    """Also the lengths that one public driver leaves zero."""
    assert sent == bytes.fromhex(octets)


def test_a_configuration_names_the_store() -> None:
    configuration = decode_configuration(CONFIGURED)

    assert configuration.id == 0x4000
    assert configuration.store is not None
    assert configuration.store.handle == 9
    assert configuration.segments == 1


def test_a_configuration_may_have_no_store() -> None:
    configuration = decode_configuration(NOT_CONFIGURED)

    assert (configuration.store, configuration.segments) == (None, None)


def test_a_meter_is_known_by_its_attributes() -> None:
    values = ((2344, MODEL), (2349, SERIAL), (2439, CLOCK))

    assert decode_meter(Attributes(0, values)) == Meter(
        "Roche", "929", "0012AB", DateTime(2026, 3, 2, 7, 31, 5)
    )
    assert decode_meter(Attributes(0, ())) == Meter()


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (((2344, MODEL[:-1]),), Fault.TRUNCATED),
        (((2344, MODEL + b"\0"),), Fault.BAD_LENGTH),
        (((2349, SERIAL[:-1]),), Fault.TRUNCATED),
        (((2439, CLOCK[:-1]),), Fault.TRUNCATED),
        (((2439, b"\x20\x2a" + CLOCK[2:]),), Fault.BAD_DATE),
    ],
)
def test_a_wrong_attribute_is_refused(
    values: tuple[tuple[int, bytes], ...], fault: Fault
) -> None:
    """Another serial number is another meter, and another patient."""
    with pytest.raises(DecodeError) as caught:
        decode_meter(Attributes(0, values))

    assert caught.value.fault == fault


@pytest.mark.parametrize(
    ("raw", "record"),
    [
        (ONE, Record(DateTime(2026, 3, 2, 7, 30, 15), Decimal(105), 0)),
        (
            TWO,
            Record(DateTime(2026, 3, 3, 8, 0, 0), Special.POSITIVE_INFINITY, 0x8000),
        ),
        (THREE, Record(DateTime(2026, 3, 4, 9, 0, 0), Special.NEGATIVE_INFINITY, 0)),
    ],
)
def test_a_record_has_its_high_bytes_first(raw: bytes, record: Record) -> None:
    assert decode_record(raw) == record


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (ONE[:-1], Fault.TRUNCATED),
        (ONE + b"\0", Fault.BAD_LENGTH),
        (b"\xff" * 8 + ONE[8:], Fault.BAD_DATE),
    ],
)
def test_a_wrong_record_is_refused(raw: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_record(raw)

    assert caught.value.fault == fault


def test_segment_data_have_as_many_records_as_they_say() -> None:
    data = decode_segment_data(INFO_2)

    assert (data.segment, data.first, data.records) == (0, 0, (ONE, TWO))
    assert not data.is_last
    assert decode_segment_data(INFO_1).is_last
    with pytest.raises(DecodeError) as caught:
        decode_segment_data(INFO_2[:9] + b"\x03" + INFO_2[10:])
    assert caught.value.fault == Fault.BAD_LENGTH


def test_segments_are_numbered() -> None:
    (segment,) = decode_segment_info(SEGMENTS)

    assert (segment.number, segment.attributes) == (0, ())


def test_a_reserved_transfer_result_is_no_success() -> None:
    assert decode_transfer_result(bytes.fromhex("0000 0003")) == TransferResult.EMPTY
    with pytest.raises(DecodeError) as caught:
        decode_transfer_result(bytes.fromhex("0000 0004"))
    assert caught.value.fault == Fault.RESERVED_VALUE


OPENING = [
    AARQ,
    event(0x0100, 0, "0d1c", CONFIGURED),
    apdu(0x0101, "0203", bytes(2) + ATTRIBUTES),
    done(0x0102, 9, "0c0d", SEGMENTS),
]
WHOLE = [
    *OPENING,
    done(0x0103, 9, "0c1c", bytes.fromhex("0000 0000")),
    event(0x0200, 9, "0d21", INFO_2),
    event(0x0201, 9, "0d21", INFO_1),
    bytes.fromhex("e5000002 0000"),
]


def test_a_whole_dialogue_fetches_every_record_and_lets_the_meter_go() -> None:
    download = Download(MANAGER)

    sent = [download.receive(payload) for payload in WHOLE]

    assert [one.hex() for some in sent for one in some] == [
        bytes.fromhex(AARE).hex(),
        accept_configuration(0x0100, 0x4000).hex(),
        "e700000e000c010101030006000000000000",
        get_segment_info(0x0102, 9).hex(),
        transfer_segment(0x0103, 9, 0).hex(),
        confirm_segment_data(0x0200, 9, INFO_2).hex(),
        confirm_segment_data(0x0201, 9, INFO_1).hex(),
        "e40000020000",
    ]
    assert [len(some) for some in sent] == [1, 2, 1, 1, 0, 1, 2, 0]
    assert download.is_done
    assert download.records == [ONE, TWO, THREE]
    assert download.meter is not None
    assert download.meter.serial == "0012AB"
    assert len(download.segments) == 1


def test_an_empty_segment_is_no_error() -> None:
    download = Download(MANAGER)
    for payload in OPENING:
        download.receive(payload)

    assert download.receive(done(0x0103, 9, "0c1c", bytes.fromhex("0000 0003"))) == [
        release()
    ]
    download.receive(bytes.fromhex("e5000002 0000"))
    assert (download.records, download.is_done) == ([], True)


def test_a_configuration_without_a_store_is_asked_for_once_more() -> None:
    download = Download(MANAGER)
    download.receive(AARQ)

    again = download.receive(event(0x0100, 0, "0d1c", NOT_CONFIGURED))
    assert again == [bytes.fromhex(AARE)]

    with pytest.raises(DecodeError, match="no store") as caught:
        download.receive(event(0x0100, 0, "0d1c", NOT_CONFIGURED))
    assert caught.value.fault == Fault.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(
    ("code", "name"),
    [("0001", "no such segment"), ("0002", "try again later"), ("0200", "failed")],
)
def test_a_refused_transfer_says_why(code: str, name: str) -> None:
    download = Download(MANAGER)
    for payload in OPENING:
        download.receive(payload)

    with pytest.raises(DecodeError, match=name) as caught:
        download.receive(done(0x0103, 9, "0c1c", bytes.fromhex("0000" + code)))
    assert caught.value.fault == Fault.DEVICE_ERROR


@pytest.mark.parametrize("before", range(len(WHOLE)))
@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (bytes.fromhex("e6000002 0002"), Fault.DEVICE_ERROR),
        (apdu(1, "0300", bytes.fromhex("0001 0000")), Fault.DEVICE_ERROR),
        (apdu(1, "0400", bytes.fromhex("0001")), Fault.DEVICE_ERROR),
        (apdu(1, "0203", bytes(3)), Fault.TRUNCATED),
        (bytes.fromhex("e4000002 0000"), Fault.NOT_A_RESPONSE),
        (event(1, 9, "0d1f", b""), Fault.NOT_A_RESPONSE),
    ],
)
def test_what_breaks_off_or_is_not_awaited_ends_the_dialogue(
    before: int, payload: bytes, fault: Fault
) -> None:
    """Nothing may be taken for complete that was broken off."""
    download = Download(MANAGER)
    for each in WHOLE[:before]:
        download.receive(each)

    with pytest.raises(DecodeError) as caught:
        download.receive(payload)

    assert caught.value.fault == fault
    assert not download.is_done


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (event(0x0200, 9, "0d21", b"\0\1" + INFO_1[2:]), Fault.NOT_A_RESPONSE),
        (event(0x0200, 8, "0d21", INFO_1), Fault.NOT_A_RESPONSE),
        (
            event(0x0201, 9, "0d21", b"\0\0\0\0\0\3" + INFO_1[6:]),
            Fault.BAD_FRAME,
        ),
    ],
)
def test_records_of_elsewhere_or_with_a_gap_are_refused(
    payload: bytes, fault: Fault
) -> None:
    """A gap is a reading that nobody would ever miss."""
    download = Download(MANAGER)
    for each in WHOLE[:6]:
        download.receive(each)

    with pytest.raises(DecodeError) as caught:
        download.receive(payload)

    assert caught.value.fault == fault


def test_a_meter_that_never_ends_is_given_up() -> None:
    download = Download(MANAGER)
    for each in WHOLE[:5]:
        download.receive(each)

    tail = INFO_1[6:10] + b"\0\0\0\x0c" + ONE
    endless = (
        download.receive(event(7, 9, "0d21", b"\0\0" + turn.to_bytes(4, "big") + tail))
        for turn in range(10_002)
    )
    with pytest.raises(DecodeError, match="no end"):
        list(endless)


@given(st.integers(0, 7), st.binary(max_size=40))
def test_any_bytes_are_answered_or_refused(before: int, payload: bytes) -> None:
    download = Download(MANAGER)
    for each in WHOLE[:before]:
        download.receive(each)
    for raw in (payload, apdu(1, "0101", payload), event(1, 9, "0d21", payload)):
        try:
            download.receive(raw)
        except DecodeError:
            return
