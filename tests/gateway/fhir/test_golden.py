"""The guide's own examples: the same reading must say the same here."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.fhir.device import device
from gateway.fhir.observation import observations
from gateway.fhir.patient import patient
from gateway.registry import Patient
from gateway.store import StoredDevice, Tally
from protocols.observation import Device, Kind
from tests.gateway.fhir.wire import PATIENT, THEIRS, told, valid

FOLDER = Path(__file__).parents[2] / "golden" / "fhir"
EXAMPLES = {file.stem: json.loads(file.read_text()) for file in FOLDER.glob("*.json")}
READINGS = sorted(name for name, one in EXAMPLES.items() if "observation" in one)


def missing(expected: object, found: object, at: str = "") -> list[str]:
    """Return what of ``expected`` is not in ``found``, by its place."""
    if isinstance(expected, dict):
        inside = found if isinstance(found, dict) else {}
        return [
            lack
            for name, one in expected.items()
            for lack in missing(one, inside.get(name), f"{at}/{name}")
        ]
    if isinstance(expected, list):
        some = found if isinstance(found, list) else []
        return [
            f"{at}: {one}"
            for one in expected
            if not any(not missing(one, other) for other in some)
        ]
    if isinstance(found, Decimal | int):
        return [] if str(found) == expected else [f"{at}: {found}, not {expected}"]
    if at.endswith("DateTime") and isinstance(found, str):
        same = datetime.fromisoformat(found), datetime.fromisoformat(str(expected))
        alike = same[0] == same[1] and same[0].utcoffset() == same[1].utcoffset()
        return [] if alike else [f"{at}: {found}, not {expected}"]
    return [] if found == expected else [f"{at}: {found}, not {expected}"]


@pytest.mark.parametrize("name", READINGS)
def test_a_reading_says_what_the_guides_example_says(name: str) -> None:
    """Consumers are written against these examples."""
    example = EXAMPLES[name]
    found = {
        str(one["id"]): valid(one)
        for one in observations(told(example["reading"]), PATIENT, THEIRS)
    }
    part = example.get("part")
    chosen = next(
        one for key, one in found.items() if part is None or key == f"7-{part}"
    )

    assert missing(example["observation"], chosen) == []
    expected = example["observation"].get("component", [])
    if expected:
        assert len(chosen["component"]) == len(expected)
    assert chosen["subject"] == {"reference": "Patient/3"}
    assert chosen["device"] == {"reference": "Device/2"}


def test_the_comparison_itself_finds_what_differs() -> None:
    """A golden test that holds whatever comes is none."""
    example = EXAMPLES["blood-pressure-cuff"]
    (one,) = observations(told(example["reading"]), PATIENT, THEIRS)
    seen = valid(one)
    seen["component"][0]["valueQuantity"]["code"] = "kPa"
    seen["effectiveDateTime"] = "2018-11-11T16:38:15Z"

    lacks = missing(example["observation"], seen)

    assert [lack.partition(":")[0] for lack in lacks] == [
        "/effectiveDateTime",
        "/component",
    ]


def test_a_device_says_what_the_guides_example_says() -> None:
    example = EXAMPLES["device-cuff"]
    said = dict(example["device"])
    tallies = tuple(Tally(Kind(kind), 1, 0, 1, 1) for kind in said.pop("kinds"))

    found = valid(device(StoredDevice(2, "clinic", Device(**said), 1, 2, tallies)))

    assert missing(example["resource"], found) == []
    assert len(found["specialization"]) == 1


def test_a_patient_says_what_the_guides_example_says() -> None:
    example = EXAMPLES["patient"]
    kept = dict(example["patient"])
    kept["identifiers"] = tuple(map(tuple, kept["identifiers"]))

    found = valid(patient(Patient(3, "clinic", **kept)))

    assert missing(example["resource"], found) == []


def test_every_example_says_where_it_is_from() -> None:
    for name, example in EXAMPLES.items():
        assert example["origin"], name
        assert example["differs"], name
