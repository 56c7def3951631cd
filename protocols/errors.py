"""What is wrong with bytes that came from a peer."""

from enum import StrEnum


class Fault(StrEnum):
    """The class of a `DecodeError`, by which a program tells one from another."""

    TRUNCATED = "truncated"
    BAD_LENGTH = "bad_length"
    BAD_CRC = "bad_crc"
    BAD_CHECKSUM = "bad_checksum"
    MISSING_CHECKSUM = "missing_checksum"
    BAD_HEADER = "bad_header"
    BAD_FIELD = "bad_field"
    BAD_FRAME = "bad_frame"
    BAD_DATE = "bad_date"
    EMPTY_SLOT = "empty_slot"
    OUT_OF_RANGE = "out_of_range"
    RESERVED_VALUE = "reserved_value"
    NOT_A_RESPONSE = "not_a_response"
    DEVICE_ERROR = "device_error"
    UNSUPPORTED_FORMAT = "unsupported_format"
    UNSUPPORTED_VERSION = "unsupported_version"


class DecodeError(Exception):
    """Bytes that cannot be what they claim to be.

    Attributes:
        what: The value that was being read, in its specification's words.
        field: The field of it that is wrong.
        problem: What is wrong with the field.
        data: All bytes of the value.
        offset: Where in ``data`` the field stands.
        fault: The class of the problem.
    """

    def __init__(  # noqa: PLR0917 - the order in which the sentence reads
        self,
        what: str,
        field: str,
        problem: str,
        data: bytes,
        offset: int,
        fault: Fault = Fault.BAD_FIELD,
    ) -> None:
        super().__init__(what, field, problem, data, offset, fault)
        self.what = what
        self.field = field
        self.problem = problem
        self.data = data
        self.offset = offset
        self.fault = fault

    def __str__(self) -> str:
        shown = self.data[:64].hex(" ") + (" …" if len(self.data) > 64 else "")
        return (
            f"{self.what}: '{self.field}' {self.problem} "
            f"at byte {self.offset} of [{shown}]"
        )
