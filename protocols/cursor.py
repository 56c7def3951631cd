"""A strict reader of one payload."""

from types import TracebackType
from typing import Self

from protocols import medfloat
from protocols.errors import DecodeError, Fault
from protocols.medfloat import Number


class Cursor:
    """Reads fields in order, little-endian unless named so; none may be cut short.

    Leaving the ``with`` block checks that no bytes remain. A GATT value may
    grow fields behind those that we know: there `rest` takes what remains.

    Raises:
        DecodeError: On a field that is cut short or is not the text that it must be,
            and on bytes left over.
    """

    def __init__(self, what: str, data: bytes) -> None:
        self._what, self._data, self._at = what, bytes(data), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None and self.left:
            raise self.error("end", f"expected, {self.left} bytes left over")

    def error(
        self,
        field: str,
        problem: str,
        fault: Fault = Fault.BAD_LENGTH,
        *,
        size: int = 0,
    ) -> DecodeError:
        """Describe ``problem`` with the ``field`` of ``size`` bytes just read."""
        return DecodeError(
            self._what, field, problem, self._data, self._at - size, fault
        )

    def take(self, size: int, field: str) -> bytes:
        """Return the next ``size`` bytes."""
        chunk = self._data[self._at : self._at + size]
        if len(chunk) < size:
            problem = f"needs {size} bytes, {len(chunk)} remain"
            raise self.error(field, problem, Fault.TRUNCATED)
        self._at += size
        return chunk

    def ascii(self, size: int, field: str) -> str:
        """Return the next ``size`` bytes as ASCII text, padding and all."""
        raw = self.take(size, field)
        try:
            return raw.decode("ascii")
        except UnicodeDecodeError as error:
            behind = size - error.start
            raise self.error(
                field, "is not ASCII", Fault.BAD_FIELD, size=behind
            ) from error

    @property
    def left(self) -> int:
        """How many bytes remain."""
        return len(self._data) - self._at

    def rest(self) -> bytes:
        """Return all bytes that remain, which may be none."""
        return self.take(self.left, "rest")

    def u8(self, field: str) -> int:
        """Return the next byte."""
        return self.take(1, field)[0]

    def s8(self, field: str) -> int:
        """Return the next byte, two's complement."""
        return int.from_bytes(self.take(1, field), "little", signed=True)

    def u16(self, field: str) -> int:
        """Return the next two bytes, unsigned."""
        return int.from_bytes(self.take(2, field), "little")

    def s16(self, field: str) -> int:
        """Return the next two bytes, two's complement."""
        return int.from_bytes(self.take(2, field), "little", signed=True)

    def u16_be(self, field: str) -> int:
        """Return the next two bytes, unsigned, the high byte first."""
        return int.from_bytes(self.take(2, field), "big")

    def u24(self, field: str) -> int:
        """Return the next three bytes, unsigned."""
        return int.from_bytes(self.take(3, field), "little")

    def u32(self, field: str) -> int:
        """Return the next four bytes, unsigned."""
        return int.from_bytes(self.take(4, field), "little")

    def u32_be(self, field: str) -> int:
        """Return the next four bytes, unsigned, the high byte first."""
        return int.from_bytes(self.take(4, field), "big")

    def float32(self, field: str) -> Number:
        """Return the next four bytes as a FLOAT."""
        return medfloat.float32(self.u32(field))

    def sfloat(self, field: str) -> Number:
        """Return the next two bytes as an SFLOAT."""
        return medfloat.sfloat(self.u16(field))
