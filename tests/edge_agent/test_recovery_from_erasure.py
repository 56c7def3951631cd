"""A memory that somebody erased, and whose next readings look like the old ones.

Where a visit saw it empty they are new ones; where none did, nobody can know.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest

from drivers import microlife, omron_eeprom
from drivers.sdk import DecodeError, LinkLost, NoReply
from edge_agent.capture import Station
from firmware_sim.bench import Send
from firmware_sim.devices.omron_eeprom import OmronCuff
from firmware_sim.devices.omron_standard import StandardCuff
from firmware_sim.omron_memory import HEM_7322T, OmronRecord
from firmware_sim.racp import Answer
from protocols.gatt.racp import Incomplete
from protocols.gatt.uuid import sig
from tests.edge_agent.unset import FACTORY, UNSET, Unset, microlife_cuff
from tests.edge_agent.visiting import Killed, killed_at, read

_COUNTING = {name: one for name, one in UNSET.items() if one.counts}
_ENDS = (LinkLost, NoReply, Incomplete, DecodeError)

counting = pytest.mark.parametrize("unset", _COUNTING.values(), ids=_COUNTING)


@pytest.fixture(autouse=True)
def hastier(hasty: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    monkeypatch.setattr(omron_eeprom, "_ANSWER_S", 0.02)


@pytest.mark.parametrize("time", [None, FACTORY])
@counting
def test_equal_readings_behind_an_erasure_that_a_visit_saw_are_new(
    station: Station, unset: Unset, time: datetime | None
) -> None:
    """By their place and their values they are those from before it, and were lost."""
    device = unset.make([])
    read(station, unset.driver, device)
    for count in (2, 4, 6):
        device.store(unset.record(time))
        device.store(unset.record(time))
        for lost_after in (4, None, None):
            with suppress(LinkLost, NoReply):
                read(station, unset.driver, device, lost_after=lost_after)
        assert station.outbox.counts().waiting == count
        device.erase()
        read(station, unset.driver, device)
        read(station, unset.driver, device)


@counting
def test_a_memory_that_was_never_read_to_its_end_is_another_one_when_erased(
    station: Station, unset: Unset
) -> None:
    """The mark of a visit that was cut off must say that it was not empty any more."""
    device = unset.make([])
    read(station, unset.driver, device)
    device.store(unset.record(None))
    read(station, unset.driver, device)
    device.erase()
    read(station, unset.driver, device)
    device.store(unset.record(None))
    device.store(unset.record(None))
    cut = 0
    while station.outbox.counts().waiting == 1:
        cut += 1
        with suppress(LinkLost, NoReply):
            read(station, unset.driver, device, lost_after=cut)
    before = station.outbox.counts().waiting
    device.erase()
    read(station, unset.driver, device)
    device.store(unset.record(None))
    read(station, unset.driver, device)

    assert station.outbox.counts().waiting == before + 1


@counting
def test_what_was_recovered_says_that_the_memory_was_not_empty_any_more(
    station: Station, unset: Unset
) -> None:
    """Killed behind the journal; by the same places the next ones would be known."""
    device = unset.make([])
    for _ in range(2):
        read(station, unset.driver, device)
    device.store(unset.record(None))
    with suppress(Killed), killed_at(station, 0):
        read(station, unset.driver, device)
    with suppress(LinkLost, NoReply):
        read(station, unset.driver, device, lost_after=0)  # the device is away
    recovered = station.outbox.counts().waiting
    device.erase()
    read(station, unset.driver, device)
    device.store(unset.record(None))
    read(station, unset.driver, device)

    assert station.outbox.counts().waiting == recovered + 1


@pytest.mark.parametrize("value", [8, 10], ids=["not completed", "busy"])
@pytest.mark.parametrize("first", [b"\x01", b"\x01\x03"], ids=["any", "from a number"])
def test_a_cuff_that_is_busy_is_not_asked_for_all_of_its_memory(
    station: Station, monkeypatch: pytest.MonkeyPatch, first: bytes, value: int
) -> None:
    """What was told from a number on would be told again, in other places."""
    unset = UNSET["omron"]
    device = unset.make([])
    for count in (4, 2):
        for _ in range(count):
            device.store(unset.record(None))
        read(station, unset.driver, device)
    device.store(unset.record(None))
    plain = device._report

    def busy(request: bytes) -> Any:  # noqa: ANN401
        if request.startswith(first):
            return [Send(sig(0x2A52), bytes([6, 0, request[0], value]))]
        return plain(request)

    with monkeypatch.context() as patch:
        patch.setattr(device, "_report", busy)
        with suppress(*_ENDS):
            read(station, unset.driver, device)
    read(station, unset.driver, device)

    assert station.outbox.counts().waiting == 7


def test_one_users_erasure_is_no_other_ones(station: Station) -> None:
    """What the others have measured would be told anew."""
    unset = UNSET["taidoc-users"]
    device = unset.make([])
    for user in (1, 2):
        device.store(unset.record(None, user=user))
    read(station, unset.driver, device)
    device.erase(1)
    read(station, unset.driver, device)
    device.store(unset.record(None, user=1))
    read(station, unset.driver, device)

    assert station.outbox.counts().waiting == 3


def test_the_user_of_a_microlife_cuff_whose_memory_is_empty_is_one_of_two(
    station: Station,
) -> None:
    """His empty memory says nothing of the other one's."""
    record = UNSET["microlife"].record(None)
    users = [microlife_cuff([record], user) for user in (1, 2)]
    for cuff in users:
        read(station, microlife.DRIVER, cuff)
    users[0].erase()
    read(station, microlife.DRIVER, users[0])
    users[0].store(record)
    for cuff in users:
        read(station, microlife.DRIVER, cuff)

    assert station.outbox.counts().waiting == 3


