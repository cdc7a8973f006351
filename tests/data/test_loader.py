"""Batches for training: gathered, shifted, standardised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from scanline.data.loader import Loader
from scanline.data.memory import MemorySource
from scanline.data.order import BatchOrder
from scanline.data.transforms.augmentation import PictureShift
from scanline.data.transforms.scaler import Scaler
from scanline.data.transforms.views import View
from tests.data.transforms.test_augmentation import shift_by_padding

DRAW = np.random.default_rng(0)


def pictures(count=9, height=6, width=4, channels=1) -> MemorySource:
    values = DRAW.integers(0, 256, (count, height, width * channels)).astype(np.uint8)
    return MemorySource.from_array(values, np.arange(count) % 3, (0, 1, 2), "made up")


def fractions() -> MemorySource:
    source = pictures()
    return replace(source, concatenated=source.concatenated / np.float32(3))


def series() -> MemorySource:
    lengths = np.array([3, 1, 5, 2])
    values = DRAW.normal(size=(lengths.sum(), 2)).astype(np.float32)
    return MemorySource(values, lengths, np.array([0, 1, 1, 0]), ("a", "b"), "made up")


@pytest.mark.parametrize("shift", [[0, 0, 0, 0], [7.5, 0, 100, 3]])
@pytest.mark.parametrize("scale", [[255, 255, 255, 255], [3, 0.7, 255, 1]])
@pytest.mark.parametrize(
    "source", [pictures(), replace(pictures(), concatenated=pictures().concatenated / np.float32(3))]
)
def test_values_are_standardised_to_the_bits_that_torch_computes(source, shift, scale):
    scaler = Scaler(np.array(shift, np.float32), np.array(scale, np.float32))
    order = BatchOrder(len(source), 4, 0)
    batch = Loader(source, order, scaler).batch(3)
    raw = torch.from_numpy(source.gather(order.at(3)).values)
    expected = (raw.to(torch.float32) - torch.tensor(scaler.shift)) / torch.tensor(scaler.scale)
    assert torch.equal(batch.values, expected)
    assert batch.lengths is None


def test_sequences_of_different_lengths_keep_them():
    source = replace(series(), weights=np.array([1, 2, 3, 4], np.float32))
    order = BatchOrder(4, 3, 0)
    loader = Loader(source, order, Scaler(np.zeros(2, np.float32), np.ones(2, np.float32)))
    for step in (5, 0, 2):
        batch, expected = loader.batch(step), source.gather(order.at(step))
        assert batch.values.tolist() == expected.values.tolist()
        assert batch.lengths.tolist() == expected.lengths.tolist()
        assert batch.targets.tolist() == expected.targets.tolist()
        assert batch.weights.tolist() == expected.weights.tolist()


def test_without_a_scaler_values_stay_raw():
    source, order = pictures(), BatchOrder(9, 4, 0)
    batch = Loader(source, order).batch(1)
    assert batch.values.dtype == torch.float32
    assert batch.values.tolist() == source.gather(order.at(1)).values.tolist()


def test_the_memory_of_a_batch_is_used_again():
    loader = Loader(pictures(), BatchOrder(9, 4, 0))
    assert loader.batch(0).values.data_ptr() == loader.batch(1).values.data_ptr()


@pytest.mark.parametrize("name", ["rows", "columns", "pixels", "permuted", "patches:2"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pixels", [1, 5])
def test_pictures_of_any_view_are_moved_as_pictures(name, channels, pixels):
    view, read = View(name, 6, 4, channels, seed=2), pictures(channels=channels)
    source, order = view.see(read), BatchOrder(9, 4, 0)
    batch = Loader(source, order, None, PictureShift(view, pixels, seed=3)).batch(7)
    moved = shift_by_padding(read.gather(order.at(7)).values, channels, pixels, 3, 7)
    assert batch.values.tolist() == view.apply(moved).tolist()
    assert batch.targets.tolist() == source.targets[order.at(7)].tolist()
