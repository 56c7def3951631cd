"""The kit catches what a careless author would write, by the rule that is named for it.

Each driver here is a good one with one thing changed: in what it yields, or in
what it is told of the device.
"""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from drivers import (
    and_ua767pbt,
    caresens_n,
    contour,
    freestyle_lite,
    gatt_blood_pressure,
    gatt_glucose,
    onetouch_ultra2,
    onetouch_verio_ble,
    urion,
)
from drivers.sdk import (
    Checkpoint,
    Conversation,
    DecodeError,
    DeviceClock,
    Event,
    GattDriver,
    Identity,
    LinkLost,
    NoReply,
    Observation,
    SerialDriver,
    Terms,
    Write,
)
from firmware_sim.devices import taidoc
from firmware_sim.kit.check import check_rule, find
from firmware_sim.kit.history import NOW, history
from firmware_sim.kit.rules import RULES
from protocols.observation import POSITION

_Driver = GattDriver | SerialDriver
_Change = Callable[[Event], Iterator[Event]]

_RULES = {rule.name: rule for rule in RULES}
_ULTRA2, _VERIO = onetouch_ultra2.DRIVER, onetouch_verio_ble.DRIVER
_GLUCOSE, _CONTOUR = gatt_glucose.DRIVER, contour.DRIVER
_CUFF, _URION = gatt_blood_pressure.DRIVER, urion.DRIVER
_LITE, _CARESENS = freestyle_lite.DRIVER, caresens_n.DRIVER
_PBT = and_ua767pbt.DRIVER


def _told(driver: _Driver, change: _Change) -> Any:  # noqa: ANN401 - either driver
    """Return the driver with its events changed."""
    heard = driver.session

    async def session(link: Any, terms: Terms) -> AsyncGenerator[Event, None]:  # noqa: ANN401 - as the driver takes it
        assert heard is not None
        async with aclosing(heard(link, terms)) as events:
            async for event in events:
                for one in change(event):
                    yield one

    return replace(driver, session=session)


def _clock_an_hour_ahead(event: Event) -> Iterator[Event]:
    if isinstance(event, DeviceClock):
        event = DeviceClock(event.time.plus(60) or event.time)
    yield event


def _no_clock(event: Event) -> Iterator[Event]:
    if not isinstance(event, DeviceClock):
        yield event


def _no_serial_number(event: Event) -> Iterator[Event]:
    yield replace(event, serial="") if isinstance(event, Identity) else event


def _always_fasting(event: Event) -> Iterator[Event]:
    if isinstance(event, Observation):
        notes = {"meal": "fasting", **dict(event.context)}
        event = replace(event, context=tuple(sorted(notes.items())))
    yield event


def _all_of_this_year(event: Event) -> Iterator[Event]:
    if isinstance(event, Observation) and event.device_time is not None:
        event = replace(event, device_time=event.device_time._replace(year=NOW.year))
    yield event


def _mornings_only(event: Event) -> Iterator[Event]:
    if isinstance(event, Observation) and event.device_time is not None:
        time = event.device_time
        event = replace(event, device_time=time._replace(hour=time.hour % 12))
    yield event


def _no_positions(event: Event) -> Iterator[Event]:
    if isinstance(event, Observation):
        kept = [pair for pair in event.context if pair[0] != POSITION]
        event = replace(event, context=tuple(kept))
    yield event


def _no_status(event: Event) -> Iterator[Event]:
    yield replace(event, status=()) if isinstance(event, Observation) else event


def _always_irregular(event: Event) -> Iterator[Event]:
    if isinstance(event, Observation):
        event = replace(event, status=("irregular_pulse",))
    yield event


def _raw_of_something_else(event: Event) -> Iterator[Event]:
    yield replace(event, raw=(b"?",)) if isinstance(event, Observation) else event


async def _swallowing(link: Any, terms: Terms) -> AsyncGenerator[Event, None]:  # noqa: ANN401 - any link
    assert _VERIO.session is not None
    try:
        async with aclosing(_VERIO.session(link, terms)) as events:
            async for event in events:
                yield event
    except (LinkLost, NoReply):
        return


async def _asked_once(link: Any, terms: Terms) -> AsyncGenerator[Event, None]:  # noqa: ANN401 - any link
    """Take the meter whose number was heard first for the one that is there."""
    assert _CARESENS.session is not None
    ask = caresens_n._serial_number
    heard: list[str] = []

    async def once(meter: Conversation[Any]) -> str:
        if not heard:
            heard.append(await ask(meter))
        return heard[0]

    with patch.object(caresens_n, "_serial_number", once):
        async with aclosing(_CARESENS.session(link, terms)) as events:
            async for event in events:
                yield event


def _all_of_the_first(frame: bytes, identity: Identity) -> Iterator[Event]:
    assert callable(_PBT.on)
    for event in _PBT.on(frame, identity):
        if not isinstance(event, Identity) or identity == Identity():
            yield event