def test_one_users_empty_slots_are_no_other_ones(station: Station) -> None:
    """Each user of an Omron's memory has an index, and a mark, of his own."""
    records = [OmronRecord(None, 120, 80, 70, user=user) for user in (1, 2)]
    cuff = OmronCuff(records, HEM_7322T)
    read(station, omron_eeprom.DRIVER, cuff)
    memory = cuff._memory
    memory.slots[0], memory._counts[0] = {}, 0
    read(station, omron_eeprom.DRIVER, cuff)
    cuff.store(records[0])
    read(station, omron_eeprom.DRIVER, cuff)

    assert station.outbox.counts().waiting == 3


def _refuses(values: dict[int, int]) -> Callable[[StandardCuff], None]:
    """Have a cuff answer op codes of the control point by a value, and no record."""

    def refuse(cuff: StandardCuff) -> None:
        plain = cuff._report
        cuff._report = lambda request: (  # type: ignore[method-assign]
            [Send(sig(0x2A52), bytes([6, 0, request[0], values[request[0]]]))]
            if request[0] in values
            else plain(request)
        )

    return refuse


def _answers(answer: Answer) -> Callable[[Any], None]:
    return lambda oximeter: setattr(oximeter, "_answer", answer)


def _falls_silent(cuff: OmronCuff) -> None:
    """Have a cuff's index say that it is empty, and no slot but the oldest come."""
    plain, frames = cuff._answer, iter(range(5))
    cuff.index = b"\x80\0\x80\0\0\0\0\0"
    cuff._answer = lambda frame: plain(frame) if next(frames, None) is not None else []  # type: ignore[method-assign]


REFUSALS: dict[str, tuple[Unset, Callable[[Any], None]]] = {
    "oximeter-refuses": (UNSET["memory"], _answers(Answer.OPERATOR_NOT_SUPPORTED)),
    "oximeter-sends-none": (UNSET["memory"], _answers(Answer.SUCCESS)),
    "omron-counts-not": (UNSET["omron-unnumbered"], _refuses({4: 2})),
    "omron-fails": (UNSET["omron-unnumbered"], _refuses({1: 8})),
    "omron-sends-none": (UNSET["omron-unnumbered"], _refuses({4: 2, 1: 1})),
    "eeprom-short": (UNSET["omron-memory"], lambda cuff: setattr(cuff, "short", 9_999)),
    "eeprom-refuses": (
        UNSET["omron-memory"],
        lambda cuff: setattr(cuff, "refused", frozenset(range(0x2AC, 0x1000))),
    ),
    "eeprom-silent": (UNSET["omron-memory"], _falls_silent),
    "eeprom-wrong-index": (
        UNSET["omron-memory"],
        lambda cuff: setattr(cuff, "index", b"\xff" * 8),
    ),
}


@pytest.mark.parametrize(("unset", "refuse"), REFUSALS.values(), ids=REFUSALS)
def test_what_is_no_word_of_an_empty_memory_doubles_nothing(
    station: Station, unset: Unset, refuse: Callable[[Any], None]
) -> None:
    """A refusal, a silence, or half an answer: its readings are told again and old."""
    device = unset.make([unset.record(None) for _ in range(3)])
    read(station, unset.driver, device)
    kept = dict(vars(device))
    refuse(device)
    with suppress(*_ENDS):
        read(station, unset.driver, device)
    vars(device).clear()
    vars(device).update(kept)
    read(station, unset.driver, device)

    assert station.outbox.counts().waiting == 3
