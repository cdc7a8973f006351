"""Truncated back-propagation: states are carried on, gradients flow to the beginning of their span."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch

from scanline.data.loader import DeviceBatch
from scanline.data.memory import MemorySource
from scanline.kernels.library import load as library
from scanline.model import predictor as predictors
from scanline.model.dropout import SpanDraws
from scanline.model.gradients import loss_and_gradients
from scanline.model.network import Architecture, Network
from scanline.model.predictor import Predictor
from scanline.model.truncation import Spans, outputs_of, truncated_gradients
from scanline.tasks.classification import Classification
from scanline.tasks.step_classification import StepClassification
from scanline.training.slices import Slices
from scanline.training.team import Team

F, H, K, T = 3, 6, 4, 11
LENGTHS = torch.tensor([11, 4, 7, 8, 1])
POOLED, STEPS = Classification(tuple("abcd")), StepClassification(tuple("abcd"))
needs_library = pytest.mark.skipif(library() is None, reason="the native library was not built")
BACKENDS = ["torch", pytest.param("native", marks=needs_library)]
READOUTS = ("last", "last-step", "mean", "max", "every-step")


def network(cell="lstm", readout="mean", layers=2, dropout=0.0, backend="auto") -> Network:
    torch.manual_seed(3)
    made = Network(Architecture(cell, F, H, layers, False, dropout, "every", readout, K)).train()
    made.recurrent.backend = backend
    with torch.no_grad():
        made.shift.uniform_(-1, 1)
        made.scale.uniform_(0.5, 2)
    return made


def batch_of(readout, n=5, has_lengths=True):
    draw = torch.Generator().manual_seed(1)
    values = torch.randn(n, T, F, generator=draw)
    lengths = LENGTHS[:n] if has_lengths else None
    if readout != "every-step":
        return values, lengths, torch.randint(0, K, (n,), generator=draw)
    targets = torch.randint(-1, K, (n, T), generator=draw)
    if lengths is not None:
        targets[torch.arange(T) >= lengths[:, None]] = -1
    return values, lengths, targets


def task_of(readout):
    return STEPS if readout == "every-step" else POOLED


def flat(computed, made):
    """The loss and all gradients as one vector."""
    loss, gradients = computed
    trained = [weight for weight in made.parameters() if weight.requires_grad]
    assert set(map(id, gradients)) == set(map(id, trained))
    return torch.cat([loss.reshape(1), *(gradients[weight].flatten() for weight in trained)])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_one_span_has_the_full_gradient(cell, readout, backend):
    made, (values, lengths, targets) = network(cell, readout, backend=backend), batch_of(readout)
    full = flat(loss_and_gradients(made, task_of(readout), (values, lengths, targets)), made)
    spans = Spans(made, values, lengths, T, False)
    own = flat(truncated_gradients(spans, task_of(readout), targets), made)
    torch.testing.assert_close(own, full, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("readout", READOUTS)
def test_spans_as_long_as_the_sequences_change_no_bit(readout):
    made, batch = network(readout=readout, dropout=0.4), batch_of(readout)

    def computed(truncate):
        draws = torch.Generator().manual_seed(8)
        return flat(loss_and_gradients(made, task_of(readout), batch, None, draws, truncate=truncate), made)

    assert torch.equal(computed(T), computed(0))
    assert not torch.equal(computed(T - 1), computed(0))


def carried_by_hand(made, task, batch, truncate):
    """The same by torch's autograd on the whole graph, in which states between spans are detached."""
    values, lengths, targets = batch
    inputs, states, outputs = made.normalise(values), None, []
    for first in range(0, T, truncate):
        part = inputs[:, first : first + truncate]
        counts = None if lengths is None else (lengths - first).clamp(0, part.shape[1])
        read, states = made.recurrent.read_on(part, states, counts)
        states = [tuple(state.detach() for state in layer) for layer in states]
        outputs.append(read)
    joined = torch.cat(outputs, 1)
    loss = task.loss(made.project(made.pooling.apply(joined, lengths, 1)), targets)
    trained = [weight for weight in made.parameters() if weight.requires_grad]
    return loss.detach(), dict(zip(trained, torch.autograd.grad(loss, trained), strict=True))


@pytest.mark.parametrize("has_lengths", [True, False])
@pytest.mark.parametrize("truncate", [1, 3, 4])
@pytest.mark.parametrize("readout", READOUTS)
def test_gradients_end_at_the_beginning_of_their_span(readout, truncate, has_lengths):
    made, batch = network("gru", readout), batch_of(readout, has_lengths=has_lengths)
    expected = flat(carried_by_hand(made, task_of(readout), batch, truncate), made)
    found = flat(loss_and_gradients(made, task_of(readout), batch, truncate=truncate), made)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("readout", READOUTS)
def test_outputs_do_not_depend_on_spans(readout, backend):
    made, (values, lengths, _) = network(readout=readout, backend=backend).eval(), batch_of(readout)
    with torch.inference_mode():
        whole = outputs_of(made, values, lengths, False, 0)
        for truncate in (1, 4, T):
            torch.testing.assert_close(outputs_of(made, values, lengths, False, truncate), whole)


