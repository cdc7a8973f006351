"""What is published of a run besides its metrics: parameters, tags and files."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanline.errors import ModelError, UsageError
from scanline.recipe.reading import read_tree
from scanline.storage.digest import sha256
from scanline.storage.json_files import read_bounded, read_json, write_json
from scanline.training.records import read
from scanline.training.run_files import Environment
from scanline.version import __version__

IDENTITY = "scanline.run"  # tag with the identity of the run
# Limits of MLflow: https://mlflow.org/docs/latest/api_reference/rest-api.html#request-limits
KEY_CHARACTERS, PARAMETER_CHARACTERS, TAG_CHARACTERS = 250, 6000, 5000
_IDENTITY_FILE = "tracking.json"
_FILES = ("recipe.toml", "environment.json", "split.json", "result.json", "report.html", "report.json")


@dataclass(frozen=True)
class Facts:
    """A run as it is described on the server.

    Attributes:
        identity: Random name of the run, the same wherever it is published.
        parameters: The recipe, dotted key to text.
        tags: Versions, and digests of the data and the code.
        began_ms: When it began, in milliseconds since 1970.
    """

    identity: str
    parameters: dict[str, str]
    tags: dict[str, str]
    began_ms: int


def check_run(run: Path) -> None:
    """Raise ModelError if a path is not a run directory."""
    missing = [name for name in ("recipe.toml", "environment.json") if not (run / name).is_file()]
    if missing:
        from scanline.model.model_files import nearest_run  # imports torch

        raise ModelError(f"{run} is not a run directory: it has no {missing[0]}{nearest_run(run)}")


def read_facts(run: Path) -> Facts:
    """Read what describes a run.

    Raises:
        ModelError: If the run is missing or damaged.
        ScanlineError: If the run has no identity yet and the directory cannot be written.
    """
    check_run(run)
    environment = read(Environment, run / "environment.json")
    try:
        parameters = flatten(read_tree(run / "recipe.toml"))
    except UsageError as error:
        raise ModelError(f"{run / 'recipe.toml'} is damaged: {error}") from error
    tags = {
        "scanline.version": environment.packages.get("scanline") or __version__,
        "scanline.code_sha256": environment.code,
        "scanline.device": environment.device,
        **{f"scanline.version.{name}": version for name, version in environment.packages.items() if version},
        **{f"scanline.data.{name}.sha256": split.sha256 for name, split in environment.data.items()},
        **{f"scanline.data.{name}.n": str(split.n) for name, split in environment.data.items()},
    }
    kept = {key[:KEY_CHARACTERS]: value[:TAG_CHARACTERS] for key, value in tags.items() if value}
    began_ms = round((run / "environment.json").stat().st_mtime * 1000)
    return Facts(_identity(run), parameters, kept, began_ms)


def _identity(run: Path) -> str:
    """Return the identity of a run, which is drawn when it is published for the first time."""
    path = run / _IDENTITY_FILE
    if not path.is_file():
        write_json(path, {"schema": 1, "id": secrets.token_hex(16)})
    identity = read_json(path).get("id")
    if not isinstance(identity, str) or not identity.isalnum() or len(identity) > 64:
        raise ModelError(f"{path} is damaged: expected an id; remove it to publish the run as a new one")
    return identity


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a recipe as text by dotted key, shortened to the limits of MLflow."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            flat[f"{prefix}{key}"[:KEY_CHARACTERS]] = _shortened(text)
    return flat


def _shortened(text: str) -> str:
    # Bytes: some databases count them. A shortened value ends in an ellipsis; recipe.toml has all of it.
    content = text.encode()
    if len(content) <= PARAMETER_CHARACTERS:
        return text
    return content[: PARAMETER_CHARACTERS - 3].decode(errors="ignore") + "..."


def read_files(run: Path, metrics: bytes | None) -> dict[str, bytes]:
    """Return the files of a run that are published, by name.

    Args:
        run: The run directory.
        metrics: Content of metrics.jsonl; None leaves it out.
    """
    files = {name: read_bounded(run / name, "RECORD_BYTES") for name in _FILES if (run / name).is_file()}
    return files if metrics is None else {**files, "metrics.jsonl": metrics}


def model_digest(run: Path) -> str | None:
    """Return the SHA-256 of model.json, which has a digest of every tensor; None without a model."""
    path = run / "model" / "model.json"
    return sha256(read_bounded(path, "RECORD_BYTES")) if path.is_file() else None
