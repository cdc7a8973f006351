"""Tasks: what a network is trained to predict.

`get("classification")` returns the task's class. Other packages add tasks with the entry point group
`scanline.tasks`, whose entries name a subclass of `Task`:

    [project.entry-points."scanline.tasks"]
    ranking = "my_package.tasks:Ranking"
"""

from __future__ import annotations

from scanline import registry
from scanline.errors import UsageError
from scanline.tasks.base import DecodedPrediction, ReportTable, Score, Task, require_sequences

__all__ = ["DecodedPrediction", "ReportTable", "Score", "Task", "get", "names", "require_sequences"]

ENTRY_POINTS = "scanline.tasks"
_BUILT_IN = ("classification", "multilabel", "step-classification", "regression", "step-regression")


def names() -> tuple[str, ...]:
    """Return the names of all tasks: the built-in ones, then those of other packages."""
    return registry.names(ENTRY_POINTS, _BUILT_IN)


def get(name: str) -> type[Task]:
    """Return the class of a task.

    Args:
        name: One of `names()`.

    Raises:
        UsageError: If there is no such task, or its entry point cannot be loaded or does not name a subclass
            of `Task`.
    """
    if name == "classification":
        from scanline.tasks.classification import Classification

        return Classification
    if name == "step-classification":
        from scanline.tasks.step_classification import StepClassification

        return StepClassification
    if name == "multilabel":
        from scanline.tasks.multilabel import Multilabel

        return Multilabel
    if name == "regression":
        from scanline.tasks.regression import Regression

        return Regression
    if name == "step-regression":
        from scanline.tasks.step_regression import StepRegression

        return StepRegression
    found, _ = registry.load(ENTRY_POINTS, "task", name, _BUILT_IN)
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise UsageError(f"task {name}: expected its entry point to name a subclass of Task, got {found!r}")
    return found
