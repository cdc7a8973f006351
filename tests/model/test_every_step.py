"""Outputs at each step: for whole sequences, in any batch, in streams and in training, with the same bits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scanline.data.loader import DeviceBatch
from scanline.data.memory import MemorySource
from scanline.data.preprocessing import Preprocessing
from scanline.errors import ModelError, UsageError
from scanline.kernels.library import load as library
from scanline.model import predictor
from scanline.model.artifact import Model
from scanline.model.gradients import loss_and_gradients
from scanline.model.loading import load
from scanline.model.network import Architecture, Network
from scanline.model.prefixes import outputs_by_step
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification
from scanline.tasks.step_classification import StepClassification
from scanline.training.slices import Slices
from scanline.training.team import Team

F, K = 3, 4
CELLS = ("lstm", "gru", "rnn", "gru-reset-before")
TASK = StepClassification(tuple("abcd"))
needs_library = pytest.mark.skipif(library() is None, reason="the native library was not built")
BACKENDS = ["torch", pytest.param("native", marks=needs_library)]


def new_model(cell="lstm", layers=1, bidirectional=False, backend="auto", temperature=None) -> Model:
    torch.manual_seed(5)
    network = Network(Architecture(cell, F, 9, layers, bidirectional, 0.0, "between", "every-step", K)).eval()
    network.recurrent.backend = backend
    with torch.no_grad():
        network.shift.uniform_(-1, 1)
        network.scale.uniform_(0.5, 2)
        for weight in network.parameters():
            weight.mul_(2)
    form = Preprocessing(None, "rows", 0, F, F, "error", (), DEFAULT_DATA)
    return Model(network, TASK, form, "made up", temperature, calibrated=temperature is not None)


def sequences(lengths, seed=0):
    draw = np.random.default_rng(seed)
    return [draw.normal(size=(length, F)).astype(np.float32) for length in lengths]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("cell", "layers", "temperature"),
    [*itertools.product(CELLS[:3], (1, 2), (None,)), ("gru-reset-before", 2, None), ("lstm", 1, 1.7)],
)
def test_a_stream_has_the_bits_of_the_whole_sequence(cell, layers, backend, temperature):
    backend = "torch" if cell == CELLS[3] else backend  # the library does not compute it
    model = new_model(cell, layers, backend=backend, temperature=temperature)
    (values,) = sequences([13])
    whole = model.predict_proba(values[None])[0]
    session = model.stream()
    one_by_one = np.stack([session.feed(step) for step in values[:7]])
    resumed = model.resume(session.to_bytes())
    rest = resumed.feed(values[7:])
    assert np.array_equal(np.concatenate([one_by_one, rest]), whole)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=25, deadline=None)
@given(
    cell=st.sampled_from(CELLS),
    layers=st.integers(1, 2),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    padding=st.sampled_from([0.0, 7.5, np.nan, np.inf]),
    extra=st.integers(0, 5),
    data=st.data(),
)
def test_padding_never_matters(bidirectional, backend, cell, layers, lengths, padding, extra, data):
    if cell == "gru-reset-before" and backend == "native":
        cell = "gru"
    model = new_model(cell, layers, bidirectional, backend)
    own = sequences(lengths, data.draw(st.integers(0, 99)))
    alone = [model.predict_proba([each])[0] for each in own]
    padded = np.full((len(own), max(lengths) + extra, F), padding, np.float32)
    for row, each in zip(padded, own, strict=True):
        row[: len(each)] = each
    together = model.predict_proba(padded, lengths)
    network = model.network
    with torch.inference_mode():
        computed = network(torch.from_numpy(np.nan_to_num(padded)), torch.tensor(lengths)).numpy()
    for row, (one, other) in enumerate(zip(alone, together, strict=True)):
        assert np.array_equal(one, other)
        direct = TASK.probabilities(computed[row, : lengths[row]])
        assert np.abs(direct - one).max() < 1e-6


def test_long_sequences_are_read_piece_by_piece(monkeypatch):
    model = new_model("lstm", 2)
    own = sequences([40, 7, 23])
    expected = model.predict_proba(own)
    monkeypatch.setattr(predictor, "_STEPS", 5)
    for one, other in zip(model.predict_proba(own), expected, strict=True):
        assert np.array_equal(one, other)


def test_predictions_are_an_array_for_each_sequence():
    model = new_model()
    own = sequences([5, 2])
    predicted, probabilities = model.predict(own), model.predict_proba(own)
    assert [each.shape for each in predicted] == [(5,), (2,)]
    assert [each.shape for each in probabilities] == [(5, K), (2, K)]
    assert predicted[1].tolist() == [TASK.classes[k] for k in probabilities[1].argmax(1)]
    equal = model.predict(np.stack(sequences([3, 3])))
    assert [each.shape for each in equal] == [(3,), (3,)]
    with pytest.raises(UsageError, match="prediction supports tasks with one prediction for each sequence"):
        model.prediction(own)


def test_both_directions_refuse_streams():
    with pytest.raises(UsageError, match="reads in both directions"):
        new_model(bidirectional=True).stream()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_outputs_by_step_are_those_of_the_whole_sequence(bidirectional):
    model = new_model(bidirectional=bidirectional)
    values = torch.from_numpy(np.stack(sequences([6, 6])))
    lengths = torch.tensor([6, 4])
    found = outputs_by_step(model.network, values, lengths)
    whole = model.network(values, lengths)
    assert torch.equal(found[0], whole[0])
    assert torch.equal(found[1, :4], whole[1, :4])
    assert torch.equal(found[1, 4:], whole[1, 3].expand(2, K))


def test_a_model_is_saved_and_loaded_with_its_task(tmp_path):
    model = new_model()
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.task == TASK
    assert "a class for each step, 4 classes: a, b, c, d" in str(loaded)
    (values,) = sequences([6])
    assert np.array_equal(loaded.predict_proba([values])[0], model.predict_proba([values])[0])


def test_a_readout_that_does_not_fit_the_task_is_refused(tmp_path):
    model = new_model()
    wrong = Model(model.network, Classification(TASK.classes), model.preprocessing, "made up")
    wrong.save(tmp_path / "model")
    with pytest.raises(ModelError, match="the task classification does not fit the readout every-step"):
        load(tmp_path / "model")


# --- training


def batch_of(n=7, T=6, labelled=0.7):
    draw = torch.Generator().manual_seed(2)
    values = torch.randn(n, T, F, generator=draw)
    lengths = torch.randint(1, T + 1, (n,), generator=draw)
    lengths[n // 2] = T
    targets = torch.randint(0, K, (n, T), generator=draw)
    targets[torch.rand(n, T, generator=draw) > labelled] = -1
    targets[torch.arange(T) >= lengths[:, None]] = -1
    return values, lengths, targets


@needs_library
@pytest.mark.parametrize(
    ("cell", "layers", "bidirectional"), list(itertools.product(CELLS[:3], (1, 2), (False, True)))
)
def test_the_gradients_have_the_bits_of_autograd(cell, layers, bidirectional, monkeypatch):
    network = new_model(cell, layers, bidirectional).network.train()
    read, calls = network.recurrent.read, []
    monkeypatch.setattr(network.recurrent, "read", lambda *given: calls.append(1) or read(*given))
    values, lengths, targets = batch_of()
    for ends, weights, share in ((None, None, 1.0), (lengths, torch.rand(7, 6) + 0.5, 0.25)):
        loss, found = loss_and_gradients(network, TASK, (values, ends, targets), weights, share=share)
        assert not calls
        network.zero_grad()
        expected = TASK.loss(network(values, ends), targets, weights) * share
        expected.backward()
        calls.clear()
        assert torch.equal(loss, expected)
        for weight in network.parameters():
            if weight.requires_grad:
                assert torch.equal(found[weight], weight.grad)


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("labelled", [0.0, 0.3, 1.0])
def test_slices_add_up_to_the_whole_batch(count, labelled):
    network = new_model("gru", 2, True).network.train()
    values, lengths, targets = batch_of(labelled=labelled)
    weights = torch.rand(targets.shape) + 0.5
    expected, gradients = loss_and_gradients(network, TASK, (values, lengths, targets), weights)
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    slices = Slices(count, len(values), Team(), trained)
    labels = int((targets >= 0).sum())
    batch = DeviceBatch(values, lengths, targets, weights, tuple(values.shape), labels)
    loss, found = slices.compute(network, TASK, batch, None, False)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-7)
    for weight in trained:
        assert torch.allclose(found[weight], gradients[weight], rtol=1e-4, atol=1e-6)
    outputs = slices.outputs(network.eval(), batch, False)
    real = torch.arange(values.shape[1]) < lengths[:, None]
    assert torch.allclose(outputs[real], network(values, lengths)[real], atol=1e-6)


def test_the_loss_is_the_mean_over_labelled_steps():
    outputs = torch.zeros(2, 3, K)
    targets = torch.tensor([[0, -1, -1], [1, 2, -1]])
    outputs[0, 0, 0] = 2.0
    first = -torch.log_softmax(outputs[0, 0], 0)[0]
    uniform = torch.log(torch.tensor(float(K)))
    assert TASK.loss(outputs, targets).item() == pytest.approx(((first + 2 * uniform) / 3).item())
    weights = torch.tensor([[2.0, 9, 9], [1, 0, 9]])
    weighted = (2 * first + uniform) / 3
    assert TASK.loss(outputs, targets, weights).item() == pytest.approx(weighted.item())


def test_a_batch_without_labels_has_no_loss_and_no_gradient():
    network = new_model().network.train()
    values, lengths, _ = batch_of()
    loss, gradients = loss_and_gradients(network, TASK, (values, lengths, torch.full((7, 6), -1)))
    assert loss == 0
    assert not any(gradient.any() for gradient in gradients.values())


def test_sequences_of_bytes_are_read():
    model = new_model()
    values = np.random.default_rng(0).integers(0, 255, (6, F), dtype=np.uint8)
    zeros = np.zeros(2, np.int64)
    source = MemorySource(values, np.array([4, 2]), zeros, ())
    floats = MemorySource(values.astype(np.float32), np.array([4, 2]), zeros, ())
    assert np.array_equal(model.outputs(source), model.outputs(floats))
