"""The documents say what is there."""

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import edge_agent.config
import gateway.config
from drivers import registry
from firmware_sim.conditions import Conditions
from firmware_sim.faults import Faults
from firmware_sim.scenario import CuffDevice, GlucoseMeterDevice, UltraEasyDevice
from firmware_sim.trial_device import TrialDevice

_ROOT = Path(__file__).parents[2]
_REFERENCE = _ROOT / "docs" / "reference"


def test_generated_pages_are_as_they_would_be_written() -> None:
    """A command or a driver that changed would stand there as it was."""
    found = subprocess.run(
        [sys.executable, "scripts/reference.py", "--check"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize(
    ("page", "section", "struct"),
    [
        ("configuration", "The agent", edge_agent.config.Config),
        ("configuration", "The agent", edge_agent.config.Broker),
        ("configuration", "The agent", edge_agent.config.Device),
        ("configuration", "The gateway", gateway.config.Config),
        ("configuration", "The gateway", gateway.config.BrokerConfig),
        ("configuration", "The gateway", gateway.config.NatsConfig),
        ("configuration", "The gateway", gateway.config.StoreConfig),
        ("configuration", "The gateway", gateway.config.HttpConfig),
        ("configuration", "The gateway", gateway.config.WebhooksConfig),
        ("configuration", "The gateway", gateway.config.TelemetryConfig),
        ("scenarios", "Devices of a driver", TrialDevice),
        ("scenarios", "Devices with a series", GlucoseMeterDevice),
        ("scenarios", "Devices with a series", CuffDevice),
        ("scenarios", "Devices with a series", UltraEasyDevice),
        ("scenarios", "Faults", Faults),
        ("scenarios", "Conditions", Conditions),
    ],
)
def test_every_key_is_documented(
    page: str, section: str, struct: type[msgspec.Struct]
) -> None:
    """A key that nobody can find is none."""
    text = (_REFERENCE / f"{page}.md").read_text()
    part = text.split(f"## {section}")[1].split("\n## ")[0]

    for field in msgspec.structs.fields(struct):
        assert f"`{field.name}`" in part or f"[{field.name}]" in part, field.name


def test_every_driver_is_documented() -> None:
    page = (_REFERENCE / "drivers.md").read_text()
    assert all(f"`{name}`" in page for name in registry.names())


@pytest.mark.parametrize(
    "page",
    sorted((_ROOT / "docs").rglob("*.md")) + sorted(_ROOT.glob("*.md")),
    ids=lambda path: path.name,
)
def test_links_lead_somewhere(page: Path) -> None:
    """A reader who follows one must not stand before nothing."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
