"""The result of every importer: an architecture with weights, and its conversion into a model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scanline.data.picture_format import PictureFormat
from scanline.data.preprocessing import Preprocessing
from scanline.data.source import ClassName
from scanline.errors import UsageError
from scanline.model.artifact import Model
from scanline.model.description import Provenance
from scanline.model.model_files import build
from scanline.model.network import Architecture
from scanline.recipe import DEFAULT_DATA, ViewName, check_view
from scanline.tasks.classification import Classification

_INK_BOX = 20 / 28  # of the frame's shorter side, as in MNIST


@dataclass(frozen=True, eq=False)
class ImportedNetwork:
    """A network that was read from a file of another framework.

    Attributes:
        architecture: The architecture, with dropout 0.
        weights: float32 arrays by their names in the network's state_dict; `shift` and `scale` only if the
            source normalises its input.
        made: Origin of the network, for the model card.
        notes: Assumptions of the import, one line each.
        classes: Class names in the file, or None.
        sigmoid: Whether the only output is known to be the logit of the second of two classes.
    """

    architecture: Architecture
    weights: dict[str, NDArray[np.float32]]
    made: str
    notes: list[str] = field(default_factory=list)
    classes: tuple[ClassName, ...] | None = None
    sigmoid: bool = False

    def to_model(
        self,
        source: Path,
        *,
        classes: tuple[ClassName, ...] | None = None,
        picture: tuple[int, int] | None = None,
        view: ViewName = "rows",
        divide_by: float = 1.0,
        licence: str = "",
    ) -> Model:
        """Return the network as a model that can be used and saved.

        Args:
            source: The file, for messages.
            classes: Names of the outputs; None takes those of the file, or numbers them from 0.
            picture: (height, width) of the grey pictures of bytes that it reads; None: it reads sequences.
            view: How a picture is cut into steps.
            divide_by: Number by which every value is divided before the network reads it.
            licence: Licence of the weights.

        Raises:
            UsageError: If an argument does not fit the network.
        """
        if self.architecture.classes == 1:
            return self._as_two_classes(source, classes).to_model(
                source, classes=classes, picture=picture, view=view, divide_by=divide_by, licence=licence
            )
        a = self.architecture
        # Priority: the caller, then the file, then numbers.
        names = classes or self.classes or tuple(range(a.classes))
        if len(names) != a.classes:
            raise UsageError(
                f"{source} has {a.classes} outputs: expected as many class names, got {len(names)}"
            )
        # Compared as text: 1 and "1" would be one class in JSON and in messages.
        if len(set(map(str, names))) != len(names):
            raise UsageError(f"class names must be different, got {', '.join(map(str, names))}")
        if not np.isfinite(divide_by) or divide_by <= 0:
            raise UsageError(f"values must be divided by a number above 0, got {divide_by}")
        shift = self.weights.get("shift", np.zeros(a.input_size, np.float32))
        scale = self.weights.get("scale", np.ones(a.input_size, np.float32))
        # (x / d - shift) / scale == (x - shift * d) / (scale * d): the division becomes part of the scaler.
        arrays: dict[str, NDArray[Any]] = self.weights | {
            "shift": shift * np.float32(divide_by),
            "scale": scale * np.float32(divide_by),
        }
        tensors = {
            name: torch.from_numpy(np.ascontiguousarray(array, np.float32)) for name, array in arrays.items()
        }
        network = build(a, tensors, source).eval()
        form = _form(a.input_size, picture, view, source)
        return Model(
            network,
            Classification(names),
            form,
            source.name,
            None,
            Provenance(made=self.made, licence=licence),
        )

    def _as_two_classes(self, source: Path, classes: tuple[ClassName, ...] | None) -> ImportedNetwork:
        """Return a network of one output as one of two classes: the softmax of (0, z) is the sigmoid of z.

        Raises:
            UsageError: If the output may be anything else, such as a number to predict.
        """
        if not self.sigmoid and (classes is None or len(classes) != 2):
            raise UsageError(
                f"{source} has one output, which may be the logit of the second of two classes, or a number "
                "that it predicts: give the names of the two classes with --classes NO,YES, or import a "
                "network with an output for each class"
            )
        weight, bias = self.weights["head.weight"], self.weights["head.bias"]
        head = {
            "head.weight": np.concatenate([np.zeros_like(weight), weight]),
            "head.bias": np.concatenate([np.zeros_like(bias), bias]),
        }
        return replace(self, architecture=replace(self.architecture, classes=2), weights=self.weights | head)


def _form(width: int, picture: tuple[int, int] | None, view: ViewName, source: Path) -> Preprocessing:
    if picture is None:
        if view != "rows":
            raise UsageError(f"--view {view} is for pictures: give their size with --picture, such as 28x28")
        return Preprocessing(None, "rows", 0, width, width, "error", (), DEFAULT_DATA)
    try:
        check_view(view)
    except ValueError as error:
        raise UsageError(str(error)) from None
    # `width` is the number of values a step; the width of the picture is `wide`.
    height, wide = picture
    box = max(1, round(min(height, wide) * _INK_BOX))
    format = PictureFormat(height, wide, box, 255, "mass")
    settings = DEFAULT_DATA.model_copy(update={"picture": f"{height}x{wide}"})
    form = Preprocessing(format, view, 0, wide, width, "error", (), settings)
    seen = form.picture_view
    if seen is None or seen.features != width:
        raise UsageError(
            f"{source} reads {width} values a step, but {view} of pictures of {height} x {wide} have "
            f"{seen.features if seen else 0}"
        )
    return form
