"""docs/reference/fhir.md says what the vocabulary and the search say, and no more."""

from collections.abc import Iterator
from pathlib import Path

from gateway.fhir.search import PARAMETERS
from gateway.vocabulary import Loinc, Mdc, vocabulary

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "fhir.md"
WORDS = vocabulary()


def loinc(*codes: Loinc | None) -> str:
    return ", ".join(one.code for one in codes if one is not None) or "-"


def mdc(code: Mdc | None) -> str:
    return "-" if code is None else f"{code.code} {code.name}".strip()


def quantities() -> Iterator[str]:
    panel = WORDS.panel
    yield f"| pressures together | {loinc(panel.loinc)} | {mdc(panel.mdc)} | |"
    for term in WORDS.quantities:
        kind = "" if term.kind is None else f" ({term.kind.value})"
        codes = loinc(term.loinc, *term.also)
        named = f"| {term.quantity.value}{kind} | {codes} | {mdc(term.mdc)}"
        yield f"{named} | {term.without} |"


def glucose() -> Iterator[str]:
    for one in WORDS.glucose:
        sample = one.sample or "not told"
        place = f", {one.location}" if one.location else ""
        codes = f"{loinc(one.mass)} | {loinc(one.moles)} | {mdc(one.mdc)}"
        yield f"| {sample}{place} | {codes} | {one.without} |"


def states() -> Iterator[str]:
    for state, term in WORDS.states.items():
        limit = f"`{term.comparator}` and the limit" if term.comparator else "-"
        yield f"| {state.name.lower().replace('_', '-')} | {limit} | {term.absent} |"


def events() -> Iterator[str]:
    for kinds, term in {one.kinds: one for one in WORDS.events.values()}.items():
        for name, event in term.bits.items():
            code = f"{term.mdc.code}.{event.bit}"
            yield f"| {', '.join(kinds)} | {name} | {code} | {event.name} |"


def contexts() -> Iterator[str]:
    for term in WORDS.contexts:
        for name, code in term.values.items():
            yield f"| {term.name} | {name} | {mdc(term.mdc)} | {mdc(code)} |"
    for name, code in WORDS.location.values.items():
        yield f"| location | {name} | as bodySite | {mdc(code)} |"


def parameters() -> Iterator[str]:
    for kind, some in PARAMETERS.items():
        for one in some:
            yield f"| {kind} | `{one.name}` | {one.type} | {one.about} |"


HEADS = (
    "| type | parameter | kind | held against |",
    "| quantity | LOINC | MDC | why one is missing |",
    "| sample | LOINC, mass | LOINC, moles | MDC | why one is missing |",
    "| state | with a limit | without one |",
    "| kind of reading | the device's word | code | name |",
    "| part | the meter's word | code | value |",
)
TABLES = (quantities, glucose, states, events, contexts, parameters)


def rows() -> list[str]:
    return [row for table in TABLES for row in table()]


def test_the_page_has_every_row_of_the_tables() -> None:
    """An integrator maps by this page; a row that is old or missing is a wrong map."""
    page = PAGE.read_text(encoding="utf-8").splitlines()

    assert [row for row in rows() if row not in page] == []


def test_the_page_has_no_row_that_is_in_no_table() -> None:
    page = PAGE.read_text(encoding="utf-8").split("## Searching")[1]
    told = [line for line in page.splitlines() if line.startswith("| ")]

    assert [line for line in told if line not in {*rows(), *HEADS}] == []
