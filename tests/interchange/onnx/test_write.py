"""A model as an ONNX file, run by ONNX Runtime and compared with the model."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import scanline
from scanline.data import catalogue as catalog
from scanline.data.memory import MemorySource
from scanline.data.picture_format import PictureFormat
from scanline.data.preprocessing import Preprocessing
from scanline.errors import MissingExtraError, ModelError, ScanlineError, UsageError
from scanline.interchange.onnx.write import DEFAULT_OPSET, OLDEST_OPSET, export_onnx, newest_opset
from scanline.model.artifact import Model
from scanline.model.description import Provenance
from scanline.model.description import TestResult as Figures
from scanline.model.model_files import describe_tensors
from scanline.model.network import Architecture, Network
from scanline.model.predictor import Predictor
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification

F, K = 3, 4
CELLS, READOUTS = ("lstm", "gru", "rnn", "gru-reset-before"), ("last", "mean", "max")
NETWORKS = list(itertools.product(CELLS, (1, 2), (False, True), READOUTS))
# Where time counts: one plain and one deep bidirectional network of each cell and readout.
BATCHED = [
    pytest.param(*each, marks=() if (each[1] == 2) == each[2] else pytest.mark.campaign) for each in NETWORKS
]
# Each opset is one export; where time counts, each cell has another readout.
PAIRS = [
    pytest.param(cell, readout, marks=() if c == r else pytest.mark.campaign)
    for c, cell in enumerate(CELLS)
    for r, readout in enumerate(READOUTS)
]
GARBAGE = np.array([np.nan, np.inf, -np.inf, 1e30, 3.0], np.float32)


def form(features: int = F, source: int | None = None, **changed: Any) -> Preprocessing:
    """That of sequences, with whatever is changed."""
    made: dict[str, Any] = {"picture": None, "view": "rows", "permutation_seed": 0, "missing": "error"}
    made |= {"means": (), "settings": DEFAULT_DATA} | changed
    return Preprocessing(source_features=source or features, features=features, **made)


def build(
    cell: str = "lstm",
    layers: int = 1,
    bidirectional: bool = False,
    readout: str = "last",
    *,
    seed: int = 0,
    hidden: int = 6,
    classes: int = K,
    read: Preprocessing | None = None,
    **model: Any,
) -> Model:
    """A model with random weights, large enough that every step counts."""
    read = read or form()
    architecture = Architecture(
        cell, read.features, hidden, layers, bidirectional, 0.0, "between", readout, classes
    )
    classifier = Network(architecture).eval()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in classifier.parameters():
            if weight.requires_grad:
                weight.uniform_(-0.8, 0.8, generator=draw)
        levels = read.picture.levels if read.picture else 2
        classifier.shift.uniform_(0, levels / 2, generator=draw)
        classifier.scale.uniform_(levels / 4, levels / 2, generator=draw)
    names = tuple(f"class {number}" for number in range(classes))
    calibrated = model.pop("calibrated", False)
    return Model(classifier, Classification(names), read, "made up", **model, calibrated=calibrated)


def session(path: Path) -> onnxruntime.InferenceSession:
    """As a user would make one, but for the number of threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def answers(path: Path, feed: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    logits, shares = session(path).run(["logits", "probabilities"], feed)
    return logits, shares


def pad(sequences: list[np.ndarray], draw: np.random.Generator, extra: int = 0) -> dict[str, np.ndarray]:
    """What a graph is given of sequences, with garbage past their ends."""
    lengths = np.array([len(each) for each in sequences], np.int64)
    shape = (len(sequences), int(lengths.max()) + extra, sequences[0].shape[1])
    steps = GARBAGE[draw.integers(len(GARBAGE), size=shape)]
    for row, each in zip(steps, sequences, strict=True):
        row[: len(each)] = each
    return {"steps": steps, "lengths": lengths}


def unlabelled(sequences: list[np.ndarray]) -> MemorySource:
    return MemorySource.from_list(sequences, np.zeros(len(sequences), np.int64), (), "made up")


@pytest.fixture(scope="module")
def newest() -> int:
    return newest_opset()


# --- the answers


@pytest.mark.parametrize(("cell", "layers", "bidirectional", "readout"), BATCHED)
def test_random_batches_get_the_predictions_of_the_model(
    cell, layers, bidirectional, readout, tmp_path, newest
):
    """28 batches for each of 36 networks: 1,008."""
    number = NETWORKS.index((cell, layers, bidirectional, readout))
    draw = np.random.default_rng(number)
    model = build(cell, layers, bidirectional, readout, seed=number, hidden=int(draw.integers(1, 20)))
    runs = []
    for opset in (OLDEST_OPSET, newest):
        export_onnx(model, tmp_path / f"{opset}.onnx", opset=opset)
        runs.append(session(tmp_path / f"{opset}.onnx"))
    difference = 0.0
    for batch in range(28):
        N, T = int(draw.integers(1, 10)), int(draw.integers(1, 41))
        sequences = [
            draw.normal(1, 2, (length, F)).astype(np.float32) for length in draw.integers(1, T + 1, N)
        ]
        feed = pad(sequences, draw, extra=batch % 3)
        logits, shares = runs[batch % 2].run(["logits", "probabilities"], feed)
        ours = Predictor(model.network).outputs(unlabelled(sequences))
        difference = max(
            difference,
            np.abs(logits - ours).max(),
            np.abs(shares - model.predict_proba(sequences)).max(),
        )
        sure = np.ptp(np.sort(ours, 1)[:, -2:], 1) > 1e-4
        assert (logits.argmax(1) == ours.argmax(1))[sure].all(), f"batch {batch} of network {number}"
    assert difference <= 1e-4, f"network {number}"


def test_a_network_worked_by_hand(tmp_path):
    model = build("rnn", hidden=1, classes=2, read=form(1), temperature=2.0, calibrated=True)
    values = {
        "shift": [1.0],
        "scale": [2.0],
        "recurrent.weight_ih_l0": [[1.0]],
        "recurrent.weight_hh_l0": [[0.0]],
        "recurrent.bias_ih_l0": [0.5],
        "recurrent.bias_hh_l0": [0.0],
        "head.weight": [[2.0], [0.0]],
        "head.bias": [0.0, 1.0],
    }
    model.network.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    export_onnx(model, tmp_path / "m.onnx")
    feed = {"steps": np.array([[[9.0], [2.0]]], np.float32), "lengths": np.array([2])}
    logits, shares = answers(tmp_path / "m.onnx", feed)
    h = np.tanh((2 - 1) / 2 + 0.5)  # of the last step; 9 is forgotten
    assert logits[0] == pytest.approx([2 * h, 1], abs=1e-6)
    assert shares[0, 1] == pytest.approx(1 / (1 + np.exp((2 * h - 1) / 2)), abs=1e-6)


def test_real_pictures_by_rows_get_the_same_answers(trained, tmp_path):
    model, digits = scanline.load(trained, calibrated=True), catalog.load("digits").test
    found = export_onnx(model, tmp_path / "digits.onnx")
    assert found.verification.same_class
    assert found.verification.difference <= 1e-4
    images = digits.values.astype(np.float32)
    feed = {"steps": images, "lengths": np.full(len(images), 8)}
    logits, shares = answers(tmp_path / "digits.onnx", feed)
    ours = model.predict_proba(digits.values)
    assert np.abs(shares - ours).max() <= 1e-4
    assert (model.classes[logits.argmax(1)] == model.predict(digits.values)).all()


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("cell", CELLS)
def test_padding_changes_no_bit(cell, readout, tmp_path):
    model = build(cell, 2, True, readout)
    export_onnx(model, tmp_path / "m.onnx")
    draw = np.random.default_rng(5)
    lengths = np.array([1, 7, 4])
    real = np.arange(9)[None, :, None] < lengths[:, None, None]
    steps = draw.normal(size=(3, 9, F)).astype(np.float32)
    told = [
        answers(tmp_path / "m.onnx", {"steps": np.where(real, steps, padding), "lengths": lengths})
        for padding in map(np.float32, (0, np.nan, np.inf, 1e38))
    ]
    for logits, shares in told:
        assert np.isfinite(logits).all()
        assert np.array_equal(logits, told[0][0])
        assert np.array_equal(shares, told[0][1])


def test_a_mean_over_very_many_steps_loses_none(tmp_path):
    """A constant sum in float32 goes off by a thousandth in so many steps."""
    model = build("rnn", readout="mean", hidden=1, classes=2, read=form(1), seed=1)
    with torch.no_grad():
        model.network.head.weight.fill_(1.0)
    export_onnx(model, tmp_path / "m.onnx")
    steps = np.full((1, 400_000, 1), 1.7, np.float32)
    logits, _ = answers(tmp_path / "m.onnx", {"steps": steps, "lengths": np.array([steps.shape[1]])})
    ours = Predictor(model.network).outputs(unlabelled([steps[0]]))
    assert np.abs(logits - ours).max() < 1e-6


# --- what goes in


@pytest.mark.parametrize(
    ("missing", "means"),
    [("zero", ()), ("mean", (0.5, -2.0, 7.0)), ("forward-fill", (0.5, -2.0, 7.0))],
)
@pytest.mark.parametrize("opset", [OLDEST_OPSET, DEFAULT_OPSET, "newest"])
def test_missing_values_are_filled_inside(missing, means, opset, tmp_path, newest):
    model = build("gru", 1, True, "mean", read=form(missing=missing, means=means))
    export_onnx(model, tmp_path / "m.onnx", opset=newest if opset == "newest" else opset)
    draw = np.random.default_rng(2)
    sequences = [draw.normal(size=(length, F)).astype(np.float32) for length in (1, 9, 5)]
    for each in sequences:
        each[draw.random(each.shape) < 0.4] = np.nan
    sequences[1][:3, 1] = np.nan  # none before it
    sequences[0][0, 2] = np.nan
    logits, shares = answers(tmp_path / "m.onnx", pad(sequences, draw))
    assert np.isfinite(logits).all()
    assert np.abs(shares - model.predict_proba(sequences)).max() < 1e-6


def test_filling_forward_is_worked_by_hand(tmp_path):
    """A value stands for itself, then for the missing ones after it; the mean for those before it."""
    model = build("rnn", hidden=4, read=form(2, missing="forward-fill", means=(10.0, 20.0)))
    export_onnx(model, tmp_path / "m.onnx")
    nan = np.nan
    holes = np.array([[[nan, 1], [3, nan], [nan, nan], [4, 2]]], np.float32)
    whole = np.array([[[10, 1], [3, 1], [3, 1], [4, 2]]], np.float32)
    told = [
        answers(tmp_path / "m.onnx", {"steps": each, "lengths": np.array([4])}) for each in (holes, whole)
    ]
    assert np.array_equal(told[0][0], told[1][0])


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_value_that_is_not_a_number_never_gets_a_prediction(cell, readout, wrong, tmp_path):
    """ONNX Runtime's LSTM makes numbers of NaN."""
    model = build(cell, 1, True, readout)
    export_onnx(model, tmp_path / "m.onnx")
    steps = np.random.default_rng(0).normal(size=(3, 4, F)).astype(np.float32)
    steps[0, 1, 0] = steps[2, 3, 2] = wrong  # the last is padding
    logits, shares = answers(tmp_path / "m.onnx", {"steps": steps, "lengths": np.array([4, 4, 3])})
    assert np.isnan(logits[0]).all()
    assert np.isnan(shares[0]).all()
    ours = Predictor(model.network).outputs(unlabelled([steps[1], steps[2, :3]]))
    assert np.abs(logits[1:] - ours).max() < 1e-6


VIEWS = [
    ("columns", 1, 4),
    ("columns", 3, 12),
    ("pixels", 1, 1),
    ("pixels", 3, 3),
    ("permuted", 1, 1),
    ("permuted", 3, 3),
    ("patches:2", 1, 4),
    ("patches:2", 3, 12),
    ("columns", 1, 8),  # cut: two columns a step
    ("permuted", 3, 2),  # cut within a pixel
]


def picture_form(view: str, channels: int, features: int, **changed: Any) -> Preprocessing:
    picture = PictureFormat(height=4, width=6, box=3, levels=16, centre="mass", channels=channels)
    return form(features, 6 * channels, picture=picture, view=view, permutation_seed=7, **changed)


def draw_pictures(n: int, channels: int) -> np.ndarray:
    shape = (n, 4, 6) + ((3,) if channels == 3 else ())
    return np.random.default_rng(n).integers(0, 17, shape).astype(np.uint8)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize(("view", "channels", "features"), VIEWS)
def test_every_view_of_pictures_is_inside(view, channels, features, readout, tmp_path):
    model = build("gru", 1, True, readout, read=picture_form(view, channels, features))
    export_onnx(model, tmp_path / "m.onnx")
    for n in (1, 5):
        pictures = draw_pictures(n, channels)
        given = pictures.reshape(n, 4, 6 * channels).astype(np.float32)
        _, shares = answers(tmp_path / "m.onnx", {"pictures": given})
        assert np.abs(shares - model.predict_proba(pictures)).max() < 1e-6


@pytest.mark.parametrize(("channels", "features"), [(1, 6), (3, 18), (1, 3), (3, 24)])
def test_pictures_by_rows_are_read_as_steps(channels, features, tmp_path):
    model = build("lstm", read=picture_form("rows", channels, features))
    export_onnx(model, tmp_path / "m.onnx")
    pictures = draw_pictures(5, channels)
    steps = pictures.reshape(5, -1, features).astype(np.float32)
    feed = {"steps": steps, "lengths": np.full(5, steps.shape[1])}
    _, shares = answers(tmp_path / "m.onnx", feed)
    assert np.abs(shares - model.predict_proba(pictures)).max() < 1e-6


@pytest.mark.parametrize("missing", ["zero", "mean", "forward-fill"])
def test_missing_values_of_a_picture_are_filled_before_it_is_cut(missing, tmp_path):
    means = () if missing == "zero" else (1.0, 2.0, 3.0, 4.0)
    model = build("rnn", read=picture_form("columns", 1, 4, missing=missing, means=means))
    export_onnx(model, tmp_path / "m.onnx")
    pictures = draw_pictures(6, 1).astype(np.float32)
    pictures[np.random.default_rng(0).random(pictures.shape) < 0.3] = np.nan
    _, shares = answers(tmp_path / "m.onnx", {"pictures": pictures})
    ours = model.probabilities(MemorySource.from_array(pictures, np.zeros(6, np.int64), (), "holes"))
    assert np.abs(shares - ours).max() < 1e-6


def test_sequences_that_were_cut_are_read_as_the_network_reads_them(tmp_path):
    model = build("gru", read=form(4, 1))
    export_onnx(model, tmp_path / "m.onnx")
    series = np.random.default_rng(0).normal(size=(3, 20, 1)).astype(np.float32)
    feed = {"steps": series.reshape(3, 5, 4), "lengths": np.full(3, 5)}
    _, shares = answers(tmp_path / "m.onnx", feed)
    assert np.abs(shares - model.predict_proba(series)).max() < 1e-6


# --- the file


@pytest.mark.parametrize(("cell", "readout"), PAIRS)
def test_the_file_passes_the_checker_in_every_opset(cell, readout, tmp_path, newest):
    models = [
        build(cell, 2, True, readout),
        build(cell, readout=readout, read=form(missing="forward-fill", means=(0.0,) * F)),
        build(cell, readout=readout, read=picture_form("patches:2", 1, 4)),
    ]
    for opset, model in zip(range(OLDEST_OPSET, newest + 1), itertools.cycle(models), strict=False):
        export_onnx(model, tmp_path / "m.onnx", opset=opset)
        made = onnx.load(tmp_path / "m.onnx")
        assert [each.version for each in made.opset_import] == [opset]
        onnx.checker.check_model(made, full_check=True)


def test_batch_and_time_are_free_and_names_are_plain(tmp_path):
    export_onnx(build("lstm", 2, True), tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    shapes = {
        each.name: [size.dim_param or size.dim_value for size in each.type.tensor_type.shape.dim]
        for each in (*graph.input, *graph.output)
    }
    assert shapes == {
        "steps": ["N", "T", F],
        "lengths": ["N"],
        "logits": ["N", K],
        "probabilities": ["N", K],
    }
    assert {each.name for each in graph.initializer} >= {"shift", "scale", "layer_1_W", "head_weight"}
    assert len({each.name for each in graph.node}) == len(graph.node)


def test_probabilities_can_be_left_out(tmp_path):
    export_onnx(build(), tmp_path / "m.onnx", probabilities=False)
    assert [each.name for each in onnx.load(tmp_path / "m.onnx").graph.output] == ["logits"]


def test_calibration_changes_the_probabilities_alone(tmp_path):
    plain, calibrated = build(temperature=3.0), build(temperature=3.0, calibrated=True)
    export_onnx(plain, tmp_path / "plain.onnx")
    export_onnx(calibrated, tmp_path / "calibrated.onnx")
    steps = np.random.default_rng(0).normal(size=(2, 5, F)).astype(np.float32)
    feed = {"steps": steps, "lengths": np.array([5, 5])}
    logits, shares = answers(tmp_path / "calibrated.onnx", feed)
    assert np.array_equal(logits, answers(tmp_path / "plain.onnx", feed)[0])
    assert np.abs(shares - calibrated.predict_proba(steps)).max() < 1e-6
    assert np.abs(shares - plain.predict_proba(steps)).max() > 1e-3


def test_the_metadata_describe_the_model(tmp_path):
    tested = Figures(n=10, correct=9, accuracy=0.9, ci95=(0.6, 0.98))
    history = Provenance(made="by hand", licence="CC-BY-4.0", test=tested)
    model = build(temperature=1.5, calibrated=True, provenance=history)
    export_onnx(model, tmp_path / "m.onnx")
    read = session(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(read["classes"]) == ["class 0", "class 1", "class 2", "class 3"]
    assert json.loads(read["input"]) == {"name": "steps", "shape": ["N", "T", F], "missing": "error"}
    assert json.loads(read["accuracy"])["accuracy"] == 0.9
    assert (read["scanline"], read["data"], read["made"]) == (scanline.__version__, "made up", "by hand")
    assert (read["licence"], read["temperature"]) == ("CC-BY-4.0", "1.5")
    weights = describe_tensors(model.network.state_dict())
    assert json.loads(read["sha256"]) == {name: each.sha256 for name, each in weights.items()}


def test_the_digests_are_those_of_the_bundle(trained, tmp_path):
    export_onnx(scanline.load(trained), tmp_path / "m.onnx")
    read = session(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map
    tensors = json.loads((trained / "model" / "model.json").read_text())["tensors"]
    assert json.loads(read["sha256"]) == {name: each["sha256"] for name, each in tensors.items()}
    assert json.loads(read["input"])["picture"]["levels"] == 16
    assert json.loads(read["classes"]) == list(range(10))


def test_the_same_model_makes_the_same_file(tmp_path):
    for name in ("a.onnx", "b.onnx"):
        export_onnx(build("gru", 2, True, "max"), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


# --- what cannot be exported


@pytest.mark.parametrize("opset", [OLDEST_OPSET - 1, 0, 99, True, "17"])
def test_an_opset_out_of_range_is_refused(opset, tmp_path, newest):
    with pytest.raises(UsageError, match=rf"^opset must be 11 to {newest}, .* got {opset}$"):
        export_onnx(build(), tmp_path / "m.onnx", opset=opset)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["onnx", "onnxruntime"])
def test_without_the_packages_the_error_names_the_extra(name, tmp_path, monkeypatch):
    model = build()
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"requires {name}, .* pip install '\.\[onnx\]'"):
        export_onnx(model, tmp_path / "m.onnx")


def test_filling_forward_before_the_cut_is_refused(tmp_path):
    model = build(read=form(4, 1, missing="forward-fill", means=(0.0,) * 4))
    with pytest.raises(
        UsageError, match=r"cuts steps of 1 values into steps of 4 after .* missing values forward"
    ):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_weights_of_more_than_two_gigabytes_are_refused(tmp_path):
    with torch.device("meta"):
        classifier = Network(Architecture("lstm", F, 16_384, 1, False, 0.0, "between", "last", K))
    model = Model(classifier, Classification(tuple("abcd")), form(), "made up")
    with pytest.raises(ModelError, match=r"4\.0 GiB; .* holds at most 2 GiB"):
        export_onnx(model, tmp_path / "m.onnx")


def test_a_folder_that_is_not_there_is_an_error_of_one_line(tmp_path):
    with pytest.raises(ScanlineError, match=r"cannot write .*m\.onnx: No such file"):
        export_onnx(build(), tmp_path / "nowhere" / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("opset", [OLDEST_OPSET, DEFAULT_OPSET])
def test_the_last_step_of_both_directions_is_exported(tmp_path, opset):
    model = build("lstm", readout="last-step", bidirectional=True)
    assert export_onnx(model, tmp_path / "it.onnx", opset=opset).verification.difference <= 1e-5
