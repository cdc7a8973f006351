"""TensorFlow 1 checkpoints of recurrent classifiers, as `tf.train.Saver` writes them.

A checkpoint has variables and no network: which cells there are is told by their names and shapes, and what
no name tells (`_notes`) is taken as TensorFlow's default.
Source: TensorFlow 1.15's python/ops/rnn_cell_impl.py and rnn.py; contrib/rnn's checkpoint_convert.py and
rnn_cell.py of 0.11 for the older names.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanline.cells import Cell, by_layer
from scanline.cells import get as get_cell
from scanline.errors import ModelError, UsageError, one_line
from scanline.formats.tensor_bundle import TensorBundle, open_bundle
from scanline.interchange.checks import check_finite, check_sizes, format_errors_as_model_errors, listed
from scanline.interchange.imported import ImportedNetwork
from scanline.limits import limit_of
from scanline.model.network import Architecture

_KINDS = by_layer("tf1")
# Names are taken apart at their last slashes, and patterns see no more than a scope of them: a file may have
# ten thousand names of hundreds of scopes.
_CELL = re.compile(r"(basic_lstm_cell|lstm_cell|basic_rnn_cell)(_\d+)?")
_PARTS = {"kernel": "kernel", "weights": "kernel", "bias": "bias", "biases": "bias"}
_OLD_CELLS = {"BasicLSTMCell": "basic_lstm_cell", "BasicRNNCell": "basic_rnn_cell"}
_OLD_PARTS = {"Matrix": "kernel", "Bias": "bias", "W_0": "kernel", "B": "bias"}
_OLD_STACK = re.compile(r"(^|/)MultiRNNCell/Cell(\d+)/")
_SLOT = re.compile(
    r"(Adam|AdaMax|Momentum|RMSProp|Adagrad|AdagradDA|Adadelta|Ftrl|ProximalAdagrad"
    r"|ExponentialMovingAverage)(_\d+)?"
)
_COUNTER = re.compile(r"(beta[12]_power|global_step)(_\d+)?")
# (what a name must have for the pattern to be tried, the pattern, what it is)
_REFUSED = (
    (
        ("_diag",),
        r"(^|/)(lstm_cell|LSTMCell)(_\d+)?/[wW]_[fioFIO]_diag$",
        "peepholes (use_peepholes=True), which no cell here has",
    ),
    (
        ("/projection/", "/W_P_"),
        r"(^|/)(lstm_cell|LSTMCell)(_\d+)?/(projection/|W_P_)",
        "a projection of the cell's output (num_proj), which no cell here has",
    ),
    (
        ("gru_cell", "GRUCell", "gru_block_cell"),
        r"(^|/)(gru_cell|GRUCell|gru_block_cell)(_\d+)?/",
        "GRUCell, whose reset gate acts before the product with the candidate's weights; here, as in PyTorch "
        "and cuDNN, it acts after, and no weights make the two the same",
    ),
    (
        ("/.ATTRIBUTES/", "recurrent_kernel"),
        r"/\.ATTRIBUTES/|(^|/)recurrent_kernel$",
        "Keras's variables, not of TensorFlow 1's cells: save the model as .keras or .h5 and import that",
    ),
)
_EXPECTED = (
    ".../basic_lstm_cell/kernel and bias, or those of lstm_cell or basic_rnn_cell, in rnn/, in "
    "rnn/multi_rnn_cell/cell_0/, ... or in bidirectional_rnn/fw/ and bw/"
)


@dataclass(frozen=True)
class _Place:
    """Where a cell stands. side: 0 reads forward, 1 backward. apart: its stack has a side to itself."""

    layer: int
    side: int
    network: tuple[str, ...]
    apart: bool


def read_checkpoint(path: str | Path, forget_bias: float = 1.0) -> ImportedNetwork:
    """The network whose variables a TensorFlow 1 checkpoint holds.

    path: as for `open_bundle`. forget_bias: what its LSTM cells add to their forget gate when they run, which
    no checkpoint tells; here it becomes part of the bias.
    Read are BasicLSTMCell, LSTMCell and BasicRNNCell, alone, in a MultiRNNCell, or in both directions, under
    static_rnn's and dynamic_rnn's names and those of TensorFlow 0.11 to 1.1, and one matrix (units, K) and
    vector (K,), whatever they are called, that make logits of the last output. A kernel is
    (inputs + units, 4 units), the inputs' rows first, its gates in the order i, j, f, o.
    Raises ModelError naming the file that is missing or damaged, or the variables that cannot be mapped, and
    UsageError if `forget_bias` is no finite number.
    """
    if not math.isfinite(forget_bias):
        raise UsageError(f"forget_bias must be a finite number, got {forget_bias}")
    with format_errors_as_model_errors():
        return _network(open_bundle(Path(path)), forget_bias)


def _network(bundle: TensorBundle, forget_bias: float) -> ImportedNetwork:
    slots = {name for name in bundle.entries if _is_slot(bundle, name)}
    rest = [name for name in bundle.entries if name not in slots and not _is_counter(name)]
    _refuse(bundle, rest)
    cells = _cells(bundle, rest)
    cell, units, inputs = _sizes(bundle, cells)
    layers, sides = max(cells)[0] + 1, 1 + max(side for _, side in cells)
    own = {name for parts in cells.values() for name in parts.values()}
    others = [name for name in rest if name not in own]
    unused = [name for name in others if not _may_be_head(bundle, name)]
    matrix, vector = _head(bundle, [name for name in others if _may_be_head(bundle, name)], sides * units)
    classes = bundle.entries[vector].shape[0]
    check_sizes(bundle.prefix, input_size=inputs, hidden_size=units, layers=layers, classes=classes)
    weights = {"head.weight": _values(bundle, matrix).T, "head.bias": _values(bundle, vector)}
    for (layer, side), parts in cells.items():
        end = f"_l{layer}" + ("_reverse" if side else "")
        kernel, bias = _in_our_order(cell, _values(bundle, parts["kernel"]), _values(bundle, parts["bias"]))
        if cell.forget_gate is not None:
            bias[cell.rows(cell.forget_gate, units)] += np.float32(forget_bias)
        weights[f"recurrent.weight_ih{end}"] = kernel[:, :-units]
        weights[f"recurrent.weight_hh{end}"] = kernel[:, -units:]
        weights[f"recurrent.bias_ih{end}"] = bias
        weights[f"recurrent.bias_hh{end}"] = np.zeros_like(bias)
    used = own | {matrix, vector}
    for name in bundle.entries.keys() - used:  # a copy that is damaged anywhere is not to be trusted
        bundle.check(name)
    architecture = Architecture(cell.name, inputs, units, layers, sides == 2, 0.0, "between", "last", classes)
    return ImportedNetwork(
        architecture,
        {name: np.ascontiguousarray(values) for name, values in weights.items()},
        f"imported from the TensorFlow 1 checkpoint {bundle.prefix.name}",
        _notes(bundle, architecture, forget_bias, used, len(slots), unused),
    )


def _is_slot(bundle: TensorBundle, name: str) -> bool:
    """Whether an optimiser keeps it beside a variable: NAME/Adam, or NAME/... of the same shape."""
    variable, _, end = name.rpartition("/")
    if variable and _SLOT.fullmatch(end):
        return True
    owner = bundle.entries.get(variable)
    return owner is not None and owner.shape == bundle.entries[name].shape


def _is_counter(name: str) -> bool:
    return _COUNTER.fullmatch(name.rpartition("/")[2]) is not None


def _refuse(bundle: TensorBundle, names: list[str]) -> None:
    for marks, pattern, what in _REFUSED:
        likely = [name for name in names if any(mark in name for mark in marks)]
        if found := [name for name in likely if re.search(pattern, name)]:
            raise ModelError(f"{bundle.prefix}: cannot map {listed(found)}: {what}")


def _cells(bundle: TensorBundle, names: list[str]) -> dict[tuple[int, int], dict[str, str]]:
    """By layer and side the names of each cell's kernel and bias; no layer and no side is missing."""
    cells: dict[tuple[int, int], dict[str, str]] = {}
    places: list[_Place] = []
    for name in names:
        if (taken := _taken_apart(name)) is None:
            continue
        scopes, _, part = taken
        place = _place(bundle, name, scopes)
        places.append(place)
        parts = cells.setdefault((place.layer, place.side), {})
        if len(cells) > 2 * limit_of("LAYERS"):
            check_sizes(bundle.prefix, layers=max(cells)[0] + 1)
        if part in parts or place.network != places[0].network:
            raise ModelError(
                f"{bundle.prefix}: expected the cells of one network, found {listed([*_flat(cells), name])}; "
                "several cannot be put in order by their names"
            )
        parts[part] = name
    if not cells:
        raise ModelError(
            f"{bundle.prefix}: found no cell that can be read: expected variables {_EXPECTED}, found "
            f"{listed(names) or 'none'}"
        )
    layers, sides = max(cells)[0] + 1, 1 + max(side for _, side in cells)
    if len(cells) != layers * sides or any(len(parts) != 2 for parts in cells.values()):
        raise ModelError(
            f"{bundle.prefix}: expected a kernel and a bias of each of {layers} layers in {sides} "
            f"direction{'s' * (sides - 1)}, found {listed(_flat(cells))}"
        )
    if layers > 1 and any(place.apart for place in places):
        raise ModelError(
            f"{bundle.prefix}: cannot map {listed(_flat(cells))}: each direction has a stack of its own, "
            "while here, as in PyTorch, a layer reads both directions of the layer below"
        )
    return cells


