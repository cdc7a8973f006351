"""Write a model as an ONNX file, for programs without Python or Scanline."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scanline.errors import MissingExtraError, ModelError, UsageError
from scanline.interchange.export import Export, check_exportable
from scanline.model.artifact import Model, TrainedModel
from scanline.model.ensemble_files import member_folder
from scanline.model.model_files import describe_tensors
from scanline.storage.atomic import write_atomic
from scanline.tasks.multilabel import Multilabel
from scanline.tasks.regression import Regression
from scanline.version import __version__

if TYPE_CHECKING:
    from onnx import ModelProto

OLDEST_OPSET = 11  # of 2019
DEFAULT_OPSET = 17  # ONNX 1.12 of 2022: all maintained runtimes read it
_LIMIT_BYTES = 2**31 - 2**24  # of a protocol buffer, without 16 MiB for all but the weights


def export_onnx(
    model: TrainedModel,
    target: Path,
    *,
    probabilities: bool = True,
    opset: int = DEFAULT_OPSET,
    seed: int = 0,
) -> Export:
    """Write a graph that reads whole sequences, with the preprocessing inside, to the file `target`.

    Inputs are `steps` float32 (N, T, F), before shift and scale (of a picture's row the levels), and
    `lengths` int64 (N,), 1 to T; values past a length are not read. A model of pictures with another view
    than rows takes `pictures` float32 (N, height, width x channels) only. N and T are free. Outputs are
    `logits` float32 (N, K) and `probabilities` (N, K), calibrated if `model` is; (N, T, K) if the model
    predicts each step, undefined past the end of a sequence; of a regression `number` float64 (N,) and, if
    predictions have intervals, `low` and `high` (N,). They are NaN for a
    sequence with an infinite value, or with NaN if the model does not fill missing values. The metadata
    name the classes, the input and the digests of the weights. The graph of an ensemble has all members, and
    its logits are the logarithm of the mean of their probabilities; it takes pictures if one member has
    another view than rows.

    A model with categories takes `ids` int64 (N, T, C), of texts (N, T), and `steps` of its other features,
    if it has any. The names of the ids are written to a JSON file beside it: model.vocabulary.json for
    model.onnx. Static columns have inputs `static` float32 (N, S) and `static_ids` int64 (N, C) in place of
    those of steps.

    Args:
        model: The model.
        target: The file.
        probabilities: Whether there is an output for them.
        opset: 11 to the newest that the installed onnx and onnxruntime support.
        seed: Seed of the batches with which the graph is verified in ONNX Runtime before it is written.

    Raises:
        UsageError: If a package is missing, the opset is out of range, or ONNX has no equivalent of the
        model. ModelError: If the graph's outputs differ from the model's. Nothing is written then.
    """
    _check(model, opset, whole=True)
    from scanline.interchange.onnx.ensemble_graph import whole_graph
    from scanline.interchange.onnx.verify import verify_sequences

    graph = whole_graph(model, model.divisor, probabilities, opset, _properties(model, whole=True))
    return _write(graph, target, opset, model, lambda content: verify_sequences(content, model, seed))


def export_step_graph(
    model: Model, target: Path, *, probabilities: bool = True, opset: int = DEFAULT_OPSET, seed: int = 0
) -> Export:
    """Write a graph that reads one step, for streams, to the file `target`.

    Inputs are `step` float32 (N, F) and the states: the cell's (`h`, and `c` of an LSTM), float32
    (layers, N, H); for mean pooling `sum`, float64 (N, H), and `count`, int64 (N,); for max pooling `max`,
    float32 (N, H); for forward filling `last`, float32 (N, F). Before the first step all are 0, except `max`,
    which is -inf, and `last`, which is NaN; the metadata list this as `states`. Outputs are those of
    `export_onnx` for the steps so far, and each state for the next step, as `new_h` and so on. A step for
    which the outputs are NaN leaves the states unchanged.

    Arguments and errors are those of `export_onnx`.

    Raises:
        UsageError: Also if the model needs all steps before it can read the first.
    """
    _check(model, opset, whole=False)
    from scanline.interchange.onnx.step_graph import step_graph
    from scanline.interchange.onnx.verify import verify_steps

    graph = step_graph(model, model.divisor, probabilities, opset, _properties(model, whole=False))
    return _write(graph, target, opset, model, lambda content: verify_steps(content, model, seed))


def _write(
    graph: ModelProto, target: Path, opset: int, model: TrainedModel, verify: Callable[[bytes], Any]
) -> Export:
    from scanline.interchange.onnx.ids import has_ids, vocabulary_path, vocabulary_text

    # The bytes that were verified are the bytes that are written.
    content = graph.SerializeToString()
    verification, vocabulary = verify(content), None
    if has_ids(model.models[0]):
        path = vocabulary_path(Path(target))
        write_atomic(path, vocabulary_text(model.models[0]))
        vocabulary = str(path)
    write_atomic(Path(target), content)
    return Export(str(target), "onnx", opset, verification, vocabulary=vocabulary)


def _check(model: TrainedModel, opset: int, whole: bool) -> None:
    """Check that there is a graph for this model, and that the packages for it are installed."""
    for each in model.models:
        check_exportable(each, "onnx", "ONNX")
    known = [[each.names for each in member.preprocessing.vocabularies] for member in model.models]
    if any(names != known[0] for names in known):
        raise UsageError(
            "ONNX export: expected members with the same categories, got some with others, so that they have "
            "no ids in common; export the members"
        )
    _check_installed()
    newest = newest_opset()
    if type(opset) is not int or not OLDEST_OPSET <= opset <= newest:
        raise UsageError(
            f"opset must be {OLDEST_OPSET} to {newest}, which the installed onnx and onnxruntime support, "
            f"got {opset}"
        )
    # Protocol buffers are limited to 2 GiB; serialising more fails late, after all work is done.
    size = 4 * model.parameter_count
    if size > _LIMIT_BYTES:
        raise ModelError(
            f"the weights of this model are {size / 2**30:.1f} GiB; an ONNX file holds at most 2 GiB"
        )
    from scanline.interchange.onnx.parts import takes_pictures

    # Graphs of whole pictures carry values along picture rows before the view cuts them into steps.
    if not (whole and takes_pictures(model)):
        _check_cutting(model)
    if not whole:
        _check_causal(model.models[0])


def _check_cutting(model: TrainedModel) -> None:
    """Check that steps as the networks read them can be the input of a graph."""
    for form in (each.preprocessing for each in model.models):
        if form.features == form.source_features:
            continue
        if len(model.models) > 1:
            raise UsageError(
                f"a member of this ensemble cuts steps of {form.source_features} values into steps of "
                f"{form.features}, which a graph of several members cannot do: export the member"
            )
        if form.missing == "forward-fill":
            raise UsageError(
                f"this model cuts steps of {form.source_features} values into steps of {form.features} after "
                "it fills missing values forward, which a graph of its steps cannot do: fill them before, "
                "and train with input.missing=error"
            )


def _check_causal(model: Model) -> None:
    """Check that the model can read a sequence step by step."""
    form = model.preprocessing
    if form.windows is not None:
        raise UsageError(
            f"this model joins the predictions of windows of {form.windows.length:,} steps, which a graph of "
            "one step cannot do: export the whole graph, which reads a window"
        )
    if form.static:
        raise UsageError(
            "this model has static columns, which a graph of one step does not take: export the whole graph"
        )
    if model.network.architecture.bidirectional:
        raise UsageError(
            "this model reads in both directions: the backward direction begins at the last step, so it "
            "cannot read step by step; export the whole graph, or train with model.bidirectional=false"
        )
    if form.picture_view is not None and form.picture_view.order is not None:
        raise UsageError(
            f"this model reads pictures with the view {form.view}: a step takes its values from all over the "
            "picture, so it needs the whole picture; export the whole graph"
        )


def _check_installed() -> None:
    missing = []
    for name in ("onnx", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise MissingExtraError("writing an ONNX file", missing, "onnx")


def newest_opset() -> int:
    """Return the newest opset that onnx writes and onnxruntime runs, which is found by trying."""
    import onnx
    from onnx import TensorProto, helper

    from scanline.interchange.onnx.verify import run_on

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("given", "taken")]
    same = helper.make_node("Identity", ["given"], ["taken"])
    graph = helper.make_graph([same], "same", ends[:1], ends[1:])
    # onnx may know newer opsets than the installed onnxruntime, whose support is tested by loading a graph.
    for opset in range(onnx.defs.onnx_opset_version(), OLDEST_OPSET, -1):
        opsets = [helper.make_opsetid("", opset)]
        oldest = helper.find_min_ir_version_for(opsets)
        try:
            run_on(helper.make_model(graph, opset_imports=opsets, ir_version=oldest).SerializeToString())
        except ModelError:
            continue
        return opset
    return OLDEST_OPSET


def _properties(model: TrainedModel, whole: bool) -> dict[str, str]:
    """Return the metadata: where the model comes from, and how to use it."""
    test, temperature = model.provenance.test, model.temperature
    several = len(model.models) > 1
    digests = {
        f"{member_folder(number)}/{name}" if several else name: each.sha256
        for number, member in enumerate(model.models, 1)
        for name, each in describe_tensors(member.network.state_dict()).items()
    }
    what = {"classes": json.dumps(list(model.class_names), ensure_ascii=False)}
    if isinstance(model.task, Regression):
        what = {"task": model.task.name, "number": json.dumps(model.task.to_json())}
    if isinstance(model.task, Multilabel):
        what |= {"task": model.task.name, "thresholds": json.dumps(list(model.task.limits))}
    made: dict[str, str] = {
        **what,
        "input": json.dumps(_input(model, whole), ensure_ascii=False),
        "scanline": __version__,
        "data": model.data,
        "made": model.provenance.made,
        "licence": model.provenance.licence or "not stated",
        "sha256": json.dumps(digests),  # of every tensor, as in the model's model.json
    }
    if several:
        made["members"] = json.dumps([each.short_name for each in model.models])
    if test is not None:
        made["accuracy"] = json.dumps(test.model_dump(mode="json"))
    if model.calibrated and temperature is not None:
        made["temperature"] = repr(temperature)
    return made


def _input(model: TrainedModel, whole: bool) -> dict[str, Any]:
    """Return the description of the input, for programs."""
    from scanline.interchange.onnx.parts import takes_pictures

    form = model.preprocessing
    static = set(form.static) | {each.feature for each in model.models[0].preprocessing.vocabularies}
    width = form.features - len(static)
    made: dict[str, Any] = {"name": "step", "shape": ["N", width]}
    if whole:
        made = {"name": "steps", "shape": ["N", "T", width]}
    if model.models[0].preprocessing.vocabularies:
        made["ids"] = "ids"
    if form.static:
        made["static"] = list(form.settings.static_columns)
    if form.picture is not None:
        p = form.picture
        if whole and takes_pictures(model):
            made = {"name": "pictures", "shape": ["N", p.height, p.width * p.channels]}
        made |= {"picture": asdict(p), "view": model.view}
    made["missing"], names = form.missing, form.feature_names
    if names:
        made["features"] = list(names)
    if form.windows is not None:  # the graph reads a window; joining predictions is left to the program
        made["windows"] = asdict(form.windows)
    return made
