"""Omron: frames that read a device's memory, and what unlocks it.

Source: field notes on Omron's EEPROM protocol, checked against captured frames
(docs/reference/sources.md).

    length u8 | type u16 | address u16 | count u8 | data | result u8 | xor u8

Words have their high byte first. ``length`` counts the whole frame, and the
exclusive or of all its bytes is 0. An answer's type is the request's plus 0x8000.

    0000  start, count 16           8000
    0100  read count bytes          8100, count, that many data; where there are
                                    none, result says why
    01C0  write count bytes         81C0, count, no data
    0F00  end                       8F00, an error code in data or result
                                    8F00 also refuses any other request

On the classic stack a frame is cut into 16 bytes each for channels 0 to 3; on
the modern one a single channel carries it whole. The unlock characteristic has
messages of its own, each answered by its first byte with the highest bit set,
then 0:

    02, 16 x 00           be ready for a new key; in pairing mode only
    00, key of 16 bytes   keep this key
    01, key               open the memory
    11, 4 bytes, 15 x 00  open the memory; the answer repeats the 4 bytes

Nothing here writes but `write_clock`, and that only into the clock's window:
a write anywhere else could lose readings.
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import pack
from uuid import UUID

from protocols.crc import xor8
from protocols.cursor import Cursor
from protocols.errors import DecodeError, Fault
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Damaged
from protocols.vendor.omron_models import Model, Stack

CLASSIC_SERVICE = UUID("ecbe3980-c9a2-11e1-b1bd-0002a5d5c51b")
MODERN_SERVICE = UUID("0000fe4a-0000-1000-8000-00805f9b34fb")
NOTIFY = (
    UUID("49123040-aee8-11e1-a74d-0002a5d5c51b"),
    UUID("4d0bf320-aee8-11e1-a0d9-0002a5d5c51b"),
    UUID("5128ce60-aee8-11e1-b84b-0002a5d5c51b"),
    UUID("560f1420-aee8-11e1-8184-0002a5d5c51b"),
)
WRITE = (
    UUID("db5b55e0-aee7-11e1-965e-0002a5d5c51b"),
    UUID("e0b8a060-aee7-11e1-92f4-0002a5d5c51b"),
    UUID("0ae12b00-aee8-11e1-a192-0002a5d5c51b"),
    UUID("10e1ba60-aee8-11e1-89e5-0002a5d5c51b"),
)
UNLOCK = UUID("b305b680-aee7-11e1-a730-0002a5d5c51b")

_OVERHEAD = 8  # length, type, address, count, result, xor
_CHUNK = 16
_MOST = 0xFF
_KEY_SIZE, _TOKEN_SIZE = 16, 4


class Type(IntEnum):
    """What a frame asks or answers."""

    START = 0x0000
    READ = 0x0100
    WRITE = 0x01C0
    END = 0x0F00
    STARTED = 0x8000
    DATA = 0x8100
    WRITTEN = 0x81C0
    ENDED = 0x8F00


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, without its length and its checksum.

    Attributes:
        type: One of `Type`, or an unknown one, 0 to 65535.
        address: In the memory, 0 to 65535.
        count: How many bytes are meant, 0 to 255.
        data: The bytes, 0 to 247.
        result: 0 if all is well.
    """

    type: int
    address: int
    count: int
    data: bytes = b""
    result: int = 0

    def encode(self) -> bytes:
        """Return the frame as bytes for the wire."""
        length = len(self.data) + _OVERHEAD
        head = pack(">BHHB", length, self.type, self.address, self.count)
        body = head + self.data + bytes([self.result])
        return body + bytes([xor8(body)])

    @property
    def is_short(self) -> bool:
        """Whether it holds less than it announces, as some devices answer."""
        return self.type == Type.DATA and len(self.data) < self.count

    @property
    def error(self) -> int:
        """The code with which a device ends or refuses; 0 if it does not."""
        return (self.data + bytes([self.result]))[0]


START = Frame(Type.START, 0, 16)
END = Frame(Type.END, 0, 0)


def read(address: int, count: int) -> Frame:
    """Return the request for ``count`` bytes of the memory.

    Args:
        address: 0 to 65535.
        count: 1 to 247, and no more than the model's block.
    """
    return Frame(Type.READ, address, count)


def write_clock(model: Model, window: bytes) -> Frame:
    """Return the request that sets the clock of a device.

    Args:
        model: What the device is.
        window: As `omron_memory.encode_clock` makes it.
    """
    settings = model.settings
    address = settings.write + settings.clock
    return Frame(Type.WRITE, address, len(window), window)


def is_answer(request: Frame, frame: Frame) -> bool:
    """Whether ``frame`` answers ``request``, or refuses it."""
    if frame.type == Type.ENDED:
        return True
    asked = request.type | 0x8000, request.address
    return asked == (frame.type, frame.address)


