"""Other programs change torch's default dtype: everything is computed as with float32, to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import scanline

RUNS = Path(__file__).parent / "files" / "before"
KINDS = ["lstm-rows", "gru-stopped", "rnn-weighted"]


@pytest.fixture(params=[torch.float64, torch.bfloat16, torch.float16], ids=str)
def default(request):
    def compute(function):
        before = torch.get_default_dtype()
        torch.set_default_dtype(request.param)
        try:
            return function()
        finally:
            torch.set_default_dtype(before)

    return compute


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_predicts_and_explains(kind, default):
    def results():
        model = scanline.load(RUNS / kind / "run")
        arrays = dict(np.load(RUNS / kind / "expected.npz"))
        values = arrays["values"][:3]
        if "lengths" in arrays:
            values = [each[:length] for each, length in zip(values, arrays["lengths"], strict=False)]
        explanation = scanline.explain(model, values[0])
        return model.predict_proba(values), explanation

    (expected, explained), (result, other) = results(), default(results)
    assert np.array_equal(result, expected)
    assert repr(other) == repr(explained)


@pytest.mark.parametrize("kind", ["LSTMClassifier", "GRUClassifier", "RNNClassifier"])
def test_an_estimator_learns_the_same_weights(kind, default):
    draws = np.random.default_rng(0)
    sequences = [draws.normal(size=(3 + n % 5, 2)) for n in range(24)]

    def probabilities():
        estimator = getattr(scanline, kind)(epochs=2, hidden_size=8, random_state=0)
        return estimator.fit(sequences, [n % 2 for n in range(24)]).predict_proba(sequences)

    assert np.array_equal(default(probabilities), probabilities())
