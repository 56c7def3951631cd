"""CP2110 reports by their document; no captured report was at hand."""

import pytest

from protocols.errors import DecodeError, Fault
from protocols.vendor.cp2110 import (
    Settings,
    decode_settings,
    enable,
    from_report,
    to_reports,
)

# 19200 is 00 00 4b 00; no parity, no flow control, 8 data bits, 1 stop bit
TAIDOC = bytes.fromhex("50 00 00 4b 00 00 00 03 00")


def test_the_port_is_switched_on_and_set_by_feature_reports() -> None:
    assert enable() == bytes.fromhex("41 01")
    assert Settings(19200).encode() == TAIDOC
    assert Settings(9600).encode() == bytes.fromhex("50 00 00 25 80 00 00 03 00")


def test_settings_are_read_with_codes_that_are_not_known() -> None:
    """Whoever finds the port set in another way must see how."""
    report = bytes.fromhex("50 00 01 c2 00 04 01 02 05")

    assert decode_settings(TAIDOC) == Settings(19200, 0, 0, 3, 0)
    assert decode_settings(report) == Settings(115200, 4, 1, 2, 5)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ("", Fault.TRUNCATED),
        ("41 00 00 4b 00 00 00 03 00", Fault.BAD_HEADER),
        ("50 00 00 4b 00 00 00 03", Fault.TRUNCATED),
        ("50 00 00 4b 00 00 00 03 00 00", Fault.BAD_LENGTH),
    ],
)
def test_what_are_no_settings_is_refused(raw: str, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_settings(bytes.fromhex(raw))

    assert caught.value.fault == fault


def test_a_data_report_has_its_length_as_its_id() -> None:
    assert to_reports(b"\x51\x24\x00") == (b"\x03\x51\x24\x00",)
    assert to_reports(b"") == ()
    assert to_reports(b"a" * 64) == (b"\x3f" + b"a" * 63, b"\x01a")
    assert from_report(b"\x03\x51\x24\x00") == b"\x51\x24\x00"
    assert from_report(b"\x3f" + b"a" * 63) == b"a" * 63


@pytest.mark.parametrize(
    ("report", "fault"),
    [
        (b"", Fault.TRUNCATED),
        (b"\x00", Fault.BAD_HEADER),
        (b"\x40" + bytes(64), Fault.BAD_HEADER),
        (b"\x02a", Fault.TRUNCATED),
        (b"\x02abc", Fault.BAD_LENGTH),
    ],
)
def test_what_is_no_data_report_is_refused(report: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        from_report(report)

    assert caught.value.fault == fault
