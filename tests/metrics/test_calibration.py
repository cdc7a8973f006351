"""Whether probabilities can be believed, and the temperature that makes them so."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import brentq
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss

import scanline as package
from scanline.api import train
from scanline.data import catalogue as catalog
from scanline.errors import ModelError
from scanline.evaluation.evaluate import evaluate_run
from scanline.metrics import calibration
from scanline.metrics.calibration import fit_temperature
from scanline.metrics.probabilities import mean_loss
from scanline.model.artifact import Model
from scanline.model.loading import load
from scanline.storage.json_files import write_sealed_json

COLDEST, HOTTEST = 0.05, 20.0


def reliability(*arguments, **options) -> dict:
    return calibration.reliability(*arguments, **options).to_json()


def softmax(logits: np.ndarray) -> np.ndarray:
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    return probabilities / probabilities.sum(1, keepdims=True)


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Where the derivative of the mean cross-entropy by 1/T is 0: the mean logit that the probabilities
    expect is then the mean logit of the true classes."""
    logits = logits.astype(np.float64)
    true = logits[np.arange(len(labels)), labels].mean()

    def derivative(cold: float) -> float:
        return (softmax(logits * cold) * logits).sum(1).mean() - true

    if derivative(1 / COLDEST) < 0:  # answers that are all right, say: the surer the better
        return COLDEST
    if derivative(1 / HOTTEST) > 0:
        return HOTTEST
    return 1 / brentq(derivative, 1 / HOTTEST, 1 / COLDEST, xtol=1e-12)


def test_the_calibration_error_computed_by_hand():
    """Bins of 1/15. In (0.6, 0.6667]: 0.62 right and 0.66 wrong, mean 0.64, share 0.5, off by 0.14, weight 2.
    In (0.9333, 1]: 0.95, 0.97 and 0.99 right, mean 0.97, share 1, off by 0.03, weight 3.
    In (0.3333, 0.4]: 0.35 wrong, off by 0.35, weight 1. Together (0.28 + 0.09 + 0.35) / 6 = 0.12.
    """
    confidence = np.array([0.62, 0.95, 0.66, 0.97, 0.35, 0.99])
    diagram = reliability(confidence, np.array([1, 1, 0, 1, 0, 1], bool))
    assert diagram["error"] == pytest.approx(0.12)
    assert [tuple(each.values()) for each in diagram["bins"]] == [
        tuple(map(pytest.approx, (5 / 15, 6 / 15, 1, 0.35, 0.0))),
        tuple(map(pytest.approx, (9 / 15, 10 / 15, 2, 0.64, 0.5))),
        tuple(map(pytest.approx, (14 / 15, 1.0, 3, 0.97, 1.0))),
    ]
    assert list(diagram["bins"][0]) == ["low", "high", "n", "confidence", "accuracy"]


@pytest.mark.parametrize(
    ("confidence", "right", "error"),
    [
        ([1.0, 1.0], [True, True], 0.0),
        ([1.0, 1.0], [False, False], 1.0),
        ([0.75] * 4, [True, True, True, False], 0.0),
        ([0.5], [True], 0.5),
    ],
)
def test_the_calibration_error_of_perfect_and_of_random_predictions(confidence, right, error):
    assert reliability(np.array(confidence), np.array(right))["error"] == pytest.approx(error)


def test_a_probability_on_a_border_belongs_to_the_lower_bin():
    """Four bins, whose borders are exact: 0.25 and 0.5 end theirs; 0 is in the first, 1 in the last."""
    diagram = reliability(np.array([0.0, 0.25, 0.5, 0.500001, 1.0]), np.ones(5, bool), bins=4)
    assert [(each["low"], each["n"]) for each in diagram["bins"]] == [(0, 2), (0.25, 1), (0.5, 1), (0.75, 1)]


def plain_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    error = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        own = [i for i, sure in enumerate(confidence) if low < sure <= high or (number == 0 and sure == 0)]
        if own:
            sure = sum(float(confidence[i]) for i in own) / len(own)
            fraction = sum(bool(right[i]) for i in own) / len(own)
            error += len(own) / len(confidence) * abs(sure - fraction)
    return error


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bins", [15, 7, 1])
def test_the_calibration_error_is_that_of_a_plain_loop(seed, bins):
    draw = np.random.default_rng(seed)
    n = int(draw.integers(1, 500))
    confidence = draw.beta(4, 1, n)
    right = draw.random(n) < confidence**2
    diagram = reliability(confidence, right, bins)
    assert diagram["error"] == pytest.approx(plain_calibration_error(confidence, right, bins), abs=1e-12)
    assert sum(each["n"] for each in diagram["bins"]) == n
    for each in diagram["bins"]:
        assert each["low"] < each["confidence"] <= each["high"]


