"""The vocabulary's tables: whole, consistent, and each entry with its source."""

import re
from collections.abc import Iterator
from importlib.resources import files

import pytest

from gateway.vocabulary import Loinc, Mdc, vocabulary
from protocols.gatt import glucose
from protocols.observation import QUANTITIES, Kind, Quality, Quantity, State, Unit
from protocols.units import measures

TABLES = vocabulary()
PARTITIONS = {2: "SCADA", 8: "INFRA", 128: "PHD-DM"}

# Of UCUM's tables: prefixes that we use, units that take one, and units that take none.
PREFIXES = ("", "k", "m", "d", "c")
METRIC = ("g", "L", "mol", "Pa", "m[Hg]", "J", "cal", "Ohm", "m", "s")
PLAIN = ("%", "min", "Cel", "[degF]", "[lb_av]", "[in_i]", "1")


def loincs() -> Iterator[Loinc]:
    for term in (*TABLES.quantities, TABLES.panel):
        yield from term.also
        if term.loinc is not None:
            yield term.loinc
    for sample in TABLES.glucose:
        yield from (one for one in (sample.mass, sample.moles) if one is not None)


def mdcs() -> Iterator[Mdc]:
    for term in (*TABLES.quantities, TABLES.panel, *TABLES.glucose):
        if term.mdc is not None:
            yield term.mdc
    for context in (*TABLES.contexts, TABLES.location):
        yield from (context.mdc, *context.values.values())
    yield from (events.mdc for events in TABLES.events.values())
    yield from (one.mdc for one in TABLES.devices.values() if one.mdc is not None)


def check_digit(number: str) -> int:
    """Mod 10, as LOINC's users' guide has it: each second digit doubled."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        found = int(digit) * (2 if place % 2 == 0 else 1)
        total += found // 10 + found % 10
    return -total % 10


def is_ucum(code: str) -> bool:
    """Whether a code is units of UCUM, with prefixes, exponents and divisions."""
    for part in code.split("/"):
        unit = part.rstrip("0123456789") if part not in {"", "1"} else "1"
        metric = any(unit == prefix + one for prefix in PREFIXES for one in METRIC)
        if not metric and unit not in PLAIN:
            return False
    return True


@pytest.mark.parametrize("loinc", sorted({*loincs()}, key=lambda one: one.code))
def test_a_loinc_code_has_its_check_digit(loinc: Loinc) -> None:
    """A code with two digits changed places would name another measurement."""
    number, digit = loinc.code.split("-")

    assert check_digit(number) == int(digit)
    assert loinc.display


def test_the_check_digit_is_luhns() -> None:
    """The test itself must know a wrong code from a right one."""
    assert check_digit("8480") == 6
    assert check_digit("8408") != 6


@pytest.mark.parametrize("mdc", sorted({*mdcs()}, key=lambda one: one.code))
def test_an_mdc_code_is_made_of_partition_and_term(mdc: Mdc) -> None:
    """Consumers look up the context-free code; half of one names nothing."""
    assert int(mdc.code) == mdc.partition * 65_536 + mdc.term
    assert mdc.partition in PARTITIONS
    assert 0 < mdc.term < 65_536
    assert mdc.name == "" or re.fullmatch(r"MDC_[A-Z0-9_]+", mdc.name)


def test_no_code_names_two_things() -> None:
    """A code copied to the wrong line would merge two measurements for good."""
    names = {(mdc.code, mdc.name) for mdc in mdcs()}

    assert len({code for code, _ in names}) == len(names)
    displays = {(one.code, one.display) for one in loincs()}
    assert len({code for code, _ in displays}) == len(displays)


def test_every_quantity_is_named_or_says_why_not() -> None:
    """A quantity that is added to the protocols must be named here too."""
    named = {term.quantity: term for term in TABLES.quantities if term.kind is None}

    assert named.keys() | {Quantity.GLUCOSE} == {*Quantity}
    for term in TABLES.quantities:
        missing = term.loinc is None or term.mdc is None
        assert bool(term.without) is missing, term


def test_every_glucose_is_named_or_says_why_not() -> None:
    """A sample that a meter can tell must not fall through to nothing in silence."""
    assert {one.sample for one in TABLES.glucose} == {*glucose.TYPES.values(), ""}
    for one in TABLES.glucose:
        assert bool(one.without) is (None in {one.mdc, one.mass, one.moles}), one


def test_every_kind_is_some_sort_of_device() -> None:
    assert TABLES.devices.keys() == {*Kind}
    for one in TABLES.devices.values():
        assert bool(one.without) is (one.mdc is None), one


def test_every_unit_is_known_and_in_ucum() -> None:
    """A unit that UCUM does not have makes a number of nobody knows what."""
    assert {*Unit} <= TABLES.units.keys()
    for one in TABLES.units.values():
        assert is_ucum(one.code), one
        assert one.display
        assert one.shown is None or one.shown.unit in TABLES.units
    assert not is_ucum("mmHg")
    assert not is_ucum("mgs/dL")


def test_every_state_and_flag_is_known() -> None:
    """A new state would else be served as a number, a new flag as nothing."""
    assert TABLES.states.keys() == {*State} - {State.MEASURED}
    assert TABLES.qualities.keys() == {*Quality} - {Quality.NONE}


def test_what_a_meter_tells_has_its_codes() -> None:
    """Names that no driver says are dead; names that one says and this lacks, lost."""
    words = {one.name: set(one.values) for one in TABLES.contexts}

    assert words["meal"] == {*glucose.MEALS.values()}
    assert words["tester"] == {*glucose.TESTERS.values()} - {"not_available"}
    assert words["health"] == {*glucose.HEALTH.values()} - {"not_available"}
    assert words["carbohydrate"] == {*glucose.CARBOHYDRATES.values()}
    assert words["medication"] == {*glucose.MEDICATIONS.values()}
    assert {*TABLES.location.values} == {*glucose.LOCATIONS.values()} - {
        "control_solution",
        "not_available",
    }


def test_a_profile_is_of_a_quantity_that_can_be_given_in_its_units() -> None:
    """A profile whose unit the value can never have would never be claimed."""
    used = {term.profile: term for term in TABLES.quantities if term.profile}

    assert used.keys() == TABLES.profiles.keys()
    for name, term in used.items():
        sent = [unit for unit in Unit if measures(unit, term.quantity)]
        shown = {
            TABLES.units[unit].shown.unit if TABLES.units[unit].shown else unit.value
            for unit in sent
        }
        assert shown & {*TABLES.profiles[name]}, name


def test_a_shift_keeps_the_dimension() -> None:
    """kg/L to mg/dL moves the point by five places, neither four nor six."""
    shown = {
        one.code: (one.shown.unit, one.shown.places)
        for one in TABLES.units.values()
        if one.shown
    }

    assert shown == {"kg/L": ("mg/dL", 5), "mol/L": ("mmol/L", 3), "m": ("cm", 2)}


def test_all_that_a_kind_can_hold_is_in_one_of_the_tables() -> None:
    quantities = {quantity for some in QUANTITIES.values() for quantity in some}

    assert quantities <= {term.quantity for term in TABLES.quantities} | {
        Quantity.GLUCOSE
    }


def test_each_entry_says_where_it_is_from() -> None:
    """A code without a source can't be checked by the next person."""
    for file in files("gateway.vocabulary").iterdir():
        if not file.name.endswith(".toml"):
            continue
        text = file.read_text(encoding="utf-8")
        for block in re.split(r"\n(?=\[\[)", text)[1:]:
            assert "\nsource = " in block, block