def decode_frame(data: bytes, *, may_be_short: bool = False) -> Frame:
    """Read one whole frame of either end.

    Args:
        data: The frame.
        may_be_short: Take an answer that holds less than it announces.

    Raises:
        DecodeError: ``data`` is cut short, too long, or damaged, or holds less
            than it announces.
    """
    with Cursor("Omron frame", data) as cursor:
        length = cursor.u8("length")
        kind = cursor.u16_be("type")
        address = cursor.u16_be("address")
        count = cursor.u8("count")
        if length < _OVERHEAD:
            problem = f"is {length}, below the {_OVERHEAD} of an empty frame"
            raise cursor.error("length", problem, Fault.BAD_LENGTH, size=6)
        held = cursor.take(length - _OVERHEAD, "data")
        result = cursor.u8("result")
        xor = cursor.u8("xor")
        if odd := xor8(data[:length]):
            problem = f"is {xor:#04x}, the frame's is {xor ^ odd:#04x}"
            raise cursor.error("xor", problem, Fault.BAD_CHECKSUM, size=1)
        frame = Frame(kind, address, count, held, result)
        refused = frame.is_short and result and not held
        is_whole = refused or (frame.is_short and may_be_short) or len(held) == count
        if kind in (Type.DATA, Type.WRITE) and not is_whole:
            problem = f"announces {count} bytes of data and holds {len(held)}"
            fault = Fault.TRUNCATED if len(held) < count else Fault.BAD_LENGTH
            raise cursor.error("count", problem, fault, size=length - 5)
    return frame


def split(frame: bytes, stack: Stack) -> list[bytes]:
    """Return what to write to each of the device's channels, in order.

    Args:
        frame: 8 to 64 bytes on the classic stack, to 255 on the modern one.
        stack: The device's.
    """
    if stack is Stack.MODERN:
        return [frame]
    return [frame[at : at + _CHUNK] for at in range(0, len(frame), _CHUNK)]


class Channels:
    """Notifications of a device's channels in, frames out; raises on no input.

    A frame may be short, see `Frame.is_short`: asked again, the device may say
    more.

    Args:
        stack: The device's.
    """

    def __init__(self, stack: Stack) -> None:
        self._chunk = _CHUNK if stack is Stack.CLASSIC else _MOST
        self._parts: dict[int, bytes] = {}

    def feed(self, channel: int, payload: bytes) -> list[Frame | Damaged]:
        """Add what one channel notified; return everything that completes.

        Args:
            channel: 0 to 3.
            payload: The notification.
        """
        if not payload:
            return []
        lost = self.give_up() if channel == 0 or channel in self._parts else []
        self._parts[channel] = payload
        first = self._parts.get(0)
        if first is None:
            return lost
        length = first[0]
        needed = range(max(-(-length // self._chunk), 1))
        if not all(number in self._parts for number in needed):
            return lost
        # Some devices fill the last chunk up; what goes beyond the length is none.
        whole = b"".join(self._parts[number] for number in needed)
        self._parts.clear()
        try:
            whole = whole[: length or None]
            return [*lost, decode_frame(whole, may_be_short=True)]
        except DecodeError as error:
            return [*lost, Damaged(whole, error.fault)]

    def give_up(self) -> list[Frame | Damaged]:
        """Give up on the frame being waited for."""
        lost = b"".join(part for _, part in sorted(self._parts.items()))
        self._parts.clear()
        return [Damaged(lost, "given up")] if lost else []


def ask_new_key() -> bytes:
    """Return the message after which a device takes a new key."""
    return b"\x02" + bytes(_KEY_SIZE)


def set_key(key: bytes) -> bytes:
    """Return the message that makes a device keep ``key``, of 16 bytes.

    Raises:
        ValueError: The key has another size.
    """
    return b"\x00" + _sized(key, _KEY_SIZE, "key")


def open_by_key(key: bytes) -> bytes:
    """Return the message that opens the memory of a device that has ``key``.

    Raises:
        ValueError: The key has not 16 bytes.
    """
    return b"\x01" + _sized(key, _KEY_SIZE, "key")


def open_by_token(token: bytes) -> bytes:
    """Return the message that opens the memory of a device that wants a token.

    Args:
        token: Any 4 bytes, others each time.

    Raises:
        ValueError: The token has another size.
    """
    return b"\x11" + _sized(token, _TOKEN_SIZE, "token") + bytes(15)


def check_unlock(request: bytes, answer: bytes) -> None:
    """Check that the answer on the unlock characteristic agrees to ``request``.

    Raises:
        DecodeError: It answers something else, or refuses: the device is not in
            pairing mode, or has another key.
    """
    cursor = Cursor("Omron unlock answer", answer)
    if (kind := cursor.u8("type")) != request[0] | 0x80:
        problem = f"is {kind:#04x}, not {request[0] | 0x80:#04x}"
        raise cursor.error("type", problem, Fault.NOT_A_RESPONSE, size=1)
    if result := cursor.u8("result"):
        problem = f"is {result:#04x}: refused"
        raise cursor.error("result", problem, Fault.DEVICE_ERROR, size=1)
    if request[0] != 0x11:
        return
    token = cursor.take(_TOKEN_SIZE, "token")
    if token != request[1:5]:
        problem = "is not that of the request"
        raise cursor.error("token", problem, Fault.NOT_A_RESPONSE, size=_TOKEN_SIZE)


def _sized(value: bytes, size: int, name: str) -> bytes:
    if len(value) != size:
        raise ValueError(f"a {name} has {size} bytes, not {len(value)}")
    return value


def _show_frame(payload: bytes) -> Shown:
    frame = decode_frame(payload)
    return {
        "length": len(payload),
        "type": f"{frame.type:04x}",
        "address": f"0x{frame.address:04X}",
        "count": frame.count,
        "data": frame.data.hex(),
        "result": frame.result,
    }


KINDS = {"omron.frame": PayloadKind(_show_frame)}
