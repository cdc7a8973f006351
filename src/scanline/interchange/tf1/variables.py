"""Variables of TensorFlow 1's recurrent cells: which cell they belong to, recognised by their names.

Source: TensorFlow 1.15's python/ops/rnn_cell_impl.py and rnn.py; contrib/rnn's checkpoint_convert.py and
rnn_cell.py of 0.11 for the older names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from scanline import cells
from scanline.errors import ModelError, one_line
from scanline.formats.tensor_bundle import TensorBundle
from scanline.interchange.checks import NAME_WIDTH, check_sizes, listed
from scanline.limits import limit_of

# A file may have ten thousand names of hundreds of scopes. Names are split at their last slashes, and
# patterns are applied to one scope only, so that the time is bounded.
_CELL = re.compile(rf"({'|'.join(cells.by_layer('tf1'))})(_\d+)?")
_JOINED = ("basic_lstm_cell", "lstm_cell", "basic_rnn_cell")  # cells with one kernel
_PARTS = {"kernel": "kernel", "weights": "kernel", "bias": "bias", "biases": "bias"}
# Names of TensorFlow 0.11 to 1.1.
_OLD_CELLS = {"BasicLSTMCell": "basic_lstm_cell", "BasicRNNCell": "basic_rnn_cell", "GRUCell": "gru_cell"}
_OLD_PARTS = {"Matrix": "kernel", "Bias": "bias", "W_0": "kernel", "B": "bias"}
# A GRUCell has a kernel and a bias of both gates, and others of the candidate; a GRUBlockCell, too.
_BLOCKS = {"gates": "gates", "candidate": "candidate", "Gates": "gates", "Candidate": "candidate"}
_BLOCK_CELL = {
    "w_ru": "gates/kernel",
    "b_ru": "gates/bias",
    "w_c": "candidate/kernel",
    "b_c": "candidate/bias",
}
_OLD_STACK = re.compile(r"(^|/)MultiRNNCell/Cell(\d+)/")
_SLOT = re.compile(
    r"(Adam|AdaMax|Momentum|RMSProp|Adagrad|AdagradDA|Adadelta|Ftrl|ProximalAdagrad"
    r"|ExponentialMovingAverage)(_\d+)?"
)
_COUNTER = re.compile(r"(beta[12]_power|global_step)(_\d+)?")
# (texts of which a name must have one before the pattern is tried, the pattern, what it means)
_UNSUPPORTED = (
    (
        ("_diag",),
        r"(^|/)(lstm_cell|LSTMCell)(_\d+)?/[wW]_[fioFIO]_diag$",
        "peepholes (use_peepholes=True), which no cell of Scanline has",
    ),
    (
        ("/projection/", "/W_P_"),
        r"(^|/)(lstm_cell|LSTMCell)(_\d+)?/(projection/|W_P_)",
        "a projection of the cell's output (num_proj), which no cell of Scanline has",
    ),
    (
        ("/.ATTRIBUTES/", "recurrent_kernel"),
        r"/\.ATTRIBUTES/|(^|/)recurrent_kernel$",
        "Keras's variables, not those of TensorFlow 1's cells: save the model as .keras or .h5 and import "
        "that",
    ),
)
_EXPECTED = (
    ".../basic_lstm_cell/kernel and bias, or those of lstm_cell, basic_rnn_cell or gru_cell (gates/kernel, "
    "candidate/kernel, ...), in rnn/, in rnn/multi_rnn_cell/cell_0/, ... or in bidirectional_rnn/fw/ and bw/"
)

# Names of the variables by their parts, by (layer, side); side 0 reads forward, 1 backward.
CellVariables = dict[tuple[int, int], dict[str, str]]


@dataclass(frozen=True)
class _Position:
    """Where a cell is in the network.

    Attributes:
        layer: Its layer, from 0.
        side: 0 reads forward, 1 backward.
        network: The scopes around it, without layer and side.
        separate: Whether each direction has its own stack of layers.
    """

    layer: int
    side: int
    network: tuple[str, ...]
    separate: bool


@dataclass(frozen=True)
class VariableName:
    """A cell's variable, with the names of TensorFlow 1.2 and later.

    Attributes:
        scopes: The scopes around the cell.
        cell: Name of the cell.
        part: "kernel" or "bias"; of a gru_cell "gates/kernel", "gates/bias", "candidate/kernel" or
            "candidate/bias".
    """

    scopes: str
    cell: str
    part: str


def is_slot(bundle: TensorBundle, name: str) -> bool:
    """Return whether an optimiser stores it for a variable: NAME/Adam, or NAME/... of the same shape."""
    variable, _, end = name.rpartition("/")
    if variable and _SLOT.fullmatch(end):
        return True
    owner = bundle.entries.get(variable)
    return owner is not None and owner.shape == bundle.entries[name].shape


def is_counter(name: str) -> bool:
    """Return whether a variable counts training steps."""
    return _COUNTER.fullmatch(name.rpartition("/")[2]) is not None


def check_supported(bundle: TensorBundle, names: list[str]) -> None:
    """Refuse cells and options of cells that have no equivalent here.

    Raises:
        ModelError: Names the variables, and why.
    """
    for marks, pattern, what in _UNSUPPORTED:
        likely = [name for name in names if any(mark in name for mark in marks)]
        if found := [name for name in likely if re.search(pattern, name)]:
            raise ModelError(f"{bundle.prefix}: cannot map {listed(found)}: {what}")


def find_cells(
    bundle: TensorBundle, names: list[str], custom: Mapping[str, str] | None = None
) -> CellVariables:
    """Return the names of each cell's variables; no layer and no side is missing.

    Args:
        bundle: The checkpoint.
        names: Names of its variables.
        custom: Names of cells by scopes that the user gave them.

    Raises:
        ModelError: If there are none, or they do not make one network.
    """
    found: CellVariables = {}
    positions: list[_Position] = []
    for name in names:
        if (parsed := parse(name, custom)) is None:
            continue
        position = _position(bundle, name, parsed.scopes)
        positions.append(position)
        parts = found.setdefault((position.layer, position.side), {})
        # Checked while the dictionary grows, so that a hostile file cannot make it large.
        if len(found) > 2 * limit_of("LAYERS"):
            check_sizes(bundle.prefix, layers=max(found)[0] + 1)
        if parsed.part in parts or position.network != positions[0].network:
            raise ModelError(
                f"{bundle.prefix}: expected the cells of one network, found "
                f"{listed([*all_names(found), name])}; several cannot be ordered by their names"
            )
        parts[parsed.part] = name
    if not found:
        raise ModelError(
            f"{bundle.prefix}: found no supported cell: expected variables {_EXPECTED}, found "
            f"{listed(names) or 'none'}; if a cell has a custom scope, give --cell-scope NAME"
        )
    layers, sides = max(found)[0] + 1, 1 + max(side for _, side in found)
    if len(found) != layers * sides or not all(map(_is_complete, found.values())):
        raise ModelError(
            f"{bundle.prefix}: expected kernels and biases of each of {layers} layers in {sides} "
            f"direction{'s' * (sides - 1)}, found {listed(all_names(found))}"
        )
    if layers > 1 and any(position.separate for position in positions):
        raise ModelError(
            f"{bundle.prefix}: cannot map {listed(all_names(found))}: each direction has its own stack of "
            "layers; in Scanline, as in PyTorch, a layer reads both directions of the layer below"
        )
    return found


def all_names(variables: CellVariables) -> list[str]:
    """Return the names of all kernels and biases, sorted."""
    return sorted(name for parts in variables.values() for name in parts.values())


def parse(name: str, custom: Mapping[str, str] | None = None) -> VariableName | None:
    """Return the parts of a cell's variable name, or None if it is not one; `custom` as for `find_cells`."""
    scopes, _, end = name.rpartition("/")
    scopes, _, cell = scopes.rpartition("/")
    if cell == "Linear" and end in ("Matrix", "Bias") and scopes.rpartition("/")[2] in _BLOCKS:
        scopes, _, cell = scopes.rpartition("/")  # GRUCell/Gates/Linear/Matrix, of 0.11
    if end in _BLOCK_CELL or cell in _BLOCKS:
        block = cell
        if end not in _BLOCK_CELL:
            scopes, _, cell = scopes.rpartition("/")
        return _gru_variable(scopes, cell, block, end, custom or {})
    if end in _PARTS and custom and custom.get(cell) in _JOINED:
        cell, part = custom[cell], _PARTS[end]
    elif end in _PARTS and (match := _CELL.fullmatch(cell)) and match[1] in _JOINED:
        cell, part = match[1], _PARTS[end]
    elif end in ("W_0", "B") and cell == "LSTMCell":
        cell, part = "lstm_cell", _OLD_PARTS[end]
    elif end in ("Matrix", "Bias") and cell == "Linear":
        scopes, _, old = scopes.rpartition("/")
        cell, part = _OLD_CELLS.get(old, ""), _OLD_PARTS[end]
    else:
        return None
    return VariableName(scopes, cell, part) if cell else None