def _flat(cells: dict[tuple[int, int], dict[str, str]]) -> list[str]:
    return sorted(name for parts in cells.values() for name in parts.values())


def _taken_apart(name: str) -> tuple[str, str, str] | None:
    """(scopes around it, cell, kernel or bias) of a cell's variable, as TensorFlow 1.2 and later would call
    them; None if it is none."""
    scopes, _, end = name.rpartition("/")
    scopes, _, cell = scopes.rpartition("/")
    if end in _PARTS and (match := _CELL.fullmatch(cell)):
        cell, part = match[1], _PARTS[end]
    elif end in ("W_0", "B") and cell == "LSTMCell":
        cell, part = "lstm_cell", _OLD_PARTS[end]
    elif end in ("Matrix", "Bias") and cell == "Linear":
        scopes, _, old = scopes.rpartition("/")
        cell, part = _OLD_CELLS.get(old, ""), _OLD_PARTS[end]
    else:
        return None
    return (scopes, cell, part) if cell else None


def _place(bundle: TensorBundle, name: str, where: str) -> _Place:
    """Where the cell of variable `name` stands. where: the scopes around it."""
    scopes = _OLD_STACK.sub(r"\1multi_rnn_cell/cell_\2/", f"{where}/").split("/")[:-1] if where else []
    layers = [scope for scope in scopes if re.fullmatch(r"cell_[0-9]{1,6}", scope)]
    sides = [scope for scope in scopes if scope in ("fw", "bw")]
    if len(layers) > 1 or len(sides) > 1:
        raise ModelError(
            f"{bundle.prefix}: cannot map {one_line(name, 120)}: it is in a stack within a stack"
        )
    network = tuple("*" if scope in layers or scope in sides else scope for scope in scopes)
    apart = bool(layers and sides) and scopes.index(layers[0]) > scopes.index(sides[0])
    return _Place(int(layers[0][5:]) if layers else 0, int(sides == ["bw"]), network, apart)


