"""Base of the schemas of a run's files, and reading a file by its schema.

The schemas are in `scanline.training.run_files` and `scanline.training.checkpoint_state`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from scanline.errors import ModelError
from scanline.storage.json_files import read_json

Count = Annotated[int, Field(ge=0, lt=2**53)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Loss = Annotated[float, Field(ge=0, le=3.5e38)]  # a mean of float32
Fraction = Annotated[float, Field(ge=0, le=1)]
JsonObject = dict[str, JsonValue]


class Record(BaseModel):
    """Base of all schemas: strict types, unknown keys kept."""

    # Strict, so that reading and writing a file again gives the same bytes: nothing is converted.
    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    def to_json(self) -> JsonObject:
        """Return the content of the file: the keys that were set, in the order of the schema."""
        tree: JsonObject = self.model_dump(by_alias=True, exclude_unset=True)
        return tree


_SHOWN = 8  # faults in a message
AnyRecord = TypeVar("AnyRecord", bound=BaseModel)


def parse(schema: type[AnyRecord], tree: Mapping[str, Any], path: Path) -> AnyRecord:
    """Validate the content of a file.

    Args:
        schema: The schema of the file.
        tree: Its content.
        path: The file, for the message.

    Raises:
        ModelError: If the content does not follow the schema; names the file and the wrong places.
    """
    try:
        record = schema.model_validate(tree)
        check_json(tree)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        text = "; ".join(f"{_place(each['loc'])}: {each['msg']}" for each in faults[:_SHOWN])
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise ModelError(f"{path} is damaged: {text}{more}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: expected plain JSON ({str(error)[:200]})") from None
    return record


def _place(loc: tuple[int | str, ...]) -> str:
    return ".".join(map(str, loc))[:120]


def check_json(tree: object) -> None:
    """Check that a tree can be written as JSON and shown on a page, whatever its keys are.

    Raises:
        ValueError: If it holds a lone surrogate, NaN or infinity.
        TypeError: If it holds a type that JSON does not have, such as a date of TOML.
    """
    # `encode` rejects lone surrogates, which json.dumps lets through with ensure_ascii=False.
    json.dumps(tree, allow_nan=False, ensure_ascii=False).encode()


def read(schema: type[AnyRecord], path: Path) -> AnyRecord:
    """Read and validate a JSON file of a run.

    Raises:
        ModelError: If the file is missing, too large or damaged; names the file and the wrong places.
    """
    return parse(schema, read_json(path), path)
