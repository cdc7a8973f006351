"""The confusion matrix as text."""

from __future__ import annotations

from typing import Any

from scanline.cli.output import NAME_WIDTH, shown_name

WIDEST_CONFUSION = 30


def confusion_lines(test: dict[str, Any]) -> list[str]:
    """Return the confusion matrix of metrics as lines of text."""
    names = [shown_name(entry["class"], NAME_WIDTH) for entry in test["classes"]]
    # A wider table would wrap on every terminal.
    if len(names) > WIDEST_CONFUSION:
        return [f"confusion matrix: {len(names)} classes are too many for a table; use --json"]
    cell = max(3, *(len(str(count)) for row in test["confusion"] for count in row))
    # Columns are widened for short class names only; otherwise they are numbered.
    cell = max(cell, *(len(name) for name in names)) if all(len(name) <= 4 for name in names) else cell
    short = (
        names if all(len(name) <= cell for name in names) else [str(number) for number in range(len(names))]
    )
    lines = ["confusion matrix (rows: true classes, columns: predictions)"]
    if short is not names:
        lines.append("columns are numbered like the rows")
        names = [f"{number} {name}" for number, name in enumerate(names)]
    width = max(len(name) for name in names)
    lines.append(" " * width + "".join(f"  {name:>{cell}}" for name in short))
    for name, row in zip(names, test["confusion"], strict=True):
        lines.append(f"{name:<{width}}" + "".join(f"  {count if count else '.':>{cell}}" for count in row))
    return lines
