"""Ascensia Contour: frames, the host's end of a transfer, and HID reports.

Source: field notes on the Contour meters, whose frames are those of ASTM E1381,
checked against captured frames (docs/reference/sources.md).

    STX | number '0'..'7' | text CR | ETB or ETX | checksum, 2 hex digits | CR LF

``checksum`` is the sum of all bytes from the number to ETB or ETX, modulo 256,
in upper case. ETB says that more frames follow, ETX that this is the last one.
Numbers start at 1 and wrap from 7 to 0; the same number again is a repetition.
`ascensia_records` reads the text. Four bytes stand alone, outside of frames:

    EOT 04   to the meter: send, from the start      from it: nothing (more) to send
    ENQ 05   from the meter: may I send?             to it: may I command?
    ACK 06   yes, the next one                       NAK 15   no, again

Woken up by EOT, some meters send EOT, their first frame and ENQ at once, and
after ACK the second frame; others ENQ alone, and after ACK the first frame.

On USB all of it travels in HID reports of 64 bytes:

    'ABC', from some meters 00 00 00 | size u8, 60 at most | data | padding
"""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from protocols.cursor import Cursor
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Damaged, Frames

_STX, _ETX = 0x02, 0x03
_OVERHEAD = 5  # end, checksum, CR LF behind a frame's text
_LONGEST = 1024  # bytes; no meter's header has half of it
_WHAT = "ASTM frame"
_START = re.compile(rb"[\x02\x04\x05\x06\x15]")  # never within a frame
_END = re.compile(rb"[\x03\x17]")
_TEXT = re.compile(rb"[ -~\r]*")

_BROKEN_FRAME = (Fault.BAD_CHECKSUM, Fault.BAD_FRAME, Fault.BAD_FIELD)
_ATTEMPTS = 6
_MOST_RECORDS = 10_000

_REPORT_SIZE, _REPORT_DATA = 64, 60
_REPORT_HEAD = b"ABC"