def _gru_variable(
    scopes: str, cell: str, block: str, end: str, custom: Mapping[str, str]
) -> VariableName | None:
    """Return the parts of the name of a variable of a GRUCell or GRUBlockCell, or None if it is not one."""
    match = _CELL.fullmatch(cell)
    kind = custom.get(cell) or _OLD_CELLS.get(cell) or (match[1] if match else "")
    is_gru = bool(kind) and kind not in _JOINED
    part = _BLOCK_CELL.get(end)
    if part is None and (old := _PARTS.get(end) or _OLD_PARTS.get(end)):
        part = f"{_BLOCKS[block]}/{old}"
    return VariableName(scopes, kind, part) if is_gru and part else None


def _is_complete(parts: Mapping[str, str]) -> bool:
    """Return whether these are all the parts of a cell."""
    return parts.keys() in ({"kernel", "bias"}, set(_BLOCK_CELL.values()))


def blocks_of(parts: Mapping[str, str]) -> list[tuple[str, str, int]]:
    """Return (kernel, bias, gates) of each kernel of a cell; 0 gates are all that the cell has.

    Args:
        parts: Names of the cell's variables by their parts.
    """
    if "kernel" in parts:
        return [(parts["kernel"], parts["bias"], 0)]
    return [
        (parts[f"{block}/kernel"], parts[f"{block}/bias"], gates)
        for block, gates in (("gates", 2), ("candidate", 1))
    ]


def _position(bundle: TensorBundle, name: str, around: str) -> _Position:
    """Return where the cell of variable `name` is. `around` are its scopes."""
    scopes = _OLD_STACK.sub(r"\1multi_rnn_cell/cell_\2/", f"{around}/").split("/")[:-1] if around else []
    layers = [scope for scope in scopes if re.fullmatch(r"cell_[0-9]{1,6}", scope)]
    sides = [scope for scope in scopes if scope in ("fw", "bw")]
    if len(layers) > 1 or len(sides) > 1:
        raise ModelError(
            f"{bundle.prefix}: cannot map {one_line(name, NAME_WIDTH)}: it is in a stack within a stack"
        )
    # With layer and direction masked, all cells of one network have the same scopes.
    network = tuple("*" if scope in layers or scope in sides else scope for scope in scopes)
    # .../fw/multi_rnn_cell/cell_0: the stack is inside the direction.
    separate = bool(layers and sides) and scopes.index(layers[0]) > scopes.index(sides[0])
    layer = int(layers[0].removeprefix("cell_")) if layers else 0
    return _Position(layer, int(sides == ["bw"]), network, separate)
