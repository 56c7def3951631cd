"""Writes the generated pages of docs/reference, and what README says of the drivers.

``python scripts/reference.py`` writes them, with ``--check`` it only tells whether
they are as they would be written.
"""

import inspect
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from itertools import groupby
from pathlib import Path
from textwrap import fill
from uuid import UUID

import click

from drivers.sdk import GattDriver, Model, SerialDriver, Write
from edge_agent.cli import main as vitalwire
from firmware_sim.kit.rules import RULES
from firmware_sim.trial import Trial

_ROOT = Path(__file__).parent.parent
_PAGES = _ROOT / "docs" / "reference"
_EXPLAINED = _ROOT / "docs" / "explanation" / "conformance-kit.md"
_README = _ROOT / "README.md"
_BEGIN = "<!-- what it reads: written by make docs -->\n"
_END = "<!-- end of what it reads -->\n"
_FACTS = ("Measures", "Modes", "Clock", "History", "Source", "Tested")
_SIG_BASE = "-0000-1000-8000-00805f9b34fb"
_UNTRIED = "no hardware yet"
_MOST_NAMES = 3  # of models in a row of the table


@dataclass(frozen=True)
class _Entry:
    """A driver with all that is said of it.

    Attributes:
        driver: The driver.
        trial: What the kit tries it on.
        title: The kind of device, in its own words.
        facts: What stands behind each of its headings.
        more: What else its docstring says.
    """

    driver: GattDriver | SerialDriver
    trial: Trial
    title: str
    facts: dict[str, str]
    more: str

    @property
    def id(self) -> str:
        """The driver's name."""
        return self.driver.id

    @property
    def transport(self) -> str:
        """How it is reached."""
        if isinstance(self.driver, GattDriver):
            return "Bluetooth LE"
        parity = "" if self.driver.parity == "none" else f", {self.driver.parity}"
        return f"serial, {self.driver.baud}{parity}"

    @property
    def pairing(self) -> str:
        """Whether it is to be paired with."""
        if isinstance(self.driver, SerialDriver):
            return ""
        return "yes" if self.driver.pairs else "no"

    @property
    def clock(self) -> str:
        """When its clock is set."""
        if self.trial.needs_clock:
            return "at each visit, or it can't be read"
        sets = any(write.sets_clock for write in self.driver.writes)
        return "if allowed" if sets else "never"


def commands() -> str:
    """Return the page of the commands, each as its own help shows it."""
    head = (
        "# Commands\n\n"
        "Written by `make docs` from the commands themselves.\n\n"
        "Every command has `--help`. Errors are one line on standard error; the exit\n"
        "status is 0 for done, 1 for an error, 2 for a wrong use of the command.\n"
    )
    return head + "".join(_sections(vitalwire, "vitalwire"))


def drivers(entries: Sequence[_Entry]) -> str:
    """Return the page of the drivers, from their own words and data."""
    untried = sum(_UNTRIED in one.facts["Tested"] for one in entries)
    tried = "None" if untried == len(entries) else str(len(entries) - untried)
    head = (
        "# Drivers\n\n"
        "Written by `make docs` from the installed drivers.\n\n"
        "*sets its clock*: nothing sets a device's clock unless its `set_clock` is\n"
        "true, see [configuration](configuration.md). *pairing* is of Bluetooth LE.\n"
        "What a person does with each device is in\n"
        "[Read a device](../how-to/read-a-device.md). "
        f"{tried} of them was tried on hardware\nyet.\n\n"
        "| driver | transport | models | observes | history | pairing "
        "| sets its clock |\n|---|---|---|---|---|---|---|\n"
    )
    rows = "".join(
        f"| [`{one.id}`](#{one.id}) | {one.transport} | {_some_models(one)} "
        f"| {', '.join(one.driver.observes)} | {one.facts['History'].split(';')[0]} "
        f"| {one.pairing} | {one.clock} |\n"
        for one in entries
    )
    return head + rows + "".join(map(_driver, entries))


def kit(entries: Sequence[_Entry]) -> str:
    """Return the page of the kit's rules, and of the devices exempt from each."""
    head = (
        "# The kit's rules\n\n"
        "Written by `make docs` from the rules and the trials.\n\n"
        "What they are for: [The conformance kit](../explanation/conformance-kit.md).\n"
        "`vitalwire driver check DRIVER` runs them in this order.\n\n"
        "| rule | what holds where it is kept |\n|---|---|\n"
    )
    rows = "".join(f"| `{rule.name}` | {rule.meaning} |\n" for rule in RULES)
    middle = (
        "\n## Exemptions\n\n"
        "Declared by a device's trial, each with its reason; a test fails where one\n"
        "is not needed. Apart from these a rule passes over a device of which it says\n"
        "nothing, as one without HI and LO; `driver check` tells why.\n\n"
        "| driver | rule | why it cannot hold |\n|---|---|---|\n"
    )
    exempt = "".join(
        f"| [`{one.id}`](drivers.md#{one.id}) | `{rule}` | {_cell(reason)} |\n"
        for one in entries
        for rule, reason in sorted(one.trial.exempt.items())
    )
    return head + rows + middle + exempt


