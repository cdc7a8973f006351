"""Tasks: what a network is trained to predict.

`get("classification")` returns the task's class. Other packages add tasks with the entry point group
`scanline.tasks`, whose entries name a subclass of `Task`:

    [project.entry-points."scanline.tasks"]
    regression = "my_package.tasks:Regression"
"""

from __future__ import annotations

from importlib.metadata import entry_points

from scanline.errors import UsageError, did_you_mean
from scanline.tasks.base import DecodedPrediction, Score, Task

__all__ = ["DecodedPrediction", "Score", "Task", "get", "names"]

ENTRY_POINTS = "scanline.tasks"
_BUILT_IN = ("classification",)


def names() -> tuple[str, ...]:
    """Return the names of all tasks: the built-in ones, then those of other packages."""
    others = {entry.name for entry in entry_points(group=ENTRY_POINTS)}
    return _BUILT_IN + tuple(sorted(others.difference(_BUILT_IN)))


def get(name: str) -> type[Task]:
    """Return the class of a task.

    Args:
        name: One of `names()`.

    Raises:
        UsageError: If there is no such task, or its entry point does not name a subclass of `Task`.
    """
    if name == "classification":
        from scanline.tasks.classification import Classification

        return Classification
    for entry in entry_points(group=ENTRY_POINTS):
        if entry.name == name:
            return _loaded(name, entry.load())
    known = names()
    raise UsageError(f"task must be one of {', '.join(known)}, got {name!r}{did_you_mean(name, known)}")


def _loaded(name: str, found: object) -> type[Task]:
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise UsageError(f"task {name}: expected its entry point to name a subclass of Task, got {found!r}")
    return found
