"""Static columns in requests: once beside the steps, in the first step, or in each."""

import json

import pytest

from scanline.serving.limits import Limits
from scanline.serving.problems import Problem
from scanline.serving.requests import RequestParser
from scanline.serving.responses import Responder
from scanline.serving.stream import Stream
from tests.model.test_static import _model


@pytest.fixture(scope="module")
def model():
    made = _model()
    names = ("age", "x", "kind", "word")
    settings = made.preprocessing.settings.model_copy(
        update={"shape": "long", "feature_columns": names, "static_columns": ("age", "kind")}
    )
    form = made.preprocessing
    object.__setattr__(form, "settings", settings)
    return made


def _parsed(model, given):
    body = json.dumps({"inputs": [given]}).encode()
    (sequence,) = RequestParser(model, Limits()).parse_json(body).sequences
    return sequence.tolist()


WHOLE = [[63, 0.5, 3, 3], [63, -1.0, 3, 4]]


@pytest.mark.parametrize(
    "given",
    [
        [[63, 0.5, "new", "two"], [63, -1.0, "new", "three"]],
        [[63, 0.5, "new", "two"], [None, -1.0, "", "three"]],
        [{"age": 63, "x": 0.5, "kind": "new", "word": "two"}, {"x": -1.0, "word": "three"}],
        {
            "steps": [{"x": 0.5, "word": "two"}, {"x": -1.0, "word": "three"}],
            "static": {"age": 63, "kind": "new"},
        },
    ],
)
def test_static_columns_are_given_in_any_of_these_ways(model, given):
    assert _parsed(model, given) == WHOLE


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[63, 0, "new", "two"], [64, 0, "new", "two"]], "one value of the static column"),
        ([{"age": 63, "kind": "new", "word": "two"}], "expected the features age, x, kind, word"),
        (
            {"steps": [{"x": 0, "word": "two"}], "static": {"ages": 63}},
            "static: expected an object of age, kind",
        ),
        ({"steps": [{"x": 0, "word": "two"}], "static": 3}, "static: expected an object of age, kind"),
        ([{"x": 0, "word": "two"}], "found 1 null"),
    ],
)
def test_wrong_static_columns_are_refused(model, given, message):
    with pytest.raises(Problem, match=message):
        _parsed(model, given)


def test_a_stream_needs_them_in_its_first_step_only(model):
    limits = Limits()
    stream = Stream(Responder(model, "1"), RequestParser(model, limits))
    first = {"steps": [{"age": 63, "x": 0.5, "kind": "new", "word": "two"}]}
    stream.respond(json.dumps(first))
    second = json.loads(stream.respond(json.dumps({"steps": [{"x": -1.0, "word": "three"}]})))
    expected = model.stream().feed([[63, 0.5, "new", "two"], [63, -1.0, "new", "three"]])[-1]
    assert second["steps"] == 2
    assert list(second["predictions"][0]["probabilities"].values()) == pytest.approx(expected.tolist())
