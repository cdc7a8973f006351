"""Recurrent layers against torch's own, with and without lengths."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scanline.kernels.steps import reverse_steps
from scanline.model.layers import RecurrentLayers, dropout

TORCH = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
CELLS = pytest.mark.parametrize("cell", TORCH)
DIRECTIONS = pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])


def pair(cell: str, layers: int, bidirectional: bool) -> tuple[RecurrentLayers, nn.Module]:
    torch.manual_seed(1)
    theirs = TORCH[cell](3, 5, layers, bidirectional=bidirectional, batch_first=True)
    ours = RecurrentLayers(cell, 3, 5, layers, bidirectional)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@CELLS
@DIRECTIONS
@pytest.mark.parametrize("layers", [1, 3])
def test_outputs_equal_torchs(cell, bidirectional, layers):
    ours, theirs = pair(cell, layers, bidirectional)
    values = torch.randn(4, 7, 3)
    torch.testing.assert_close(ours(values), theirs(values)[0], atol=1e-6, rtol=0)


@CELLS
@DIRECTIONS
def test_outputs_and_gradients_with_lengths_equal_torchs_packed_sequences(cell, bidirectional):
    ours, theirs = pair(cell, 2, bidirectional)
    values, lengths = torch.randn(4, 7, 3), torch.tensor([7, 1, 4, 6])
    packed = nn.utils.rnn.pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    outputs = ours(values, lengths)
    torch.testing.assert_close(outputs, expected, atol=1e-6, rtol=0)
    outputs.square().sum().backward()
    expected.square().sum().backward()
    theirs_by_name = dict(theirs.named_parameters())
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(weight.grad, theirs_by_name[name].grad, atol=1e-5, rtol=1e-5)


@CELLS
def test_one_step_and_one_sequence(cell):
    ours, theirs = pair(cell, 1, True)
    values = torch.randn(1, 1, 3)
    torch.testing.assert_close(ours(values, torch.tensor([1])), theirs(values)[0], atol=1e-6, rtol=0)


def test_a_view_that_is_not_contiguous_gives_the_same():
    ours, _ = pair("lstm", 2, True)
    values = torch.randn(3, 7, 4).transpose(1, 2)  # (3, 4, 7)
    wide = RecurrentLayers("lstm", 7, 5)
    torch.testing.assert_close(wide(values), wide(values.contiguous()))
    assert ours(torch.randn(7, 4, 3).transpose(0, 1)).shape == (4, 7, 10)


def test_steps_are_reversed_within_each_length():
    values = torch.tensor([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]])
    reversed_ = reverse_steps(values, torch.tensor([3, 2]))
    assert reversed_.squeeze(2).tolist() == [[3, 2, 1], [5, 4, 6]]


def test_dropout_zeroes_its_fraction_and_keeps_the_mean():
    dropped = dropout(torch.ones(100_000), 0.25, torch.Generator().manual_seed(0))
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (dropped == 0).float().mean() == pytest.approx(0.25, abs=0.005)


@pytest.mark.parametrize(("where", "zeros"), [("between", False), ("every", True)])
def test_dropout_reaches_the_last_layer_only_in_the_wrappers_way(where, zeros):
    layers = RecurrentLayers("lstm", 3, 5, 2, dropout=0.5, dropout_on=where).train()
    outputs = layers(torch.randn(8, 4, 3), draws=torch.Generator().manual_seed(0))
    assert bool((outputs == 0).any()) is zeros


def test_dropout_is_off_in_evaluation_and_repeats_with_its_generator():
    layers = RecurrentLayers("gru", 3, 5, 2, dropout=0.5)
    values = torch.randn(2, 4, 3)
    first, second = (layers.train()(values, draws=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, layers.eval()(values))


def test_dropout_in_training_asks_for_a_generator():
    layers = RecurrentLayers("lstm", 3, 5, 2, dropout=0.5).train()
    with pytest.raises(ValueError, match="needs a generator"):
        layers(torch.randn(2, 4, 3))
