"""Blood Pressure Service: records, which may come in several segments.

Source: Bluetooth SIG, Blood Pressure Service 1.1.1; GATT Specification
Supplement, Blood Pressure Record.

    header    u8      bit 0 first segment, 1 last segment, 2 to 7 a counter
    sequence  u16     the record's number, counted for each user
    uuid      u16     of the characteristic that the record holds
    data              of that characteristic, or a part of it
    E2E-CRC   u16     behind the last segment's data, if the cuff sends it

The counter rolls from 63 to 0. Taken here, for no device was seen that sends more
than one segment: each has the whole head, and the E2E-CRC is that of all
segments, their heads included.
"""

from dataclasses import dataclass
from uuid import UUID

from protocols.crc import mcrf4xx
from protocols.cursor import Cursor
from protocols.errors import DecodeError, Fault
from protocols.gatt import e2e_crc
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Damaged

BLOOD_PRESSURE_RECORD: UUID = sig(0x2B36)

_COUNTERS = 64
_MOST_SEGMENTS = 64  # of at least 15 bytes, where no characteristic has over 512


@dataclass(frozen=True, slots=True)
class Segment:
    """One Blood Pressure Record value, exactly as it was on the wire.

    Attributes:
        is_first: A record begins with it.
        is_last: A record ends with it.
        counter: 0 to 63.
        sequence: 0 to 65535, the record's number.
        assigned: The 16-bit UUID of the characteristic that the record holds.
        data: A part of that characteristic's value, an E2E-CRC included.
    """

    is_first: bool
    is_last: bool
    counter: int
    sequence: int
    assigned: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """One whole record.

    Attributes:
        sequence: 0 to 65535, counted for each user.
        uuid: Which characteristic ``data`` is a value of.
        data: The value, to be read by that characteristic's own decoder.
    """

    sequence: int
    uuid: UUID
    data: bytes


def decode_segment(payload: bytes) -> Segment:
    """Read one Blood Pressure Record value.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("Blood Pressure Record", payload) as read:
        header = read.u8("segmentation header")
        return Segment(
            is_first=bool(header & 1),
            is_last=bool(header & 2),
            counter=header >> 2,
            sequence=read.u16("sequence number"),
            assigned=read.u16("uuid"),
            data=read.rest(),
        )


class Segments:
    """Segments in, records out. No I/O, no clock; raises on no input.

    A segment that is lost takes its record with it: what came of that is
    `Damaged`. A segment that comes twice in succession counts once.

    Args:
        has_crc: The cuff's feature says that it sends an E2E-CRC.
    """

    def __init__(self, *, has_crc: bool) -> None:
        self._has_crc = has_crc
        self._parts: list[bytes] = []  # of the record that is not yet complete
        self._segments: list[Segment] = []

    def feed(self, payload: bytes) -> list[Record | Damaged]:
        """Add one value of the characteristic; return what it completes."""
        try:
            segment = decode_segment(payload)
        except DecodeError as error:
            return [Damaged(payload, error.fault)]
        if self._parts and payload == self._parts[-1]:
            return []
        events: list[Record | Damaged] = []
        if segment.is_first:
            events += self._give_up("its last segment did not come")
        elif not self._segments:
            return [Damaged(payload, "its first segment did not come")]
        elif not _follows(segment, self._segments[-1]):
            lost = self._give_up("a segment did not come")
            return [*lost, Damaged(payload, "a segment did not come")]
        self._parts.append(payload)
        self._segments.append(segment)
        if segment.is_last:
            events.append(self._finish())
        elif len(self._segments) == _MOST_SEGMENTS:
            events += self._give_up("it has no end")
        return events

    def resync(self) -> list[Record | Damaged]:
        """Give up on the record being waited for."""
        return [*self._give_up("given up")]

    def _finish(self) -> Record | Damaged:
        whole = b"".join(self._parts)
        data = b"".join(segment.data for segment in self._segments)
        last = self._segments[-1]
        self._clear()
        if self._has_crc:
            if len(last.data) < e2e_crc.SIZE:
                return Damaged(whole, Fault.MISSING_CHECKSUM)
            crc = int.from_bytes(data[-e2e_crc.SIZE :], "little")
            if crc != mcrf4xx(whole[: -e2e_crc.SIZE]):
                return Damaged(whole, Fault.BAD_CRC)
            data = data[: -e2e_crc.SIZE]
        return Record(last.sequence, sig(last.assigned), data)

    def _give_up(self, problem: str) -> list[Damaged]:
        lost = b"".join(self._parts)
        self._clear()
        return [Damaged(lost, problem)] if lost else []

    def _clear(self) -> None:
        self._parts.clear()
        self._segments.clear()


def _follows(segment: Segment, before: Segment) -> bool:
    return (segment.counter, segment.sequence, segment.assigned) == (
        (before.counter + 1) % _COUNTERS,
        before.sequence,
        before.assigned,
    )


def _show(payload: bytes) -> Shown:
    seen = decode_segment(payload)
    return {
        "first_segment": seen.is_first,
        "last_segment": seen.is_last,
        "segment_counter": seen.counter,
        "sequence_number": seen.sequence,
        "uuid": f"{seen.assigned:04X}",
        "data": seen.data.hex(),
    }


KINDS = {"gatt.blood_pressure_record": PayloadKind(_show)}
