"""Ids of categories in graphs: their input, the tables inside, and the vocabulary beside the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto

from scanline.data.transforms.imputer import Imputer
from scanline.data.vocabulary import MISSING, UNKNOWN
from scanline.interchange.onnx.builder import GraphBuilder, to_array, value_info
from scanline.interchange.onnx.static import categories, numbers_by_step, static_feed
from scanline.model.artifact import Model, TrainedModel

_ABOUT = "0 is a missing category, 1 an unknown one; ids that the vocabulary does not have are read as 1."


def has_ids(model: Model) -> bool:
    """Return whether a model reads categories."""
    return bool(model.network.embeddings.embeddings)


def number_features(model: Model) -> list[int]:
    """Return the features of a model that are numbers, which the input of values has."""
    architecture = model.network.architecture
    categorical = {each.feature for each in architecture.embeddings}
    return [feature for feature in range(architecture.input_size) if feature not in categorical]


def number_imputer(model: Model) -> Imputer:
    """Return the imputer of the features that are numbers."""
    form = model.preprocessing
    chosen = number_features(model)
    return Imputer(form.missing, tuple(form.means[feature] for feature in chosen) if form.means else ())


def ids_input(model: Model, whole: bool) -> ValueInfoProto:
    """Return the input `ids`: (N, T, C), of a text (N, T); of one step without T."""
    count = len(categories(model, static=False))
    shape: list[int | str] = ["N", "T"] if whole else ["N"]
    if not model.preprocessing.settings.tokens:
        shape.append(count)
    what = "Ids of the tokens." if len(shape) == 1 + whole else "Ids of the categorical features."
    return value_info("ids", shape, f"{what} {_ABOUT}", TensorProto.INT64)


def embed(graph: GraphBuilder, model: Model, numbers: str, given: str = "ids") -> str:
    """Add the tables, and return what the first layer reads: the numbers, then the rows of each table.

    Args:
        graph: The graph, with the input `ids`.
        model: The model.
        numbers: Standardised numbers (..., F - C), or "" if there are none.
        given: Name of the ids (..., C).
    """
    embeddings, parts = model.network.embeddings, [numbers] if numbers else []
    unknown = graph.constant("unknown_id", UNKNOWN, np.int64)
    zero = graph.constant("first_id", 0, np.int64)
    for place, (each, table) in enumerate(zip(embeddings.embeddings, embeddings.tables, strict=True)):
        name, ids = f"feature_{each.feature}", given
        if not model.preprocessing.settings.tokens:
            index = graph.constant(f"{name}_place", place, np.int64)
            ids = graph.add("Gather", [given, index], f"{name}_ids", axis=-1)
        end = graph.constant(f"{name}_count", each.count, np.int64)
        # Gather fails on ids outside the table, also where they are padding.
        below = graph.add(
            "Where", [graph.add("Less", [ids, end], f"{name}_below"), ids, unknown], f"{name}_cut"
        )
        known = graph.add(
            "Where", [graph.add("Less", [below, zero], f"{name}_negative"), unknown, below], f"{name}_known"
        )
        weights = graph.constant(f"{name}_table", to_array(table))
        parts.append(graph.add("Gather", [weights, known], f"{name}_rows", axis=0))
    return parts[0] if len(parts) == 1 else graph.add("Concat", parts, "embedded", axis=-1)


def graph_inputs(model: TrainedModel, name: str, values: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Return steps (..., F) as the inputs of a graph; what is no id, as in padding, becomes any number.

    Args:
        model: The model.
        name: Name of the input of values.
        values: Steps whose categories are ids.
    """
    first = model.models[0]
    static = static_feed(first, values)
    if not has_ids(first) and not static:
        return {name: values}
    chosen, made = numbers_by_step(first), static
    if features := categories(first, static=False):
        ids = values[..., features]
        whole = np.where(np.isfinite(ids), ids, -7).clip(-(2**40), 2**40).astype(np.int64)
        made["ids"] = whole[..., 0] if first.preprocessing.settings.tokens else whole
    return made | ({name: np.ascontiguousarray(values[..., chosen])} if chosen else {})


def vocabulary_path(target: Path) -> Path:
    """Return the path of the vocabulary of a graph: model.vocabulary.json beside model.onnx."""
    return target.with_suffix(".vocabulary.json")


def vocabulary_text(model: Model) -> str:
    """Return the vocabulary of a model as JSON: the names of the ids of each feature."""
    form = model.preprocessing
    settings = form.settings
    names = form.feature_names
    features = [
        {
            "feature": each.feature,
            "name": names[each.feature] if names else settings.text_column,
            "ids": list(each.all_names),
        }
        for each in form.vocabularies
    ]
    made: dict[str, Any] = {"schema": 1, "missing_id": MISSING, "unknown_id": UNKNOWN, "features": features}
    if settings.tokens:
        made["text"] = {
            "tokens": settings.tokens,
            "lower_case": settings.lower_case,
            "maximum_length": settings.maximum_length,
        }
    return json.dumps(made, ensure_ascii=False, indent=1) + "\n"
