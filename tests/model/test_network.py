"""The network as a whole: the padding contract, readouts, preprocessing, initialisation."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scanline.model.initialisation import initialise
from scanline.model.network import Architecture, Network

F, H, K = 3, 4, 5
NETWORKS = list(itertools.product(["rnn", "gru", "lstm"], [1, 2], [False, True], ["last", "mean", "max"]))


def network(
    cell="lstm",
    layers=1,
    bidirectional=False,
    readout="last",
    init="orthogonal",
    head="xavier",
    hidden_size=H,
):
    classifier = Network(
        Architecture(cell, F, hidden_size, layers, bidirectional, 0.0, "between", readout, K)
    )
    initialise(classifier, init, head, 1.0, torch.Generator().manual_seed(5))
    return classifier.eval()


PADDINGS = {"zeros": 0.0, "ones": 1.0, "NaN": math.nan, "infinity": math.inf, "huge": -1e30, "random": None}


@pytest.mark.parametrize("which", NETWORKS, ids=str)
@settings(max_examples=12, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    padding=st.sampled_from(list(PADDINGS)),
    extra=st.integers(0, 4),
    seed=st.integers(0, 2**16),
)
def test_padding_never_matters(which, lengths, padding, extra, seed):
    classifier = network(*which)
    draw = torch.Generator().manual_seed(seed)
    alone = [torch.randn(length, F, generator=draw) for length in lengths]
    shape = (len(lengths), max(lengths) + extra, F)
    value = PADDINGS[padding]
    batch = torch.randn(shape, generator=draw) * 100 if value is None else torch.full(shape, value)
    for row, sequence in zip(batch, alone, strict=True):
        row[: len(sequence)] = sequence
    with torch.inference_mode():
        together = classifier(batch, torch.tensor(lengths)).softmax(1)
        for prediction, sequence in zip(together, alone, strict=True):
            assert (prediction - classifier(sequence[None]).softmax(1)[0]).abs().max() <= 1e-6


@pytest.mark.parametrize("which", NETWORKS, ids=str)
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_a_prediction_is_the_same_to_the_last_bit_in_any_batch(which, backend):
    classifier = network(*which, hidden_size=40)
    classifier.recurrent.backend = backend
    draw = torch.Generator().manual_seed(0)
    values, lengths = torch.randn(37, 21, F, generator=draw), torch.randint(1, 22, (37,), generator=draw)
    with torch.inference_mode():
        together = classifier(values, lengths)
        for row in range(37):
            assert torch.equal(classifier(values[row, None, : lengths[row]])[0], together[row])


@pytest.mark.parametrize("which", NETWORKS, ids=str)
def test_gradients_are_finite_when_the_padding_is_not(which):
    classifier = network(*which)
    values = torch.full((2, 4, F), math.nan)
    values[0], values[1, :2] = 0.5, 0.25
    classifier(values, torch.tensor([4, 2])).sum().backward()
    assert all(w.grad.isfinite().all() for w in classifier.parameters() if w.requires_grad)


def test_raw_values_are_shifted_and_scaled_inside_the_network():
    classifier, bytes_ = network(), torch.randint(0, 256, (2, 6, F), dtype=torch.uint8)
    plain = classifier(bytes_.float() / 255)
    classifier.scale.fill_(255)
    torch.testing.assert_close(classifier(bytes_), plain)


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_the_second_bias_stays_zero_and_is_not_trained(cell):
    classifier = network(cell)
    bias = classifier.recurrent.bias_hh_l0
    assert not bias.requires_grad
    assert not bias.any()


def test_a_grus_second_bias_is_trained():
    assert network("gru").recurrent.bias_hh_l0.requires_grad


def test_the_forget_bias_stands_in_the_second_block():
    assert network().recurrent.bias_ih_l0.tolist() == [0] * H + [1] * H + [0] * 2 * H


def test_glorot_draws_one_kernel_for_all_gates():
    classifier = Network(Architecture("lstm", 28, 128, 1, False, 0.0, "between", "last", 10))
    initialise(classifier, "glorot", "standard-normal", 1.0, torch.Generator().manual_seed(0))
    bound = math.sqrt(6 / (28 + 128 + 4 * 128))
    for weight in (classifier.recurrent.weight_ih_l0, classifier.recurrent.weight_hh_l0):
        assert weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert classifier.head.weight.std().item() == pytest.approx(1, rel=0.05)


def test_orthogonal_gives_each_gate_an_orthogonal_recurrent_matrix():
    for gate in network().recurrent.weight_hh_l0.split(H):
        torch.testing.assert_close(gate @ gate.T, torch.eye(H), atol=1e-5, rtol=0)


def test_the_truncated_head_stays_within_two_deviations():
    head = network(head="truncated-normal").head
    assert head.weight.abs().max() <= 0.2
    assert head.bias.tolist() == pytest.approx([0.1] * K)


def test_the_same_generator_gives_the_same_weights():
    one, two = network().state_dict(), network().state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
