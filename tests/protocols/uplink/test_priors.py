"""The trained models, which every decoder of these messages must have."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from fastcrc import crc16

from protocols.uplink import profiles, times, values
from protocols.uplink.heading import PROFILES
from protocols.uplink.profiles import SETS
from protocols.uplink.rangecoder import CONTEXT, SLOTS

_SCRIPT = Path(__file__).parents[3] / "scripts" / "train_priors.py"


@pytest.fixture(scope="module")
def training() -> ModuleType:
    spec = spec_from_file_location("train_priors", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("models", SETS)
def test_the_stamp_is_that_of_the_models(models: profiles.Models) -> None:
    """Other models under the same stamp would read every message wrongly."""
    assert profiles.stamp(models) == models.stamp


def test_no_flipped_bit_makes_a_message_one_of_another_set() -> None:
    """Stamps an odd number of bits apart would let a few such flips pass."""
    for at, one in enumerate(SETS):
        for other in SETS[:at]:
            assert crc16.xmodem(one.stamp) != crc16.xmodem(other.stamp)
            apart = int.from_bytes(one.stamp) ^ int.from_bytes(other.stamp)
            assert apart.bit_count() % 2 == 0


def test_a_set_changes_only_models_that_the_encoder_looks_for_there() -> None:
    """It looks into no other set for a sensor, nor for a waveform in tenths."""
    first, *others = SETS
    for models in others:
        assert models.clocks[:3] == first.clocks[:3]
        assert len(models.clocks) == len(first.clocks)
        assert [
            PROFILES[at]
            for at, name in enumerate(models.profiles)
            if name != first.profiles[at]
        ] == ["systolic", "diastolic", "mean-pressure", "pulse", "cuff"]


def test_the_tables_are_their_formulas(training: ModuleType) -> None:
    """Who has no file of ours can compute them from the page."""
    assert profiles.tables().tolist() == training.tables().tolist()
    assert profiles.table_list() == profiles.tables().tolist()


@pytest.mark.parametrize(
    "name", sorted({name for each in SETS for name in each.clocks[1:] + each.profiles})
)
def test_a_model_is_of_the_size_and_range_that_kernels_take_for_granted(
    name: str,
) -> None:
    """They look at no index."""
    prior = profiles.prior(name)
    clock = name.startswith("clock-")
    weights, size = (times if clock else values).WEIGHTS_SIZE, prior.model.size
    slots = prior.model[weights:]

    assert size == (times.MODEL if clock else values.MODEL)
    assert prior.parameters.size == (0 if clock else values.PROFILE)
    assert abs(prior.model[:weights]).max() <= 1 << 21
    assert slots.min() >= 0
    assert (slots & 1023).max() <= 60
    if not clock:
        assert 0 <= prior.parameters[values.ORDER] <= 16
        assert 0 <= prior.parameters[values.SECOND] <= 32
        assert prior.parameters[values.STEP] > 0
        assert prior.parameters[values.TRUST] >= 0
        assert prior.parameters[values.SPREAD] >= 0


def test_a_context_has_room_for_eight_guesses() -> None:
    assert CONTEXT - SLOTS == 16


def test_the_models_of_glucose_know_more_of_glucose_than_that_of_anything() -> None:
    """A file taken for another would pass all else."""
    means = {n: profiles.prior(n).parameters[values.MEAN] for n in PROFILES}
    assert (means["cgm"], means["cgm-mmol"], means["any"]) == (150, 83, 0)
    assert np.unique([profiles.prior(n).model for n in PROFILES], axis=0).shape[
        0
    ] == len(PROFILES)
