"""Exported Keras files predict as the model does and import unchanged."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scanline.data.picture_format import PictureFormat
from scanline.data.preprocessing import Preprocessing
from scanline.errors import MissingExtraError, ModelError, ScanlineError, UsageError
from scanline.interchange.keras.read import read_keras
from scanline.interchange.keras.write import export_keras
from scanline.model.artifact import Model
from scanline.model.dense import ACTIVATIONS, DenseLayer
from scanline.model.network import Architecture, Network
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification
from tests.interchange.keras_models import QUIET, F, H, K, chain, drawn, keras, normalization, theirs

pytestmark = pytest.mark.filterwarnings(QUIET)

SHIFT, SCALE = (1.0, -2.0, 300.0), (0.5, 3.0, 127.3)


def model(
    cell: Any = "lstm",
    layers: int = 1,
    both: bool = False,
    readout: Any = "last",
    features: int = F,
    form: Preprocessing | None = None,
    shift: Any = SHIFT,
    scale: Any = SCALE,
    **own: Any,
) -> Model:
    """Random weights, drawn anew for each shape but the same each time."""
    dense = tuple(DenseLayer(6, activation) for activation in own.pop("dense", ()))
    architecture = Architecture(cell, features, H, layers, both, 0.5, "every", readout, K, dense)
    with torch.random.fork_rng():
        torch.manual_seed(layers)
        classifier = Network(architecture).eval()
    classifier.shift.copy_(torch.as_tensor(shift))
    classifier.scale.copy_(torch.as_tensor(scale))
    plain = Preprocessing(None, "rows", 0, features, features, "error", (), DEFAULT_DATA)
    return Model(classifier, Classification(tuple("abcde")), form or plain, "made up", 2.5, **own)


def steps(n: int = 5, T: int = 9, seed: int = 3) -> np.ndarray:
    drawn_ = np.random.default_rng(seed).normal(0, 2, (n, T, F))
    return (np.array(SHIFT) + np.array(SCALE) * drawn_).astype(np.float32)


@pytest.mark.parametrize(
    ("cell", "layers", "both", "readout"),
    [
        # Where time counts: one plain and one deep bidirectional network of each cell and readout.
        pytest.param(*each, marks=() if (each[1] == 2) == each[2] else pytest.mark.campaign)
        for each in itertools.product(
            ("lstm", "gru", "rnn", "gru-reset-before"), (1, 2), (False, True), ("last", "mean", "max")
        )
    ],
)
def test_an_exported_model_predicts_the_same_and_imports_unchanged(tmp_path, cell, layers, both, readout):
    ours, path = model(cell, layers, both, readout), tmp_path / "it.keras"
    found = export_keras(ours, path)
    assert found.verification.difference < 1e-6
    loaded = keras.saving.load_model(path, safe_mode=True)
    for n, T in ((1, 1), (5, 9)):
        values = steps(n, T)
        assert np.abs(theirs(loaded, values) - ours.predict_proba(values)).max() < 1e-6
    network, classifier = read_keras(path), ours.network
    a = classifier.architecture
    assert network.architecture == Architecture(cell, F, H, layers, both, 0.0, "between", readout, a.classes)
    for name, weight in classifier.state_dict().items():
        np.testing.assert_array_equal(network.weights[name], weight.numpy(), err_msg=name)


def test_hidden_dense_layers_go_round_with_every_activation(tmp_path):
    ours = model(readout="mean", both=True, dense=[name for name in ACTIVATIONS if name != "linear"])
    assert export_keras(ours, tmp_path / "it.keras").verification.difference < 1e-5
    network = read_keras(tmp_path / "it.keras")
    assert network.architecture.dense == ours.network.architecture.dense
    for name, weight in ours.network.dense.state_dict().items():
        np.testing.assert_array_equal(network.weights[f"dense.{name}"], weight.numpy())


def test_what_is_returned_says_what_was_done(tmp_path):
    found = export_keras(model(), tmp_path / "it.keras")
    assert found.verification.difference < 1e-6
    assert found.to_json() == {
        "difference": found.verification.difference,
        "file": str(tmp_path / "it.keras"),
        "kind": "keras",
        "opset": None,
        "classes": list("abcde"),
        "batches": 6,
        "same_class": True,
    }
    assert [each.name for each in tmp_path.iterdir()] == ["it.keras"]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_model_of_keras_goes_round(tmp_path, cell):
    theirs_ = drawn(keras.Sequential(chain(cell, 2, True, "max", before=(normalization(),))))
    theirs_.save(tmp_path / "theirs.keras")
    network = read_keras(tmp_path / "theirs.keras")
    export_keras(network.to_model(tmp_path / "theirs.keras"), tmp_path / "ours.keras")
    again = read_keras(tmp_path / "ours.keras")
    assert again.architecture == network.architecture
    assert again.weights.keys() == network.weights.keys()
    for name, weight in network.weights.items():
        np.testing.assert_array_equal(again.weights[name], weight, err_msg=name)
    loaded = keras.saving.load_model(tmp_path / "ours.keras")
    values = steps()
    assert np.abs(theirs(loaded, values) - theirs(theirs_, values)).max() < 1e-6


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("probabilities", [False, True])
def test_answers_are_probabilities_or_logits_calibrated_or_not(tmp_path, calibrated, probabilities):
    ours, path = model(calibrated=calibrated), tmp_path / "it.keras"
    export_keras(ours, path, probabilities=probabilities)
    found = theirs(keras.saving.load_model(path), steps())
    with torch.inference_mode():
        logits = ours.network(torch.from_numpy(steps())) / (2.5 if calibrated else 1)
    expected = logits.double().softmax(1) if probabilities else logits
    assert np.abs(found - expected.numpy()).max() < 1e-6


def test_without_preprocessing_there_is_no_layer_for_it(tmp_path):
    export_keras(model(shift=0.0, scale=1.0), tmp_path / "it.keras")
    loaded = keras.saving.load_model(tmp_path / "it.keras")
    assert [layer.name for layer in loaded.layers] == ["steps", "lstm_0", "probabilities"]


@pytest.mark.parametrize("scale", [(-1.0, 2.0, 3.0), (1e-9, 1.0, 1.0), (1e25, 1.0, 1.0)])
def test_a_scale_that_no_variance_stands_for_is_multiplied_by(tmp_path, scale):
    ours, path = model(shift=(1.0, 2.0, 0.0), scale=scale), tmp_path / "it.keras"
    assert export_keras(ours, path).verification.difference < 1e-6
    assert "Rescaling" in {type(layer).__name__ for layer in keras.saving.load_model(path).layers}
    np.testing.assert_allclose(read_keras(path).weights["scale"], np.float32(scale), rtol=1e-6)


def pictures(view: Any, features: int = 0, channels: Any = 1) -> Preprocessing:
    format = PictureFormat(4, 6, 3, 255, "mass", channels=channels)
    form = Preprocessing(format, view, 0, 6 * channels, 0, "error", (), DEFAULT_DATA)
    assert form.picture_view is not None
    return Preprocessing(
        format, view, 0, 6 * channels, features or form.picture_view.features, "error", (), DEFAULT_DATA
    )


VIEWS = [
    ("rows", 0, 1),
    ("rows", 0, 3),
    ("rows", 2, 1),
    ("columns", 0, 1),
    ("columns", 0, 3),
    ("columns", 2, 3),
    ("pixels", 0, 1),
    ("pixels", 0, 3),
    ("patches:2", 0, 1),
    ("patches:2", 0, 3),
]


@pytest.mark.parametrize(("view", "features", "channels"), VIEWS)
def test_pictures_are_read_as_the_network_sees_them(tmp_path, view, features, channels):
    form = pictures(view, features, channels)
    ours = model("gru", features=form.features, form=form, shift=30.0, scale=99.0)
    export_keras(ours, tmp_path / "it.keras")
    loaded = keras.saving.load_model(tmp_path / "it.keras", safe_mode=True)
    shape = (3, 4, 6) if channels == 1 else (3, 4, 6, 3)
    given = np.random.default_rng(5).integers(0, 256, shape).astype(np.uint8)
    found = theirs(loaded, given.reshape(3, 4, 6 * channels).astype(np.float32))
    assert np.abs(found - ours.predict_proba(given)).max() < 1e-6
    by_rows = view == "rows" and not features
    assert loaded.input_shape == ((None, None, 6 * channels) if by_rows else (None, 4, 6 * channels))


@pytest.mark.parametrize("view", ["columns", "pixels"])
def test_other_views_do_not_come_back_as_networks_of_steps(tmp_path, view):
    form = pictures(view)
    export_keras(model(features=form.features, form=form, shift=0.0, scale=1.0), tmp_path / "it.keras")
    with pytest.raises(ModelError, match=r"'view_0' \(Reshape\): cannot be mapped"):
        read_keras(tmp_path / "it.keras")


def test_what_keras_has_no_layers_for_is_refused(tmp_path):
    form = pictures("permuted")
    with pytest.raises(UsageError, match=r"random order \(input.view permuted\), .*: export it as .onnx"):
        export_keras(model(features=1, form=form, shift=0.0, scale=1.0), tmp_path / "it.keras")
    for missing, means in (("zero", ()), ("mean", (0.0,) * F), ("forward-fill", (0.0,) * F)):
        form = Preprocessing(None, "rows", 0, F, F, missing, means, DEFAULT_DATA)
        message = f"fills missing values \\(input.missing {missing}\\), for which Keras has no layer"
        with pytest.raises(UsageError, match=message):
            export_keras(model(form=form), tmp_path / "it.keras")
    assert not list(tmp_path.iterdir())


def test_the_file_must_be_called_keras(tmp_path):
    with pytest.raises(UsageError, match=r"is written to a file NAME.keras, got .*it.h5"):
        export_keras(model(), tmp_path / "it.h5")
    export_keras(model(), tmp_path / "IT.KERAS")
    assert read_keras(tmp_path / "IT.KERAS").architecture.cell == "lstm"


@pytest.mark.parametrize("spoil", [lambda c: c.head.bias.fill_(float("nan")), lambda c: c.scale.fill_(0.0)])
def test_a_file_that_answers_otherwise_is_not_written(tmp_path, spoil):
    ours = model()
    with torch.no_grad():
        spoil(ours.network)
    (tmp_path / "it.keras").write_bytes(b"an older one")
    with pytest.raises(ModelError, match=r"outputs differ from Scanline's, .* found .*; nothing was written"):
        export_keras(ours, tmp_path / "it.keras")
    assert (tmp_path / "it.keras").read_bytes() == b"an older one"
    assert [each.name for each in tmp_path.iterdir()] == ["it.keras"]


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(ScanlineError, match=r"cannot write .*none/it.keras: No such file or directory"):
        export_keras(model(), tmp_path / "none" / "it.keras")


def test_what_the_user_set_for_keras_makes_no_difference(tmp_path):
    policy, data_format = keras.config.dtype_policy(), keras.config.image_data_format()
    try:
        keras.config.set_dtype_policy("mixed_float16")
        keras.config.set_image_data_format("channels_first")
        found = export_keras(model(readout="mean"), tmp_path / "it.keras")
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format(data_format)
    assert found.verification.difference < 1e-6
    assert read_keras(tmp_path / "it.keras").notes == []


def test_torch_is_left_as_it_was(tmp_path):
    before = torch.random.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()
    export_keras(model(), tmp_path / "it.keras")
    after = torch.random.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


@pytest.mark.parametrize("name", ["keras", "h5py"])
def test_what_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"requires {name}, which .* pip install '\.\[keras\]'"):
        export_keras(model(), tmp_path / "it.keras")


PROGRAM = """
import os, sys
from pathlib import Path
from scanline.errors import UsageError
from scanline.model.loading import load
from scanline.interchange.keras.write import export_keras
try:
    export_keras(load(sys.argv[1]), Path(sys.argv[2]))
