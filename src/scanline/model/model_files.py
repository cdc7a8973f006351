"""The model directory: weights, `model.json` and the model card, written whole and read with all checks.

`model.safetensors` holds the weights, `model.json` everything else with a SHA-256 of every tensor, and
`README.md` is the model card. Loading executes no code, allocates no more memory than the weights file has
bytes, and refuses files that do not match each other.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor

from scanline import tasks
from scanline.errors import UNPRINTABLE, ModelError, UsageError, did_you_mean
from scanline.model import pooling
from scanline.model.description import ENSEMBLE, SCHEMA, Description, TensorDigest, upgrade
from scanline.model.network import Architecture, Network
from scanline.storage.atomic import atomic_folder, write_atomic
from scanline.storage.digest import sha256
from scanline.storage.json_files import read_sealed_json, sealed_json
from scanline.storage.tensors import pack_tensors, read_tensor_file
from scanline.tasks import Task

DESCRIPTION, WEIGHTS, CARD = "model.json", "model.safetensors", "README.md"
MEMBERS = "members"  # folder of an ensemble's members, which are called 1, 2, ...
# Names of the files that loading needs, of a model and of the members of an ensemble.
FILE_NAME = rf"({MEMBERS}/[1-9][0-9]{{0,3}}/)?({re.escape(DESCRIPTION)}|{re.escape(WEIGHTS)})"
REMEDY = "copy the folder again from its source, or train again"


def describe_tensors(tensors: dict[str, Tensor]) -> dict[str, TensorDigest]:
    """Return type, shape and digest of each tensor, by name."""
    return {
        name: TensorDigest(
            dtype=str(tensor.dtype).removeprefix("torch."),
            shape=list(tensor.shape),
            # The bytes of the values in row-major order, independent of the layout of the file.
            sha256=sha256(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data),
        )
        for name, tensor in sorted(tensors.items())
    }


def write(folder: Path, description: Description, weights: dict[str, Tensor], card: str) -> None:
    """Write a model to `folder`, whole or not at all, replacing what is there.

    Args:
        folder: The model folder.
        description: Content of `model.json`.
        weights: Content of `model.safetensors`, by tensor name.
        card: Content of `README.md`.

    Raises:
        ScanlineError: If the folder cannot be written.
    """
    with atomic_folder(folder) as new:
        (new / WEIGHTS).write_bytes(pack_tensors(weights))
        write_atomic(new / DESCRIPTION, description_text(description))
        write_atomic(new / CARD, card)


def description_text(description: BaseModel) -> str:
    """Return the content of `model.json`."""
    return sealed_json(description.model_dump(mode="json", by_alias=True))


def read(folder: Path) -> tuple[Description, Task, dict[str, Tensor]]:
    """Read the model in `folder` and check every tensor against its digest.

    Args:
        folder: The model folder.

    Returns:
        The content of `model.json`, the model's task, and the tensors by name, on the CPU.

    Raises:
        ModelError: If a file is missing or damaged, or if the task is not installed; names the file and the
            fault.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ModelError(f"{path} is missing; {REMEDY}")
    tree = upgrade(read_sealed_json(path))
    if tree.get("kind") == ENSEMBLE:
        raise ModelError(f"{path} describes an ensemble: name a member, such as {folder / MEMBERS / '1'}")
    if tree.get("schema") != SCHEMA:
        raise ModelError(
            f"{path}: expected schema 3 to {SCHEMA}, got {tree.get('schema')!r}; {REMEDY}, or update Scanline"
        )
    # Names of classes and categories are those of the data, and are escaped where they are printed.
    checked = {name: value for name, value in tree.items() if name != "task"}
    if isinstance(form := checked.get("input"), dict):
        checked["input"] = {name: value for name, value in form.items() if name != "vocabularies"}
    check_printable(path, checked)
    try:
        description = Description.model_validate(tree)
        task = _task(path, description)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = "".join(f"{part}: " for part in fault["loc"])
        raise ModelError(f"{path} is damaged: {where}{fault['msg']}; {REMEDY}") from None
    except ValueError as error:
        raise ModelError(f"{path} is damaged: task: {error}; {REMEDY}") from None
    # No digest of the file: every tensor is compared with its digest in the sealed description below.
    tensors = load_tensors(folder / WEIGHTS)
    actual = describe_tensors(tensors)
    for name in sorted(actual.keys() | description.tensors.keys()):
        if actual.get(name) != description.tensors.get(name):
            raise ModelError(
                f"{folder / WEIGHTS} is damaged: tensor {name} is not the one that was saved; {REMEDY}"
            )
    return description, task, tensors


