"""Classification as a task: targets, loss, score, predictions, state."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from scanline.data.labels import BytesName
from scanline.data.memory import MemorySource
from scanline.errors import DataError, UsageError
from scanline.tasks.classification import Classification, require

ABC = Classification(("a", "b", 3))
# Class probabilities 0.5, 0.3, 0.2 and 0.1, 0.1, 0.8.
LOGITS = np.log(np.array([[5, 3, 2], [1, 1, 8]], np.float32) / 10)


def source(targets: list[int], classes: tuple[int | str, ...]) -> MemorySource:
    return MemorySource.from_array(
        np.zeros((len(targets), 2, 1), np.float32), np.array(targets), classes, "made"
    )


def test_the_classes_are_those_of_the_training_split():
    fitted = Classification.fit(source([0, 1], ("no", "yes")), "data")
    assert (fitted.classes, fitted.output_size, fitted.output_names) == (("no", "yes"), 2, ("no", "yes"))


def test_a_single_class_cannot_be_learned():
    with pytest.raises(DataError, match=r"data: expected at least 2 classes, got 1 \(only\)"):
        Classification.fit(source([0, 0], ("only",)), "data")


def test_targets_are_matched_by_class_name():
    assert ABC.encode(source([0, 1, 1], ("3", "a"))).tolist() == [2, 0, 0]
    aligned = ABC.align(source([0, 1, 1], ("3", "a")), "the model")
    assert (aligned.targets.tolist(), aligned.classes) == ([2, 0, 0], ("a", "b", 3))


def test_unknown_classes_are_named():
    with pytest.raises(DataError, match="made: expected classes of the model, one of a, b, 3; got d"):
        ABC.encode(source([0], ("d",)))


def test_the_loss_is_the_mean_cross_entropy():
    outputs, targets = torch.from_numpy(LOGITS), torch.tensor([0, 1])
    assert ABC.loss(outputs, targets).item() == pytest.approx(-(math.log(0.5) + math.log(0.1)) / 2, rel=1e-6)
    weighted = ABC.loss(outputs, targets, torch.tensor([2.0, 0.0])).item()
    assert weighted == pytest.approx(-math.log(0.5), rel=1e-6)


def test_the_score_counts_correct_predictions():
    score = ABC.score(torch.from_numpy(LOGITS).double(), torch.tensor([0, 1]))
    assert (score.value, score.correct, score.total) == (0.5, 1, 2)
    assert score.split_text() == "0.50000 (1 of 2)"
    assert score.batch_text().endswith(" / acc: 0.50000")
    assert score.to_json().keys() == {"loss", "accuracy"}


def test_predictions_are_class_names_of_their_own_type():
    assert ABC.labels(LOGITS) == ["a", 3]
    assert Classification((4, 7)).predict(np.array([[0.0, 1.0]])).tolist() == [7]


def test_probabilities_are_the_softmax():
    expected = [[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]
    np.testing.assert_allclose(ABC.probabilities(LOGITS), expected, rtol=1e-6)
    np.testing.assert_allclose(ABC.quick_probabilities(LOGITS), expected, rtol=1e-6)
    np.testing.assert_allclose(ABC.quick_probabilities(LOGITS[0]), expected[0], rtol=1e-6)


def test_the_fast_json_is_that_of_decode():
    rows = ABC.probabilities(LOGITS)
    assert [json.loads(row) for row in ABC.json_rows(rows)] == [ABC.decode(row).to_json() for row in rows]


def test_correct_compares_after_every_step():
    steps = np.stack([ABC.probabilities(LOGITS), ABC.probabilities(LOGITS[::-1].copy())], 1)  # (N, T, K)
    assert ABC.correct(steps, np.array([0, 0])).tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "expected classes, a list"),
        ({"classes": [None, 2]}, "expected classes, a list"),
        ({"classes": [float("nan"), 2]}, "finite"),
        ({"classes": []}, "at least 2 classes, got 0"),
        ({"classes": ["0"]}, "at least 2 classes, got 1; import the network again"),
        ({"classes": [1, "1"]}, "different names"),
        ({"classes": ["\ud800", "a"]}, "Unicode"),
        ({"classes": ["y" * 5000, "a"]}, "2 names of up to 5000 characters"),
    ],
)
def test_a_state_that_is_not_valid_is_refused(state, message):
    with pytest.raises(ValueError, match=message):
        Classification.from_json(state)


def test_the_state_comes_back():
    assert Classification.from_json(json.loads(json.dumps(ABC.to_json()))) == ABC


def test_what_needs_a_classification_refuses_other_tasks_by_name():
    assert require(ABC, "a report") is ABC
    with pytest.raises(UsageError, match="a report supports the task classification only, got other"):
        require(type("Other", (), {"name": "other"})(), "a report")


def test_classes_that_are_bytes_are_predicted_as_bytes_after_saving():
    task = Classification((BytesName(b"a "), BytesName(b"\xff"), 3))
    loaded = Classification.from_json(json.loads(json.dumps(task.to_json())))
    assert loaded.predict(LOGITS).tolist() == [b"a ", 3]
    assert loaded.predict(-LOGITS).tolist() == [3, b"a "]
    assert Classification((BytesName(b"a"), BytesName(b"b"))).predict(LOGITS[:, :2]).dtype == "S1"
    assert loaded.to_json() == task.to_json()
    assert "bytes" not in ABC.to_json()


@pytest.mark.parametrize("labels", [[], {"x": "x"}, {"a": 1}, {"a": "\u20ac"}, {"a": "b"}])
def test_bytes_of_other_classes_are_refused(labels):
    with pytest.raises(ValueError, match="expected bytes, the labels of classes as Latin-1"):
        Classification.from_json({"classes": ["a", "b"], "bytes": labels})
