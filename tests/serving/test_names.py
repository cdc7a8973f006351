"""Models of texts and of categories over HTTP and in streams: names go in, unknown ones are counted."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from scanline.data.memory import MemorySource
from scanline.data.preprocessing import Preprocessing
from scanline.data.source_info import SourceInfo
from scanline.data.vocabulary import Vocabulary
from scanline.model.artifact import Model
from scanline.model.embeddings import Embedding
from scanline.model.ensemble import make_ensemble
from scanline.model.network import Architecture, Network
from scanline.recipe import DEFAULT_DATA
from scanline.serving.gallery import _named_input
from scanline.serving.limits import Limits
from scanline.serving.notice import notice
from scanline.serving.requests import RequestParser
from scanline.serving.responses import Responder
from scanline.serving.stream import Stream
from scanline.tasks.classification import Classification
from scanline.tasks.regression import Regression
from tests.serving.client import in_thread, problem

WORDS = ("a", "fine", "dull", "film")
TEXT = DEFAULT_DATA.model_copy(update={"tokens": "words", "text_column": "text"})
TABLE = DEFAULT_DATA.model_copy(update={"feature_columns": ("x", "device"), "shape": "long"})
ROWS = [{"x": 0.5, "device": "fine"}, {"device": "new", "x": -1.0}, {"x": 0, "device": None}]


def _model(text, seed=0, words=WORDS, bidirectional=False, missing="error"):
    torch.manual_seed(seed)
    feature, features = (0, 1) if text else (1, 2)
    tables = (Embedding(feature, len(words) + 2, 3),)
    architecture = Architecture(
        "lstm", features, 5, 1, bidirectional, 0.0, "between", "mean", 2, embeddings=tables
    )
    vocabulary = Vocabulary(feature, words)
    means = (0.0,) * features if missing == "mean" else ()
    form = Preprocessing(
        None,
        "rows",
        0,
        features,
        features,
        missing,
        means,
        TEXT if text else TABLE,
        vocabularies=(vocabulary,),
    )
    return Model(Network(architecture).eval(), Classification(("no", "yes")), form, "made up")


@pytest.fixture(scope="module")
def texts():
    with in_thread(_model(text=True)) as started:
        yield started


@pytest.fixture(scope="module")
def tables():
    with in_thread(_model(text=False)) as started:
        yield started


def _rows(response):
    return [
        [each["probabilities"][name] for name in ("no", "yes")] for each in response.json()["predictions"]
    ]


def test_texts_are_predicted_in_every_form_and_unknown_tokens_counted(texts):
    own = ["A fine FILM!", "dull"]
    found = texts.predict([own[0], {"text": own[1]}])
    assert _rows(found) == _model(text=True).predict_proba(own).tolist()
    assert [each["unknown"] for each in found.json()["predictions"]] == [1, 0]
    tokens = texts.predict([["A", "fine", "FILM", "!"], {"steps": ["dull"]}])
    assert _rows(tokens) == _rows(found)


def test_a_trace_has_the_tokens_and_their_attribution(texts):
    found = texts.predict(["A fine new film"], trace=True, attribution=True).json()["predictions"][0]
    assert found["seen"] == ["a", "fine", "new", "film"]
    assert found["unknown"] == 1
    assert len(found["trace"]["probabilities"]) == 4
    attribution = found["attribution"]
    assert attribution["of"] == found["label"]
    assert np.shape(attribution["values"]) == (4, 1)
    assert attribution["sum"] == pytest.approx(np.sum(attribution["values"]), abs=1e-5)
    assert attribution["error"] < 1e-3
    # What was read can be sent again.
    again = texts.predict([found["seen"]], trace=True).json()["predictions"][0]
    assert again["probabilities"] == found["probabilities"]
    plain = texts.predict(["A fine new film"]).json()["predictions"][0]
    assert plain["probability"] == pytest.approx(found["probability"], abs=1e-6)


def test_steps_are_objects_by_column_name_or_lists(tables):
    model = _model(text=False)
    expected = model.predict_proba([ROWS])
    lists = [[each["x"], each["device"]] for each in ROWS]
    for given in (ROWS, {"steps": ROWS}, lists):
        found = tables.predict([given])
        assert _rows(found) == expected.tolist()
        assert found.json()["predictions"][0]["unknown"] == 1
    assert _rows(tables.predict([ROWS], lengths=[2])) == model.predict_proba([ROWS[:2]]).tolist()
    shown = tables.predict([ROWS], trace=True).json()["predictions"][0]["seen"]
    assert shown == [[0.5, "fine"], [-1.0, "new"], [0, None]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("texts", "", r"inputs[0]: the text: expected a text with words, found none"),
        ("texts", 3, r"inputs[0]: expected a text, found int"),
        ("texts", {"txt": "a"}, 'expected an object with "text" or "steps", found txt'),
        ("texts", ["a", 3], "step 2, feature 0: expected the name of a category, found 3"),
        ("tables", "a fine film", "expected a list of steps, found text"),
        ("tables", [{"x": 1.0}], "step 1: expected the features x, device, found x"),
        ("tables", [[1.0]], "step 1: expected 2 values, found 1"),
        ("tables", [["much", "fine"]], "step 1, column x: expected a number, got 'much'"),
        ("tables", [[1.0, 2]], "step 1, column device: expected the name of a category, found 2"),
        ("tables", [[None, "fine"]], "expected numbers, found 1 null"),
        ("tables", [[1e300, "fine"]], "expected numbers that float32 can hold"),
        ("tables", [], "expected a list of steps, found none"),
    ],
)
def test_wrong_inputs_are_named(request, name, content, message):
    found = problem(request.getfixturevalue(name).predict([content]), "wrong-values")
    assert message in found["detail"]


def test_the_model_says_what_it_reads(texts, tables):
    assert texts.get("/v1/model").json()["input"] == {
        "kind": "text",
        "tokens": "words",
        "lower_case": True,
        "maximum_length": 0,
        "unit": "word",
    }
    described = tables.get("/v1/model").json()["input"]
    assert (described["names"], described["categorical"]) == (["x", "device"], [1])
    schemas = texts.get("/openapi.json").json()["components"]["schemas"]
    assert "attribution" in schemas["PredictRequest"]["properties"]
    assert "unknown" in schemas["Prediction"]["properties"]


def _stream(model):
    return Stream(Responder(model, "0"), RequestParser(model, Limits()))


def test_a_stream_reads_tokens_and_steps_by_name():
    model = _model(text=True)
    stream = _stream(model)
    first = json.loads(stream.respond('{"text": "a fine"}'))
    last = json.loads(stream.respond('{"steps": ["new", "film"]}'))
    assert (first["unknown"], last["unknown"], last["steps"]) == (0, 1, 4)
    found = [last["predictions"][-1]["probabilities"][name] for name in ("no", "yes")]
    assert found == pytest.approx(model.predict_proba(["a fine new film"])[0].tolist(), abs=1e-12)
    table = _model(text=False)
    steps = json.loads(_stream(table).respond(json.dumps({"steps": ROWS})))
    found = [steps["predictions"][-1]["probabilities"][name] for name in ("no", "yes")]
    assert found == pytest.approx(table.predict_proba([ROWS])[0].tolist(), abs=1e-12)


def test_an_ensemble_is_served_whose_members_know_other_words():
    members = [_model(text=True), _model(text=True, seed=1, words=("film", "new"))]
    ensemble = make_ensemble(members)
    with in_thread(ensemble) as served:
        found = served.predict(["a new film", "nothing"])
        mean = np.mean([member.predict_proba(["a new film", "nothing"]) for member in members], 0)
        assert np.allclose(_rows(found), mean)
        assert [each["unknown"] for each in found.json()["predictions"]] == [0, 1]
        refused = problem(served.predict(["a"], attribution=True), "wrong-values")
        assert "needs one network" in refused["detail"]
    steps = json.loads(_stream(ensemble).respond('{"text": "a new film"}'))
    assert np.allclose(list(steps["predictions"][-1]["probabilities"].values()), mean[0])


def test_a_gallery_shows_texts_and_names():
    codes = np.array([[1.0, 0], [0.5, 1]], np.float32)
    source = MemorySource(codes, np.array([2]), np.zeros(1, np.int64), ())
    words = replace(source, concatenated=codes[:, 1:], info=SourceInfo(categories=(("fine", "film"),)))
    assert _named_input(_model(text=True), words.steps_of(0), words) == "fine film"
    table = replace(source, info=SourceInfo(categories=(None, ("fine", ""))))
    assert _named_input(_model(text=False), table.steps_of(0), table) == [[1.0, "fine"], [0.5, ""]]
    assert _named_input(_model(text=False), codes, source) is None


@pytest.mark.parametrize("text", [True, False])
def test_a_page_without_classes_says_what_can_be_sent(text):
    model = replace(_model(text), task=Regression(mean=1.0, scale=2.0))
    page = html.unescape(notice(model, "made up").decode())
    assert "the task of this model is regression. It predicts numbers for each sequence." in page
    what = "texts, which are read as words" if text else "lists of steps of 2 values each (x, device)"
    assert f"POST inputs to /v1/predict: {what}." in page
    (example,) = re.findall("--data-raw '(.*)'", page)
    assert _model(text).predict(json.loads(example)["inputs"]).shape == (1,)