def _sizes(bundle: TensorBundle, cells: dict[tuple[int, int], dict[str, str]]) -> tuple[Cell, int, int]:
    """(cell, units, inputs) of the cells, which must have the same units and fit on each other."""
    kinds = {_KINDS[taken[1]] for name in _flat(cells) if (taken := _taken_apart(name))}
    cell = kinds.pop()
    if kinds:
        raise ModelError(f"{bundle.prefix}: expected cells of one kind, found {listed(_flat(cells))}")
    sides, gates = 1 + max(side for _, side in cells), len(cell.gates)
    units, inputs = 0, 0
    for (layer, side), parts in sorted(cells.items()):
        kernel, bias = (bundle.entries[parts[part]].shape for part in ("kernel", "bias"))
        if (layer, side) == (0, 0) and len(kernel) == 2:
            units = kernel[1] // gates
            inputs = kernel[0] - units
        width = inputs if layer == 0 else units * sides
        if kernel != (width + units, gates * units) or bias != kernel[1:] or min(units, inputs) < 1:
            known = (layer, side) != (0, 0)
            rows, each = (str(width), str(units)) if known else ("inputs", "units")
            raise ModelError(
                f"{bundle.prefix}: expected a kernel ({rows} + {each}, {gates} x {each}) and a bias of "
                f"as many columns{', as all layers have the same size' if known else ''}; found "
                f"{one_line(parts['kernel'], 120)} {one_line(kernel)} and {one_line(parts['bias'], 120)} "
                f"{one_line(bias)}"
            )
    return cell, units, inputs


