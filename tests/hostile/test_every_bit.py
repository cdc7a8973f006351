"""Every truncation and every flipped bit of each file of a small model and a small checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scanline.errors import ModelError
from scanline.model.artifact import Model
from scanline.model.ensemble import Ensemble
from tests.hostile.small import load_checkpoint, save_bundle, save_checkpoint, save_ensemble

pytestmark = pytest.mark.campaign


def damages(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Each truncation, and each flip of one bit."""
    for size in range(len(whole)):
        yield f"cut to {size} bytes", whole[:size]
    for place in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            yield f"bit {bit} of byte {place}", bytes(flipped)


def of_bundle(folder: Path) -> object:
    model = Model.load(folder)
    tensors = {name: tensor.numpy().tobytes() for name, tensor in model.network.state_dict().items()}
    description = model.task, model.preprocessing, model.data, model.temperature, model.provenance
    return model.network.architecture, description, tensors


def of_ensemble(folder: Path) -> object:
    model = Ensemble.load(folder)
    weights = [
        {name: tensor.numpy().tobytes() for name, tensor in member.network.state_dict().items()}
        for member in model.members
    ]
    return model.names, model.data, model.temperature, model.provenance, model.task, weights


def of_checkpoint(folder: Path) -> object:
    loaded = load_checkpoint(folder.parent)
    state, best = loaded.state, loaded.state.best
    assert not loaded.damaged
    assert not loaded.notes
    model, optimizer = (
        {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
        for tensors in (state.network.state_dict(), state.optimizer_tensors())
    )
    numbers = state.step, best.accuracy, best.step, best.bad_evaluations
    return numbers, loaded.position, model, optimizer


@pytest.mark.parametrize(
    ("save", "load", "name"),
    [
        (save_bundle, of_bundle, "model.json"),
        (save_bundle, of_bundle, "model.safetensors"),
        (save_ensemble, of_ensemble, "model.json"),
        (save_ensemble, of_ensemble, "members/2/model.json"),
        (save_checkpoint, of_checkpoint, "state.json"),
        (save_checkpoint, of_checkpoint, "model.safetensors"),
        (save_checkpoint, of_checkpoint, "optimizer.safetensors"),
    ],
)
def test_every_truncation_and_every_flipped_bit_is_refused_by_name(tmp_path, save, load, name):
    folder = save(tmp_path / "saved")
    path = folder / name
    whole = path.read_bytes()
    undamaged = load(folder)
    count, harmless = 0, []
    descriptor = os.open(path, os.O_RDWR)
    for what, content in damages(whole):
        os.pwrite(descriptor, content, 0)  # in place: nothing else is slow here
        os.ftruncate(descriptor, len(content))
        count += 1
        try:
            loaded = load(folder)
        except ModelError as error:
            message = str(error)
            assert name in message or folder.name in message, (what, message)
            assert message.isprintable(), (what, message)
            continue
        assert loaded == undamaged, what
        harmless.append(what)
    os.close(descriptor)
    assert count == 9 * len(whole)
    print(f"\n{folder.name}/{name}: {len(whole):,} bytes, {count:,} damages, harmless: {harmless or 'none'}")
