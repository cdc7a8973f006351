"""Write a report: an HTML page, and beside it a JSON file with every number."""

from __future__ import annotations

import os
from pathlib import Path

from scanline.data.download import Progress
from scanline.errors import UsageError
from scanline.model.ensemble_files import is_ensemble
from scanline.model.model_files import find_model
from scanline.reporting.gather import gather
from scanline.reporting.page import render
from scanline.reporting.page_files import check_page, write_page
from scanline.reporting.templates import check_installed
from scanline.training.run_directory import RunDirectory


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
    # All checks of the output come before the evaluation, which may take minutes.
    check_page(page, _files_of_run(page.parent))
    facts = gather(
        os.fspath(run),
        None if data is None else os.fspath(data),
        None if against is None else os.fspath(against),
        device,
        on_progress,
    )
    write_page(page, render(facts, page.with_suffix(".json").name), facts.to_json())
    return page


def _files_of_run(folder: Path) -> tuple[Path, ...]:
    """Return the JSON files of the run in a folder, none if there is no run."""
    run = RunDirectory(folder)
    return (run.environment, run.split, run.result) if run.recipe.is_file() else ()
