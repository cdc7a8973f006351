"""Unpacks sequences in containers of other libraries, without importing these libraries.

These are PackedSequence and nested tensors of torch, columns of Arrow and of Hugging Face data sets.
Containers whose axes are in doubt are refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scanline.errors import DataError


def unpacked(values: Any, source: str) -> Any:
    """Return `values` as an array, a tensor or a list of sequences.

    Args:
        values: Anything; what is not a known container is returned as it is.
        source: Name of the values, for messages.

    Raises:
        DataError: If the container is an Arrow table, or a data frame whose rows are steps.
    """
    if hasattr(values, "batch_sizes") and hasattr(values, "unsorted_indices"):
        return _packed(values)
    if getattr(values, "is_nested", False):
        return list(values.unbind())
    if getattr(getattr(values, "index", None), "nlevels", 1) > 1:
        raise DataError(
            f"{source}: expected an array (sequences, steps, features), found a data frame with an index of "
            "several levels, whose rows are steps; give a list of one array for each sequence, or save it as "
            "a CSV file"
        )
    module = type(values).__module__.partition(".")[0]
    if module == "pyarrow" and hasattr(values, "to_pylist") and not hasattr(values, "column_names"):
        return values.to_pylist()
    if module == "datasets" and not hasattr(values, "column_names"):
        return list(values)  # a column
    if hasattr(values, "column_names"):
        raise DataError(
            f"{source}: expected sequences, found a table with named columns; give one of its columns, or "
            "the table itself to scanline.train"
        )
    return values


def _packed(values: Any) -> list[Any]:
    """Return the sequences of a torch PackedSequence in the order in which they were packed.

    Its data are all first steps, then all second steps, and so on, each from the longest sequence down.
    """
    sizes = np.asarray(values.batch_sizes.cpu())
    starts = np.cumsum(sizes) - sizes
    sequences = [values.data[(starts[sizes > place] + place).tolist()] for place in range(int(sizes[0]))]
    order = values.unsorted_indices
    return sequences if order is None else [sequences[place] for place in order.cpu().tolist()]
