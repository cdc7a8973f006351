"""Embeddings of categorical features: gradients, padding, streams and predictions have the same bits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scanline.data.memory import MemorySource
from scanline.data.preprocessing import Preprocessing
from scanline.data.vocabulary import Vocabulary
from scanline.errors import DataError
from scanline.kernels.library import load
from scanline.model.artifact import Model
from scanline.model.embeddings import Embedding, Embeddings, size_by_rule
from scanline.model.gradients import loss_and_gradients
from scanline.model.network import Architecture, Network
from scanline.model.predictor import Predictor
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification

TASK = Classification(("a", "b", "c"))
TABLES = (Embedding(1, 5, 4),)
WORDS = Vocabulary(1, ("one", "two", "three"))


def _network(cell="lstm", layers=1, bidirectional=False, embeddings=TABLES, readout="last"):
    torch.manual_seed(4)
    architecture = Architecture(
        cell, 3, 9, layers, bidirectional, 0.0, "between", readout, 3, embeddings=embeddings
    )
    network = Network(architecture)
    numbers = torch.tensor([True, False, True])
    network.shift.copy_(torch.where(numbers, 0.3, 0.0))
    network.scale.copy_(torch.where(numbers, 2.0, 1.0))
    return network


def _batch(has_lengths, n=7):
    draw = torch.Generator().manual_seed(2)
    values = torch.randn(n, 5, 3, generator=draw)
    values[..., 1] = torch.randint(0, 5, (n, 5), generator=draw).float()
    lengths = torch.randint(1, 6, (n,), generator=draw) if has_lengths else None
    return values, lengths, torch.randint(0, 3, (n,), generator=draw)


def _model(**options):
    form = Preprocessing(None, "rows", 0, 3, 3, "error", (), DEFAULT_DATA, vocabularies=(WORDS,))
    return Model(_network(**options).eval(), TASK, form, "made up")


def _source(rng, n):
    lengths = rng.integers(1, 8, n)
    steps = rng.normal(size=(lengths.sum(), 3)).astype(np.float32)
    steps[:, 1] = rng.integers(0, 5, len(steps))
    return MemorySource(steps, lengths, np.zeros(n, np.int64), ())


def test_the_size_by_rule_grows_with_the_categories_up_to_50():
    assert [size_by_rule(count) for count in (2, 10, 100, 10_000)] == [2, 6, 21, 50]


def test_an_embedded_step_has_the_numbers_first_and_then_the_rows_of_the_tables():
    layer = Embeddings(3, (Embedding(1, 4, 2),))
    with torch.no_grad():
        layer.tables[0].copy_(torch.arange(8.0).view(4, 2))
    assert layer(torch.tensor([[7.0, 3.0, 8.0]])).tolist() == [[7.0, 8.0, 6.0, 7.0]]


def test_attributions_of_embedded_steps_are_summed_by_feature():
    layer = Embeddings(3, (Embedding(1, 4, 2),))
    assert layer.by_feature(np.array([[1.0, 2.0, 3.0, 4.0]])).tolist() == [[1.0, 7.0, 2.0]]


@pytest.mark.skipif(load() is None, reason="without the native library autograd computes")
@pytest.mark.parametrize(
    ("cell", "layers", "bidirectional", "readout"),
    [
        ("lstm", 1, False, "last"),
        ("gru", 2, True, "max"),
        ("rnn", 1, True, "last"),
        ("lstm", 2, False, "mean"),
    ],
)
def test_the_gradients_have_the_bits_of_autograd(cell, layers, bidirectional, readout):
    tables = (Embedding(0, 5, 3), Embedding(1, 5, 4))
    network = _network(cell, layers, bidirectional, tables, readout).train()
    for has_lengths in (False, True):
        values, lengths, targets = _batch(has_lengths)
        values[..., 0] = values[..., 1].flip(0)
        network.shift[0], network.scale[0] = 0, 1
        loss, found = loss_and_gradients(network, TASK, (values, lengths, targets))
        network.zero_grad()
        expected = TASK.loss(network(values, lengths), targets, None)
        expected.backward()
        assert torch.equal(loss, expected.detach())
        for table in network.embeddings.tables:
            assert found[table].any()
        for weight, gradient in found.items():
            assert torch.equal(weight.grad, gradient)


def test_the_gradient_of_a_table_does_not_depend_on_the_number_of_threads():
    layer = Embeddings(1, (Embedding(0, 5_000, 8),))
    draw = torch.Generator().manual_seed(1)
    values = torch.randint(0, 50, (64, 90, 1), generator=draw).float()
    by_output = torch.randn(64, 90, 8, generator=draw)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found += layer.gradients(values, by_output).values()
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(found[0], other) for other in found[1:])


@given(
    seed=st.integers(0, 100),
    cell=st.sampled_from(("lstm", "gru", "gru-reset-before")),
    bidirectional=st.booleans(),
    backend=st.sampled_from(("auto", "torch")),
    readout=st.sampled_from(("last", "mean", "max")),
)
@settings(max_examples=12, deadline=None)
def test_a_sequence_has_the_same_outputs_alone_and_in_any_batch(seed, cell, bidirectional, backend, readout):
    network = _network(cell, 1, bidirectional, readout=readout).eval()
    network.recurrent.backend = backend
    source = _source(np.random.default_rng(seed), 6)
    predictor = Predictor(network)
    together = predictor.outputs(source)
    for index in range(6):
        assert (predictor.outputs(source.take(np.array([index])))[0] == together[index]).all()
    padded = torch.from_numpy(source.values.copy())
    padded[torch.arange(padded.shape[1]) >= torch.from_numpy(source.lengths)[:, None]] = torch.nan
    with torch.inference_mode():
        assert np.array_equal(network(padded, torch.from_numpy(source.lengths)).numpy(), together)


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_a_stream_of_names_predicts_what_the_whole_sequence_does(backend):
    model = _model()
    model.network.recurrent.backend = backend
    rows = [[0.5, "two", 1.0], [0.1, "none of these", 2.0], [0.2, "", -1.0], [0.3, "three", 0.0]]
    steps = np.array([[0.5, 3, 1], [0.1, 1, 2], [0.2, 0, -1], [0.3, 4, 0]], np.float32)
    source = MemorySource(steps, np.array([4]), np.zeros(1, np.int64), ())
    whole = model.task.probabilities(model.outputs(source))[0]
    one_by_one = model.stream()
    for row in rows:
        last = one_by_one.feed(row)
    assert (last == whole).all()
    assert (model.stream().feed(rows)[-1] == whole).all()
    assert (model.stream().feed(steps)[-1] == whole).all()
    two = model.stream(2).feed([rows, rows])
    assert (two[:, -1] == whole).all()
    saved = model.stream()
    saved.feed(rows[:2])
    assert (model.resume(saved.to_bytes()).feed(rows[2:])[-1] == whole).all()


def test_a_stream_refuses_steps_of_another_kind_and_stays_as_it_was():
    session = _model().stream()
    session.feed([0.5, "two", 1.0])
    for wrong, message in (
        ([0.5, 3, 1.0], "the name of a category"),
        (["x", "two", 1.0], "expected a number"),
        (np.array([0.5, 5.0, 1.0], np.float32), "ids from 0 to 4"),
        (np.array([0.5, 1.5, 1.0], np.float32), "ids from 0 to 4"),
        ([0.5, "two"], "3 values"),
    ):
        with pytest.raises(DataError, match=message):
            session.feed(wrong)
    assert session.steps == 1


def test_a_model_is_saved_with_its_vocabulary(tmp_path):
    model = _model()
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert loaded.preprocessing.vocabularies == (WORDS,)
    assert torch.equal(loaded.network.embeddings.tables[0], model.network.embeddings.tables[0])
