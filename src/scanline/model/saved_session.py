"""Saved sessions: the arrays of a session as a safetensors file, with a description and a digest.

The digest detects damage, not forgery: anyone can compute a new one. The session therefore checks types,
shapes and ranges besides.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from scanline.data.preprocessing import Preprocessing
from scanline.errors import ModelError
from scanline.model.model_files import describe_tensors
from scanline.model.network import Network
from scanline.storage.digest import sha256
from scanline.storage.tensors import check_tensors

Arrays = dict[str, NDArray[Any]]
SCHEMA = 1
REMEDY = "begin a new session"


@dataclass(frozen=True)
class SavedSession:
    """The content of a saved session.

    Attributes:
        model: Digest of the model, as from `model_digest`.
        temperature: Divisor of the outputs.
        single: Whether it is a single sequence, fed without the axis N.
        steps: (N,) int64, steps read by each sequence.
        arrays: The states of layers, pooling and imputation, by name.
    """

    model: str
    temperature: float
    single: bool
    steps: NDArray[np.int64]
    arrays: Arrays

    def to_bytes(self) -> bytes:
        """Return the content of a file."""
        arrays = {
            name: np.ascontiguousarray(array)
            for name, array in sorted((self.arrays | {"steps": self.steps}).items())
        }
        description: dict[str, Any] = {
            "schema": SCHEMA,
            "model": self.model,
            "temperature": self.temperature,
            "single": self.single,
        }
        description["sha256"] = content_digest(description, arrays)
        return safetensors.numpy.save(arrays, {"scanline": json.dumps(description, sort_keys=True)})

    @classmethod
    def from_bytes(cls, content: bytes, model: str, values_per_sequence: int) -> SavedSession:
        """Read what `to_bytes` returned.

        Args:
            content: Content of the file.
            model: Digest of the model that the session must belong to.
            values_per_sequence: Least number of values that a sequence takes in the file; limits N before
                memory is allocated for it.

        Raises:
            ModelError: If the content is damaged, belongs to another model, or is no session.
        """
        description, arrays = read_content(content)
        if description.get("schema") != SCHEMA:
            raise ModelError(f"the saved session: expected schema {SCHEMA}, found another; {REMEDY}")
        if description.pop("sha256", None) != content_digest(description, arrays):
            raise ModelError(f"the saved session is damaged: its digest does not match; {REMEDY}")
        if description.get("model") != model:
            raise ModelError(f"the saved session belongs to another model; {REMEDY}")
        temperature, single = description.get("temperature"), description.get("single")
        steps = arrays.pop("steps", np.empty(0))
        if not (
            isinstance(temperature, float)
            and 0 < temperature < math.inf
            and isinstance(single, bool)
            and steps.dtype == np.int64
            and steps.ndim == 1
            and 1 <= len(steps) <= (1 if single else len(content) // values_per_sequence)
            and steps.min() >= 0
        ):
            raise misfit()
        return cls(model, temperature, single, steps, arrays)


def misfit() -> ModelError:
    """Return the error for a saved session whose arrays do not fit the model."""
    return ModelError(f"the saved session does not fit the model; {REMEDY}")


def model_digest(network: Network, preprocessing: Preprocessing) -> str:
    """Return the digest of everything that decides what a session computes."""
    tensors = {name: each.sha256 for name, each in describe_tensors(network.state_dict()).items()}
    # Dense layers and static features are added only where there are any: the digest of other models stays.
    dense = [repr(each) for each in (network.architecture.dense, network.architecture.static) if each]
    names = [each.names for each in preprocessing.vocabularies]
    described = [tensors, repr(network.architecture), preprocessing.missing, *dense, *names]
    return sha256(json.dumps(described).encode())


def read_content(content: bytes) -> tuple[dict[str, Any], Arrays]:
    """Return the description and the arrays of a file. Raises ModelError if it is damaged."""
    try:
        check_tensors(content)
        arrays = safetensors.numpy.load(content)
        length = int.from_bytes(content[:8], "little")
        description = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["scanline"])
        if not isinstance(description, dict):
            raise TypeError(f"expected an object that describes it, found {type(description).__name__}")
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = [*str(error).splitlines(), type(error).__name__][0]
        raise ModelError(f"the saved session is damaged: {reason}; {REMEDY}") from None
    return description, arrays


def content_digest(description: dict[str, Any], arrays: Arrays) -> str:
    """Return the digest of everything in a file."""
    lines = [json.dumps(description, sort_keys=True)]
    lines += [f"{name} {a.dtype} {a.shape} {sha256(a.tobytes())}" for name, a in sorted(arrays.items())]
    return sha256("\n".join(lines).encode())
