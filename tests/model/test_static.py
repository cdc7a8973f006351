"""Static features enter beside the pooled state: the same bits alone, in batches, padded and in streams."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scanline.data.memory import MemorySource
from scanline.data.preprocessing import Preprocessing
from scanline.data.source_info import SourceInfo
from scanline.data.vocabulary import Vocabulary
from scanline.errors import DataError
from scanline.explanation.attribution import baseline, integrated_gradients
from scanline.explanation.trace import trace
from scanline.explanation.what_if import Silence, WhatIf
from scanline.kernels.library import load
from scanline.model.artifact import Model
from scanline.model.embeddings import Embedding, Embeddings
from scanline.model.gradients import loss_and_gradients
from scanline.model.network import Architecture, Network
from scanline.model.predictor import Predictor
from scanline.model.prefixes import outputs_by_step
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification
from scanline.tasks.step_classification import StepClassification

NAN = float("nan")
TASK = Classification(("a", "b", "c"))
# Features: a static number, a number, a static category, a category.
TABLES = (Embedding(2, 4, 3), Embedding(3, 5, 2))
NAMES = (Vocabulary(2, ("old", "new")), Vocabulary(3, ("one", "two", "three")))


def _network(cell="lstm", layers=1, bidirectional=False, readout="last"):
    torch.manual_seed(4)
    network = Network(
        Architecture(
            cell, 4, 9, layers, bidirectional, 0.0, "between", readout, 3, embeddings=TABLES, static=(0, 2)
        )
    )
    network.shift.copy_(torch.tensor([40.0, 0.3, 0.0, 0.0]))
    network.scale.copy_(torch.tensor([20.0, 2.0, 1.0, 1.0]))
    return network


def _model(missing="error", means=(), **options):
    form = Preprocessing(
        None, "rows", 0, 4, 4, missing, means, DEFAULT_DATA, vocabularies=NAMES, static=(0, 2)
    )
    return Model(_network(**options).eval(), TASK, form, "made up")


def _source(rng, n):
    lengths = rng.integers(1, 8, n)
    steps = rng.normal(size=(lengths.sum(), 4)).astype(np.float32)
    steps[:, 0] = np.repeat(rng.integers(20, 80, n), lengths)
    steps[:, 2] = np.repeat(rng.integers(0, 4, n), lengths)
    steps[:, 3] = rng.integers(0, 5, len(steps))
    return MemorySource(steps, lengths, np.zeros(n, np.int64), (), info=SourceInfo(static=(0, 2)))


def test_an_embedded_step_has_the_static_numbers_and_rows_last():
    layer = Embeddings(4, (Embedding(1, 4, 2), Embedding(3, 3, 1)), (0, 3))
    with torch.no_grad():
        layer.tables[0].copy_(torch.arange(8.0).view(4, 2))
        layer.tables[1].copy_(torch.tensor([[-1.0], [-2.0], [-3.0]]))
    assert (layer.output_size, layer.static_size, layer.numeric) == (3, 2, [0, 2])
    steps, static = layer.divide(layer(torch.tensor([[[63.0, 3.0, 8.0, 2.0], [0.0, 1.0, 9.0, 0.0]]])))
    assert steps.tolist() == [[[8.0, 6.0, 7.0], [9.0, 2.0, 3.0]]]
    assert static.tolist() == [[63.0, -3.0]]


@given(
    seed=st.integers(0, 100),
    cell=st.sampled_from(("lstm", "gru", "gru-reset-before")),
    bidirectional=st.booleans(),
    backend=st.sampled_from(("auto", "torch")),
    readout=st.sampled_from(("last", "mean", "max", "last-step", "every-step")),
)
@settings(max_examples=20, deadline=None)
def test_a_sequence_has_the_same_outputs_alone_in_any_batch_and_padded(
    seed, cell, bidirectional, backend, readout
):
    network = _network(cell, 1, bidirectional, readout).eval()
    network.recurrent.backend = backend
    source = _source(np.random.default_rng(seed), 6)
    predictor = Predictor(network)
    together = predictor.outputs(source)
    by_sequence = np.split(together, source.starts[1:]) if readout == "every-step" else together
    for index in range(6):
        alone = predictor.outputs(source.take(np.array([index])))
        assert (alone == by_sequence[index]).all()
    padded = torch.from_numpy(source.values.copy())
    real = torch.arange(padded.shape[1]) < torch.from_numpy(source.lengths)[:, None]
    padded[~real] = torch.nan
    with torch.inference_mode():
        outputs = network(padded, torch.from_numpy(source.lengths))
    found = outputs[real] if readout == "every-step" else outputs
    # Where outputs at each step are computed as a stream does, the last bits differ from those of torch.
    exact = readout != "every-step" or backend == "torch" or bidirectional
    np.testing.assert_allclose(found.numpy(), together, rtol=0, atol=0 if exact else 1e-6)


def test_static_features_change_the_outputs_and_only_the_first_step_counts():
    predictor, source = Predictor(_network().eval()), _source(np.random.default_rng(0), 1)
    source = source.take(np.array([0]))
    before = predictor.outputs(source)
    for feature, value in ((0, 90.0), (2, 3 - source.concatenated[0, 2])):
        source.concatenated[1:, feature] = value
        assert (predictor.outputs(source) == before).all()
        source.concatenated[0, feature] = value
        after = predictor.outputs(source)
        assert (after != before).any()
        before = after


@pytest.mark.skipif(load() is None, reason="without the native library there is one backend")
@pytest.mark.parametrize("readout", ["last", "mean", "every-step"])
def test_gradients_are_those_of_torch(readout):
    task = StepClassification(TASK.classes) if readout == "every-step" else TASK
    source = _source(np.random.default_rng(3), 5)
    lengths = torch.from_numpy(source.lengths)
    targets = torch.tensor([0, 1, 2, 1, 0])
    if readout == "every-step":
        targets = targets[:, None].expand(-1, source.max_length)
        targets = torch.where(torch.arange(source.max_length) < lengths[:, None], targets, -1)
    found = {}
    for backend in ("native", "torch"):
        network = _network(readout=readout).train()
        network.recurrent.backend = backend
        batch = (torch.from_numpy(source.values), lengths, targets)
        _, gradients = loss_and_gradients(network, task, batch)
        names = {weight: name for name, weight in network.named_parameters()}
        found[backend] = {names[weight]: gradient for weight, gradient in gradients.items()}
    assert found["native"].keys() == found["torch"].keys() >= {"embeddings.tables.0", "head.weight"}
    for name, gradient in found["native"].items():
        torch.testing.assert_close(gradient, found["torch"][name], rtol=1e-4, atol=1e-6)
    assert found["native"]["head.weight"].shape == (3, 9 + 1 + 3)


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_a_stream_reads_static_features_from_the_first_step(backend):
    model = _model()
    model.network.recurrent.backend = backend
    rows = [[63, 0.5, "new", "two"], [None, 0.1, "", "three"], [63, -1.0, "new", ""]]
    steps = np.array([[63, 0.5, 3, 3], [63, 0.1, 3, 4], [63, -1, 3, 0]], np.float32)
    source = MemorySource(steps, np.array([3]), np.zeros(1, np.int64), ())
    whole = model.task.quick_probabilities(model.outputs(source))[0]
    session = model.stream()
    for row in rows:
        last = session.feed(row)
    assert (last == whole).all()
    assert (model.stream().feed(rows)[-1] == whole).all()
    assert (model.stream(2).feed([rows, rows])[:, -1] == whole).all()
    saved = model.stream()
    saved.feed(rows[:1])
    assert (model.resume(saved.to_bytes()).feed(rows[1:])[-1] == whole).all()
    # A sequence that begins later than the others.
    late = model.stream(2)
    late.feed(np.stack([steps[:1], np.full((1, 4), NAN, np.float32)]), [1, 0])
    read = late.feed(np.stack([np.pad(steps[1:], ((0, 1), (0, 0))), steps]), [2, 3])
    assert (read[0, 1] == whole).all()
    assert (read[1, 2] == whole).all()


def test_a_stream_refuses_another_value_and_stays_as_it_was():
    session = _model().stream()
    with pytest.raises(DataError, match="expected finite numbers"):
        session.feed([None, 0.5, "new", "two"])
    session.feed([63, 0.5, "new", "two"])
    for wrong, feature in (([64, 0, "new", ""], 0), ([63, 0, "old", ""], 2)):
        with pytest.raises(DataError, match=f"feature {feature}: expected the value of the first step"):
            session.feed(wrong)
    with pytest.raises(DataError, match="expected the value of the first step"):
        _model().stream().feed([[63, 0, "new", ""], [64, 0, "new", ""]])
    assert session.steps == 1


def test_missing_static_numbers_are_filled_in_streams_as_in_sequences():
    model = _model("mean", (41.0, 0.0, 0.0, 0.0))
    steps = np.array([[NAN, 0.5, 3, 3], [NAN, 0.1, 3, 4]], np.float32)
    categories = (None, None, ("", "old", "new"), ("", "one", "two", "three"))
    named = SourceInfo(categories=categories)
    source = MemorySource(
        steps - np.float32([0, 0, 1, 1]), np.array([2]), np.zeros(1, np.int64), (), info=named
    )
    filled = model.preprocessing.prepare(source)
    assert filled.concatenated[:, [0, 2, 3]].tolist() == [[41, 3, 3], [41, 3, 4]]
    whole = model.task.quick_probabilities(model.outputs(filled))[0]
    assert (model.stream().feed(steps)[-1] == whole).all()


def test_after_each_step_the_probabilities_are_those_of_the_prefix():
    network, source = _network(readout="mean").eval(), _source(np.random.default_rng(5), 1)
    values = torch.from_numpy(source.values)
    outputs = outputs_by_step(network, values, None)[0]
    for step in range(1, values.shape[1] + 1):
        torch.testing.assert_close(outputs[step - 1], network(values[:, :step])[0], rtol=1e-5, atol=1e-6)


def test_attributions_of_static_features_are_in_the_first_step_and_complete():
    network, source = _network().eval(), _source(np.random.default_rng(7), 1)
    found = integrated_gradients(network, source.steps_of(0), 1, baseline(network, pictures=False))
    assert found.error < 1e-3
    assert found.values[0, 0] != 0
    assert (found.values[1:, [0, 2]] == 0).all()


def test_traces_and_what_ifs_keep_the_static_features():
    network, source = _network(readout="mean").eval(), _source(np.random.default_rng(8), 1)
    values = source.steps_of(0)
    plain = trace(network, values, TASK)
    expected = TASK.probabilities(Predictor(network).outputs(source))[0]
    np.testing.assert_allclose(plain.probabilities[-1], expected, atol=1e-6)
    blank = baseline(network, pictures=False)
    changed = trace(network, values, TASK, what_if=WhatIf(blank=(1,)), baseline=blank)
    steps = values.copy()
    steps[0, [1, 3]] = blank[[1, 3]]
    own = TASK.probabilities(network(torch.from_numpy(steps)[None]).detach().numpy())[0]
    np.testing.assert_allclose(changed.probabilities[-1], own, atol=1e-6)
    silent = trace(network, values, TASK, what_if=WhatIf(silence=(Silence(3),)))
    assert (silent.probabilities != plain.probabilities).any()


def test_a_model_is_saved_with_its_static_features(tmp_path):
    model = _model()
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert loaded.preprocessing.static == loaded.network.architecture.static == (0, 2)
