"""Read a study, and write its report. Requires Optuna: see `scanline.search.check_installed`."""

from __future__ import annotations

import os
from pathlib import Path

from scanline.errors import UsageError
from scanline.reporting.study.facts import StudyFacts
from scanline.reporting.study.gather import study_facts
from scanline.reporting.study.page import check_study_page, write_study_page
from scanline.search.storage import read_study, study_folder

PathLike = str | os.PathLike[str]


def gather_study(study: PathLike, storage: str | None = None) -> StudyFacts:
    """Return what is known about a study.

    Args:
        study: Its folder, or its name in `studies` or in the storage.
        storage: Address of the database; None: as the study's folder says.

    Raises:
        ModelError: If there is no such study, or a file is damaged.
        ScanlineError: If the storage cannot be reached.
    """
    name = os.fspath(study)
    return study_facts(read_study(name, storage), study_folder(name))


def write_report(
    study: PathLike, output: PathLike | None = None, storage: str | None = None
) -> tuple[Path, StudyFacts]:
    """Write the report of a study; return its path and what it shows.

    Args:
        study: As for `gather_study`.
        output: The .html file; None writes report.html into the study's folder.
        storage: As for `gather_study`.

    Raises:
        UsageError: If the name of the file is not usable, or a package is missing.
        ScanlineError: If a file cannot be written, and as for `gather_study`.
    """
    facts = gather_study(study, storage)
    if output is None and not facts.folder.is_dir():
        raise UsageError(f"{study} has no folder here: name the HTML file to write")
    page = facts.folder / "report.html" if output is None else Path(output)
    check_study_page(page)
    write_study_page(facts, page)
    return page, facts
