"""A model that predicts each step, over HTTP and in a stream."""

from __future__ import annotations

import html
import json
import re

import numpy as np
import pytest

from scanline.errors import UsageError
from scanline.serving.gallery import build_gallery
from tests.model.test_every_step import TASK, F, new_model, sequences
from tests.serving.client import in_thread


@pytest.fixture(scope="module")
def served():
    with in_thread(new_model()) as started:
        yield started


def rows(predictions):
    return [[step["probabilities"][name] for name in TASK.classes] for step in predictions]


def test_each_sequence_has_a_prediction_for_each_step(served):
    own = sequences([5, 3])
    expected = new_model().predict_proba(own)
    found = served.predict([each.tolist() for each in own]).json()["predictions"]
    for prediction, probabilities in zip(found, expected, strict=True):
        assert set(prediction) == {"steps"}
        assert rows(prediction["steps"]) == probabilities.tolist()
        assert [step["label"] for step in prediction["steps"]] == [
            TASK.classes[k] for k in probabilities.argmax(1)
        ]


def test_a_trace_and_the_input_come_with_the_steps(served):
    own = sequences([4])
    found = served.predict([own[0].tolist()], trace=True).json()["predictions"][0]
    assert len(found["steps"]) == 4
    assert np.allclose(rows(found["steps"]), new_model().predict_proba(own)[0], atol=1e-6)
    assert len(found["trace"]["probabilities"]) == 4
    changed = served.predict([own[0].tolist()], what_if={"silence": [{"unit": 0}]}).json()
    assert rows(changed["predictions"][0]["steps"]) != rows(found["steps"])


def test_the_page_says_what_can_be_sent_and_there_is_no_gallery(served):
    page = served.get("/").body.decode()
    assert "the task of this model is step-classification" in page
    assert f"lists of steps of {F} values each" in page
    (example,) = re.findall("--data-raw &#x27;(.*)&#x27;", page)
    assert len(served.predict(**json.loads(html.unescape(example))).json()["predictions"][0]["steps"]) == 2
    assert served.get("/assets/app.css").status == 200
    assert served.get("/v1/model").json()["network"]["readout"] == "every-step"
    with pytest.raises(UsageError, match="the gallery supports tasks with one prediction for each sequence"):
        build_gallery(new_model(), "run")


def test_both_directions_are_served(served):
    with in_thread(new_model(bidirectional=True)) as other:
        own = sequences([6])
        found = other.predict([own[0].tolist()]).json()["predictions"][0]["steps"]
        assert rows(found) == new_model(bidirectional=True).predict_proba(own)[0].tolist()
        assert not other.get("/v1/model").json()["streams"]
        assert len(other.predict([np.zeros((2, F)).tolist()], trace=True).json()["predictions"]) == 1