async def _behind_the_number(link: Any, terms: Terms) -> AsyncGenerator[Event, None]:  # noqa: ANN401 - any link
    """Leave out what is not behind the last number, whatever stands there now."""
    assert _GLUCOSE.session is not None
    async with aclosing(_GLUCOSE.session(link, replace(terms, mark=None))) as events:
        async for event in events:
            if isinstance(event, Checkpoint):
                yield Checkpoint(event.mark & 0xFFFF)
            elif not isinstance(event, Observation) or (event.sequence or 0) > (
                terms.mark or 0
            ):
                yield event


async def _clock_first(link: Any, terms: Terms) -> AsyncGenerator[Event, None]:  # noqa: ANN401 - any link
    """Do what is done last, the setting of the clock, before a reading is told."""
    assert _ULTRA2.session is not None
    async with aclosing(_ULTRA2.session(link, terms)) as events:
        held = [event async for event in events]
    for event in held:
        yield event


def _heard(change: _Change) -> GattDriver:
    """Return the cuff's driver with what it makes of a packet changed."""
    ((uuid, heard),) = _CUFF.on.items()

    def on(payload: bytes, identity: Identity) -> Iterator[Observation]:
        for seen in heard(payload, identity):
            for one in change(seen):
                assert isinstance(one, Observation)
                yield one

    return replace(_CUFF, on={uuid: on})


def _in_silence() -> GattDriver:
    """Return the cuff's driver, which keeps to itself what it can't decode."""
    ((uuid, heard),) = _CUFF.on.items()

    def on(payload: bytes, identity: Identity) -> Iterator[Observation]:
        try:
            yield from list(heard(payload, identity))
        except (DecodeError, ValueError):
            return

    return replace(_CUFF, on={uuid: on})


def _broad() -> SerialDriver:
    return replace(_ULTRA2, writes=(*_ULTRA2.writes, Write(rb".*", "do anything")))


PLANTED: dict[str, tuple[str, Callable[[], _Driver]]] = {
    "clock ahead": ("clock-told", lambda: _told(_ULTRA2, _clock_an_hour_ahead)),
    "clock kept back": ("clock-told", lambda: _told(_GLUCOSE, _no_clock)),
    "no serial": ("identified", lambda: _told(_GLUCOSE, _no_serial_number)),
    "meal invented": ("contexts-kept", lambda: _told(_ULTRA2, _always_fasting)),
    "status dropped": ("statuses-kept", lambda: _heard(_no_status)),
    "lost clock kept back": ("statuses-kept", lambda: _told(_LITE, _no_status)),
    "status invented": ("statuses-kept", lambda: _told(_URION, _always_irregular)),
    "serial number asked once": (
        "swapped-device",
        lambda: replace(_CARESENS, session=_asked_once),
    ),
    "all of the first cuff": (
        "swapped-device",
        lambda: replace(_PBT, on=_all_of_the_first),
    ),
    "year guessed": ("values-exact", lambda: _told(_ULTRA2, _all_of_this_year)),
    "12 hours": ("values-exact", lambda: _told(_CONTOUR, _mornings_only)),
    "twins as one": ("keys-apart", lambda: _told(_CONTOUR, _no_positions)),
    "other meter's mark": (
        "memory-erased",
        lambda: replace(_GLUCOSE, session=_behind_the_number),
    ),
    "link lost in silence": (
        "link-lost",
        lambda: replace(_VERIO, session=_swallowing),
    ),
    "clock set first": (
        "clock-set-by-policy",
        lambda: replace(_ULTRA2, session=_clock_first),
    ),
    "raw of nothing": ("once-only-kept", lambda: _heard(_raw_of_something_else)),
    "damage in silence": ("junk-contained", _in_silence),
    "writes anything": ("writes-declared", _broad),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_fails_the_rule_that_is_named_for_it(name: str) -> None:
    rule, make = PLANTED[name]
    driver = make()
    trial = find(driver.id).trial

    assert check_rule(driver, trial, _RULES[rule]).state == "failed"


@pytest.mark.parametrize("name", PLANTED)
def test_without_it_the_rule_holds(name: str) -> None:
    """A rule that always fails would look like one that catches."""
    rule, make = PLANTED[name]
    case = find(make().id)

    assert check_rule(case.driver, case.trial, _RULES[rule]).problems == ()


def test_a_device_that_tells_several_kinds_keeps_the_status_of_its_cuff() -> None:
    driver, rule = find("taidoc").driver, _RULES["statuses-kept"]

    assert check_rule(driver, taidoc.CUFF_TRIAL, rule).problems == ()
    worse = _told(driver, _no_status)
    assert check_rule(worse, taidoc.CUFF_TRIAL, rule).state == "failed"


def test_a_trial_of_a_device_with_a_serial_number_makes_a_second_one() -> None:
    trial = replace(find("contour").trial, another=None)

    assert check_rule(_CONTOUR, trial, _RULES["swapped-device"]).state == "failed"


def test_what_is_shown_lies_across_days_nights_and_years() -> None:
    """Of times that are all alike a driver may guess the half that it gets wrong."""
    for name in ("gatt-glucose", "gatt-cgm", "and-cuff"):
        times = [one.time for one in history(find(name).trial)]
        assert {time.hour >= 12 for time in times} == {True, False}
        assert {time.year for time in times} == {NOW.year - 1, NOW.year}
        assert times == sorted(times)
        assert times[-1] < NOW
