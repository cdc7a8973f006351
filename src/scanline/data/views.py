"""How what was read becomes steps."""

from __future__ import annotations

import dataclasses

from scanline.data.sequences import Sequences
from scanline.data.splits import DataSet
from scanline.errors import UsageError


def cut_steps(sequences: Sequences, features: int) -> Sequences:
    """The same values in the same order, `features` a step: (N, T, F) -> (N, T * F / features, features).

    features: 0 keeps the steps as they are.
    Raises UsageError if the values of a sequence cannot be cut evenly or lengths differ.
    """
    if features in (0, sequences.features):
        return sequences
    n, steps, width = sequences.values.shape
    if (steps * width) % features:
        raise UsageError(
            f"data.features must divide the {steps * width} values ({steps} steps of {width}) of a sequence "
            f"of {sequences.source}, got {features}"
        )
    if (sequences.lengths != steps).any():
        raise UsageError(
            f"data.features must be 0 or {width} for sequences of different lengths, got {features}"
        )
    values = sequences.values.reshape(n, -1, features)
    lengths = sequences.lengths * width // features
    return dataclasses.replace(sequences, values=values, lengths=lengths)


def cut_all(data: DataSet, features: int) -> DataSet:
    """`cut_steps` for the three parts of a data set."""
    return dataclasses.replace(
        data,
        train=cut_steps(data.train, features),
        validation=cut_steps(data.validation, features),
        test=cut_steps(data.test, features),
    )