def _task(path: Path, description: Description) -> Task:
    """The model's task. Raises ModelError if it is not installed, ValueError if its state is not valid."""
    name = description.task.name
    try:
        kind = tasks.get(name)
    except UsageError:
        raise ModelError(
            f"{path}: task must be one of {', '.join(tasks.names())}, got {name[:60]!a}; "
            "install the package that provides it"
        ) from None
    task = kind.from_json(description.task.state)
    if task.output_size != description.architecture.classes:
        raise ValueError(f"expected {description.architecture.classes} outputs, got {task.output_size}")
    readout = description.architecture.readout
    if pooling.get(readout).every_step != task.per_step:
        raise ValueError(f"the task {name} does not fit the readout {readout}")
    return task


def check_printable(path: Path, tree: Any) -> None:
    """Raise ModelError if a text of `model.json` has characters that would act on a terminal.

    Class names are exempt: a Python program may use any text, and they are escaped where they are printed.
    """
    level = [tree]
    while level:  # level by level, so that no nesting is too deep
        inner = [[*each, *each.values()] if isinstance(each, dict) else each for each in level]
        # Line breaks and tabs are harmless, and names of columns may have them.
        texts = (re.sub(r"[\n\t]", " ", text) for group in inner for text in group if isinstance(text, str))
        wrong = next(filter(UNPRINTABLE.search, texts), None)
        if wrong is not None:
            raise ModelError(f"{path} is damaged: expected printable text, got {wrong[:60]!a}")
        level = [each for group in inner for each in group if isinstance(each, dict | list)]


def build(architecture: Architecture, tensors: dict[str, Tensor], source: Path) -> Network:
    """Return the network with the given weights, without allocating memory beside theirs.

    Args:
        architecture: Sizes of the network.
        tensors: Weights by name; the network keeps these tensors.
        source: File of the weights, for messages.

    Raises:
        ModelError: If a tensor is missing, superfluous, or of a wrong shape or value; names the first one.
    """
    with torch.device("meta"):
        # On the meta device: sizes in a hostile description allocate no memory.
        network = Network(architecture)
    expected = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    actual = {name: list(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(expected | actual):
        if expected.get(name) != actual.get(name) or tensors[name].dtype != torch.float32:
            raise ModelError(
                f"{source} does not fit its architecture: {name}: expected {_shape(expected.get(name))}, "
                f"got {_shape(actual.get(name))}; {REMEDY}"
            )
    for name, tensor in tensors.items():
        # A division by a scale of 0 would turn every prediction into NaN.
        if not torch.isfinite(tensor).all() or (name == "scale" and (tensor == 0).any()):
            raise ModelError(
                f"{source} is damaged: {name}: expected finite values"
                f"{' other than 0' if name == 'scale' else ''}; {REMEDY}"
            )
    # assign=True replaces the meta tensors; copying into them would lose the values.
    network.load_state_dict(tensors, assign=True)
    return network


def _shape(shape: list[int] | None) -> str:
    return "absent" if shape is None else f"float32 {tuple(shape)}"


def load_tensors(path: Path, digest: str | None = None) -> dict[str, Tensor]:
    """Read a safetensors file.

    Args:
        path: The file.
        digest: Expected SHA-256 of the file, if it is known.

    Returns:
        The tensors by name, on the CPU.

    Raises:
        ModelError: If the file cannot be read, or has another digest.
    """
    try:
        # Bytes in memory, not a mapped file: they cannot change between the check and the use.
        content = read_tensor_file(path)
        if digest is not None and sha256(content) != digest:
            raise ValueError("it is not the file that was saved")
        return safetensors.torch.load(content)
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; {REMEDY}") from None
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path} is damaged: {str(error).splitlines()[0]}; {REMEDY}") from error


def weights_bytes(folder: Path) -> int:
    """Return the size of all files of weights in a model folder."""
    members = sorted(folder.glob(f"{MEMBERS}/*/{WEIGHTS}"))
    return sum(path.stat().st_size for path in members or [folder / WEIGHTS])


def find_model(path: Path) -> Path:
    """Return the model folder of a run directory, or `path` if it is a model folder itself.

    Raises:
        ModelError: If there is no model; says what is there instead.
    """
    if (path / DESCRIPTION).is_file():
        return path
    if (path / "model").is_dir():
        return path / "model"
    if (path / "recipe.toml").is_file():
        raise ModelError(
            f"{path} has no model yet, its training has not finished; "
            f"continue it with `scanline train --resume --run {path}`"
        )
    if not path.exists():
        raise ModelError(f"there is no run {path}{nearest_run(path)}")
    raise ModelError(
        f"{path} is neither a run directory (recipe.toml, model/) nor a model folder "
        "(model.json, model.safetensors)"
    )


def nearest_run(path: Path) -> str:
    """Return the end of a message that suggests the run beside `path` with the most similar name, or ""."""
    parent = path.parent
    if not parent.is_dir():
        return ""
    runs = [entry.name for entry in parent.iterdir() if (entry / "recipe.toml").is_file()]
    return did_you_mean(path.name, runs)
