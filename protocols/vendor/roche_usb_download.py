"""Roche Accu-Chek over USB: the dialogue that fetches all stored results.

Source: as `roche_usb`; the order of its messages is drawn there.
"""

from collections.abc import Generator

from protocols.errors import DecodeError, Fault
from protocols.ieee11073_apdu import (
    Action,
    Apdu,
    AssociationRequest,
    Attributes,
    Choice,
    Data,
    Ending,
    Event,
    Message,
    decode_apdu,
)
from protocols.vendor.roche_usb import (
    CONFIGURATION,
    GET_SEGMENT_INFO,
    SEGMENT_DATA,
    TRANSFER_SEGMENT,
    Configuration,
    Meter,
    Segment,
    TransferResult,
    accept_association,
    accept_configuration,
    confirm_segment_data,
    decode_configuration,
    decode_meter,
    decode_segment_data,
    decode_segment_info,
    decode_transfer_result,
    get_attributes,
    get_segment_info,
    release,
    transfer_segment,
)

_SEGMENT = 0
_MOST = 10_000  # records; the largest known memory has 720

_Steps = Generator[list[bytes], Apdu, None]


class Download:
    """Fetches who the meter is and all that it stores. No I/O, no clock.

    Give every APDU of the meter to `receive`, and send what it returns, until
    `is_done`.

    Args:
        manager_id: Names this station, 8 bytes.

    Attributes:
        meter: Who it is; None until it has said so.
        segments: Which segments it stores.
        records: Each stored result as it came, for `roche_usb.decode_record`.
        is_done: All is here, and the meter let go.
    """

    def __init__(self, manager_id: bytes) -> None:
        self.meter: Meter | None = None
        self.segments: tuple[Segment, ...] = ()
        self.records: list[bytes] = []
        self.is_done = False
        self._manager_id = manager_id
        self._invoke_id = 0
        self._raw = b""
        self._steps = self._run()
        next(self._steps)

    def receive(self, payload: bytes) -> list[bytes]:
        """Take one APDU; return those to send now, in order.

        Raises:
            DecodeError: The meter breaks off, refuses, or says what it must not;
                close the connection, and ask for the plug to be pulled and put in.
        """
        self._raw = payload
        apdu = decode_apdu(payload)
        if isinstance(apdu, Ending) and apdu.choice == Choice.ABRT:
            raise self._error(f"breaks off, reason {apdu.reason}", Fault.DEVICE_ERROR)
        if isinstance(apdu, Data):
            self._invoke_id = apdu.invoke_id
            if apdu.message in (Message.ERROR, Message.REJECT):
                name = Message(apdu.message).name.lower()
                raise self._error(f"is an answer of {name}", Fault.DEVICE_ERROR)
        try:
            return self._steps.send(apdu)
        except StopIteration:
            self.is_done = True
            return []

    def _run(self) -> _Steps:
        apdu = yield []
        if not isinstance(apdu, AssociationRequest):
            raise self._unexpected("association request")
        found = yield from self._configure()
        handle = found.store.handle if found.store else 0
        accepted = accept_configuration(self._invoke_id, found.id)
        apdu = yield [accepted, get_attributes(self._next_id())]
        if not isinstance(apdu, Data) or not isinstance(apdu.content, Attributes):
            raise self._unexpected("attributes")
        self.meter = decode_meter(apdu.content)
        apdu = yield [get_segment_info(self._next_id(), handle)]
        self.segments = decode_segment_info(self._action(apdu, GET_SEGMENT_INFO))
        apdu = yield [transfer_segment(self._next_id(), handle, _SEGMENT)]
        result = decode_transfer_result(self._action(apdu, TRANSFER_SEGMENT))
        last: list[bytes] = []
        if result == TransferResult.OK:
            last = yield from self._fetch(handle)
        elif result != TransferResult.EMPTY:
            problem = f"refuses its results: {result.name.lower().replace('_', ' ')}"
            raise self._error(problem, Fault.DEVICE_ERROR)
        apdu = yield [*last, release()]
        if not isinstance(apdu, Ending) or apdu.choice != Choice.RLRE:
            raise self._unexpected("release response")

    def _configure(self) -> Generator[list[bytes], Apdu, Configuration]:
        """Associate; once more where the configuration has no store."""
        for _ in range(2):
            apdu = yield [accept_association(self._manager_id)]
            info = self._event(apdu, CONFIGURATION).info
            configuration = decode_configuration(info)
            if configuration.store is not None:
                return configuration
        raise self._error("has no store of results", Fault.UNSUPPORTED_FORMAT)

    def _fetch(self, handle: int) -> Generator[list[bytes], Apdu, list[bytes]]:
        """Take records until the last; return what confirms the last of them."""
        confirmed: list[bytes] = []
        expected: int | None = None
        while True:
            apdu = yield confirmed
            event = self._event(apdu, SEGMENT_DATA)
            data = decode_segment_data(event.info)
            if data.segment != _SEGMENT or event.handle != handle:
                raise self._unexpected(f"segment {_SEGMENT} of {handle}")
            if expected is not None and data.first != expected:
                problem = f"begin with {data.first}, not {expected}"
                raise self._error(f"is of records that {problem}", Fault.BAD_FRAME)
            expected = data.first + len(data.records)
            self.records += data.records
            if len(self.records) > _MOST:
                raise self._error("has no end of records", Fault.OUT_OF_RANGE)
            confirmed = [confirm_segment_data(self._invoke_id, handle, event.info)]
            if data.is_last:
                return confirmed

    def _event(self, apdu: Apdu, kind: int) -> Event:
        if (
            isinstance(apdu, Data)
            and apdu.message == Message.CONFIRMED_EVENT
            and isinstance(apdu.content, Event)
            and apdu.content.type == kind
        ):
            return apdu.content
        raise self._unexpected(f"event {kind:#06x}")

    def _action(self, apdu: Apdu, kind: int) -> bytes:
        if (
            isinstance(apdu, Data)
            and apdu.message == Message.ACTION_RESPONSE
            and isinstance(apdu.content, Action)
            and apdu.content.type == kind
        ):
            return apdu.content.info
        raise self._unexpected(f"answer to action {kind:#06x}")

    def _next_id(self) -> int:
        return self._invoke_id + 1 & 0xFFFF

    def _unexpected(self, awaited: str) -> DecodeError:
        return self._error(f"is not the awaited {awaited}", Fault.NOT_A_RESPONSE)

    def _error(self, problem: str, fault: Fault) -> DecodeError:
        return DecodeError(
            "Accu-Chek dialogue", "message", problem, self._raw, 0, fault
        )
