"""Models that join the predictions of windows, in the server and in scoring."""

from __future__ import annotations

import json

import numpy as np
import pytest

from scanline.errors import UsageError
from scanline.scoring.scorer import Scorer
from scanline.serving.limits import Limits
from scanline.serving.problems import Problem
from scanline.serving.requests import RequestParser
from scanline.serving.responses import Responder
from tests.model.test_joining import new_model, sequences, source_of
from tests.scoring.packed import table_of


def body(values, **options) -> bytes:
    return json.dumps({"inputs": [each.tolist() for each in values]} | options).encode()


@pytest.mark.parametrize("task", ["classification", "step-classification"])
def test_responses_are_of_whole_recordings(task):
    model, values = new_model(task), sequences([12, 3])
    parser, responder = RequestParser(model, Limits()), Responder(model, "0")
    (response,) = responder.respond_all([parser.parse_json(body(values))])
    for each, expected in zip(json.loads(response)["predictions"], model.predict_proba(values), strict=True):
        rows = each["steps"] if task == "step-classification" else [each]
        found = [list(row["probabilities"].values()) for row in rows]
        np.testing.assert_allclose(found, np.atleast_2d(expected), rtol=1e-6)


def test_limits_count_the_steps_of_all_windows():
    # 12 steps are 5 windows of 5 steps, one every 2.
    model, values = new_model(), sequences([12])
    RequestParser(model, Limits(steps=25)).parse_json(body(values))
    with pytest.raises(Problem, match=r"at most 24 steps a sequence, found 25"):
        RequestParser(model, Limits(steps=24)).parse_json(body(values))


def test_traces_are_of_one_window():
    model, parser = new_model(), RequestParser(new_model(), Limits())
    request = parser.parse_json(body(sequences([5]), trace=True))
    assert b"trace" in Responder(model, "0").respond(request)
    with pytest.raises(Problem, match=r"a trace is of one window of this model: expected at most 5 steps"):
        parser.parse_json(body(sequences([12]), trace=True))


def test_scores_are_of_whole_recordings(tmp_path):
    model, values = new_model(bidirectional=False), sequences([12, 5, 30])
    model.save(tmp_path / "model")
    scores = Scorer.open(tmp_path / "model")(table_of(source_of(values))).to_pylist()
    expected = model.predict_proba(values)
    np.testing.assert_allclose([row["probabilities"] for row in scores], expected, rtol=1e-6)
    with pytest.raises(UsageError, match=r"--stop-at: this model joins the predictions of windows"):
        Scorer.open(tmp_path / "model", stop_at=0.9)
