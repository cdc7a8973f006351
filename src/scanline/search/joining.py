"""Works on the trials of a search that another machine has begun."""

from __future__ import annotations

from pathlib import Path

from scanline.device import choose_device
from scanline.errors import Interrupted
from scanline.search.processes import Processes
from scanline.search.request import STUDIES
from scanline.search.storage import open_study, study_folder
from scanline.search.study_files import StudyFiles
from scanline.search.worker import check_digest


def join(
    study: str, storage: str | None, data: str | None, workers: int, device: str = "auto"
) -> tuple[str, str]:
    """Work on the trials of a search that another machine has begun, until it ends.

    Args:
        study: Folder of the study, which may be shared with that machine, or its name.
        storage: Address of the database; None: as the study's folder says.
        data: Where the data are on this machine, if not where the study was begun.
        workers: Number of processes.
        device: Device to compute on.

    Returns:
        Name of the study, and address of its storage without a password.

    Raises:
        ModelError: If there is no such study.
        DataError: If the data are not those of the study.
        Interrupted: After Ctrl-C, once all trials are paused.
    """
    device = choose_device(device)
    folder = study_folder(study)
    if storage is not None and not folder.exists():
        folder = Path(STUDIES) / folder.name
    files = StudyFiles(folder)
    if files.exists():
        files.check_machine(storage or files.storage())
    opened, definition = open_study(str(folder), storage)
    if not files.exists():
        where = "" if data is None else str(Path(data).resolve()) if Path(data).exists() else data
        files.create(folder.name, opened.url, data=where)
    opened.close()
    check_digest(definition, files.read_data(definition))
    url = storage or files.storage()
    processes = Processes(folder, files.logs, url, device, definition.threads)
    try:
        processes.run([("worker",)] * workers, workers)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the same command joins the search again") from None
    return opened.name, opened.url
