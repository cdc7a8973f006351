"""A model as an ONNX file, for programs that have neither Python nor Scanline."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scanline.errors import MissingExtraError, ModelError, UsageError
from scanline.model.artifact import Model
from scanline.model.model_files import describe_tensors
from scanline.storage.atomic import write_atomic
from scanline.tasks.classification import require
from scanline.version import __version__

OLDEST_OPSET = 11  # of 2019
DEFAULT_OPSET = 17  # ONNX of 2022: whatever is still kept up to date reads it
_LIMIT_BYTES = 2**31 - 2**24  # of a protocol buffer, with room for all but the weights


def export_onnx(
    model: Model, target: Path, *, probabilities: bool = True, opset: int = DEFAULT_OPSET, seed: int = 0
) -> dict[str, Any]:
    """Write `model` to the one file `target` as a graph that reads whole sequences, preprocessing inside.

    Inputs: `steps` float32 (N, T, F), as the network reads them before they are shifted and scaled (of a
    picture's row the grey levels), and `lengths` int64 (N,), 1 to T; what lies past a length is not read. A
    model of pictures that are seen otherwise than by rows takes `pictures` float32 (N, height, width x
    channels) alone. N and T may be any. Outputs: `logits` float32 (N, K) and, unless `probabilities` is
    false, `probabilities` (N, K), calibrated if `model` is. A sequence with an infinite value, or with NaN
    where none may be missing, is answered with NaN. The metadata say which classes, which input and which
    weights.

    opset: 11 to the newest that onnx and onnxruntime, as installed, both know. seed: of the batches with
    which the graph is tried in ONNX Runtime before it is written.
    Returns `file`, `kind`, `opset`, `difference` (the largest between logits and probabilities of the graph
    and ours), `batches`, `longest` (how many steps the longest sequence of them had) and `same_class`.
    Raises UsageError if something is not installed, the opset is out of range or the model cannot be
    exported, ModelError if the graph answers otherwise than `model`. Then nothing is written.
    """
    _check(model, opset, whole=True)
    from scanline.interchange.onnx.graph import whole_graph
    from scanline.interchange.onnx.verify import verify_whole

    made = whole_graph(model, model.divisor, probabilities, opset, _properties(model, whole=True))
    content = made.SerializeToString()
    found = verify_whole(content, model, seed)
    write_atomic(Path(target), content)
    return {"file": str(target), "kind": "onnx", "opset": opset} | found


def export_step_graph(
    model: Model, target: Path, *, probabilities: bool = True, opset: int = DEFAULT_OPSET, seed: int = 0
) -> dict[str, Any]:
    """Write `model` to the one file `target` as a graph that reads one step, for sequences that still come.

    Inputs: `step` float32 (N, F) and the states: `h` and for an LSTM `c`, float32 (layers, N, H); for the
    readout mean `sum`, float64 (N, H), and `count`, int64 (N,); for the readout max `max`, float32 (N, H);
    for missing values that are filled forward `last`, float32 (N, F). Before the first step all of them are
    0, but `max` is -inf and `last` NaN; the metadata say so too, as `states`. Outputs: as for `export_onnx`,
    as if the sequence ended with this step, and each state for the next one as `new_h` and so on. A step
    that is answered with NaN leaves the states as they were.

    All else as for `export_onnx`; the graph is tried step by step against our answers for the steps so far.
    Raises UsageError also if the model has to know all steps before it can read the first.
    """
    _check(model, opset, whole=False)
    from scanline.interchange.onnx.graph import step_graph
    from scanline.interchange.onnx.verify import verify_step

    made = step_graph(model, model.divisor, probabilities, opset, _properties(model, whole=False))
    content = made.SerializeToString()
    found = verify_step(content, model, seed)
    write_atomic(Path(target), content)
    return {"file": str(target), "kind": "onnx", "opset": opset} | found


def _check(model: Model, opset: int, whole: bool) -> None:
    """Raises UsageError or ModelError if there is no graph for this model, or nothing to make it with."""
    require(model.task, "ONNX export")
    _check_installed()
    newest = newest_opset()
    if type(opset) is not int or not OLDEST_OPSET <= opset <= newest:
        raise UsageError(
            f"opset must be {OLDEST_OPSET} to {newest}, as the installed onnx and onnxruntime know them, "
            f"got {opset}"
        )
    from scanline.interchange.onnx.graph import reads_pictures

    network, form = model.network, model.preprocessing
    size = 4 * sum(weight.numel() for weight in network.parameters())
    if size > _LIMIT_BYTES:
        raise ModelError(
            f"an ONNX file holds at most 2 GiB, and the weights of this model are {size / 2**30:.1f} GiB"
        )
    from_source = whole and reads_pictures(form)  # then it fills before it cuts
    if form.missing == "forward-fill" and form.features != form.source_features and not from_source:
        raise UsageError(
            f"this model cuts steps of {form.source_features} into {form.features} after filling missing "
            "values forward, so that a graph of its steps cannot fill them: fill them before, and train with "
            "--missing error"
        )
    if whole:
        return
    if network.architecture.bidirectional:
        raise UsageError(
            "this model reads in both directions: the backward one begins at the last step, so nothing can "
            "be answered before that is known; export the whole graph, or train with "
            "model.bidirectional=false"
        )
    if form.seen is not None and form.seen.order is not None:
        raise UsageError(
            f"this model sees pictures by {form.view}: a step takes its values from all over the picture, so "
            "that it has to be there as a whole; export the whole graph"
        )


def _check_installed() -> None:
    """Raises MissingExtraError if something is missing that an export needs."""
    missing = []
    for name in ("onnx", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise MissingExtraError("writing an ONNX file", missing, "onnx")


def newest_opset() -> int:
    """The newest opset that onnx writes and onnxruntime runs, which it says nowhere: they are tried."""
    import onnx
    from onnx import TensorProto, helper

    from scanline.interchange.onnx.verify import run_on

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("given", "taken")]
    same = helper.make_node("Identity", ["given"], ["taken"])
    graph = helper.make_graph([same], "same", ends[:1], ends[1:])
    for opset in range(onnx.defs.onnx_opset_version(), OLDEST_OPSET, -1):
        opsets = [helper.make_opsetid("", opset)]
        oldest = helper.find_min_ir_version_for(opsets)
        try:
            run_on(helper.make_model(graph, opset_imports=opsets, ir_version=oldest).SerializeToString())
        except ModelError:
            continue
        return opset
    return OLDEST_OPSET


def _properties(model: Model, whole: bool) -> dict[str, str]:
    """What travels along as text: who made it, out of what, and how to use it."""
    test, temperature = model.provenance.test, model.temperature
    digests = {name: each.sha256 for name, each in describe_tensors(model.network.state_dict()).items()}
    found: dict[str, Any] = {
        "classes": json.dumps(list(model.class_names), ensure_ascii=False),
        "input": json.dumps(_expected(model, whole), ensure_ascii=False),
        "scanline": __version__,
        "data": model.data,
        "made": model.provenance.made,
        "licence": model.provenance.licence or "none was said",
        "sha256": json.dumps(digests),  # of every tensor, as in the bundle's model.json
    }
    if test is not None:
        found["accuracy"] = json.dumps(test.model_dump(mode="json"))
    if model.calibrated and temperature is not None:
        found["temperature"] = repr(temperature)
    return found


def _expected(model: Model, whole: bool) -> dict[str, Any]:
    """The input that the graph takes, for programs."""
    from scanline.interchange.onnx.graph import reads_pictures

    form = model.preprocessing
    made: dict[str, Any] = {"name": "step", "shape": ["N", form.features]}
    if whole:
        made = {"name": "steps", "shape": ["N", "T", form.features]}
    if form.picture is not None:
        p = form.picture
        if whole and reads_pictures(form):
            made = {"name": "pictures", "shape": ["N", p.height, p.width * p.channels]}
        made |= {"picture": asdict(p), "view": form.view}
    names = form.settings.feature_columns
    return made | {"missing": form.missing} | ({"features": list(names)} if names else {})
