"""Training, prediction and the layers on a GPU; skipped without one."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import scanline
import scanline.nn
from scanline.errors import UsageError

DEVICE = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

SHORT = {"train.samples": 0, "train.steps": 300, "train.batch_size": 32}
CELLS = ["lstm", "gru", "rnn"]


@pytest.fixture(autouse=True)
def _scattered_weights_are_an_error():
    """cuDNN warns at every call if the weights of a layer are not one block of memory."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*chunk of memory.*")
        yield


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_run_learns_and_predicts_the_same_on_both_devices(tmp_path, cell, bidirectional):
    settings = SHORT | {"model.cell": cell, "model.bidirectional": bidirectional}
    run = scanline.train("digits", settings=settings, run=tmp_path / "run", device=DEVICE, log=None)
    assert run.result["test"]["accuracy"] > 0.7
    images = np.random.default_rng(0).integers(0, 17, (20, 8, 8)).astype(np.uint8)
    on_gpu, on_cpu = (
        scanline.load(run.path, device=device).predict_proba(images) for device in (DEVICE, "cpu")
    )
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-3)


def test_a_device_can_be_numbered(tmp_path):
    last = f"{DEVICE}:{torch.cuda.device_count() - 1}"
    settings = SHORT | {"train.steps": 2}
    scanline.train("digits", settings=settings, run=tmp_path / "run", device=last, log=None)
    missing = f"{DEVICE}:{torch.cuda.device_count()}"
    with pytest.raises(UsageError, match=missing):
        scanline.train("digits", settings=settings, run=tmp_path / "other", device=missing, log=None)


def test_bfloat16_products_are_refused(tmp_path):
    settings = SHORT | {"train.precision": "bfloat16"}
    with pytest.raises(UsageError, match=r"train\.precision=bfloat16 has no effect on cuda"):
        scanline.train("digits", settings=settings, run=tmp_path / "run", device=DEVICE, log=None)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_layers_are_torchs_and_know_lengths(kind, bidirectional):
    torch.manual_seed(0)
    options = {"batch_first": True, "bidirectional": bidirectional, "num_layers": 2}
    theirs = getattr(nn, kind)(3, 6, **options).to(DEVICE)
    ours = getattr(scanline.nn, kind)(3, 6, **options).to(DEVICE)
    ours.load_state_dict(theirs.state_dict())
    x, lengths = torch.randn(4, 7, 3, device=DEVICE), torch.tensor([7, 2, 5, 1])
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True)
    for result, wanted in (
        (ours(x)[0], theirs(x)[0]),
        (ours(x, None, lengths)[0], expected),
        (pad_packed_sequence(ours(packed)[0], batch_first=True)[0], expected),
    ):
        torch.testing.assert_close(result, wanted, atol=1e-5, rtol=1e-4)
        theirs.zero_grad()
        ours.zero_grad()
        result.square().sum().backward()
        wanted.square().sum().backward(retain_graph=True)
        for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(own.grad, other.grad, atol=1e-4, rtol=1e-3)


def test_a_default_device_moves_nothing_that_the_cpu_computes(tmp_path):
    torch.manual_seed(0)
    layer, x = scanline.nn.LSTM(3, 6, batch_first=True), torch.randn(2, 5, 3)
    expected = layer(x)[0]
    expected.sum().backward()
    torch.set_default_device(DEVICE)
    try:
        assert torch.equal(layer(x)[0], expected)
        settings = SHORT | {"train.steps": 2}
        run = scanline.train("digits", settings=settings, run=tmp_path / "run", device="cpu", log=None)
        probabilities = run.model.predict_proba(np.zeros((1, 8, 8), np.uint8))
    finally:
        torch.set_default_device(None)
    assert np.array_equal(run.model.predict_proba(np.zeros((1, 8, 8), np.uint8)), probabilities)
