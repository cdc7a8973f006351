"""The model folder: a classifier with its preprocessing, input and class names, enough to predict.

`model.safetensors` holds the weights, `model.json` all the rest with a SHA-256 of every tensor, and
`README.md` is the model card, for people. Loading runs no code, takes no memory that the weights file does
not back, and refuses what does not match.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from scanline.data.found import MOST_CHARACTERS
from scanline.data.preprocessing import FILES, Preprocessing
from scanline.data.transforms.ink import PictureFormat
from scanline.errors import UNPRINTABLE, ModelError, UsageError, did_you_mean
from scanline.model.network import Architecture, Network
from scanline.storage.atomic import atomic_folder, write_atomic
from scanline.storage.digest import sha256
from scanline.storage.json_files import read_sealed_json, write_sealed_json
from scanline.storage.tensors import pack_tensors, read_tensor_file

SCHEMA = 3
_NAMES_CHARACTERS = 2**24  # in the names of all classes, if each were as long as the longest
DESCRIPTION, WEIGHTS, CARD = "model.json", "model.safetensors", "README.md"
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
TEXTS = ("made", "recipe", "licence")  # what a history says in words
REMEDY = "copy the folder again from where it came, or train anew"


class Digest(BaseModel):
    """Of a part of the data: how many sequences, and SHA-256 of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    n: Annotated[int, Field(strict=True, ge=0)]
    sha256: str


class Tested(BaseModel):
    """How a model did on the test part. ci95: Wilson's interval of the accuracy."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    n: Annotated[int, Field(strict=True, ge=1)]
    correct: Annotated[int, Field(strict=True, ge=0)]
    accuracy: Share
    ci95: tuple[Share, Share]


class History(BaseModel):
    """Where a model comes from, and what is known of it.

    made: how, in a few words. recipe, seed: of its training. licence: empty where none was said. parts:
    digests of the data by the name of the part. test: None where it was not tested.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    made: str = "trained by Scanline"
    recipe: str = ""
    seed: Annotated[int, Field(strict=True, ge=0)] | None = None
    licence: str = ""
    parts: dict[str, Digest] = {}
    test: Tested | None = None


class TensorDigest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    dtype: str
    shape: list[int]
    sha256: str


class Description(BaseModel):
    """What `model.json` holds."""

    model_config = ConfigDict(extra="forbid")
    schema_: Literal[3] = Field(alias="schema")
    scanline: str
    architecture: Architecture
    classes: Annotated[list[Annotated[int, Field(strict=True)] | str], Field(min_length=1)]
    input: Preprocessing
    data: str
    temperature: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None
    history: History
    tensors: dict[str, TensorDigest]

    @model_validator(mode="after")
    def _fits(self) -> Description:
        outputs, names, form = self.architecture.classes, self.classes, self.input
        if len(names) != outputs:
            raise ValueError(f"{outputs} outputs but {len(names)} class names")
        if len(set(map(str, names))) != outputs:
            raise ValueError("two classes have the same name")
        if re.search("[\ud800-\udfff]", "".join(map(str, names))):
            raise ValueError("a class has half a character in its name")
        longest = max(len(str(name)) for name in names)
        if longest > MOST_CHARACTERS or longest * outputs > _NAMES_CHARACTERS:  # an array of them is so large
            raise ValueError(f"{outputs} class names of up to {longest} characters")
        if any(getattr(form.settings, key) for key in FILES):  # it would be read in place of the user's
            raise ValueError("the settings name a file of data")
        if form.features != self.architecture.input_size:
            raise ValueError(
                f"steps of {form.features} for a network that reads {self.architecture.input_size}"
            )
        needs_means = form.missing in ("mean", "forward-fill")
        if len(form.means) != (form.features if needs_means else 0):
            raise ValueError(f"{len(form.means)} means of {form.features} features")
        if form.picture:
            _check_picture(form.picture, form)
        return self


def _check_picture(picture: PictureFormat, form: Preprocessing) -> None:
    if not (
        0 < picture.height <= 4096
        and 0 < picture.width <= 4096
        and 0 < picture.box <= min(picture.height, picture.width)
        and 0 < picture.levels <= 255
        and (picture.height * picture.width * picture.channels) % form.features == 0
        and form.source_features == picture.width * picture.channels
    ):
        raise ValueError(f"pictures of {picture} cannot be cut into steps of {form.features}")
    try:
        assert form.seen
    except UsageError as error:
        raise ValueError(str(error)) from None


