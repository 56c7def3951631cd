"""What a FHIR search asks for: parameters read, and resources held against them.

A parameter that repeats must hold each time; its values with commas between them are
alternatives. A date without a zone is UTC.

Source: FHIR R4, Search: prefixes, tokens, references, handling of what is unknown.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.fhir import dates
from gateway.fhir.dates import BadSearch, Range
from gateway.fhir.elements import Resource

MOST = 1_000
"""The longest page."""

_USUAL = 100
_SEPARATOR = re.compile(r"(?<!\\),")


@dataclass(frozen=True, slots=True)
class Search:
    """What was asked for.

    Attributes:
        kind: The type of the resources.
        tests: All of which a resource must pass.
        named: Values of parameters that narrow where to look: _id, patient, device,
            code, component-code.
        when: In which time it was measured, at most.
        count: How many on a page, at least one.
        cursor: Where to go on; empty is the beginning.
        used: The parameters that were understood, for the link to this very page.
        unknown: The names of those that were not.
    """

    kind: str
    tests: tuple[Callable[[Resource], bool], ...]
    named: Mapping[str, frozenset[str]]
    when: Range
    count: int
    cursor: str
    used: tuple[tuple[str, str], ...]
    unknown: tuple[str, ...]

    def finds(self, resource: Resource) -> bool:
        """Whether a resource is one of those asked for."""
        return all(test(resource) for test in self.tests)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A search parameter.

    Attributes:
        name: Its name.
        type: FHIR's type of it.
        about: What it is held against, for people.
        values: What of a resource it is held against.
    """

    name: str
    type: str
    about: str
    values: Callable[[Resource], Iterable[object]]


def read(kind: str, asked: Sequence[tuple[str, str]], now: datetime) -> Search:
    """Read a search.

    Args:
        kind: The type of the resources.
        asked: Names and values of the parameters, decoded.
        now: For values that are about the same as a time.

    Raises:
        BadSearch: A value is none that its parameter has.
    """
    known = {one.name: one for one in PARAMETERS[kind]}
    tests: list[Callable[[Resource], bool]] = []
    named: dict[str, frozenset[str]] = {}
    when, count, cursor = Range(), _USUAL, ""
    used, unknown = [], []
    for name, value in asked:
        parameter = known.get(name)
        if name == "_count":
            count = _count(value)
        elif name == "_cursor":
            cursor = value
        elif name == "_format":
            _check_format(value)
        elif parameter is None:
            _check_plain(name, known)
            unknown.append(name)
            continue
        else:
            alternatives = _alternatives(name, value)
            tests.append(_test(parameter, alternatives, now))
            if name in _NARROWING:
                place = _NARROWING[name]
                ids = frozenset(
                    one if place.endswith("code") else one.rpartition("/")[2]
                    for one in alternatives
                )
                named[place] = named.get(place, ids) & ids
            if name == "date" and kind == "Observation":
                when = when.within(dates.hull(name, alternatives, now))
        used.append((name, value))
    return Search(
        kind, tuple(tests), named, when, count, cursor, tuple(used), tuple(unknown)
    )


def _check_plain(name: str, known: Mapping[str, Parameter]) -> None:
    """Refuse a modifier or a chain: to ignore it would find more than was asked for."""
    base = re.split(r"[:.]", name)[0]
    if base != name and base in known:
        raise BadSearch(name, f"{base} is served without modifiers and chains only")


_NARROWING = {
    "_id": "_id",
    "code": "code",
    "component-code": "component-code",
    "patient": "patient",
    "subject": "patient",
    "device": "device",
}


def _count(value: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value) or int(value) < 1:
        raise BadSearch("_count", f"{value!r} is no number from 1 on")
    return min(int(value), MOST)


def _check_format(value: str) -> None:
    if value.partition(";")[0].strip() not in FORMATS:
        raise BadSearch("_format", f"{value!r} is not served; json is")


FORMATS = ("json", "application/json", "application/fhir+json", "text/json")


