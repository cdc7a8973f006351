"""Imported PyTorch networks give the outputs of the modules that saved them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanline.interchange.reading import read_network
from scanline.interchange.torch.read import read_state_dict
from scanline.model.artifact import Model
from tests.interchange.torch.modules import (
    MODULES,
    assert_logits_close,
    float32_state,
    make,
    predict_logits,
    save,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    cell=st.sampled_from(list(MODULES)),
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3), st.integers(2, 5)),
    both=st.booleans(),
    bias=st.booleans(),
    steps=st.integers(1, 5),
    seed=st.integers(0, 2**16),
)
def test_any_module_gives_the_same_numbers(tmp_path, cell, sizes, both, bias, steps, seed):
    theirs = make(seed, cell=cell, sizes=sizes, both=both, bias=bias)
    network = read_state_dict(save(tmp_path, float32_state(theirs)))
    made = network.architecture
    assert (made.cell, made.bidirectional, made.readout) == (cell, both, "last")
    assert (made.input_size, made.hidden_size, made.layers, made.classes) == sizes
    assert_logits_close(network, theirs, torch.randn(2, steps, sizes[0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("recurrent", "linear"),
    [
        ("rnn.", "fc."),
        ("", "out."),
        ("encoder.lstm.", "decoder.head.0."),
        ("module.model.gru.", "module.network."),
        ("r.", ""),
    ],
)
def test_modules_may_have_any_names(tmp_path, values, recurrent, linear):
    theirs = make(cell="gru", sizes=(5, 4, 2, 3), both=True)
    renamed = {
        name.replace("rnn.", recurrent, 1).replace("fc.", linear, 1)
        if name.startswith(("rnn.", "fc."))
        else name: t
        for name, t in float32_state(theirs).items()
    }
    assert_logits_close(read_network(save(tmp_path, renamed)), theirs, values)


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_two_biases_that_are_added_become_one(tmp_path, cell):
    theirs = make(cell=cell)
    weights = read_state_dict(save(tmp_path, float32_state(theirs))).weights
    both = (theirs.rnn.bias_ih_l0 + theirs.rnn.bias_hh_l0).detach().numpy()
    np.testing.assert_allclose(weights["recurrent.bias_ih_l0"], both, rtol=1e-6)
    assert not weights["recurrent.bias_hh_l0"].any()


def test_the_two_biases_of_a_gru_are_kept(tmp_path):
    theirs = make(cell="gru")
    weights = read_state_dict(save(tmp_path, float32_state(theirs))).weights
    for name in ("bias_ih_l0", "bias_hh_l0"):
        assert np.array_equal(weights[f"recurrent.{name}"], float32_state(theirs)[f"rnn.{name}"].numpy())


@pytest.mark.parametrize(
    ("cell", "gone"), [("lstm", "rnn.bias_hh_l0"), ("gru", "rnn.bias_ih_l0"), ("rnn", "fc.bias")]
)
def test_a_missing_bias_is_0(tmp_path, values, cell, gone):
    theirs = make(cell=cell)
    state = float32_state(theirs)
    state.pop(gone)
    network = read_state_dict(save(tmp_path, state))
    assert "1 of the biases are not in the file and are 0" in network.notes
    with torch.no_grad():
        theirs.get_parameter(gone).zero_()
    assert_logits_close(network, theirs, values)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32_with_a_note(tmp_path, values, dtype):
    theirs = make(both=True)
    state = {name: tensor.to(dtype) for name, tensor in theirs.state_dict().items()}
    network = read_state_dict(save(tmp_path, state))
    assert {str(array.dtype) for array in network.weights.values()} == {"float32"}
    assert f"{str(dtype).removeprefix('torch.')} became float32" in network.notes
    theirs.load_state_dict({name: tensor.double() for name, tensor in state.items()})
    assert_logits_close(network, theirs, values)


@pytest.mark.parametrize(
    ("options", "notes"),
    [
        ({}, ["logits were assumed to be computed from the last output, with no layer in between"]),
        (
            {"cell": "rnn", "both": True, "bias": False},
            [
                "the activation was assumed to be tanh, nn.RNN's default: a state_dict does not show it",
                "logits were assumed to be computed from the two last states concatenated: the "
                "forward one at the end of the sequence and the backward one at its beginning, h_n[-2] and "
                "h_n[-1]; a network that reads output[:, -1] uses another backward state, and its outputs "
                "will "
                "differ",
                "5 of the biases are not in the file and are 0",
            ],
        ),
    ],
)
def test_assumptions_are_noted(tmp_path, options, notes):
    network = read_state_dict(save(tmp_path, float32_state(make(**options))))
    assert network.notes == notes
    assert network.made == "imported from the PyTorch state_dict model.safetensors"


def test_a_network_is_saved_and_loaded_as_a_model(tmp_path, values):
    network = read_state_dict(save(tmp_path, float32_state(make())))
    network.to_model(tmp_path / "model.safetensors").save(tmp_path / "model", "0.0.0")
    with torch.inference_mode():
        logits = Model.load(tmp_path / "model").network(values.float()).double()
    assert torch.equal(logits, predict_logits(network, values))
