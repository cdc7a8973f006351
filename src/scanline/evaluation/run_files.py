"""What the files of a run folder have to be for others to show them: of the right kinds, and plain JSON.

They are written by Scanline, and read after people and programs had their hands on them. What is not known
here is left alone: another version may have written it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scanline.data.found import shown
from scanline.errors import ModelError

Count = Annotated[int, Field(ge=0, lt=2**53)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class _Told(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class Cost(_Told):
    """What `compare` shows of a run's training."""

    seconds: Number | None = None
    samples_seen: Count | None = None


class Compared(_Told):
    """`result.json` for a comparison."""

    training: Cost = Cost()


class _Training(_Told):
    status: str
    steps: Count
    seconds: Number
    samples_seen: Count
    samples_per_s: Number | None  # None: it took no time
    backend: str
    precision: str
    device: str


class Result(_Told):
    """`result.json` for a report."""

    training: _Training


class _Part(_Told):
    n: Count
    sha256: str


class _Computes(_Told):
    backend: str
    precision: str


class Environment(_Told):
    """`environment.json`."""

    data: dict[str, _Part] = {}
    packages: dict[str, str | None] = {}
    computes: _Computes | None = None
    code: str = ""


class _Counted(_Told):
    n: Count


class Split(_Told):
    """`split.json`."""

    parts: dict[str, _Counted]


class _Seeded(_Told):
    seed: Count


class Plan(_Told):
    """`recipe.toml`, of which no more is needed here: it may have been written by another version."""

    name: str
    seed: Count
    split: _Seeded
    data: dict[str, Any] = {}


class Entry(_Told):
    """A line of `metrics.jsonl`."""

    event: str
    step: Count
    loss: Number
    accuracy: Number
    samples: Count = 0
    learning_rate: Number = 0.0
    seconds: Number = 0.0
    part: str = ""


def check(file: Path, tree: dict[str, Any], kind: type[_Told]) -> dict[str, Any]:
    """`tree`, the content of `file`. Raises ModelError naming the first place that is not as `kind` says."""
    try:
        kind.model_validate(tree)
        # A surrogate in a text, a date of TOML, NaN: what no JSON file and no page can hold.
        json.dumps(tree, allow_nan=False, ensure_ascii=False).encode()
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise ModelError(f"{file} is damaged: {shown(where, 120)}: {fault['msg']}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"{file} is damaged: it holds what JSON does not ({shown(error, 200)})") from None
    return tree


def holds(tree: dict[str, Any], kind: type[_Told]) -> bool:
    """Whether `check` would let it pass."""
    try:
        check(Path(), tree, kind)
    except ModelError:
        return False
    return True