def describe_tensors(tensors: dict[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Of each tensor: dtype, shape and the SHA-256 of its bytes."""
    return {
        name: {
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "shape": list(tensor.shape),
            "sha256": sha256(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data),
        }
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
        write_sealed_json(new / DESCRIPTION, description.model_dump(mode="json", by_alias=True))
        write_atomic(new / CARD, card)


def read(folder: Path) -> tuple[Description, dict[str, Tensor]]:
    """Read the model in `folder` and check every tensor against its digest.

    Args:
        folder: The model folder.

    Returns:
        The content of `model.json`, and the tensors by name, on the CPU.

    Raises:
        ModelError: If a file is missing or damaged; names the file and the fault.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ModelError(f"{path} is missing; {REMEDY}")
    tree = read_sealed_json(path)
    if tree.get("schema") != SCHEMA:
        raise ModelError(
            f"{path}: expected schema {SCHEMA}, found {tree.get('schema')!r}; {REMEDY}, or update Scanline"
        )
    _check_texts(path, {name: value for name, value in tree.items() if name != "classes"})
    try:
        description = Description.model_validate(tree)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = "".join(f"{part}: " for part in fault["loc"])
        raise ModelError(f"{path} is damaged: {where}{fault['msg']}; {REMEDY}") from None
    tensors = load_tensors(folder / WEIGHTS)
    expected = {name: tensor.model_dump() for name, tensor in description.tensors.items()}
    _check(folder / WEIGHTS, describe_tensors(tensors), expected)
    return description, tensors


def _check_texts(path: Path, tree: Any) -> None:
    """Raises ModelError if a text of the description would do something to a terminal that shows it.

    A Python program may call its classes what it likes: their names are escaped where they are shown.
    """
    level = [tree]
    while level:  # by level, so that no depth is too deep
        inner = [[*each, *each.values()] if isinstance(each, dict) else each for each in level]
        # Line breaks and tabs do no harm; names of columns have them.
        texts = (re.sub(r"[\n\t]", " ", text) for group in inner for text in group if isinstance(text, str))
        wrong = next(filter(UNPRINTABLE.search, texts), None)
        if wrong is not None:
            raise ModelError(f"{path} is damaged: expected text that can be printed, found {wrong[:60]!a}")
        level = [each for group in inner for each in group if isinstance(each, dict | list)]


def build(architecture: Architecture, tensors: dict[str, Tensor], source: Path) -> Network:
    """The network of `architecture` with the weights `tensors`; no memory is taken but theirs.

    Raises ModelError naming the first tensor that does not fit.
    """
    with torch.device("meta"):
        network = Network(architecture)
    expected = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: list(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(expected | found):
        if expected.get(name) != found.get(name) or tensors[name].dtype != torch.float32:
            raise ModelError(
                f"{source} does not fit its architecture: {name} should be {_shape(expected.get(name))}, "
                f"found {_shape(found.get(name))}; {REMEDY}"
            )
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all() or (name == "scale" and (tensor == 0).any()):
            raise ModelError(f"{source} is damaged: {name} has a value that no network has; {REMEDY}")
    network.load_state_dict(tensors, assign=True)
    return network


def _shape(shape: list[int] | None) -> str:
    return "absent" if shape is None else f"float32 {tuple(shape)}"


def _check(path: Path, found: dict[str, dict[str, Any]], expected: dict[str, dict[str, Any]]) -> None:
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise ModelError(f"{path} is damaged: tensor {name} is not the one that was saved; {REMEDY}")


def load_tensors(path: Path, digest: str | None = None) -> dict[str, Tensor]:
    """The tensors in the safetensors file `path`, on the CPU. digest: SHA-256 of the file, if it is known.

    Raises ModelError if it cannot be read, or is another.
    """
    try:
        # Of bytes in memory, not of a mapped file: what was checked cannot be changed afterwards.
        content = read_tensor_file(path)
        if digest is not None and sha256(content) != digest:
            raise ValueError("it is not the file that was saved")
        return safetensors.torch.load(content)
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; {REMEDY}") from None
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path} is damaged: {str(error).splitlines()[0]}; {REMEDY}") from error


def find_model(path: Path) -> Path:
    """The model folder that `path` means: itself, or the one in the run folder.

    Raises ModelError saying what is there instead.
    """
    if (path / DESCRIPTION).is_file():
        return path
    if (path / "model").is_dir():
        return path / "model"
    if (path / "recipe.toml").is_file():
        raise ModelError(
            f"{path} has no model yet: training has not finished; "
            f"go on with `scanline train --resume --run {path}`"
        )
    if not path.exists():
        raise ModelError(f"there is no run {path}{nearest_run(path)}")
    raise ModelError(
        f"{path} is neither a run folder (recipe.toml, model/) nor a model folder "
        "(model.json, model.safetensors)"
    )


def nearest_run(path: Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        return ""
    runs = [entry.name for entry in parent.iterdir() if (entry / "recipe.toml").is_file()]
    return did_you_mean(path.name, runs)
