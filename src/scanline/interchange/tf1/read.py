"""Read TensorFlow 1 checkpoints of recurrent classifiers, as `tf.train.Saver` writes them.

A checkpoint has variables but no network. The cells are recognised by the names and shapes of variables; what
these do not show (see `_notes`) is assumed to be TensorFlow's default.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanline import cells
from scanline.cells import Cell
from scanline.errors import ModelError, UsageError, one_line
from scanline.formats.tensor_bundle import TensorBundle, open_bundle
from scanline.interchange.checks import (
    NAME_WIDTH,
    check_finite,
    check_sizes,
    format_errors_as_model_errors,
    listed,
)
from scanline.interchange.imported import ImportedNetwork
from scanline.interchange.options import ImportOptions
from scanline.interchange.tf1.projection import find_projection, fold
from scanline.interchange.tf1.variables import (
    CellVariables,
    all_names,
    blocks_of,
    check_supported,
    find_cells,
    is_counter,
    is_slot,
    parse,
)
from scanline.model.network import Architecture

_KINDS = {
    "lstm": "basic_lstm_cell",
    "rnn": "basic_rnn_cell",
    "gru": "gru_cell",
}  # of cells in custom scopes


def read_checkpoint(
    path: str | Path, forget_bias: float = 1.0, options: ImportOptions | None = None
) -> ImportedNetwork:
    """Read the network whose variables a TensorFlow 1 checkpoint holds.

    Supported are BasicLSTMCell, LSTMCell, BasicRNNCell and GRUCell, alone, in a MultiRNNCell, or in both
    directions, under the names of static_rnn and dynamic_rnn and those of TensorFlow 0.11 to 1.1, and one
    matrix (units, K) and one vector (K,) of any name that compute logits from the last output. A kernel is
    (inputs + units, 4 units), with the rows of the inputs first and the gates in the order i, j, f, o. A
    GRUCell has two, (inputs + units, 2 units) of the gates r, u and (inputs + units, units) of the
    candidate.

    Args:
        path: As for `open_bundle`.
        forget_bias: Number that the LSTM cells add to their forget gate when they run. It is not part of a
            checkpoint; here it becomes part of the bias.
        options: What else a checkpoint does not show.

    Raises:
        ModelError: If a file is missing or damaged, or variables cannot be mapped; names them.
        UsageError: If `forget_bias` is not finite.
    """
    if not math.isfinite(forget_bias):
        raise UsageError(f"forget_bias must be a finite number, got {forget_bias}")
    options = options or ImportOptions()
    with format_errors_as_model_errors():
        bundle = open_bundle(Path(path))
        made: list[ImportedNetwork] = []
        errors: list[ModelError] = []
        for custom in _custom_cells(bundle, options.cell_scope):
            try:
                made.append(_network(bundle, forget_bias, options, custom))
            except ModelError as error:
                errors.append(error)
    if len(made) > 1:
        raise UsageError(
            f"{bundle.prefix}: {options.cell_scope} may be an LSTM or an RNN: give --cell-scope "
            f"{options.cell_scope}=lstm or {options.cell_scope}=rnn"
        )
    if not made:
        raise errors[0]
    return made[0]


def _custom_cells(bundle: TensorBundle, scope: str | None) -> list[dict[str, str]]:
    """Return what the cells with these scopes may be, for NAME, NAME,NAME or NAME=KIND."""
    if scope is None:
        return [{}]
    names, _, kind = scope.partition("=")
    scopes = [name.strip().strip("/") for name in names.split(",")]
    if not all(scopes) or any("/" in name for name in scopes) or kind not in ("", *_KINDS):
        raise UsageError(
            "--cell-scope must be NAME, or NAME=lstm, NAME=rnn or NAME=gru, with the last scope before "
            f"kernel and bias, or before gates and candidate; got {scope!r}"
        )
    kinds = [kind] if kind else list(_KINDS)
    possible = [dict.fromkeys(scopes, _KINDS[each]) for each in kinds]
    # A GRUCell has other names than the cells with one kernel: only those that occur are tried.
    named = [custom for custom in possible if any(parse(name, custom) for name in bundle.entries)]
    return named or possible[:1]


def _network(
    bundle: TensorBundle, forget_bias: float, options: ImportOptions, custom: dict[str, str]
) -> ImportedNetwork:
    # Slots of the optimiser have the shapes of weights and would otherwise be candidates for the head.
    slots = {name for name in bundle.entries if is_slot(bundle, name)}
    rest = [name for name in bundle.entries if name not in slots and not is_counter(name)]
    check_supported(bundle, rest)
    variables = find_cells(bundle, rest, custom)
    cell, units, inputs = _sizes(bundle, variables, custom)
    layers, sides = max(variables)[0] + 1, 1 + max(side for _, side in variables)
    own = set(all_names(variables))
    others = [name for name in rest if name not in own]
    unused = [name for name in others if not _may_be_head(bundle, name)]
    outer = [name for name in others if _may_be_head(bundle, name)]
    projection = None
    if options.input_projection is not None:
        projection = find_projection(bundle, outer, inputs, sides * units)
        outer = [name for name in outer if name not in (projection.matrix, projection.vector)]
        own |= {projection.matrix, projection.vector}
    matrix, vector = _head(bundle, outer, sides * units, inputs)
    classes = bundle.entries[vector].shape[0]
    features = inputs if projection is None else bundle.entries[projection.matrix].shape[0]
    check_sizes(bundle.prefix, input_size=features, hidden_size=units, layers=layers, classes=classes)
    weights = {"head.weight": _values(bundle, matrix).T, "head.bias": _values(bundle, vector)}
    for (layer, side), parts in variables.items():
        end = f"_l{layer}" + ("_reverse" if side else "")
        # TensorFlow keeps one kernel for [inputs, state]; its columns are split into weight_ih and weight_hh.
        kernel, bias = _in_our_order(cell, *_kernel_and_bias(bundle, parts))
        if cell.forget_gate is not None:
            # In place on the copy that _in_our_order made; the arrays of the bundle are not modified.
            bias[cell.rows(cell.forget_gate, units)] += np.float32(forget_bias)
        read = kernel[:, :-units]
        if projection is not None and layer == 0:
            outside = (_values(bundle, name) for name in (projection.matrix, projection.vector))
            read, bias = fold(read, bias, *outside)
        weights[f"recurrent.weight_ih{end}"] = read
        weights[f"recurrent.weight_hh{end}"] = kernel[:, -units:]
        weights[f"recurrent.bias_ih{end}"] = bias
        weights[f"recurrent.bias_hh{end}"] = np.zeros_like(bias)
    used = own | {matrix, vector}
    for name in bundle.entries.keys() - used:  # a copy that is damaged anywhere is not trusted
        bundle.check(name)
    readout = options.pooling(sides == 2)
    architecture = Architecture(
        cell.name, features, units, layers, sides == 2, 0.0, "between", readout, classes
    )
    return ImportedNetwork(
        architecture,
        {name: np.ascontiguousarray(values) for name, values in weights.items()},
        f"imported from the TensorFlow 1 checkpoint {bundle.prefix.name}",
        _notes(bundle, architecture, forget_bias, options, used, len(slots), unused),
    )


def _sizes(bundle: TensorBundle, variables: CellVariables, custom: dict[str, str]) -> tuple[Cell, int, int]:
    """Return (cell, units, inputs); check that all cells are of one kind and size and fit on each other."""
    names = all_names(variables)
    known = cells.by_layer("tf1")
    found = {known[parsed.cell][0].name for name in names if (parsed := parse(name, custom))}
    if len(found) > 1:
        raise ModelError(f"{bundle.prefix}: expected cells of one kind, found {listed(names)}")
    cell = cells.get(found.pop())
    gates, sides = len(cell.gates), 1 + max(side for _, side in variables)
    units, inputs = 0, 0
    for (layer, side), parts in sorted(variables.items()):
        for kernel_name, bias_name, own in blocks_of(parts):
            kernel, bias = (bundle.entries[name].shape for name in (kernel_name, bias_name))
            count, first = own or gates, (layer, side) == (0, 0)
            if first and len(kernel) == 2 and not units:
                units = kernel[1] // count
                # Only the first kernel defines the sizes; all others are compared with them below.
                inputs = kernel[0] - units
            width = inputs if layer == 0 else units * sides
            if kernel != (width + units, count * units) or bias != kernel[1:] or min(units, inputs) < 1:
                rows, each = ("inputs", "units") if first else (str(width), str(units))
                raise ModelError(
                    f"{bundle.prefix}: expected a kernel ({rows} + {each}, {count} x {each}) and a bias of "
                    f"as many columns{'' if first else ', as all layers have the same size'}; found "
                    f"{one_line(kernel_name, NAME_WIDTH)} {one_line(kernel)} and "
                    f"{one_line(bias_name, NAME_WIDTH)} {one_line(bias)}"
                )
    return cell, units, inputs


def _may_be_head(bundle: TensorBundle, name: str) -> bool:
    """Return whether it may be a weight of the head: real numbers, and not a scalar."""
    entry = bundle.entries[name]
    return entry.is_float and len(entry.shape) > 0


def _head(bundle: TensorBundle, names: list[str], width: int, inputs: int) -> tuple[str, str]:
    """Return the names of the matrix (width, K) and the vector (K,) of the logits: all that is left."""
    shapes = {name: bundle.entries[name].shape for name in names}
    matrices = [name for name in names if len(shapes[name]) == 2 and shapes[name][0] == width]
    ends = {shapes[name][1:] for name in matrices}
    vectors = [name for name in names if shapes[name] in ends]
    # Accepted only if nothing else is left: an extra layer would change the outputs.
    if len(matrices) == len(vectors) == 1 and len(names) == 2:
        return matrices[0], vectors[0]
    found, fitting = (
        listed([f"{name} {one_line(shapes[name])}" for name in each]) or "none"
        for each in (names, matrices + vectors)
    )
    if not matrices or not vectors:
        what = f"found {found}"
    elif len(matrices) > 1 or len(vectors) > 1:
        what = f"found more than one candidate: {fitting}"
    else:
        others = [f"{name} {one_line(shapes[name])}" for name in names if name not in matrices + vectors]
        what = f"found {fitting} and, with no known use, {listed(others)}"
    before = [name for name in names if len(shapes[name]) == 2 and shapes[name][1] == inputs]
    hint = ""
    if before and len(names) == 4:
        hint = (
            f", and those that multiply the input by {listed(before[:1])}, without an activation such as "
            "ReLU: then give --input-projection linear"
        )
    raise ModelError(
        f"{bundle.prefix}: expected, beside the cells, one matrix ({width}, classes) and one vector "
        f"(classes,) that compute the logits, {what}; only such networks can be imported{hint}"
    )


def _values(bundle: TensorBundle, name: str) -> NDArray[np.float32]:
    values = bundle.read(name)
    check_finite(bundle.prefix, name, values)
    return values


def _kernel_and_bias(
    bundle: TensorBundle, parts: dict[str, str]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a cell's kernel (inputs + H, G*H) and bias (G*H,); several are put side by side."""
    kernels, biases = zip(
        *((_values(bundle, kernel), _values(bundle, bias)) for kernel, bias, _ in blocks_of(parts)),
        strict=True,
    )
    return np.concatenate(kernels, axis=1), np.concatenate(biases)


