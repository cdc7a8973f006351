"""Baselines predict whole sequences: beside labels of steps they are listed with the reason."""

from __future__ import annotations

import numpy as np

from scanline.data.dataset import Dataset
from scanline.data.memory import MemorySource
from scanline.evaluation.baselines import measure_baselines


def test_no_baseline_is_measured_beside_labels_of_steps():
    values = np.random.default_rng(0).normal(size=(40, 1)).astype(np.float32)
    source = MemorySource(
        values, np.full(10, 4), np.zeros(10, np.int64), ("a", "b"), step_targets=np.arange(40) % 2
    )
    found = measure_baselines(Dataset("steps", {"train": source, "test": source}))
    assert not found.measured
    assert {each.reason for each in found.skipped} == {
        "predicts a label for each sequence, not for each step"
    }
