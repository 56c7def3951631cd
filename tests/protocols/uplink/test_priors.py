"""The trained models, which every decoder of these messages must have."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from protocols.uplink import profiles, times, values
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


def test_the_stamp_is_that_of_the_models() -> None:
    """Other models under the same stamp would read every message wrongly."""
    assert profiles.stamp() == profiles.STAMP


def test_the_tables_are_their_formulas(training: ModuleType) -> None:
    """Who has no file of ours can compute them from the page."""
    assert profiles.tables().tolist() == training.tables().tolist()
    assert profiles.table_list() == profiles.tables().tolist()


@pytest.mark.parametrize("name", profiles.CLOCKS[1:] + profiles.PROFILES)
def test_a_model_is_of_the_size_and_range_that_kernels_take_for_granted(
    name: str,
) -> None:
    """They look at no index."""
    prior = profiles.prior(name)
    clock = name in profiles.CLOCKS
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
    means = {n: profiles.prior(n).parameters[values.MEAN] for n in profiles.PROFILES}
    assert (means["cgm"], means["cgm-mmol"], means["any"]) == (150, 83, 0)
    assert np.unique(
        [profiles.prior(n).model for n in profiles.PROFILES], axis=0
    ).shape[0] == len(profiles.PROFILES)