def calibrated_logits(n: int, K: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose probabilities are true: each label is drawn from them."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(n, K)) * 2
    labels = (softmax(logits).cumsum(1) < draw.random((n, 1))).sum(1).clip(max=K - 1)
    return logits.astype(np.float32), labels


@pytest.mark.parametrize("factor", [0.2, 0.5, 1.0, 3.0, 12.0])
def test_the_fitted_temperature_is_the_factor_by_which_logits_were_multiplied(factor):
    """Of 40,000 sequences; 0.02 is about three deviations of what such a sample can say."""
    logits, labels = calibrated_logits(40_000, 5, seed=0)
    assert fit_temperature(logits * np.float32(factor), labels) == pytest.approx(factor, rel=0.02)


def test_only_overconfident_probabilities_have_a_calibration_error_which_the_temperature_removes():
    logits, labels = calibrated_logits(40_000, 5, seed=1)

    def error(of: np.ndarray) -> float:
        return reliability(softmax(of).max(1), of.argmax(1) == labels)["error"]

    loud = logits * np.float32(3)
    assert error(logits) < 0.01
    assert error(loud) > 0.1
    assert error(loud / np.float32(fit_temperature(loud, labels))) < 0.01


@pytest.mark.parametrize("seed", range(6))
def test_the_temperature_is_where_the_derivative_of_the_loss_is_0(seed):
    draw = np.random.default_rng(seed)
    n, K = int(draw.integers(30, 400)), int(draw.integers(2, 12))
    labels = draw.integers(0, K, n)
    spread = draw.uniform(0.5, 6)
    logits = (draw.normal(size=(n, K)) * spread).astype(np.float32)
    logits[np.arange(n), labels] += spread
    expected = best_temperature(logits, labels)
    assert COLDEST < expected < HOTTEST
    assert fit_temperature(logits, labels) == pytest.approx(expected, rel=1e-3)


@settings(deadline=None)
@given(data=st.data(), n=st.integers(1, 12), K=st.integers(2, 5))
def test_a_temperature_never_raises_the_loss_of_the_sequences_it_was_fitted_on(data, n, K):
    logits = data.draw(arrays(np.float32, (n, K), elements=st.floats(-30, 30, width=32)))
    labels = data.draw(arrays(np.int64, n, elements=st.integers(0, K - 1)))
    temperature = fit_temperature(logits, labels)
    assert COLDEST <= temperature <= HOTTEST
    before, after = mean_loss(logits, labels), mean_loss(logits / np.float32(temperature), labels)
    assert after <= before * (1 + 1e-6) + 1e-6


def test_the_temperature_is_bounded_if_all_predictions_are_correct():
    """Any lower temperature would do better still, so that none is the best: it stays 1."""
    labels = np.arange(50) % 3
    logits = np.eye(3, dtype=np.float32)[labels] * 4
    temperature = fit_temperature(logits, labels)
    assert temperature == 1


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e4])
def test_logits_of_any_size_have_a_temperature(scale):
    logits, labels = calibrated_logits(50, 3, seed=0)
    assert COLDEST <= fit_temperature(logits * np.float32(scale), labels) <= HOTTEST