except UsageError as error:
    sys.exit(str(error))
print(sys.modules["keras"].config.backend(), os.environ.get("KERAS_BACKEND"))
"""


def run_alone(target: Path, **said: str) -> subprocess.CompletedProcess[str]:
    """An export in a Python of its own, whose user has no settings of Keras but `said`."""
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    environment |= {"KERAS_HOME": str(target.parent / "home"), **said}
    model().save(target.parent / "model", "0.0.0")
    command = [sys.executable, "-c", PROGRAM, str(target.parent / "model"), str(target)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.campaign
@pytest.mark.skipif(find_spec("tensorflow") is not None, reason="Keras takes TensorFlow, which is there")
def test_without_tensorflow_keras_runs_on_torch_by_default(tmp_path):
    found = run_alone(tmp_path / "it.keras")
    assert found.stdout == "torch None\n", found.stderr
    assert read_keras(tmp_path / "it.keras").architecture.classes == K


def test_an_unknown_backend_is_named(tmp_path):
    found = run_alone(tmp_path / "it.keras", KERAS_BACKEND="abacus")
    assert found.stderr == (
        "Keras cannot start (Unable to import backend : abacus): install its backend, or set "
        "KERAS_BACKEND=torch\n"
    )
    assert not (tmp_path / "it.keras").exists()