def _alternatives(name: str, value: str) -> list[str]:
    found = [one.replace("\\,", ",") for one in _SEPARATOR.split(value)]
    if not all(found):
        raise BadSearch(name, "a value is empty")
    return found


def _test(
    parameter: Parameter, alternatives: list[str], now: datetime
) -> Callable[[Resource], bool]:
    one_of = {
        "token": _token,
        "string": _string,
        "reference": _reference,
    }.get(parameter.type)
    if one_of is not None:
        holds = [one_of(parameter.name, text) for text in alternatives]
    else:
        holds = [_dated(parameter.name, text, now) for text in alternatives]
    return lambda resource: any(
        hold(value) for value in parameter.values(resource) for hold in holds
    )


def _token(_name: str, text: str) -> Callable[[object], bool]:
    system, bar, code = text.partition("|")
    if not bar:
        return lambda value: _pair(value)[1] == text
    if not code:
        return lambda value: _pair(value)[0] == system
    return lambda value: _pair(value) == (system, code)


def _pair(value: object) -> tuple[str, str]:
    if isinstance(value, dict):
        code = value.get("code", value.get("value", ""))
        return str(value.get("system", "")), str(code)
    return "", str(value)


def _string(_name: str, text: str) -> Callable[[object], bool]:
    return lambda value: str(value).casefold().startswith(text.casefold())


def _reference(name: str, text: str) -> Callable[[object], bool]:
    kind, _slash, number = text.rpartition("/")
    wanted = "Device" if name == "device" else "Patient"
    if kind.rpartition("/")[2] not in ("", wanted):
        raise BadSearch(name, f"{text!r} is no reference to a {wanted}")
    return lambda value: str(value) == f"{wanted}/{number}"


def _dated(name: str, text: str, now: datetime) -> Callable[[object], bool]:
    holds = dates.holds(name, text, now)
    return lambda value: holds(str(value))


def _at(*names: str) -> Callable[[Resource], Iterable[object]]:
    """Return what follows the names down a resource, lists opened on the way."""

    def values(resource: Resource) -> Iterable[object]:
        found: list[object] = [resource]
        for name in names:
            found = [
                one[name] for one in found if isinstance(one, dict) and name in one
            ]
            found = [
                inner
                for one in found
                for inner in (one if isinstance(one, list) else [one])
            ]
        return found

    return values


_ID = Parameter("_id", "token", "id", _at("id"))
_UPDATED = Parameter(
    "_lastUpdated", "date", "meta.lastUpdated", _at("meta", "lastUpdated")
)
_IDENTIFIER = Parameter("identifier", "token", "identifier", _at("identifier"))

PARAMETERS: Mapping[str, tuple[Parameter, ...]] = {
    "Patient": (
        _ID,
        _UPDATED,
        _IDENTIFIER,
        Parameter("family", "string", "name.family", _at("name", "family")),
        Parameter("given", "string", "name.given", _at("name", "given")),
        Parameter("gender", "token", "gender", _at("gender")),
        Parameter("birthdate", "date", "birthDate", _at("birthDate")),
    ),
    "Device": (
        _ID,
        _UPDATED,
        _IDENTIFIER,
        Parameter("manufacturer", "string", "manufacturer", _at("manufacturer")),
        Parameter("model", "string", "modelNumber", _at("modelNumber")),
        Parameter("type", "token", "type", _at("type", "coding")),
    ),
    "Observation": (
        _ID,
        _UPDATED,
        _IDENTIFIER,
        Parameter("patient", "reference", "subject", _at("subject", "reference")),
        Parameter("subject", "reference", "subject", _at("subject", "reference")),
        Parameter("device", "reference", "device", _at("device", "reference")),
        Parameter("code", "token", "code", _at("code", "coding")),
        Parameter(
            "component-code",
            "token",
            "component.code",
            _at("component", "code", "coding"),
        ),
        Parameter("category", "token", "category", _at("category", "coding")),
        Parameter("status", "token", "status", _at("status")),
        Parameter("date", "date", "effectiveDateTime", _at("effectiveDateTime")),
    ),
}
"""By type, what may be searched by; besides _count, _format and the pages' _cursor."""