@pytest.fixture(scope="module")
def without_validation(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unvalidated")
    values = np.random.default_rng(0).normal(size=(20, 4)).round(2)
    rows = [",".join([*map(str, row), "ab"[index % 2]]) for index, row in enumerate(values)]
    (folder / "wide.csv").write_text("\n".join(["v1,v2,v3,v4,label", *rows]) + "\n")
    few = {"train.samples": 0, "train.epochs": 0, "train.steps": 3, "split.validation": 0.0}
    train(folder / "wide.csv", settings=few | {"model.hidden_size": 4}, run=folder / "run", log=None)
    return folder / "run"


def drawn_for(run: Path, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and labels of one part, by the numbers in split.json and scikit-learn's own table."""
    index = json.loads((run / "split.json").read_text())["parts"][source]["sequences"]
    whole = load_digits()
    return whole.images[index].astype(np.uint8), whole.target[index]


def test_the_temperature_of_a_run_is_fitted_on_the_validation_split_only(trained):
    model = load(trained)
    refitted = {}
    for name in ("train", "validation", "test"):
        images, labels = drawn_for(trained, name)
        # Logarithms of probabilities are logits but for a number that all classes share.
        refitted[name] = best_temperature(np.log(model.predict_proba(images)), labels)
    assert model.temperature == pytest.approx(refitted["validation"], rel=1e-3)
    assert abs(refitted["test"] / refitted["validation"] - 1) > 0.01  # this check can tell them apart
    assert abs(refitted["train"] / refitted["validation"] - 1) > 0.01
    images, labels = drawn_for(trained, "validation")
    losses = [log_loss(labels, load(trained, calibrated=hot).predict_proba(images)) for hot in (False, True)]
    assert losses[1] < losses[0]


def test_probabilities_are_calibrated_only_on_request_and_predictions_are_unchanged(trained):
    images = catalog.load("digits").test.values
    plain, hot = load(trained), load(trained, calibrated=True)
    temperature = plain.temperature
    assert (plain.calibrated, plain.divisor) == (False, 1.0)
    assert (hot.calibrated, hot.divisor) == (True, temperature)
    assert temperature != 1
    sequences = plain.read(images)
    with torch.inference_mode():
        logits = Model.load(trained / "model").network(torch.tensor(sequences.values)).numpy()
    assert plain.outputs(sequences) == pytest.approx(logits, abs=1e-6)
    assert hot.outputs(sequences) == pytest.approx(logits / temperature, rel=1e-5, abs=1e-6)
    assert plain.predict_proba(images) == pytest.approx(softmax(logits.astype(np.float64)), abs=1e-6)
    assert hot.predict_proba(images) == pytest.approx(
        softmax(logits.astype(np.float64) / temperature), abs=1e-6
    )
    assert np.array_equal(plain.predict(images), hot.predict(images))
    assert plain.divisor == package.load(trained).divisor == 1.0
    assert package.load(trained, calibrated=True).predict_proba(images[:1]).sum() == pytest.approx(1)


def test_a_calibrated_evaluation_changes_probabilities_but_no_prediction(trained):
    plain, hot = (
        evaluate_run(str(trained), None).metrics.to_json(),
        evaluate_run(str(trained), None, calibrated=True).metrics.to_json(),
    )
    for key in ("n", "correct", "accuracy", "ci95", "confusion", "classes", "by_length"):
        assert hot[key] == plain[key]
    assert hot["loss"] != plain["loss"]
    assert json.loads((trained / "result.json").read_text())["test"] == plain
    images, labels = drawn_for(trained, "test")
    assert hot["loss"] == pytest.approx(
        log_loss(labels, load(trained, calibrated=True).predict_proba(images))
    )


def test_evaluate_uses_calibrated_probabilities_when_asked(scanline, trained):
    code, out, _ = scanline("evaluate", trained, "--calibrated", "--json")
    assert code == 0
    assert json.loads(out)["test"] == evaluate_run(str(trained), None, calibrated=True).metrics.to_json()


def test_a_run_without_a_validation_split_has_no_temperature(without_validation):
    assert load(without_validation).temperature is None
    assert json.loads((without_validation / "model" / "model.json").read_text())["temperature"] is None
    assert json.loads((without_validation / "result.json").read_text())["validation"] is None


def test_a_bundle_without_a_temperature_refuses_to_be_calibrated_in_one_line(scanline, without_validation):
    message = (
        r"model has no temperature, as its training had no validation split .*: use it without calibration$"
    )
    with pytest.raises(ModelError, match=message):
        load(without_validation, calibrated=True)
    code, out, err = scanline("evaluate", without_validation, "--calibrated")
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert re.search(message, err.rstrip("\n"))
    assert scanline("evaluate", without_validation)[0] == 0


@pytest.mark.parametrize("temperature", [0, -1.0, "1.0", True])
def test_an_invalid_temperature_is_refused(trained, tmp_path, temperature):
    shutil.copytree(trained / "model", tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    tree = json.loads(path.read_text()) | {"temperature": temperature}
    tree.pop("sha256")
    write_sealed_json(path, tree)
    with pytest.raises(ModelError, match=r"model\.json is damaged: temperature: "):
        load(tmp_path / "model")
