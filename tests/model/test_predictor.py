"""Predictors: the native library predicts the bits of the network itself, and follows its weights."""

from __future__ import annotations

import copy
import os
import pickle
import sys
import threading

import numpy as np
import pytest
import torch

from scanline.data.memory import MemorySource
from scanline.data.picture_format import PictureFormat
from scanline.data.preprocessing import Preprocessing
from scanline.errors import DataError
from scanline.kernels.library import load as library
from scanline.model.artifact import Model
from scanline.model.dense import DenseLayer
from scanline.model.network import Architecture, Network
from scanline.model.predictor import Abandoned, Predictor
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification

pytestmark = pytest.mark.skipif(library() is None, reason="the native library is not there")


def network(
    cell="lstm", readout="last", layers=1, bidirectional=False, features=7, units=19, classes=3, dense=()
) -> Network:
    torch.manual_seed(3)
    architecture = Architecture(
        cell, features, units, layers, bidirectional, 0.0, "between", readout, classes, dense
    )
    made = Network(architecture).eval()
    with torch.no_grad():
        made.shift.uniform_(-1, 1)
        made.scale.uniform_(0.5, 2)
    return made


def source(lengths: list[int], features: int = 7, dtype=np.float32) -> MemorySource:
    draw, total = np.random.default_rng(5), sum(lengths)
    values = (
        draw.normal(size=(total, features))
        if dtype == np.float32
        else draw.integers(0, 256, (total, features))
    )
    return MemorySource(values.astype(dtype), np.array(lengths), np.zeros(len(lengths), np.int64), ())


def model(made: Network) -> Model:
    form = Preprocessing(None, "rows", 0, 7, 7, "error", (), DEFAULT_DATA)
    return Model(made, Classification(("a", "b", "c")), form, "made up")


def of_torch(made: Network, data: MemorySource) -> np.ndarray:
    """The outputs that the network computes layer by layer."""
    return Predictor(made)._torch_outputs(data, None)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("readout", ["last", "last-step", "mean", "max"])
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, False), (1, True), (3, True)])
@pytest.mark.parametrize("lengths", [[9], [1], [4, 4, 4], [1, 13, 2, 30, 7, 7]], ids=str)
def test_outputs_have_the_bits_of_the_network(cell, readout, layers, bidirectional, lengths):
    made, data = network(cell, readout, layers, bidirectional), source(lengths)
    predictor = Predictor(made)
    assert predictor.native() is not None
    np.testing.assert_array_equal(predictor.outputs(data), of_torch(made, data))


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_that_share_one_sequence_compute_the_same_bits(cell, threads):
    made = network(cell, "max", 2, threads == 5, features=30, units=130, classes=11)
    data, before = source([12], 30), torch.get_num_threads()
    expected = of_torch(made, data)
    try:
        torch.set_num_threads(threads)
        np.testing.assert_array_equal(Predictor(made).outputs(data), expected)
    finally:
        torch.set_num_threads(before)


