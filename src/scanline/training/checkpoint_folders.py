"""Checkpoint folders on disk: named by step, written whole or not at all, old ones reused or removed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

from scanline.storage.atomic import TEMPORARY, atomic_folder, overwrite, sync_folder

_SPARE = f".spare{TEMPORARY}"


def folder_name(step: int) -> str:
    """Return the name of a checkpoint's folder."""
    return f"step-{step:06d}"


def checkpoint_folders(checkpoints: Path) -> list[Path]:
    """Return the checkpoint folders by step, lowest first, without folders of other names such as copies."""
    found = [path for path in checkpoints.glob("step-*") if re.fullmatch(r"step-[0-9]{6,18}", path.name)]
    # By number, not by name: from step 1,000,000 on names have more than six digits.
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def newest_checkpoint(run: Path) -> str | None:
    """Return the name of a run's newest checkpoint, which may be damaged; None without any."""
    folders = checkpoint_folders(run / "checkpoints")
    return folders[-1].name if folders else None


def write_folder(target: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a new folder, which appears whole or not at all.

    The folder of a retired checkpoint is used if there is one. Writing over existing files takes half the
    time of creating files and removing others: the file system allocates and frees nothing.

    Args:
        target: The folder.
        contents: Bytes of each file, by name.

    Raises:
        ScanlineError: If it cannot be written; what was at `target` is then untouched.
    """
    with atomic_folder(target, used=_spare(target.parent, contents.keys())) as folder:
        for name, content in contents.items():
            overwrite(folder / name, content)


def retire(folder: Path) -> None:
    """Remove a checkpoint, and keep its files to be written over by the next one."""
    spare = folder.with_name(_SPARE)
    if spare.exists():
        remove(folder)
    else:
        with contextlib.suppress(OSError):
            os.replace(folder, spare)


def _spare(checkpoints: Path, names: Collection[str]) -> Path | None:
    """Return the retired folder if it can be written over, or remove it.

    It must hold exactly the expected files, be writable, and have no symbolic or hard links: writing over a
    linked file would change someone else's copy of a checkpoint.
    """
    spare = checkpoints / _SPARE
    if not os.path.lexists(spare):
        return None
    with contextlib.suppress(OSError):
        with os.scandir(spare) as entries:
            found = {entry.name: _is_own(entry) for entry in entries}
        if found.keys() == set(names) and all(found.values()) and not spare.is_symlink():
            # The rename that made it a spare must reach the disk before its content changes. Otherwise a
            # power cut could leave the new content under the old checkpoint's name.
            sync_folder(checkpoints)
            return spare
    remove(spare)
    return None


def _is_own(entry: os.DirEntry[str]) -> bool:
    status = entry.stat(follow_symlinks=False)
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and os.access(entry.path, os.W_OK)


def remove(folder: Path) -> None:
    """Remove a checkpoint. It is renamed first, so that no half of it is left under a checkpoint's name."""
    doomed = folder.with_name(f".{folder.name}{TEMPORARY}")
    with contextlib.suppress(OSError):
        shutil.rmtree(doomed, ignore_errors=True)
        os.replace(folder, doomed)
        shutil.rmtree(doomed, ignore_errors=True)