def _in_our_order(
    cell: Cell, kernel: NDArray[np.float32], bias: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return kernel (G*H, inputs + H) and bias (G*H,) with the gates in the cell's order."""
    # The bias is appended as one more row, so that both are reordered by the same operation.
    gates = np.split(np.concatenate([kernel, bias[None]]), len(cell.gates), axis=1)
    ordered = np.concatenate([gates[index] for index in cell.inverse_gate_order("tf1")], axis=1).T
    return ordered[:, :-1], ordered[:, -1].copy()


def _notes(
    bundle: TensorBundle,
    architecture: Architecture,
    forget_bias: float,
    options: ImportOptions,
    used: set[str],
    slots: int,
    unused: list[str],
) -> list[str]:
    """Return what was assumed, and what was left out."""
    notes = []
    if cells.get(architecture.cell).forget_gate is not None:
        notes.append(
            f"forget_bias {forget_bias:g} was added to the forget gates, as the cells do when they run: it "
            "is "
            "not part of a checkpoint, and 1 is TensorFlow's default"
        )
    notes.append(
        "activations were assumed to be tanh, without clipping and residual connections, TensorFlow's default"
    )
    if options.readout is None and architecture.bidirectional:
        notes.append(
            "logits were assumed to be computed from the two last states concatenated: the forward cell's at "
            "the end of the sequence and the backward cell's at its beginning; a network that reads "
            "outputs[-1] uses another state of the backward cell, and its outputs will differ"
        )
    elif options.readout is None:
        notes.append("logits were assumed to be computed from the last output")
    narrowed = {bundle.entries[name].dtype for name in used} - {"float32"}
    if narrowed:
        notes.append(f"{listed(sorted(narrowed))} became float32")
    counters = [name for name in bundle.entries if is_counter(name)]
    if slots or counters:
        of_optimiser = f"{slots} variables of the optimiser or of averages" if slots else ""
        notes.append("left out: " + ", ".join(filter(None, [of_optimiser, *counters])))
    if unused:
        notes.append(f"left out, as they are not weights of a layer: {listed(unused)}")
    return notes
