"""The status that a station keeps at the broker, retained; its last will is "gone".

{1: station, 2: online, 3: at, ms, 4: readings that wait for a receipt}
"""

from dataclasses import dataclass

from protocols.errors import DecodeError, Fault
from protocols.uplink import envelope
from protocols.uplink.envelope import is_int
from protocols.uplink.topics import is_id


@dataclass(frozen=True, slots=True)
class Status:
    """How a station is.

    Attributes:
        station: Its id.
        online: False in the last will, and after a clean stop.
        at_ms: The station's clock, in ms since 1970 UTC.
        waiting: How many readings wait for a receipt.
    """

    station: str
    online: bool
    at_ms: int
    waiting: int

    def encode(self) -> bytes:
        """Return the status in its envelope."""
        return envelope.wrap(
            {1: self.station, 2: self.online, 3: self.at_ms, 4: self.waiting}
        )


def decode(message: bytes) -> Status:
    """Read a status from its envelope.

    Raises:
        DecodeError: It is damaged, or of a version unknown here.
    """
    from protocols.uplink.opening import unwrap  # noqa: PLC0415 - with numpy

    match unwrap("status", message):
        case {1: str(station), 2: bool(online), 3: at_ms, 4: waiting, **more} if (
            not more and is_int(at_ms) and is_int(waiting, 0) and is_id(station)
        ):
            return Status(station, online, at_ms, waiting)
    raise DecodeError("status", "content", "is no status", message, 0, Fault.BAD_FRAME)
