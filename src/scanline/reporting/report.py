"""Write a report: an HTML page, and beside it a JSON file with every number."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from scanline.data.download import Progress
from scanline.errors import ScanlineError, UsageError
from scanline.model.ensemble_files import is_ensemble
from scanline.model.model_files import find_model
from scanline.reporting.gather import gather
from scanline.reporting.page import check_installed, render
from scanline.storage.atomic import write_atomic
from scanline.storage.json_files import write_json
from scanline.training.run_directory import RunDirectory

KIND = "report"


def report(
    run: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    against: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    device: str = "auto",
    on_progress: Progress | None = None,
) -> Path:
    """Write the report of a run; for arguments and errors see `scanline.report`, which calls this."""
    folder = Path(run)
    if output is None and not (folder / "recipe.toml").is_file() and not is_ensemble(folder):
        find_model(folder)  # if this is not a model either, say so first
        raise UsageError(
            f"{folder} is a model directory, not a run directory: name the file with --output FILE.html"
        )
    check_installed()
    page = folder / "report.html" if output is None else Path(output)
    if page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"expected a report file ending in .html, got {page}")
    numbers = page.with_suffix(".json")
    if page.is_dir():
        raise ScanlineError(f"cannot write {page}: Is a directory")
    # All checks of the output come before the evaluation, which may take minutes.
    _check_numbers(numbers)
    facts = gather(
        os.fspath(run),
        None if data is None else os.fspath(data),
        None if against is None else os.fspath(against),
        device,
        on_progress,
    )
    html = render(facts, numbers.name)
    # The page links to the JSON file, so the file is written first; each of the two appears whole.
    write_json(numbers, {"kind": KIND} | facts.to_json())
    write_atomic(page, html)
    return page


def _check_numbers(path: Path) -> None:
    """Raise UsageError if the JSON file would replace anything but an earlier report's."""
    run = RunDirectory(path.parent)
    if run.recipe.is_file() and path in (run.environment, run.split, run.result):
        raise UsageError(f"{path} is a file of the run itself: choose another name for the page")
    try:
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # opening a pipe would block
            raise UsageError(f"{path} exists and is not a file: choose another name for the page")
        # Recognised by a key within the first 64 bytes; the file itself may be large.
        with open(path, "rb") as file:
            is_report = f'"kind": "{KIND}"'.encode() in file.read(64)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ScanlineError(f"cannot write {path}: {error.strerror or error}") from error
    # An unrelated JSON file of the user is never overwritten.
    if not is_report:
        raise UsageError(f"{path} exists and is not a report: choose another name for the page")
