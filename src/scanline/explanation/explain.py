"""Explain a prediction for an array, a file, or a sequence of the test split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.checks import check_values
from scanline.data.packed_data import is_packed, read_packed
from scanline.data.preprocessing import Preprocessing
from scanline.data.reading import TO_PREDICT, exists, read_sources
from scanline.data.source import SequenceSource
from scanline.errors import DataError, UsageError, did_you_mean, join_names
from scanline.evaluation.evaluate import own_split
from scanline.evaluation.predict_files import holds_several
from scanline.explanation.attribution import baseline, integrated_gradients, to_pixels
from scanline.explanation.explanation import Explanation
from scanline.explanation.trace import trace
from scanline.model.artifact import Model, TrainedModel
from scanline.tasks import Task, require_sequences
from scanline.training.provenance import trained_on


def explain(
    model: TrainedModel, values: Any, name: str = "the given sequence", output: str | None = None
) -> Explanation:
    """Explain the prediction of a model for one sequence.

    Args:
        model: The model.
        values: (T, F), (T,) for one feature, a picture (height, width) or (height, width, 3), as for
            `Model.predict`, or a text.
        name: Name of the sequence in texts and figures.
        output: As for `explain_sequence`.

    Returns:
        The explanation.

    Raises:
        DataError: If the shape does not fit the model; names the expected and the actual one.
        UsageError: If the model is an ensemble.
    """
    single = model.one_network("an explanation")
    source = single.read(_with_batch_axis(single.preprocessing, values))
    if len(source) != 1:
        raise DataError(f"expected one sequence to explain; got {len(source)}")
    return explain_sequence(single, source, 0, name, output)


def explain_sequence(
    model: Model,
    source: SequenceSource,
    index: int,
    name: str | None = None,
    output: str | None = None,
) -> Explanation:
    """Explain the prediction of a model for one sequence of a source.

    Args:
        model: The model.
        source: Sequences that are the network's steps already, as `Model.align` returns them.
        index: Which of them, counted from 0.
        name: Name of the sequence; None takes the source's name for it.
        output: The class, or the number, whose attribution is computed; None: that of the prediction.

    Returns:
        The explanation.

    Raises:
        UsageError: If there is no such output; names all.
    """
    require_sequences(model.task, "an explanation")
    network, preprocessing = model.network, model.preprocessing
    values = source.steps_of(index)
    if preprocessing.windows is not None:
        preprocessing.windows.require_one(len(values), "an explanation")
    traced = trace(network, values, model.task, model.divisor)
    target = model.task.explained_output(traced.probabilities[-1])
    if output is not None:
        target = _output_of(model.task, output)
    background = baseline(network, preprocessing.picture is not None)
    attribution = integrated_gradients(network, values, target, background)
    view = preprocessing.picture_view
    return Explanation(
        name=name or source.describe(index),
        trace=traced,
        attribution=attribution,
        values=values,
        picture=preprocessing.as_picture(values),
        pixel_attribution=None if view is None else to_pixels(attribution.values, view),
        cell=network.architecture.cell,
        view=view,
        true=source.classes[source.targets[index]] if source.has_targets else None,
        tokens=_tokens(model, values),
    )


def _output_of(task: Task, wanted: str) -> int:
    """Return the index of an output. Raises UsageError if there is none of this name."""
    names = [str(name) for name in task.output_names]
    if wanted not in names:
        raise UsageError(
            f"--class: expected one of {join_names(names)}, got {wanted!r}{did_you_mean(wanted, names)}"
        )
    return names.index(wanted)


def _tokens(model: Model, values: NDArray[Any]) -> tuple[str, ...]:
    """Return the token of each step of a text, () for other sequences."""
    if not model.preprocessing.settings.tokens:
        return ()
    (vocabulary,) = model.preprocessing.vocabularies
    return tuple(vocabulary.name_of(int(number)) for number in values[:, 0])


def explain_input(
    trained: TrainedModel, run: str, given: str, sequence: str | None = None, output: str | None = None
) -> Explanation:
    """Explain the prediction of a model for a file or for a sequence of its test split.

    Args:
        trained: The model.
        run: Run directory or model directory that it was loaded from, for its test split.
        given: A picture, a file of sequences, or a number of a sequence in the test split.
        sequence: Name or number of a sequence in a file of several; None takes the first.
        output: As for `explain_sequence`.

    Returns:
        The explanation.

    Raises:
        DataError: If a file cannot be read or does not fit the model.
        UsageError: If `sequence` does not apply or names no sequence, or the model is an ensemble.
    """
    model, path = trained.one_network("an explanation"), Path(given)
    if given.isdecimal() and not exists(path):
        if sequence is not None:
            raise UsageError(
                f"--sequence applies to files of several sequences; {given} is a number in the test split"
            )
        _, test = own_split(model, run, trained_on(Path(run)), "test")
        index = _index_of(test, given)
        name = f"test {test.describe(index)}"
        return explain_sequence(model, model.align(test), index, name, output)
    preprocessing = model.preprocessing
    if preprocessing.picture is not None and not holds_several(given):
        if sequence is not None:
            raise UsageError(f"--sequence applies to files of several sequences; {given} is a picture")
        return explain(model, model.prepare(path), given, output)
    read = _read(given, preprocessing)
    check_values(read, preprocessing.missing != "error", trained=True)
    index = 0 if sequence is None else _index_of(read, sequence)
    labelled = bool(read.classes)
    source = model.align(read) if labelled else preprocessing.prepare(read)
    return explain_sequence(model, source, index, f"{given}, {read.describe(index)}", output)


def _with_batch_axis(preprocessing: Preprocessing, values: Any) -> Any:
    """Return `values` as a batch of one sequence, also where a step has a single feature."""
    if preprocessing.picture is not None:
        return values
    if preprocessing.vocabularies:
        return [values] if isinstance(values, str) else values
    try:
        shape = np.shape(values)
    except ValueError:  # sequences of different lengths, thus more than one: `explain` reports it
        return values
    if len(shape) == 1:
        shape = (*shape, 1)
    elif len(shape) != 2 or shape[1] not in (preprocessing.source_features, preprocessing.features):
        return values
    return (values if hasattr(values, "reshape") else np.asarray(values)).reshape(1, *shape)


def _read(given: str, preprocessing: Preprocessing) -> SequenceSource:
    """Return the first split of a file, or the test split of a packed data set."""
    if is_packed(given):
        data = read_packed(given)
        return data.test or data.first
    return next(iter(read_sources(Path(given), preprocessing.settings, TO_PREDICT).values()))


def _index_of(source: SequenceSource, name: str) -> int:
    """Return the index of the sequence that has this name, or else this number."""
    if (found := source.find(name)) is not None:
        return found
    if name.isdecimal() and int(name) < len(source):
        return int(name)
    legal = (
        f"0 to {len(source) - 1}" if source.ids is None else join_names([str(each) for each in source.ids])
    )
    raise UsageError(f"{source.name} has no sequence {name!r}: expected one of {legal}")