def _may_be_head(bundle: TensorBundle, name: str) -> bool:
    """Whether it could be a layer's weight: real numbers, and more than one without a shape."""
    entry = bundle.entries[name]
    return entry.is_float and len(entry.shape) > 0


def _head(bundle: TensorBundle, names: list[str], width: int) -> tuple[str, str]:
    """The names of the matrix (width, K) and the vector (K,) that make the logits: all that is left."""
    shapes = {name: bundle.entries[name].shape for name in names}
    matrices = [name for name in names if len(shapes[name]) == 2 and shapes[name][0] == width]
    ends = {shapes[name][1:] for name in matrices}
    vectors = [name for name in names if shapes[name] in ends]
    if len(matrices) == len(vectors) == 1 and len(names) == 2:
        return matrices[0], vectors[0]
    found, fitting = (
        listed([f"{name} {one_line(shapes[name])}" for name in some]) or "none"
        for some in (names, matrices + vectors)
    )
    if not matrices or not vectors:
        what = f"found {found}"
    elif len(matrices) > 1 or len(vectors) > 1:
        what = f"found more than one that could be it: {fitting}"
    else:
        others = [f"{name} {one_line(shapes[name])}" for name in names if name not in matrices + vectors]
        what = f"found {fitting} and, with no known use, {listed(others)}"
    raise ModelError(
        f"{bundle.prefix}: expected, beside the cells, one matrix ({width}, classes) and one vector "
        f"(classes,) that make the logits, {what}; only such networks can be imported"
    )


def _values(bundle: TensorBundle, name: str) -> NDArray[np.float32]:
    values = bundle.read(name)
    check_finite(bundle.prefix, name, values)
    return values


def _in_our_order(
    cell: Cell, kernel: NDArray[np.float32], bias: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Kernel (G units, inputs + units) and bias (G units,), gates in torch's order."""
    blocks = np.split(np.concatenate([kernel, bias[None]]), len(cell.gates), axis=1)
    order = cell.inverse_gate_order("tf1")
    turned = np.concatenate([blocks[k] for k in order], axis=1).T  # (G units, inputs + units + 1)
    return turned[:, :-1], turned[:, -1].copy()


def _notes(
    bundle: TensorBundle,
    architecture: Architecture,
    forget_bias: float,
    used: set[str],
    slots: int,
    unused: list[str],
) -> list[str]:
    """What was taken for granted, and what was left out."""
    notes = []
    if get_cell(architecture.cell).forget_gate is not None:
        notes.append(
            f"forget_bias {forget_bias:g} was added to the forget gates, as the cells do when they run: no "
            "checkpoint tells it, and 1 is TensorFlow's default"
        )
    notes.append(
        "activations were taken to be tanh, with no clipping and no residual connections, as is TensorFlow's "
        "default"
    )
    if architecture.bidirectional:
        notes.append(
            "logits were taken to be computed from the two last states joined: the forward cell's at the end "
            "of the sequence and the backward cell's at its beginning; a network that reads outputs[-1] "
            "takes another state of the backward cell, and its answers will differ"
        )
    else:
        notes.append("logits were taken to be computed from the last output")
    narrowed = {bundle.entries[name].dtype for name in used} - {"float32"}
    if narrowed:
        notes.append(f"{listed(sorted(narrowed))} became float32")
    counters = [name for name in bundle.entries if _is_counter(name)]
    if slots or counters:
        of_optimiser = f"{slots} variables of the optimiser or of averages" if slots else ""
        notes.append("left out: " + ", ".join(filter(None, [of_optimiser, *counters])))
    if unused:
        notes.append(f"left out, as they are no weights of a layer: {listed(unused)}")
    return notes