def test_threads_continue_with_the_next_layer_after_an_odd_number_of_steps():
    made = network("gru", "last", 6, features=30, units=160)
    data, outputs = [source([steps], 30) for steps in (1, 3, 5)], []
    expected = [of_torch(made, each) for each in data]

    def predict() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(3)
        predictor = Predictor(made)
        outputs.extend(predictor.outputs(each) for _ in range(500) for each in data)
        torch.set_num_threads(before)

    # A daemon: threads that wait for each other forever must not keep the test from failing.
    thread = threading.Thread(target=predict, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "threads wait for each other"
    np.testing.assert_array_equal(outputs, expected * 500)


@pytest.mark.parametrize("kernel", ["avx512", "avx2", "neon", "portable"])
def test_every_kernel_predicts_alone_what_it_predicts_in_a_batch(kernel):
    native = library()
    if kernel not in native.kernels(0):
        pytest.skip(f"this processor does not run {kernel}")
    made, data = network("lstm", "last", 2), source([9, 4, 9, 1])
    try:
        native.use(0, kernel)
        together = Predictor(made).outputs(data)
        alone = [Predictor(made).outputs(data.take(slice(k, k + 1)))[0] for k in range(4)]
    finally:
        native.use(0, None)
    np.testing.assert_array_equal(np.stack(alone), together)


def test_bytes_are_read_as_the_network_reads_them():
    made, data = network(), source([5, 8], dtype=np.uint8)
    np.testing.assert_array_equal(Predictor(made).outputs(data), of_torch(made, data))


@pytest.mark.parametrize("lengths", [[6], [6, 2, 9]])
def test_dense_layers_follow_the_native_layers(lengths):
    made, data = network(dense=(DenseLayer(5, "relu"),)), source(lengths)
    predictor = Predictor(made)
    assert predictor.native().form.head is False
    np.testing.assert_array_equal(predictor.outputs(data), of_torch(made, data))


def test_weights_that_are_not_finite_predict_what_the_network_does():
    made, data = network(), source([3])
    with torch.no_grad():
        made.recurrent.weights(0, 0)[1][5, 5] = torch.inf  # times an h of 0
    np.testing.assert_array_equal(Predictor(made).outputs(data), of_torch(made, data))


CHANGES = {
    "in place": lambda made: made.head.weight.detach().add_(1),
    ".data": lambda made: made.head.weight.data.mul_(2),
    "one number of .data": lambda made: made.recurrent.weights(0, 0)[0].data.__setitem__((3, 2), 9.0),
    "NumPy": lambda made: made.shift.numpy().fill(4),
    "another parameter": lambda made: setattr(made.head, "bias", torch.nn.Parameter(torch.ones(3))),
    "load_state_dict": lambda made: made.load_state_dict({k: v + 1 for k, v in made.state_dict().items()}),
    "float64": lambda made: made.double(),
    "the backend": lambda made: setattr(made.recurrent, "backend", "torch"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_predictions_follow_weights_that_change(change):
    made, data = network(), source([6, 3])
    predictor = Predictor(made)
    before = predictor.outputs(data)
    CHANGES[change](made)
    after = predictor.outputs(data)
    np.testing.assert_array_equal(after, of_torch(made, data))
    assert (change in ("float64", "the backend")) or not np.array_equal(before, after)


def test_unchanged_weights_are_packed_once():
    predictor = Predictor(network())
    assert predictor.native() is predictor.native()


def test_copies_and_pickles_of_a_model_have_their_own_weights():
    first = model(network())
    steps = source([6]).steps_of(0)
    expected = first.predict_proba(steps)
    others = copy.deepcopy(first), pickle.loads(pickle.dumps(first))
    first.network.head.weight.data.zero_()
    for other in others:
        np.testing.assert_array_equal(other.predict_proba(steps), expected)
    assert not np.array_equal(first.predict_proba(steps), expected)


def test_a_session_goes_on_with_the_weights_that_it_started_with():
    first = model(network(readout="mean"))
    steps = source([6]).steps_of(0)
    session, other = first.stream(), first.stream()
    expected = [other.feed(step) for step in steps]
    given = [session.feed(steps[0])]
    first.network.head.weight.data.zero_()
    given += [session.feed(step) for step in steps[1:]]
    np.testing.assert_array_equal(given, expected)


def test_threads_may_predict_with_one_model_at_once():
    predictor = Predictor(network("gru", "mean", 2, features=30, units=130))
    data = [source([steps], 30) for steps in (3, 8, 5, 11)] + [source([4, 9, 2], 30)]
    expected, differences = [predictor.outputs(each) for each in data], []

    def predict(first: int) -> None:
        for k in range(20):
            which = (first + k) % len(data)
            if not np.array_equal(predictor.outputs(data[which]), expected[which]):
                differences.append(which)

    threads = [threading.Thread(target=predict, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not differences


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_child_predicts_with_its_parents_model():
    predictor, data = Predictor(network()), source([6])
    expected = predictor.outputs(data)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(predictor.outputs(data), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_long_work_is_divided_and_can_be_abandoned(monkeypatch):
    made, data = network(), source([5, 3, 8, 1, 9])
    expected = Predictor(made).outputs(data)
    weights = sum(weight.numel() for weight in made.recurrent.parameters())
    monkeypatch.setattr("scanline.model.predictor._CALL_OPERATIONS", 8 * weights)  # 8 steps a call
    asked = []
    np.testing.assert_array_equal(Predictor(made).outputs(data, lambda: bool(asked.append(1))), expected)
    assert len(asked) == 4  # 5 + 3, 8, 1 and 9 steps
    with pytest.raises(Abandoned):
        Predictor(made).outputs(data, lambda: True)


@pytest.mark.parametrize("shape", [(6, 7), (1, 6, 7), (3, 5, 7)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_arrays_are_predicted_as_the_sequences_that_are_read_from_them(shape, dtype):
    made = model(network())
    values = (np.random.default_rng(7).normal(size=shape) * 9).astype(dtype)
    expected = made.task.probabilities(made.outputs(made.read(values)))
    np.testing.assert_array_equal(made.predict_proba(values), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64, bool])
def test_pictures_are_predicted_as_the_sequences_that_are_read_from_them(channels, dtype):
    width = 7 * channels
    form = Preprocessing(
        PictureFormat(4, 7, 0, 255, "box", channels, "stretch"),
        "rows",
        0,
        width,
        width,
        "error",
        (),
        DEFAULT_DATA,
    )
    made = Model(network(features=width), Classification(("a", "b", "c")), form, "made up")
    shape = (2, 4, 7, 3) if channels == 3 else (2, 4, 7)
    values = np.random.default_rng(7).integers(0, 2, shape).astype(dtype)
    expected = made.task.probabilities(made.outputs(made.read(values)))
    np.testing.assert_array_equal(made.predict_proba(values), expected)
    np.testing.assert_array_equal(made.predict_proba(values[0]), expected[:1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused(value):
    values = np.zeros((6, 7), np.float32)
    values[2, 3] = value
    with pytest.raises(DataError, match="expected a finite number"):
        model(network()).predict_proba(values)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("readout", ["last", "mean", "max"])
def test_a_streams_last_step_has_the_bits_of_the_whole_sequence(cell, readout):
    made = model(network(cell, readout, 2))
    steps = source([9]).steps_of(0)
    by_step, at_once, side_by_side = made.stream(), made.stream(), made.stream(2)
    one = [by_step.feed(step) for step in steps][-1]
    np.testing.assert_array_equal(at_once.feed(steps)[-1], one)
    pair = side_by_side.feed(np.stack([steps, steps[::-1]]), [9, 4])
    np.testing.assert_array_equal(pair[0, -1], one)
    assert np.isnan(pair[1, 4:]).all()
    np.testing.assert_allclose(made.predict_proba(steps)[0], one, rtol=1e-15)
