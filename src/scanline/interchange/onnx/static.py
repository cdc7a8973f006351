"""Static features in graphs: inputs of their own, with a value for each sequence instead of each step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto

from scanline.interchange.onnx.builder import GraphBuilder, value_info
from scanline.model.artifact import Model

STATIC, STATIC_IDS = "static", "static_ids"


def numbers_by_step(model: Model) -> list[int]:
    """Return the features that are numbers and change from step to step."""
    static = set(model.preprocessing.static)
    return [feature for feature in model.network.embeddings.numeric if feature not in static]


def static_numbers(model: Model) -> list[int]:
    """Return the static features that are numbers."""
    static = set(model.preprocessing.static)
    return [feature for feature in model.network.embeddings.numeric if feature in static]


def categories(model: Model, static: bool) -> list[int]:
    """Return the features that are categories, the static ones or the others."""
    own = set(model.preprocessing.static)
    found = [each.feature for each in model.network.embeddings.embeddings]
    return [feature for feature in found if (feature in own) == static]


def static_inputs(model: Model) -> list[ValueInfoProto]:
    """Return the inputs of static features: `static` (N, S) and `static_ids` (N, C), if there are such."""
    made = []
    if numbers := static_numbers(model):
        about = "Numbers with one value for a sequence, as in the training data."
        made.append(value_info(STATIC, ["N", len(numbers)], about))
    if ids := categories(model, static=True):
        about = "Ids of categories with one value for a sequence, as in `ids`."
        made.append(value_info(STATIC_IDS, ["N", len(ids)], about, TensorProto.INT64))
    return made


def with_static(graph: GraphBuilder, model: Model, T: str) -> tuple[str, str]:
    """Return (numbers, ids) of all features at each step, (N, T, ...), "" where there are none.

    Each step repeats the static features, so that all features are filled and scaled alike.

    Args:
        graph: The graph.
        model: The model.
        T: Name of the number of steps.
    """
    embeddings = model.network.embeddings
    sizes = [graph.numbers(1), graph.reshape(T, [1], "T_size"), graph.numbers(1)]
    shape = graph.add("Concat", sizes, "repeats", axis=0)
    made = []
    for given, beside, parts, order in (
        ("steps", STATIC, (numbers_by_step(model), static_numbers(model)), embeddings.numeric),
        (
            "ids",
            STATIC_IDS,
            (categories(model, static=False), categories(model, static=True)),
            [each.feature for each in embeddings.embeddings],
        ),
    ):
        rows = [given] if parts[0] else []
        if parts[1]:
            column = graph.reshape(beside, [-1, 1, len(parts[1])], f"{beside}_column")
            rows.append(graph.add("Expand", [column, shape], f"{beside}_by_step"))
        if len(rows) < 2:
            made.append(rows[0] if rows else "")
            continue
        joined = graph.add("Concat", rows, f"{given}_joined", axis=2)
        found = [*parts[0], *parts[1]]
        index = graph.constant(f"{given}_order", [found.index(feature) for feature in order], np.int64)
        made.append(graph.add("Gather", [joined, index], f"all_{given}", axis=2))
    return made[0], made[1]


def divide(graph: GraphBuilder, model: Model, embedded: str) -> tuple[str, str]:
    """Return what the recurrent layers read, (N, T, E), and the static features, (N, P).

    Args:
        graph: The graph.
        model: The model.
        embedded: What `embed` returned: the numbers, then the rows of the tables, (N, T, E + P).
    """
    embeddings, static = model.network.embeddings, set(model.preprocessing.static)
    columns: dict[int, list[int]] = {feature: [place] for place, feature in enumerate(embeddings.numeric)}
    first = len(embeddings.numeric)
    for each in embeddings.embeddings:
        columns[each.feature] = list(range(first, first + each.size))
        first += each.size
    # In the order of the network: numbers, then rows, of each kind.
    order = [*embeddings.numeric, *(each.feature for each in embeddings.embeddings)]
    places: list[list[int]] = [
        [place for feature in order if (feature in static) == own for place in columns[feature]]
        for own in (False, True)
    ]
    read, kept = (
        graph.constant(f"{name}_columns", chosen, np.int64)
        for name, chosen in zip(("step", STATIC), places, strict=True)
    )
    steps = graph.add("Gather", [embedded, read], "own_columns", axis=2)
    begin = graph.add("Gather", [embedded, graph.constant("first_step", 0, np.int64)], "first", axis=1)
    return steps, graph.add("Gather", [begin, kept], "beside", axis=1)


def join(graph: GraphBuilder, model: Model, features: str, static: str) -> str:
    """Return pooled features (N, ..., D*H) joined with the static ones, (N, P), that `divide` returned."""
    if model.network.pooling.every_step:
        column = graph.reshape(static, [-1, 1, model.network.embeddings.static_size], "beside_column")
        static = graph.add("Expand", [column, "repeats"], "beside_by_step")
    return graph.add("Concat", [features, static], "pooled_and_static", axis=-1)


def static_feed(model: Model, values: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Return the inputs of static features for sequences (N, T, F), from their first steps."""
    feed: dict[str, NDArray[Any]] = {}
    if not model.preprocessing.static:
        return feed
    if numbers := static_numbers(model):
        feed[STATIC] = np.ascontiguousarray(values[:, 0, numbers])
    if ids := categories(model, static=True):
        feed[STATIC_IDS] = values[:, 0, ids].astype(np.int64)
    return feed
