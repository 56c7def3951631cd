"""JPI cuffs: the memory's text by its document."""

import pytest

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor.jpi import (
    Memory,
    Record,
    ask_memory,
    decode_frame,
    decode_memory,
    decode_record,
    decoder,
    split_memory,
)

# Captured from a Visomat Double Comfort, visomat-utils' notes.
MEMORY = (
    b"M106"
    b"10010112021151102120"
    b"10010112081156107116"
    b"10010112030103065073"
    b"44060113200113068066"
    b"10010113110127084066"
    b"10010112030106068066"
    b"M207"
    b"10010112031155111116"
    b"10010112020117070076"
    b"44060113120128071072"
    b"44060113170126050065"
    b"44060113190114063066"
    b"10010114000114070071"
    b"13031211450121080072"
)
ONE = b"M1001M20115110321300134097083"


def test_the_memory_is_asked_for_in_a_frame() -> None:
    assert ask_memory() == bytes.fromhex("02 52 30 30 03")


def test_a_captured_memory_is_read() -> None:
    """The flag stands before the systolic, which else would be 1151 mmHg."""
    memory = decode_memory(MEMORY)

    assert [(each.systolic, each.diastolic, each.pulse) for each in memory.user1] == [
        (151, 102, 120),
        (156, 107, 116),
        (103, 65, 73),
        (113, 68, 66),
        (127, 84, 66),
        (106, 68, 66),
    ]
    assert [each.flag for each in memory.user1] == ["1", "1", "0", "0", "0", "0"]
    assert len(memory.user2) == 7
    assert memory.user2[-1] == Record(
        DateTime(2013, 3, 12, 11, 45, 0), "0", 121, 80, 72
    )


def test_a_user_without_records_has_a_character_of_no_meaning() -> None:
    """Taken for the next user's mark, it would shift all that follows."""
    memory = decode_memory(ONE)

    assert memory.user1 == ()
    assert [each.systolic for each in memory.user2] == [134]
    assert decode_memory(b"M1000M2000") == Memory((), ())


def test_every_cut_is_told_as_one() -> None:
    for size in range(len(MEMORY)):
        with pytest.raises(DecodeError) as caught:
            decode_memory(MEMORY[:size])
        assert caught.value.fault == Fault.TRUNCATED


@pytest.mark.parametrize(
    ("text", "field", "fault"),
    [
        (b"N" + ONE[1:], "memory mark", Fault.BAD_HEADER),
        (b"M2" + ONE[2:], "user", Fault.BAD_FIELD),
        (b"Mx" + ONE[2:], "user", Fault.BAD_FIELD),
        (b"M1x0" + ONE[4:], "number of records", Fault.BAD_FIELD),
        (ONE[:-1] + b"x", "record", Fault.BAD_FIELD),
        (ONE + b"0", "end", Fault.BAD_LENGTH),
    ],
)
def test_a_wrong_memory_is_refused(text: bytes, field: str, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_memory(text)

    assert (caught.value.field, caught.value.fault) == (field, fault)


def test_a_strange_record_does_not_hide_the_others() -> None:
    """Records have a fixed size, so each can be read for itself."""
    user1, user2 = split_memory(b"M1001M202" + 20 * b"-" + ONE[9:])

    assert (user1, user2) == ((), (20 * b"-", ONE[9:]))
    assert decode_record(user2[1]).systolic == 134
    for wrong in (user2[0], ONE[9:-1], ONE[9:] + b"1"):
        with pytest.raises(DecodeError):
            decode_record(wrong)


def test_a_date_that_is_none_is_kept() -> None:
    """A reading must not be lost for its clock."""
    memory = decode_memory(b"M1000M20100000000000134097083")

    assert memory.user2[0].time == DateTime(2000, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (b"", Fault.TRUNCATED),
        (b"\x03R00\x03", Fault.BAD_HEADER),
        (b"\x02R00", Fault.TRUNCATED),
        (b"\x02R00\x03\x00", Fault.BAD_LENGTH),
    ],
)
def test_a_wrong_frame_is_refused(frame: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_frame(frame)

    assert caught.value.fault == fault


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_stream_gives_texts_however_it_is_cut(size: int) -> None:
    stream = b"\xff\x02" + b"\x02" + ONE + b"\x03\x00\x02R00\x03"
    decode, events = decoder(), []
    for at in range(0, len(stream), size):
        events += decode.feed(stream[at : at + size])

    assert [event for event in events if isinstance(event, bytes)] == [ONE, b"R00"]
    noise = [event.data for event in events if isinstance(event, Damaged)]
    assert b"".join(noise) == b"\xff\x02\x00"


def test_a_text_without_an_end_is_given_up() -> None:
    """A cuff gone mad must not fill the station's memory."""
    events = decoder().feed(b"\x02" + b"1" * 4200)

    assert {type(event) for event in events} == {Damaged}
