"""The two files of a report: an HTML page, and beside it a JSON file with every number."""

from __future__ import annotations

import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any

from scanline.errors import ScanlineError, UsageError
from scanline.storage.atomic import write_atomic
from scanline.storage.json_files import write_json

KIND = "report"


def check_page(page: Path, own: Collection[Path] = (), owner: str = "run") -> None:
    """Check that a report can be written, and replaces nothing but an earlier one.

    Args:
        page: The HTML file to write.
        own: JSON files beside it that are not its own.
        owner: What they belong to.

    Raises:
        UsageError: If the name does not end in .html, or the JSON file would replace another file.
        ScanlineError: If the page is a folder, or the JSON file cannot be read.
    """
    if page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"expected a report file ending in .html, got {page}")
    if page.is_dir():
        raise ScanlineError(f"cannot write {page}: Is a directory")
    numbers = page.with_suffix(".json")
    if numbers in own:
        raise UsageError(f"{numbers} is a file of the {owner} itself: choose another name for the page")
    _check_numbers(numbers)


def write_page(page: Path, html: str, numbers: dict[str, Any]) -> None:
    """Write the page, and `numbers` beside it."""
    # The page links to the JSON file, so the file is written first; each of the two appears whole.
    write_json(page.with_suffix(".json"), {"kind": KIND} | numbers)
    write_atomic(page, html)


def _check_numbers(path: Path) -> None:
    """Raise UsageError if the JSON file would replace anything but an earlier report's."""
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
