"""ONNX graphs of models with categories: ids go in, and the vocabulary is beside the file."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from scanline.data.memory import MemorySource
from scanline.data.source_info import SourceInfo
from scanline.data.vocabulary import Vocabulary
from scanline.errors import UsageError
from scanline.interchange.onnx.write import export_onnx, export_step_graph
from scanline.model.embeddings import Embedding
from scanline.model.ensemble import make_ensemble
from scanline.model.network import Network
from scanline.recipe import DEFAULT_DATA
from tests.interchange.onnx.models import build, form, session

WORDS = ("the", "film", "(unknown)")
TEXT = DEFAULT_DATA.model_copy(update={"tokens": "words", "text_column": "text"})
TABLE = DEFAULT_DATA.model_copy(update={"feature_columns": ("x", "device", "y")})


def _embedded(model, tables, seed=0):
    network = Network(replace(model.network.architecture, embeddings=tables)).eval()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.requires_grad:
                weight.uniform_(-0.8, 0.8, generator=draw)
        categorical = [each.feature for each in tables]
        numeric = [feature for feature in range(len(network.shift)) if feature not in categorical]
        network.shift[numeric], network.scale[numeric] = 0.5, 2.0
    return replace(model, network=network)


def _text_model(seed=0, words=WORDS, **options):
    read = form(1, vocabularies=(Vocabulary(0, words),), settings=TEXT)
    return _embedded(build(read=read, **options), (Embedding(0, len(words) + 2, 4),), seed)


def _mixed_model(missing="error", **options):
    means = (0.1, 0.0, 0.3) if missing in ("mean", "forward-fill") else ()
    read = form(3, vocabularies=(Vocabulary(1, WORDS),), settings=TABLE, missing=missing, means=means)
    return _embedded(build(read=read, **options), (Embedding(1, 5, 4),))


def _model_logits(model, sequences):
    categories = [None] * model.preprocessing.features
    for each in model.preprocessing.vocabularies:
        categories[each.feature] = each.all_names
    source = MemorySource.from_list(sequences, np.zeros(len(sequences), np.int64), (), "made up")
    return model.outputs(model.steps(replace(source, info=SourceInfo(categories=tuple(categories)))))


@pytest.mark.parametrize(
    ("cell", "bidirectional", "readout"),
    [("lstm", True, "max"), ("gru", False, "mean"), ("rnn", True, "last")],
)
def test_a_text_graph_takes_ids_and_ignores_those_in_padding(tmp_path, cell, bidirectional, readout):
    model = _text_model(cell=cell, bidirectional=bidirectional, readout=readout)
    export = export_onnx(model, tmp_path / "model.onnx")
    assert export.verification.difference < 1e-4
    assert export.to_json()["vocabulary"] == str(tmp_path / "model.vocabulary.json")
    read = session(tmp_path / "model.onnx")
    assert [(each.name, each.type, each.shape) for each in read.get_inputs()] == [
        ("ids", "tensor(int64)", ["N", "T"]),
        ("lengths", "tensor(int64)", ["N"]),
    ]
    ids = np.array([[2, 3, 4, 0], [1, 2, -9, 10**9]])
    (logits,) = read.run(["logits"], {"ids": ids, "lengths": np.array([4, 2])})
    rows = [ids[0][:, None].astype(np.float32), ids[1][:2, None].astype(np.float32)]
    assert np.abs(logits - _model_logits(model, rows)).max() < 1e-5
    # An id that the table does not have is an unknown one.
    feeds = [{"ids": np.array([[2, wrong]]), "lengths": np.array([2])} for wrong in (1, 5, -1)]
    one, *others = (read.run(["logits"], feed)[0] for feed in feeds)
    assert all((other == one).all() for other in others)


@pytest.mark.parametrize("missing", ["error", "mean", "forward-fill"])
def test_a_graph_of_both_takes_ids_beside_values(tmp_path, missing):
    model = _mixed_model(missing, bidirectional=True)
    export_onnx(model, tmp_path / "model.onnx")
    read = session(tmp_path / "model.onnx")
    assert [(each.name, each.shape) for each in read.get_inputs()] == [
        ("ids", ["N", "T", 1]),
        ("steps", ["N", "T", 2]),
        ("lengths", ["N"]),
    ]
    hole = 0.0 if missing == "error" else np.nan
    steps = np.array([[1.0, 2, hole], [hole, 4, 0.5], [0.2, 0, 0.1]], np.float32)
    feed = {"ids": steps[None, :, [1]].astype(np.int64), "steps": steps[None][..., [0, 2]]}
    (logits,) = read.run(["logits"], feed | {"lengths": np.array([3])})
    assert np.abs(logits - _model_logits(model, [steps])).max() < 1e-5


@pytest.mark.parametrize(
    "model", [_text_model(), _mixed_model("forward-fill"), _mixed_model(readout="max", cell="gru")]
)
def test_a_step_graph_takes_the_ids_of_one_step(tmp_path, model):
    export = export_step_graph(model, tmp_path / "step.onnx")
    assert export.verification.difference < 1e-4
    first = session(tmp_path / "step.onnx").get_inputs()[0]
    assert (first.name, first.shape) == ("ids", ["N"] if model.preprocessing.features == 1 else ["N", 1])


def test_the_vocabulary_names_the_ids_in_order(tmp_path):
    export_onnx(_text_model(), tmp_path / "model.onnx")
    assert json.loads((tmp_path / "model.vocabulary.json").read_text()) == {
        "schema": 1,
        "missing_id": 0,
        "unknown_id": 1,
        "features": [{"feature": 0, "name": "text", "ids": ["", "(unknown)", *WORDS]}],
        "text": {"tokens": "words", "lower_case": True, "maximum_length": 0},
    }


def test_members_of_an_ensemble_must_have_the_same_ids(tmp_path):
    one, other = _text_model(0), _text_model(1)
    export_onnx(make_ensemble([one, other]), tmp_path / "model.onnx")
    third = _text_model(2, ("a", "b", "c"))
    with pytest.raises(UsageError, match="expected members with the same categories"):
        export_onnx(make_ensemble([one, third]), tmp_path / "other.onnx")
    assert not (tmp_path / "other.vocabulary.json").exists()
