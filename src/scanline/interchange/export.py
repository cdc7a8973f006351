"""Results of an export, and checks that all exporters share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from scanline.data.source import ClassName
from scanline.errors import UsageError
from scanline.model.artifact import Model
from scanline.tasks.classes import ClassTask
from scanline.tasks.classification import require
from scanline.tasks.multilabel import Multilabel
from scanline.tasks.regression import Regression, SeveralNumbers


@dataclass(frozen=True)
class Verification:
    """How an exported file compares with the model, over random batches.

    Attributes:
        difference: The largest absolute difference of outputs.
        batches: Number of batches compared.
        longest: Number of steps of the longest sequence; None if it was not counted.
        same_class: Whether all predicted classes are equal, except where two classes are closer to each other
            than the file is to the model.
    """

    difference: float
    batches: int
    same_class: bool
    longest: int | None = None


@dataclass(frozen=True)
class Export:
    """A file that was written, after it was verified.

    Attributes:
        file: The file.
        kind: "onnx" or "keras".
        opset: Opset of an ONNX file, else None.
        verification: The comparison with the model.
        classes: Class names in the order of the outputs, for formats without a place for them.
        vocabulary: The file with the names of the ids, of models with categories.
    """

    file: str
    kind: str
    opset: int | None
    verification: Verification
    classes: tuple[ClassName, ...] | None = None
    vocabulary: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        made: dict[str, Any] = {"file": self.file, "kind": self.kind, "opset": self.opset}
        if self.classes is not None:
            made["classes"] = list(self.classes)
        if self.vocabulary is not None:
            made["vocabulary"] = self.vocabulary
        # Fields without a value are left out of the JSON object.
        fields = asdict(self.verification)
        return made | {name: value for name, value in fields.items() if value is not None}


def _check_no_recordings(model: Model, title: str) -> None:
    if model.preprocessing.log_mel is not None:
        raise UsageError(
            f"this model computes log-mel steps of recordings, which {title} files of Scanline do not: "
            "predict with `scanline predict` or `scanline serve`"
        )


def check_exportable(model: Model, target: str, title: str) -> None:
    """Check that a format has an equivalent of the model's cell and task.

    Args:
        model: The model.
        target: One of `scanline.cells.FORMATS`.
        title: Name of the format for messages.

    Raises:
        UsageError: If it does not, or the model reads categories or static columns; names what it is.
    """
    _check_no_recordings(model, title)
    if model.preprocessing.vocabularies and target != "onnx":
        raise UsageError(
            f"{title} export: expected a model that reads numbers, got one that reads categories; "
            "export it to ONNX"
        )
    if model.preprocessing.static and target != "onnx":
        raise UsageError(
            f"{title} export: expected a model that reads steps only, got one with static columns; "
            "export it to ONNX"
        )
    # layout() raises the UsageError itself if the cell has no mapping to the format.
    model.network.recurrent.cell.layout(target)
    if target != "onnx":
        require(model.task, f"{title} export")
    elif isinstance(model.task, SeveralNumbers):
        raise UsageError(
            f"{title} export supports regression of one number only, got {len(model.task.names)}: predict "
            "with Scanline instead"
        )
    elif not isinstance(model.task, ClassTask | Multilabel | Regression):
        raise UsageError(
            f"{title} export supports the tasks classification, multilabel, step-classification, regression "
            f"and step-regression only, got {model.task.name}"
        )
