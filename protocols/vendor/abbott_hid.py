"""Abbott FreeStyle meters on USB: reports, and the text that they carry.

Precision Neo, Optium Neo, InsuLinx and Libre. The Libre 2 encrypts with keys
that are not public.

Source: field notes on the shared HID protocol of Abbott meters, checked against
its public reader and captured texts (docs/reference/sources.md).

    type u8 | length u8 | 62 bytes, of which the first ``length`` count

The host sends `INITIALISE` in turn, until the meter answers with `IS_READY`. A
report of type 22 only keeps the link alive. A text command is a report of type
60, on the Libre 21; its answer is joined out of reports of type 60:

    message | CKSM: | 8 hexadecimal digits | CR LF CMD OK CR LF

The digits are the sum of the message's bytes, the CR LF at its end included,
modulo 2^32. A refused command ends with CMD Fail! and digits of zero.
"""

import re
from dataclasses import dataclass
from enum import IntEnum

from protocols.cursor import Cursor
from protocols.errors import DecodeError, Fault
from protocols.kinds import PayloadKind, Shown

_SIZE = 64
_ROOM = 62
_MOST = 1 << 20  # a meter's whole memory has some tens of kilobytes
_RESPONSE = re.compile(
    rb"(?P<message>.*)CKSM:(?P<sum>[0-9A-F]{8})\r\nCMD (?:OK|Fail!)\r\n", re.DOTALL
)
_ENDS = (b"CMD OK\r\n", b"CMD Fail!\r\n")


class ReportType(IntEnum):
    """The types of report that mean the same on every meter."""

    LIBRE_TEXT = 0x21
    KEEP_ALIVE = 0x22
    UNKNOWN_COMMAND = 0x30
    TEXT = 0x60


@dataclass(frozen=True, slots=True)
class Report:
    """One report.

    Attributes:
        type: 0 to 255; `ReportType` names those that are known.
        data: 0 to 62 bytes.
    """

    type: int
    data: bytes = b""

    def encode(self) -> bytes:
        """Return the 64 bytes to write, without a report number."""
        return (bytes([self.type, len(self.data)]) + self.data).ljust(_SIZE, b"\0")


INITIALISE = (Report(0x04), Report(0x05), Report(0x15), Report(0x01))
IS_READY = Report(0x71, b"\x01")


def text_command(command: str, *, libre: bool = False) -> Report:
    """Return the report that asks a text command, as ``$serlnum?``.

    Args:
        command: 1 to 62 ASCII characters.
        libre: The meter is a Libre.

    Raises:
        ValueError: The command does not fit into a report.
    """
    data = command.encode("ascii")
    if not 0 < len(data) <= _ROOM:
        raise ValueError(f"a command has 1 to {_ROOM} characters, not {len(data)}")
    return Report(ReportType.LIBRE_TEXT if libre else ReportType.TEXT, data)


def decode_report(data: bytes) -> Report:
    """Read one report.

    Raises:
        DecodeError: ``data`` has not 64 bytes, or its length is above 62.
    """
    with Cursor("FreeStyle report", data) as read:
        kind, length = read.u8("type"), read.u8("length")
        if length > _ROOM:
            problem = f"is {length}, above {_ROOM}"
            raise read.error("length", problem, Fault.BAD_LENGTH, size=1)
        return Report(kind, read.take(_ROOM, "data")[:length])


def decode_response(data: bytes) -> bytes:
    """Read the whole answer to a text command, joined over its reports.

    Returns:
        The message, with the CR LF at its end if it has one.

    Raises:
        DecodeError: ``data`` is cut short, too long, damaged, or a refusal.
    """
    if not data.endswith(_ENDS):
        if any(end in data for end in _ENDS):
            raise _error(data, "end", "expected, bytes left over", Fault.BAD_LENGTH)
        raise _error(data, "end", "of the answer is missing", Fault.TRUNCATED)
    found = _RESPONSE.fullmatch(data)
    if found is None:
        raise _error(data, "checksum", "has not its form", Fault.BAD_FRAME)
    if data.endswith(_ENDS[1]):
        raise _error(data, "status", "is a refusal", Fault.DEVICE_ERROR)
    message, right = found["message"], sum(found["message"]) & 0xFFFF_FFFF
    if int(found["sum"], 16) != right:
        problem = f"is {found['sum'].decode()}, the message's is {right:08X}"
        raise _error(data, "checksum", problem, Fault.BAD_CHECKSUM, len(message))
    return message


class TextAnswer:
    """Joins the reports that answer one text command.

    Feed it report by report until it gives the message. No I/O, no clock.
    """

    def __init__(self) -> None:
        self._text = bytearray()

    def feed(self, report: Report) -> bytes | None:
        """Add a report; return the message once it is complete, else None.

        A report that belongs to no text answer changes nothing.

        Raises:
            DecodeError: The meter does not know or refuses the command, or the
                answer is damaged or has no end. What came of it is forgotten.
        """
        if report.type == ReportType.UNKNOWN_COMMAND:
            self._text.clear()
            raise DecodeError(
                "FreeStyle report",
                "type",
                "says that the command is unknown",
                report.encode(),
                0,
                Fault.DEVICE_ERROR,
            )
        if report.type != ReportType.TEXT:
            return None
        self._text += report.data
        if not self._text.endswith(_ENDS) and len(self._text) <= _MOST:
            return None
        text = bytes(self._text)
        self._text.clear()
        return decode_response(text)


def _error(
    data: bytes, field: str, problem: str, fault: Fault, offset: int | None = None
) -> DecodeError:
    at = len(data) if offset is None else offset
    return DecodeError("FreeStyle text answer", field, problem, data, at, fault)


def _show_report(payload: bytes) -> Shown:
    report = decode_report(payload)
    return {
        "type": report.type,
        "length": len(report.data),
        "payload": report.data.hex(),
    }


def _show_response(payload: bytes) -> Shown:
    message = decode_response(payload)
    text = message.removesuffix(b"\r\n").decode("ascii", "backslashreplace")
    return {"message": text, "checksum": f"{sum(message) & 0xFFFF_FFFF:08X}"}


KINDS = {
    "abbott.hid_report": PayloadKind(_show_report),
    "abbott.text_response": PayloadKind(_show_response),
}
