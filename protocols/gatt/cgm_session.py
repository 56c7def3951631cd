"""Continuous Glucose Monitoring Service: when the session began, how long it may run.

Source: Bluetooth SIG, Continuous Glucose Monitoring Service 1.0.2, §3.4, §3.5;
GATT Specification Supplement.

    Session Start Time  Date Time, Time Zone s8, DST Offset u8
    Session Run Time    u16 hours

Each has an E2E-CRC behind it if the feature says so. Their size is fixed but for
that: what is longer is refused. Start, zone and DST offset come from whoever set
the sensor up; values that are reserved there are kept, and known as unknown.
"""

from dataclasses import dataclass
from uuid import UUID

from protocols.cursor import Cursor
from protocols.gatt import e2e_crc
from protocols.gatt.e2e_crc import Expect
from protocols.gatt.local_time import dst_min, show_dst, show_zone, zone_min
from protocols.gatt.time import DateTime, date_time
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown

CGM_SESSION_START_TIME: UUID = sig(0x2AAA)
CGM_SESSION_RUN_TIME: UUID = sig(0x2AAB)


@dataclass(frozen=True, slots=True)
class SessionStart:
    """One CGM Session Start Time value, exactly as it was on the wire.

    Attributes:
        time: Local time.
        zone: In steps of 15 minutes; -128 unknown, above 56 and below -48 reserved.
        dst: In steps of 15 minutes; 255 unknown, others than 0, 2, 4, 8 reserved.
        crc: The E2E-CRC; None if there is none.
    """

    time: DateTime
    zone: int
    dst: int
    crc: int | None = None

    @property
    def utc_offset_min(self) -> int | None:
        """Minutes from UTC to ``time``; None if zone or DST offset is not known."""
        zone, dst = zone_min(self.zone), dst_min(self.dst)
        return None if zone is None or dst is None else zone + dst


def decode_session_start(
    payload: bytes, expect: Expect = Expect.EITHER
) -> SessionStart:
    """Read a CGM Session Start Time value.

    Raises:
        DecodeError: ``payload`` is cut short or too long, or the E2E-CRC is wrong.
    """
    with Cursor("CGM Session Start Time", payload) as read:
        return SessionStart(
            time=date_time(read, "session start"),
            zone=read.s8("time zone"),
            dst=read.u8("DST offset"),
            crc=e2e_crc.read_last(read, payload, expect),
        )


def decode_run_time(
    payload: bytes, expect: Expect = Expect.EITHER
) -> tuple[int, int | None]:
    """Read a CGM Session Run Time value.

    Returns:
        The hours for which a session may run, 0 to 65535, and the E2E-CRC.

    Raises:
        DecodeError: ``payload`` is cut short or too long, or the E2E-CRC is wrong.
    """
    with Cursor("CGM Session Run Time", payload) as read:
        hours = read.u16("run time")
        return hours, e2e_crc.read_last(read, payload, expect)


def _show_start(payload: bytes, *, crc: str = "either") -> Shown:
    seen = decode_session_start(payload, Expect(crc))
    return {
        "session_start": str(seen.time),
        **({} if seen.time.moment is not None else {"session_start_valid": False}),
        **show_zone(seen.zone),
        **show_dst(seen.dst),
        **e2e_crc.show(seen.crc),
    }


def _show_run_time(payload: bytes, *, crc: str = "either") -> Shown:
    hours, found = decode_run_time(payload, Expect(crc))
    return {"run_time_h": hours, **e2e_crc.show(found)}


KINDS = {
    "gatt.cgm_session_run_time": PayloadKind(_show_run_time, e2e_crc.OPTION),
    "gatt.cgm_session_start_time": PayloadKind(_show_start, e2e_crc.OPTION),
}