def readme(entries: Sequence[_Entry], text: str) -> str:
    """Return the text of README with what it says of the drivers as it is.

    Raises:
        ValueError: The place for it is not there.
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, behind = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"README.md lacks {_BEGIN!r} or {_END!r}")
    return before + begin + _statement(entries) + end + behind


def _statement(entries: Sequence[_Entry]) -> str:
    ble = sum(isinstance(one.driver, GattDriver) for one in entries)
    kinds = sorted({kind.value for one in entries for kind in one.driver.observes})
    untried = sum(_UNTRIED in one.facts["Tested"] for one in entries)
    tried = (
        "All were proven on simulated devices, none was tried on hardware yet."
        if untried == len(entries)
        else f"{untried} of them were not tried on hardware yet."
    )
    text = (
        f"{len(entries)} drivers, {ble} of them for Bluetooth LE and "
        f"{len(entries) - ble} for serial ports, bring {', '.join(kinds)}. {tried}"
    )
    return fill(text, 86, break_on_hyphens=False) + "\n"


def _entries() -> list[_Entry]:
    trials = {
        point.name: point.load() for point in entry_points(group="vitalwire.trials")
    }
    found = []
    for point in sorted(entry_points(group="vitalwire.drivers")):
        words = inspect.getdoc(import_module(point.module)) or ""
        title, facts, more = _read(words)
        trial = trials[point.name]
        found.append(_Entry(point.load(), trial, title, facts, more))
    return found


def _read(words: str) -> tuple[str, dict[str, str], str]:
    """Return a docstring's title, what stands behind its headings, and the rest."""
    title, _, body = words.partition("\n\n")
    statement, _, more = body.partition("\n\n")
    facts: dict[str, str] = {}
    name = ""
    for line in statement.splitlines():
        heading, colon, fact = line.partition(":")
        if colon and heading in _FACTS:
            name = heading
            facts[name] = fact.strip()
        else:
            facts[name] += f" {line.strip()}"
    return title.rstrip("."), facts, more


def _driver(one: _Entry) -> str:
    # The title says which device it is, the id what is to be typed.
    lines = [f"\n## {one.id}\n", f"{one.title}.\n"]
    lines += ["| | |", "|---|---|"]
    if isinstance(one.driver, GattDriver):
        known = (one.driver.service, *one.driver.more_services)
        lines.append(f"| Service | {', '.join(f'`{_uuid(uuid)}`' for uuid in known)} |")
    lines += [f"| {name} | {_cell(one.facts[name])} |" for name in _FACTS]
    if one.more:
        lines += ["", one.more]
    lines += ["", *_models(one.driver.models)]
    lines += ["", *_writes(one.driver.writes)]
    if one.trial.exempt:
        lines += ["", "Exempt from rules of the [kit](kit.md):", ""]
        exempt = sorted(one.trial.exempt.items())
        lines += [f"- `{rule}`: {why}." for rule, why in exempt]
    return "\n".join(lines) + "\n"


def _models(models: Sequence[Model]) -> Iterator[str]:
    if not models:
        yield "Reads any device that has the service; no model is named."
        return
    yield "| models | advertised as | USB | what a person must do |"
    yield "|---|---|---|---|"
    for (names, usb, note), alike in groupby(models, _way):
        shown = ", ".join(model.name for model in alike)
        advertised = ", ".join(f"`{name}`…" for name in names)
        ids = ", ".join(f"`{vendor:04X}:{product:04X}`" for vendor, product in usb)
        yield f"| {shown} | {advertised} | {ids} | {_cell(note)} |"


def _way(model: Model) -> tuple[object, ...]:
    return model.advertises, model.usb, model.note


def _writes(writes: Sequence[Write]) -> Iterator[str]:
    if not writes:
        yield "It never writes anything."
        return
    yield "All that it may ever write, and what for:"
    yield ""
    for write in writes:
        to = "" if write.uuid is None else f" to `{_uuid(write.uuid)}`"
        mark = " **Sets the clock.**" if write.sets_clock else ""
        yield f"- {write.why}: `{_pattern(write.pattern)}`{to}.{mark}"


def _some_models(one: _Entry) -> str:
    names = [model.name for model in one.driver.models]
    if not names:
        return "any with the service"
    more = len(names) - _MOST_NAMES
    shown = ", ".join(names[:_MOST_NAMES])
    return f"{shown} and {more} more" if more > 0 else shown


def _uuid(uuid: UUID) -> str:
    text = str(uuid)
    is_sig = text.startswith("0000") and text.endswith(_SIG_BASE)
    return text[4:8].upper() if is_sig else text


def _pattern(pattern: bytes) -> str:
    """Return a regular expression of bytes as one of printable characters."""
    text = "".join(
        chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in pattern
    )
    return text.replace("](", "]{1}(")  # the same, and no link for who looks for one


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _sections(command: click.Command, path: str) -> Iterator[str]:
    settings = {"terminal_width": 88, "help_option_names": ["-h", "--help"]}
    with click.Context(command, info_name=path, **settings) as context:
        shown = command.get_help(context)
        yield f"\n## {path}\n\n```text\n{shown}\n```\n"
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                if found is not None:
                    yield from _sections(found, f"{path} {name}")


def run() -> int:
    """Write or check the pages; return the exit status."""
    entries = _entries()
    pages = {
        _PAGES / "cli.md": commands(),
        _PAGES / "drivers.md": drivers(entries),
        _PAGES / "kit.md": kit(entries),
        _README: readme(entries, _README.read_text()),
    }
    stale = 0
    for path, text in pages.items():
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.stderr.write(f"{path.name} is stale; write it with 'make docs'\n")
            stale = 1
    explained = _EXPLAINED.read_text()
    for rule in RULES:
        if f"`{rule.name}`" not in explained:
            sys.stderr.write(f"{_EXPLAINED.name} does not explain {rule.name}\n")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(run())