class Control(IntEnum):
    """A byte that stands alone."""

    EOT = 0x04
    ENQ = 0x05
    ACK = 0x06
    NAK = 0x15


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, without what delimits it.

    Attributes:
        number: 0 to 7.
        text: Records, each ended by CR; printable ASCII.
        is_last: No frame of this message follows.
    """

    number: int
    text: str
    is_last: bool


Event: TypeAlias = Frame | Control | Damaged


def decode_frame(data: bytes) -> Frame:
    """Read one whole frame.

    Raises:
        DecodeError: ``data`` is cut short, too long, or damaged.
    """
    with Cursor(_WHAT, data) as read:
        return _frame(read, data)


def decoder() -> Frames[Event]:
    """Return what makes frames and single control bytes of a stream of bytes."""
    return Frames(b"", _size, _event)


class Transfer:
    """The host's end of a transfer: what to answer, and what was received.

    Send what `nudge` returns, to begin with and whenever nothing comes, and what
    `receive` returns for each event of the decoder, until `is_complete`. What
    came before the record that ends the message must not be used.

    Attributes:
        is_complete: The whole message is there.
        problem: Why there is no hope of that any more; None while there is.
    """

    def __init__(self) -> None:
        self.is_complete = False
        self.problem: str | None = None
        self._records: list[bytes] = []
        self._text = ""  # of a record that goes on in the next frame
        self._expected = 1
        self._is_open = False  # the meter asked whether it may send
        self._is_begun = False  # and sent a frame since
        self._tries = self._starts = self._breaks = 0

    @property
    def header(self) -> bytes | None:
        """The record that begins the message, as soon as it is there."""
        return self._records[0] if self._records else None

    @property
    def records(self) -> tuple[bytes, ...]:
        """The message's records without their CR; none until it is complete."""
        return tuple(self._records) if self.is_complete else ()

    def receive(self, event: Event) -> bytes:
        """Take what the decoder made of received bytes.

        Returns:
            What to send; nothing, if empty.
        """
        if self.is_complete:
            is_waiting = isinstance(event, Frame) or event == Control.ENQ
            return bytes([Control.ACK]) if is_waiting else b""
        match event:
            case Frame():
                return self._hear(event)
            case Damaged() if self._is_open and event.problem in _BROKEN_FRAME:
                return self._try(Control.NAK)
            case Control.ENQ:
                return self._enquired()
            case Control.EOT:
                self._forget()
            case Control.NAK:
                self._forget()
                return self._try(Control.EOT)
        return b""

    def nudge(self) -> bytes:
        """Return what to send where the meter is silent, and to begin with."""
        if self._is_begun:
            return self._try(Control.NAK)
        # To an ENQ, NAK would say "later", and a second ACK could skip a frame.
        self._forget()
        return self._try(Control.EOT)

    def _enquired(self) -> bytes:
        if self._is_begun or len(self._records) != 1:  # a header ahead of it counts
            self._forget()
        self._is_open = True
        self._starts += 1
        if self._starts > 2 * _ATTEMPTS:
            self.problem = f"the transfer began {self._starts} times"
        return self._try(Control.ACK)

    def _hear(self, frame: Frame) -> bytes:
        is_header = frame.number == 1 and frame.text.startswith("H")
        if not self._is_open:
            if is_header:
                self._forget()
                self._add(frame)
            return b""
        if is_header and (self._records or self._text):
            self._forget()
            self._is_open = self._is_begun = True
            self._add(frame)
            return self._try(Control.ACK)
        self._is_begun = True
        if frame.number == self._expected:
            self._tries = 0
            self._add(frame)
            return bytes([Control.ACK])
        is_repeated = bool(self._records or self._text) and (
            frame.number == (self._expected - 1) % 8
        )
        return self._try(Control.ACK if is_repeated else Control.NAK)

    def _add(self, frame: Frame) -> None:
        self._expected = (frame.number + 1) % 8
        *records, self._text = (self._text + frame.text).split("\r")
        if frame.is_last and self._text:
            records.append(self._text)
        self._records += [record.encode("ascii") for record in records]
        self.is_complete = any(record.startswith("L") for record in records)
        if len(self._records) > _MOST_RECORDS or len(self._text) > _LONGEST:
            self.problem = "the message has no end"

    def _forget(self) -> None:
        """Drop a message that was begun."""
        if len(self._records) > 1:
            self._breaks += 1
            if self._breaks >= _ATTEMPTS:
                self.problem = f"the transfer broke off {_ATTEMPTS} times"
        self._records, self._text, self._expected = [], "", 1
        self._is_open = self._is_begun = False

    def _try(self, control: Control) -> bytes:
        """Return what brought nothing new yet; start over if it never does."""
        self._tries += 1
        if self._tries > _ATTEMPTS and len(self._records) > 1:
            self._forget()
            self._tries, control = 1, Control.EOT
        if self._tries > _ATTEMPTS:
            self.problem = f"no new frame in {_ATTEMPTS} attempts"
        return bytes([control])


def to_reports(data: bytes) -> tuple[bytes, ...]:
    """Return the HID reports that carry ``data`` to a meter."""
    pieces = [data[at : at + _REPORT_DATA] for at in range(0, len(data), _REPORT_DATA)]
    return tuple(
        (_REPORT_HEAD + bytes([len(piece)]) + piece).ljust(_REPORT_SIZE, b"\0")
        for piece in pieces
    )


def from_report(report: bytes) -> bytes:
    """Return the data that one HID report of a meter carries, 0 to 60 bytes.

    Raises:
        DecodeError: ``report`` is no such report.
    """
    with Cursor("Contour HID report", report) as read:
        if (head := read.take(3, "head")) not in (_REPORT_HEAD, bytes(3)):
            problem = f"is {head.hex(' ')}, neither 'ABC' nor 00 00 00"
            raise read.error("head", problem, Fault.BAD_HEADER, size=3)
        if (size := read.u8("size")) > _REPORT_DATA:
            problem = f"is {size}, above {_REPORT_DATA}"
            raise read.error("size", problem, Fault.BAD_LENGTH, size=1)
        data = read.take(size, "data")
        read.take(_REPORT_DATA - size, "padding")
        return data


