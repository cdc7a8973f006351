"""A report is two files: the page, and beside it every number of it as JSON."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from scanline.data.download import Progress
from scanline.errors import ScanlineError, UsageError
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
    """Write a page that shows a run: what it is worth, where it errs, what it looked at, how to repeat it.

    run: a run folder or a bundle. output: the .html file; None writes report.html into the run folder. A JSON
    file of the same name lies beside it, with every number. against: a second run to compare it with. data:
    what to judge it on; None takes the test part of what it was trained on. Returns the page's path.
    Raises ModelError, DataError or UsageError naming what cannot be used, ScanlineError if it cannot be
    written.
    """
    folder = Path(run)
    if output is None and not (folder / "recipe.toml").is_file():
        find_model(folder)  # or there is no run at all, which is to be said first
        raise UsageError(
            f"{folder} is no run folder: say where the report is to be written by --output FILE.html"
        )
    check_installed()
    path = folder / "report.html" if output is None else Path(output)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"a report is an .html file, got {path}")
    twin = path.with_suffix(".json")
    if path.is_dir():
        raise ScanlineError(f"cannot write {path}: Is a directory")
    _check_twin(twin)
    story = gather(
        os.fspath(run),
        None if data is None else os.fspath(data),
        None if against is None else os.fspath(against),
        device,
        on_progress,
    )
    page = render(story, twin.name)
    write_json(twin, {"kind": KIND} | story.facts)
    write_atomic(path, page)
    return path


def _check_twin(twin: Path) -> None:
    """Raises UsageError if something else than an earlier report lies, or belongs, where the JSON file would
    go."""
    run = RunDirectory(twin.parent)
    if run.recipe.is_file() and twin in (run.environment, run.split, run.result):
        raise UsageError(f"{twin} is a file of the run itself: choose another name for the page")
    try:
        mode = twin.lstat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a pipe would be waited for
            raise UsageError(f"{twin} exists and is no file: choose another name for the page")
        with open(twin, "rb") as file:
            ours = f'"kind": "{KIND}"'.encode() in file.read(64)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ScanlineError(f"cannot write {twin}: {error.strerror or error}") from error
    if not ours:
        raise UsageError(f"{twin} exists and is no report: choose another name for the page")