@pytest.mark.parametrize("readout", ["mean", "every-step"])
def test_static_features_reach_the_head_and_the_last_span(readout):
    torch.manual_seed(3)
    architecture = Architecture("gru", F, H, 1, False, 0.0, "every", readout, K, static=(1,))
    made, (values, lengths, targets) = Network(architecture).train(), batch_of(readout)
    values[:, :, 1] = values[:, :1, 1]
    task = task_of(readout)
    full = flat(loss_and_gradients(made, task, (values, lengths, targets)), made)
    spans = Spans(made, values, lengths, T, False)
    torch.testing.assert_close(flat(truncated_gradients(spans, task, targets), made), full)
    in_spans = loss_and_gradients(made, task, (values, lengths, targets), truncate=4)
    torch.testing.assert_close(in_spans[0], full[0])


@pytest.mark.parametrize("readout", ["mean", "every-step"])
def test_values_past_the_end_are_not_read(readout):
    made, (values, lengths, targets) = network(readout=readout), batch_of(readout)
    task = task_of(readout)
    expected = flat(loss_and_gradients(made, task, (values, lengths, targets), truncate=4), made)
    values[torch.arange(T) >= lengths[:, None]] = torch.nan
    found = flat(loss_and_gradients(made, task, (values, lengths, targets), truncate=4), made)
    assert torch.equal(found, expected)


def test_dropout_draws_the_same_numbers_in_both_passes():
    # Without recurrent weights nothing flows from span to span: the gradient is that of finite differences.
    made = network("rnn", "mean", layers=1, dropout=0.5, backend="torch").double()
    values, lengths, targets = batch_of("mean")
    weight, recurrent, *_ = made.recurrent.weights(0, 0)
    with torch.no_grad():
        recurrent.zero_()

    def computed(change=0.0):
        with torch.no_grad():
            weight[0, 0] += change
        draws = torch.Generator().manual_seed(8)
        batch = (values.double(), lengths, targets)
        found = loss_and_gradients(made, POOLED, batch, None, draws, truncate=4)
        with torch.no_grad():
            weight[0, 0] -= change
        return found

    slope = (computed(1e-6)[0] - computed(-1e-6)[0]).item() / 2e-6
    assert computed()[1][weight][0, 0].item() == pytest.approx(slope, rel=1e-4)
    assert abs(slope) > 1e-4


def test_parts_of_a_batch_draw_what_they_draw_in_the_whole():
    like = torch.zeros(5, 4, 2)
    whole = SpanDraws(7, 5, T).span(8, 12, "cpu").uniform(like[:, :3])
    part = SpanDraws(7, 5, T).part(2).span(8, 12, "cpu").uniform(like[:2, :2])
    assert torch.equal(part, whole[2:4, :2])
    assert not torch.equal(SpanDraws(7, 5, T).span(4, 8, "cpu").uniform(like)[:, :3], whole)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("readout", ["max", "every-step"])
def test_slices_add_up_to_the_gradient_of_the_batch(readout, dropout):
    made, (values, lengths, targets) = network(readout=readout, dropout=dropout), batch_of(readout)
    task = task_of(readout)

    def draws():
        return torch.Generator().manual_seed(5) if dropout else None

    whole = loss_and_gradients(made, task, (values, lengths, targets), None, draws(), truncate=4)
    labelled = int((targets >= 0).sum()) if readout == "every-step" else 0
    batch = DeviceBatch(values, lengths, targets, None, (5, T, F), labelled)
    trained = [weight for weight in made.parameters() if weight.requires_grad]
    slices = Slices(3, 5, Team(), trained, 4)
    parts = slices.compute(made, task, batch, draws(), False)
    torch.testing.assert_close(flat(parts, made), flat(whole, made), rtol=1e-5, atol=1e-6)


def kept_for_the_backward_pass(made, task, batch, truncate) -> int:
    """Return the largest number of bytes of tensors that were kept for backward passes at the same time."""
    live, most = weakref.WeakKeyDictionary(), 0
    weights = {weight.data_ptr() for weight in made.parameters()}

    class Kept:
        def __init__(self, tensor):
            self.tensor = tensor

    def pack(tensor):
        nonlocal most
        kept = Kept(tensor)
        if tensor.data_ptr() not in weights:
            live[kept] = tensor.numel() * tensor.element_size()
            most = max(most, sum(live.values()))
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        loss_and_gradients(made, task, batch, truncate=truncate)
    return most


@pytest.mark.parametrize("readout", ["mean", "max", "every-step"])
def test_activations_are_kept_of_one_span(readout):
    made, task, found = network(readout=readout), task_of(readout), []
    for steps in (200, 2_000):
        values = torch.randn(2, steps, F, generator=torch.Generator().manual_seed(1))
        targets = torch.zeros((2, steps) if readout == "every-step" else 2, dtype=torch.int64)
        found.append(kept_for_the_backward_pass(made, task, (values, None, targets), 20))
    assert 0 < found[0] == found[1]


@needs_library
@pytest.mark.parametrize("readout", ["last", "last-step", "mean", "max"])
@pytest.mark.parametrize(("cell", "layers"), [("lstm", 1), ("gru", 2)])
def test_long_sequences_are_read_in_pieces_with_the_same_bits(cell, layers, readout, monkeypatch):
    made = network(cell, readout, layers).eval()
    draw = np.random.default_rng(0)
    values = [draw.normal(size=(length, F)).astype(np.float32) for length in (40, 3, 17, 16)]
    source = MemorySource.from_list(values, np.zeros(4, np.int64), (), "made up")
    expected = Predictor(made).outputs(source)
    monkeypatch.setattr(predictors, "_STEPS", 16)
    np.testing.assert_array_equal(Predictor(made).outputs(source), expected)
    np.testing.assert_array_equal(Predictor(made).outputs(source.take(slice(0, 1))), expected[:1])
