"""Settings that a state_dict does not contain, parametrized weights and single numbers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from scanline.errors import UsageError
from scanline.interchange.options import ImportOptions
from scanline.interchange.reading import read_network
from scanline.interchange.torch.read import read_state_dict
from tests.interchange.torch.modules import (
    assert_logits_close,
    assert_refused,
    float32_state,
    make,
    predict_logits,
    save,
)

# --- settings that a state_dict does not contain


@pytest.mark.parametrize("readout", ["last-step", "final-states", "mean", "max"])
@pytest.mark.parametrize("both", [False, True])
def test_the_readout_is_an_option(tmp_path, values, readout, both):
    theirs = make(both=both)
    network = read_network(save(tmp_path, float32_state(theirs)), options=ImportOptions(readout=readout))
    with torch.inference_mode():
        outputs, (h, _) = theirs.rnn(values)
        read = {
            "last-step": lambda: outputs[:, -1],
            "final-states": lambda: torch.cat([h[-2], h[-1]], 1) if both else h[-1],
            "mean": lambda: outputs.mean(1),
            "max": lambda: outputs.amax(1),
        }[readout]()
        torch.testing.assert_close(predict_logits(network, values), theirs.fc(read), rtol=0, atol=2e-6)
    assert not any("logits were assumed" in note for note in network.notes)
    # In one direction the last step has the final state, which a network of streams needs.
    assert (network.architecture.readout == "last-step") == (both and readout == "last-step")


def test_an_unknown_readout_is_refused_with_a_suggestion(tmp_path):
    with pytest.raises(UsageError, match=r"readout must be .*, got 'last'; did you mean 'last-step'"):
        ImportOptions(readout="last")
    with pytest.raises(UsageError, match=r"--cell-scope has no effect on .*leave it out"):
        read_network(save(tmp_path, float32_state(make())), options=ImportOptions(cell_scope="enc"))


def test_one_output_is_two_classes_if_the_user_names_them_and_refused_otherwise(tmp_path, values):
    theirs = make(sizes=(5, 4, 1, 1))
    path = save(tmp_path, float32_state(theirs))
    network = read_state_dict(path)
    with pytest.raises(UsageError, match=r"has one output.*--classes NO,YES"):
        network.to_model(path)
    with pytest.raises(UsageError, match="has one output"):
        network.to_model(path, classes=("a", "b", "c"))
    model = network.to_model(path, classes=("no", "yes"))
    with torch.inference_mode():
        expected = theirs(values).sigmoid()[:, 0].numpy()
    np.testing.assert_allclose(model.predict_proba(values.float().numpy())[:, 1], expected, rtol=0, atol=1e-6)
    assert list(model.classes) == ["no", "yes"]


# --- parametrized weights and single numbers


@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("kind", ["names", "parametrizations"])
def test_weight_norm_becomes_part_of_the_weights(tmp_path, values, kind, dim):
    theirs = make(both=True)
    norm = parametrizations.weight_norm if kind == "parametrizations" else nn.utils.weight_norm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older function is deprecated, but its files exist
        for module, name in (
            (theirs.rnn, "weight_hh_l0_reverse"),
            (theirs.rnn, "weight_ih_l0"),
            (theirs.fc, "weight"),
        ):
            norm(module, name, dim)
    with torch.no_grad():
        for name, tensor in theirs.named_parameters():
            if name.endswith(("_g", "original0")):
                tensor.mul_(1.7)
    with torch.inference_mode():
        expected = theirs(values)
    network = read_state_dict(save(tmp_path, float32_state(theirs)))
    torch.testing.assert_close(predict_logits(network, values), expected, rtol=0, atol=2e-6)
    assert "the weight norm of fc.weight, rnn.weight_hh_l0_reverse, rnn.weight_ih_l0" in network.notes[-1]


def test_a_pruning_mask_becomes_part_of_the_weights(tmp_path, values):
    theirs = make()
    prune.random_unstructured(theirs.fc, "weight", 0.5)
    prune.random_unstructured(theirs.rnn, "weight_hh_l0", 0.5)
    with torch.inference_mode():
        expected = theirs(values)
    network = read_state_dict(save(tmp_path, float32_state(theirs)))
    torch.testing.assert_close(predict_logits(network, values), expected, rtol=0, atol=2e-6)
    assert "the pruning mask of fc.weight, rnn.weight_hh_l0" in network.notes[-1]


@pytest.mark.parametrize(
    "parametrize", [parametrizations.orthogonal, parametrizations.spectral_norm, nn.utils.spectral_norm]
)
def test_another_parametrization_is_refused_by_name(tmp_path, parametrize):
    theirs = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parametrize(theirs.fc, "weight")
    assert_refused(
        save(tmp_path, float32_state(theirs)), r"cannot map fc\..*weight.*orig.*remove_parametrizations"
    )


def test_single_numbers_are_ignored_by_name(tmp_path, values):
    theirs = make()
    more = {
        "log_temperature": torch.tensor(0.3),
        "scale": torch.ones(1),
        "norm.num_batches_tracked": torch.tensor(7),
    }
    network = read_state_dict(save(tmp_path, float32_state(theirs) | more))
    assert_logits_close(network, theirs, values)
    note = "ignored, as single numbers: log_temperature, norm.num_batches_tracked, scale; if one scales"
    assert network.notes[-1].startswith(note)
    # The bias of one output is a single number as well, and is kept.
    one = read_state_dict(save(tmp_path, float32_state(make(sizes=(5, 4, 1, 1))), "one.safetensors"))
    assert one.weights["head.bias"].any()
