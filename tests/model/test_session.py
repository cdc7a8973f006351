"""Sequences fed step by step: however they are cut, saved and joined, the answers are those of one pass."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from scanline.data.preprocessing import Preprocessing
from scanline.errors import DataError, ModelError, UsageError
from scanline.kernels.library import load as library
from scanline.kernels.stepping import NativeStream, TorchStack
from scanline.model.artifact import Model
from scanline.model.loading import load
from scanline.model.network import Architecture, Network
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification

FEATURES, CLASSES = 5, 4
NETWORKS = [
    (cell, layers, readout)
    for cell in ("lstm", "gru", "rnn")
    for layers in (1, 2)
    for readout in ("last", "mean", "max")
] + [("gru-reset-before", 2, "last")]


def new_model(cell="lstm", layers=1, readout="last", missing="error", temperature=None, **changes) -> Model:
    torch.manual_seed(3)
    size = {"hidden_size": 17, "bidirectional": False} | changes
    architecture = Architecture(
        cell, FEATURES, size["hidden_size"], layers, size["bidirectional"], 0.0, "between", readout, CLASSES
    )
    classifier = Network(architecture).eval()
    with torch.no_grad():
        classifier.shift.uniform_(-1, 1)
        classifier.scale.uniform_(0.5, 2)
        for weight in classifier.parameters():
            weight.mul_(2)
    means = (0.1, -0.2, 0.3, 0.4, -0.5) if missing in ("mean", "forward-fill") else ()
    form = Preprocessing(None, "rows", 0, FEATURES, FEATURES, missing, means, DEFAULT_DATA)
    calibrated = temperature is not None
    return Model(
        classifier, Classification(tuple("abcd")), form, "made up", temperature, calibrated=calibrated
    )


def steps(count: int, seed: int = 0, sessions: int | None = None) -> np.ndarray:
    shape = (count, FEATURES) if sessions is None else (sessions, count, FEATURES)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def along(model: Model, sequence: np.ndarray) -> np.ndarray:
    """What the model answers to the first 1, 2, ... steps, each predicted as a whole."""
    return np.concatenate([model.predict_proba(sequence[None, :end]) for end in range(1, len(sequence) + 1)])


@pytest.mark.parametrize(("cell", "layers", "readout"), NETWORKS)
def test_every_step_predicts_as_the_prefix_does(cell, layers, readout):
    model, sequence = new_model(cell, layers, readout), steps(11)
    session = model.stream()
    streamed = np.stack([session.feed(step) for step in sequence])
    np.testing.assert_allclose(streamed, along(model, sequence), rtol=0, atol=1e-6)
    assert session.steps == 11


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(NETWORKS),
    st.lists(st.integers(0, 6), min_size=1, max_size=8),
    st.sampled_from((None, 2.5)),
    st.integers(0, 10_000),
)
def test_predictions_do_not_depend_on_how_steps_are_grouped(network, cuts, temperature, seed):
    model = new_model(*network, temperature=temperature)
    sequence = steps(sum(cuts) + 1, seed)
    session, parts, begin = model.stream(), [], 0
    for size in [*cuts, 1]:
        parts.append(session.feed(sequence[begin : begin + size]))
        assert parts[-1].shape == (size, CLASSES)
        begin += size
    np.testing.assert_allclose(np.concatenate(parts), along(model, sequence), rtol=0, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NETWORKS), st.integers(1, 5), st.integers(0, 10_000))
def test_parallel_sessions_predict_as_single_ones(network, sessions, seed):
    model, draw = new_model(*network), np.random.default_rng(seed)
    together = model.stream(sessions)
    alone = [model.stream() for _ in range(sessions)]
    for _ in range(4):
        t = int(draw.integers(0, 5))
        lengths = draw.integers(0, t + 1, sessions)
        values = steps(t, int(draw.integers(1 << 30)), sessions)
        values[np.arange(t) >= lengths[:, None]] = draw.choice([np.nan, np.inf, 7.0])
        streamed = together.feed(values, lengths)
        assert streamed.shape == (sessions, t, CLASSES)
        for row, session in enumerate(alone):
            own = session.feed(values[row, : lengths[row]])
            np.testing.assert_allclose(streamed[row, : lengths[row]], own, rtol=0, atol=1e-6)
            assert np.isnan(streamed[row, lengths[row] :]).all()
    np.testing.assert_array_equal(together.steps, [session.steps for session in alone])


@pytest.mark.parametrize("missing", ["zero", "mean", "forward-fill"])
def test_missing_values_are_filled_as_in_whole_sequences(missing):
    model = new_model(missing=missing)
    sequence = steps(12)
    sequence[np.random.default_rng(1).random(sequence.shape) < 0.4] = np.nan
    one_by_one, at_once = model.stream(), model.stream()
    streamed = np.stack([one_by_one.feed(step) for step in sequence])
    np.testing.assert_allclose(streamed, along(model, sequence), rtol=0, atol=1e-6)
    np.testing.assert_allclose(at_once.feed(sequence), streamed, rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_the_native_library_reads_every_cell(cell):
    if library() is None:
        pytest.skip("the native library is not there")
    assert isinstance(new_model(cell).stream()._stack, NativeStream)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_session_saved_without_the_library_continues_with_it(cell):
    model, sequence = new_model(cell), steps(8)
    model.network.recurrent.backend = "torch"
    session = model.stream()
    session.feed(sequence[:4])
    model.network.recurrent.backend = "auto"
    continued = model.resume(session.to_bytes()).feed(sequence[4:])
    np.testing.assert_allclose(continued, along(model, sequence)[4:], rtol=0, atol=1e-6)


def test_without_the_native_library_torch_streams_to_the_same_predictions(monkeypatch):
    model, sequence = new_model(layers=2, readout="mean"), steps(9)
    model.network.recurrent.backend = "torch"
    session = model.stream()
    assert isinstance(session._stack, TorchStack)
    np.testing.assert_allclose(session.feed(sequence), along(model, sequence), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("cell", "layers", "readout"), NETWORKS)
def test_a_saved_session_continues_unchanged(cell, layers, readout):
    model, sequence = new_model(cell, layers, readout), steps(10)
    session = model.stream()
    session.feed(sequence[:4])
    state = session.to_bytes()
    again = model.resume(state)
    assert again.to_bytes() == state
    assert again.steps == 4
    np.testing.assert_array_equal(session.feed(sequence[4:]), again.feed(sequence[4:]))
    assert session.to_bytes() == again.to_bytes() != state


def test_a_session_resumed_in_another_process_ends_in_identical_bytes(trained, tmp_path):
    model = load(trained)
    rows = np.random.default_rng(0).integers(0, 17, (8, 8))
    session = model.stream()
    session.feed(rows[:3])
    (tmp_path / "session").write_bytes(session.to_bytes())
    np.save(tmp_path / "rows.npy", rows[3:])
    program = (
        "import sys, hashlib, numpy as np, scanline; model = scanline.load(sys.argv[1])\n"
        "session = model.resume(open(sys.argv[2], 'rb').read())\n"
        "answers = session.feed(np.load(sys.argv[3]))\n"
        "print(hashlib.sha256(answers.tobytes() + session.to_bytes()).hexdigest())"
    )
    command = [sys.executable, "-c", program, trained, tmp_path / "session", tmp_path / "rows.npy"]
    there = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout
    here = session.feed(rows[3:])
    assert there.strip() == hashlib.sha256(here.tobytes() + session.to_bytes()).hexdigest()
    np.testing.assert_allclose(here[-1], model.predict_proba(rows[None])[0], rtol=0, atol=1e-6)


def test_every_truncation_and_every_flipped_bit_of_a_saved_session_is_refused():
    model = new_model(hidden_size=3)
    session = model.stream()
    session.feed(steps(2))
    state = session.to_bytes()
    for end in range(len(state)):
        with pytest.raises(ModelError, match="the saved session"):
            model.resume(state[:end])
    for place in range(len(state) * 8):
        changed = bytearray(state)
        changed[place // 8] ^= 1 << place % 8
        try:  # a flip inside the header's padding or its spelling may say the same
            again = model.resume(bytes(changed))
        except ModelError:
            continue
        assert again.to_bytes() == state


def resealed(saved: bytes, text: dict, held: dict) -> bytes:
    """A saved session with other facts and arrays, None for none of that name, and a seal that fits them."""
    arrays = {name: array for name, array in (load_arrays(saved) | held).items() if array is not None}
    size = int.from_bytes(saved[:8], "little")
    content = json.loads(json.loads(saved[8 : 8 + size])["__metadata__"]["scanline"]) | text
    content = {name: value for name, value in content.items() if name != "sha256" and value is not ...}
    parts = [json.dumps(content, sort_keys=True)]
    parts += [
        f"{name} {a.dtype} {a.shape} {hashlib.sha256(a.tobytes()).hexdigest()}"
        for name, a in sorted(arrays.items())
    ]
    content["sha256"] = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return save_arrays(arrays, {"scanline": json.dumps(content, sort_keys=True)})


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ({"temperature": ...}, {}),
        ({"temperature": {"x": 1}}, {}),
        ({"temperature": 10**400}, {}),
        ({"temperature": 0.0}, {}),
        ({"temperature": float("nan")}, {}),
        ({"single": ...}, {}),
        ({"single": 1}, {}),
        ({"single": False}, {"steps": np.zeros(100_000, np.int64)}),
        ({}, {"steps": None}),
        ({}, {"steps": np.zeros((), np.int64)}),
        ({}, {"steps": np.zeros((1, 2), np.int64)}),
        ({}, {"steps": np.zeros(0, np.int64)}),
        ({}, {"steps": np.full(1, -1)}),
        ({}, {"steps": np.zeros(1, np.float32)}),
        ({}, {"h": None}),
        ({}, {"h": np.zeros((1, 1, 3), np.int64)}),
        ({}, {"h": np.zeros((1, 1, 3), np.complex64)}),
        ({}, {"more": np.zeros(1, np.float32)}),
    ],
    ids=range(18),
)
def test_a_session_with_a_new_seal_is_refused_where_it_does_not_fit(changes, held):
    model = new_model(hidden_size=3)
    state = model.stream().to_bytes()
    assert model.resume(resealed(state, {}, {})).to_bytes() == state
    with pytest.raises(ModelError, match=r"the saved session .*; begin a new session"):
        model.resume(resealed(state, changes, held))


@pytest.mark.parametrize("described", ["3", "[]", '"x"', "null"])
def test_a_session_that_is_described_by_no_object_is_refused(described):
    model = new_model(hidden_size=3)
    content = save_arrays(load_arrays(model.stream().to_bytes()), {"scanline": described})
    with pytest.raises(ModelError, match=r"the saved session is damaged: .*; begin a new session"):
        model.resume(content)


def test_a_session_whose_model_is_not_named_is_refused():
    model = new_model(hidden_size=3)
    with pytest.raises(ModelError, match="belongs to another model"):
        model.resume(resealed(model.stream().to_bytes(), {"model": ...}, {}))


def test_another_models_session_is_refused():
    state = new_model().stream().to_bytes()
    other = new_model()
    with torch.no_grad():
        other.network.head.bias[0] += 1
    with pytest.raises(ModelError, match="belongs to another model; begin a new session"):
        other.resume(state)
    with pytest.raises(ModelError, match="belongs to another model"):
        new_model("gru").resume(state)


def test_a_bidirectional_model_cannot_stream():
    with pytest.raises(
        UsageError, match=r"reads in both directions: .*train with model\.bidirectional=false"
    ):
        new_model(bidirectional=True).stream()


@pytest.mark.parametrize(
    ("values", "lengths", "message"),
    [
        (np.zeros(4), None, r"expected shape \(t, 5\) or \(5,\), found \(1, 4\)"),
        (np.zeros((2, 6)), None, r"expected shape \(t, 5\) or \(5,\), found \(2, 6\)"),
        (np.zeros((1, 2, 5)), None, r"expected shape \(t, 5\) or \(5,\), found \(1, 2, 5\)"),
        (
            np.full(5, np.nan),
            None,
            "expected finite numbers, found nan; the model was trained with input.missing",
        ),
        (np.array([[0, 0, np.inf, 0, 0]]), None, "expected finite numbers, found inf"),
        (np.zeros((2, 5)), [3], "lengths: expected 1 whole numbers of 0 to 2, found"),
    ],
)
def test_steps_that_do_not_fit_are_refused_and_nothing_is_read(values, lengths, message):
    model = new_model()
    session = model.stream()
    session.feed(steps(3))
    before = session.to_bytes()
    with pytest.raises(DataError, match=message):
        session.feed(values, lengths)
    assert session.to_bytes() == before
