"""Finds the four IDX files of a data set by their names: those of MNIST, QMNIST, EMNIST and torchvision."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from scanline.data.published import FILES
from scanline.errors import DataError, UsageError, join_names

_NAME = re.compile(
    r"(?P<stem>(?:.+-)?)(?P<split>train|test|t10k)-(?P<kind>images|labels)[-.]idx[123]-(?:ubyte|int)(?:\.gz)?"
)
_ORDER = (("train", "images"), ("train", "labels"), ("test", "images"), ("test", "labels"))
_RAW = "raw"  # the folder in which torchvision unpacks files, within one of the data set's name


@dataclass(frozen=True)
class IdxFiles:
    """The four files of a data set.

    Attributes:
        folder: Where they are.
        stem: What their names begin with, such as "emnist-letters-"; "" for MNIST's names.
        paths: Images and labels to train on, then those to test on.
    """

    folder: Path
    stem: str
    paths: tuple[Path, Path, Path, Path]

    @property
    def transposed(self) -> bool:
        """Whether pictures are stored by columns, as in EMNIST's files."""
        return self.stem.lower().startswith("emnist")


def idx_file(folder: Path, name: str) -> Path | None:
    """Return the file `name` in `folder`, compressed or not, also as "train-images.idx3-ubyte", or None."""
    # Packed first: `fetch --force` writes the .gz, which must win over a damaged raw file beside it.
    spellings = (name, name.replace("-idx", ".idx"))
    paths = [folder / (spelling + end) for spelling in spellings for end in (".gz", "")]
    return next((path for path in paths if path.exists()), None)


def find_idx_files(path: Path) -> IdxFiles | None:
    """Return the files in a folder, in its torchvision folder, or whose names begin with `path`; or None.

    Raises:
        DataError: If some of the four are missing; names them.
        UsageError: If there are several data sets; names the paths to choose from.
    """
    if not path.is_dir():
        own = _by_stem(path.parent).get(f"{path.name}-") if path.name else None
        return None if own is None else _complete(path.parent, f"{path.name}-", own)
    if any(idx_file(path, name) for name in FILES):
        return _mnist(path)
    if found := _by_stem(path):
        if len(found) > 1:
            raise _several(path, [stem.removesuffix("-") for stem in sorted(found)])
        ((stem, own),) = found.items()
        return _complete(path, stem, own)
    inner = [folder for folder in _raw_folders(path) if _by_stem(folder)]
    if len(inner) > 1:
        raise _several(path, [str(folder.relative_to(path)) for folder in inner])
    return find_idx_files(inner[0]) if inner else None


def _several(folder: Path, names: list[str]) -> UsageError:
    return UsageError(
        f"{folder}: expected one data set of IDX files, found {join_names(names)}; give the path of one, "
        f"such as {folder / names[0]}"
    )


def is_idx_folder(folder: Path) -> bool:
    """Whether `folder` has IDX files, or a folder of torchvision has them; errors as for `find_idx_files`."""
    return find_idx_files(folder) is not None


def is_idx_stem(path: Path) -> bool:
    """Whether `path` is the beginning of the names of IDX files, such as data/emnist-letters."""
    return bool(path.name) and f"{path.name}-" in _by_stem(path.parent)


def _mnist(folder: Path) -> IdxFiles:
    paths = [idx_file(folder, name) for name in FILES]
    missing = [name for name, path in zip(FILES, paths, strict=True) if path is None]
    if missing:
        raise _incomplete(folder, missing)
    one, two, three, four = (path for path in paths if path is not None)
    return IdxFiles(folder, "", (one, two, three, four))


def _complete(folder: Path, stem: str, found: dict[tuple[str, str], Path]) -> IdxFiles:
    missing = [f"{stem}{split}-{kind}" for split, kind in _ORDER if (split, kind) not in found]
    if missing:
        raise _incomplete(folder, missing)
    one, two, three, four = (found[key] for key in _ORDER)
    return IdxFiles(folder, stem, (one, two, three, four))


def _incomplete(folder: Path, missing: list[str]) -> DataError:
    return DataError(
        f"{folder}: expected four IDX files, raw or .gz, found no {', no '.join(missing)}; "
        "add the missing files"
    )


def _by_stem(folder: Path) -> dict[str, dict[tuple[str, str], Path]]:
    """Return the IDX files in a folder by stem, then by (split, kind)."""
    found: dict[str, dict[tuple[str, str], Path]] = {}
    for name in _names_in(folder):
        if match := _NAME.fullmatch(name):
            split = "train" if match["split"] == "train" else "test"
            # Names are sorted, so that X.gz comes after X: packed files win, as in `idx_file`.
            found.setdefault(match["stem"], {})[split, match["kind"]] = folder / name
    return found


def _raw_folders(folder: Path) -> list[Path]:
    """Return raw/ and NAME/raw/ in a folder, as far as there are any."""
    inner = [folder / _RAW, *(folder / name / _RAW for name in _names_in(folder))]
    return [each for each in inner if each.is_dir()]


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):  # not a folder, or no permission to list it
        return []