def set_clock(clock: DateTime) -> tuple[bytes, ...]:
    """Return the commands that set the clock, each acknowledged by the meter.

    The meter takes commands when it answered NAK with EOT, and ENQ with ACK.

    Args:
        clock: Local time of 2000 to 2099; its seconds are left out.

    Raises:
        ValueError: It is another century's, or no moment.
    """
    if clock.moment is None or clock.year // 100 != 20:
        raise ValueError(f"{clock} can't be set")
    date = f"{clock.year % 100:02}{clock.month:02}{clock.day:02}"
    time = f"{clock.hour:02}{clock.minute:02}"
    texts = ("W|", "D|", f"{date}|\r", "W|", "T|", f"{time}|\r")
    return tuple(text.encode("ascii") for text in texts)


def _size(data: bytes) -> int:
    """Return how many of the first bytes belong together."""
    if data[0] in set(Control):
        return 1
    start = _START.search(data, 1)
    until = start.start() if start else len(data)
    if data[0] != _STX:
        return until
    end = _END.search(data)
    size = end.start() + _OVERHEAD if end else len(data) + 1
    return until if until < size and (start or until >= _LONGEST) else size


def _event(data: bytes) -> Event:
    if data[0] in set(Control):
        return Control(data[0])
    if data[0] != _STX:
        return Damaged(data, "noise")
    try:
        return decode_frame(data)
    except DecodeError as error:
        return Damaged(data, error.fault)


def _frame(read: Cursor, data: bytes) -> Frame:
    """Read one frame, which begins with ``data``."""
    if (start := read.u8("start")) != _STX:
        problem = f"is {start:#04x}, not 0x02"
        raise read.error("start", problem, Fault.BAD_HEADER, size=1)
    number = read.take(1, "number")
    end = _END.search(data, 2)
    text = read.take((end.start() if end else len(data)) - 2, "text")
    ending = read.take(1, "end")
    checksum = read.take(2, "checksum")
    right = b"%02X" % (sum(number + text + ending) & 0xFF)
    if checksum != right:
        problem = f"is {checksum!r}, the frame's is {right!r}"
        raise read.error("checksum", problem, Fault.BAD_CHECKSUM, size=2)
    if (line_end := read.take(2, "line end")) != b"\r\n":
        problem = f"is {line_end.hex(' ')}, not 0d 0a"
        raise read.error("line end", problem, Fault.BAD_FRAME, size=2)
    if not b"0" <= number <= b"7":
        raise read.error("number", f"is {number!r}, not '0' to '7'", Fault.BAD_FRAME)
    if not _TEXT.fullmatch(text):
        raise read.error("text", "is not printable ASCII", Fault.BAD_FIELD)
    return Frame(int(number), text.decode("ascii"), ending[0] == _ETX)


def _show_frame(payload: bytes) -> Shown:
    # A meter that was woken up sends EOT, its first frame and ENQ at once.
    woken = payload[:1] == bytes([Control.EOT])
    with Cursor(_WHAT, payload) as read:
        if woken:
            read.u8("EOT")
        frame = _frame(read, payload[woken:])
        checksum = payload[len(payload) - read.left - 4 :][:2]
        if woken and (enquiry := read.u8("ENQ")) != Control.ENQ:
            problem = f"is {enquiry:#04x}, not 0x05"
            raise read.error("ENQ", problem, Fault.BAD_FRAME, size=1)
    return {
        "frame_number": frame.number,
        "text": frame.text.removesuffix("\r"),
        "record": frame.text[:1],
        "terminator": "ETX" if frame.is_last else "ETB",
        "checksum": checksum.decode("ascii"),
    }


KINDS = {"ascensia.astm_frame": PayloadKind(_show_frame)}
