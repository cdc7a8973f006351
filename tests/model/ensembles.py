"""Small models with random weights that can be the members of one ensemble."""

from __future__ import annotations

import numpy as np
import torch

from scanline.data.picture_format import PictureFormat
from scanline.data.preprocessing import Preprocessing
from scanline.model.artifact import Model
from scanline.model.network import Architecture, Network
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification

FEATURES, HEIGHT, WIDTH = 5, 4, 6
CLASSES = ("a", "b", "c", "d")
PICTURE = PictureFormat(height=HEIGHT, width=WIDTH, box=2, levels=255, centre="mass")
STEP_FEATURES = {"rows": WIDTH, "columns": HEIGHT, "pixels": 1, "permuted": 1, "patches:2": 4}


def member(
    cell: str = "lstm",
    seed: int = 1,
    *,
    bidirectional: bool = False,
    hidden: int = 9,
    missing: str = "error",
    classes: tuple = CLASSES,
    features: int = FEATURES,
    view: str | None = None,
    **settings: object,
) -> Model:
    """Return a model; `view` makes it one of pictures."""
    width = features if view is None else STEP_FEATURES[view]
    torch.manual_seed(seed)
    architecture = Architecture(cell, width, hidden, 1, bidirectional, 0.0, "between", "last", len(classes))
    network = Network(architecture).eval()
    with torch.no_grad():
        network.shift.uniform_(-1, 1)
        network.scale.uniform_(0.5, 2)
        if view is not None:
            network.scale.mul_(200)
        for weight in network.parameters():
            weight.mul_(3)
    form = Preprocessing(
        None if view is None else PICTURE,
        view or "rows",
        7 if view == "permuted" else 0,
        features if view is None else WIDTH,
        width,
        missing,
        tuple(np.linspace(-0.5, 0.5, width)) if missing in ("mean", "forward-fill") else (),
        DEFAULT_DATA.model_copy(update=settings),
    )
    return Model(network, Classification(classes), form, "made up")


def sequences(count: int = 7, seed: int = 0) -> list[np.ndarray]:
    """Return sequences of 1 to 9 steps."""
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(1 + 3 * n % 9, FEATURES)).astype(np.float32) for n in range(count)]


def pictures(count: int = 7) -> np.ndarray:
    """Return random pictures of grey levels."""
    return np.random.default_rng(1).integers(0, 256, (count, HEIGHT, WIDTH)).astype(np.uint8)
