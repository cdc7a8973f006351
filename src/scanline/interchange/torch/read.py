"""Read PyTorch state_dicts of recurrent classifiers from safetensors files. Pickles are never opened.

Source: torch.nn.LSTM, GRU, RNN and Linear, whose documentation names the tensors and their shapes:
https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline import cells
from scanline.cells import Cell
from scanline.errors import ModelError, did_you_mean, one_line
from scanline.formats.tensor_bundle_files import is_table, v1_error
from scanline.interchange.checks import check_finite, check_sizes, listed
from scanline.interchange.imported import ImportedNetwork
from scanline.interchange.options import ImportOptions
from scanline.interchange.torch.parametrized import whole_tensors
from scanline.model.network import Architecture
from scanline.storage.tensors import read_tensor_file

_RECURRENT = re.compile(
    r"(?P<module>(?:.+\.)?)(?P<kind>weight_ih|weight_hh|bias_ih|bias_hh|weight_hr)"
    r"_l(?P<layer>0|[1-9][0-9]{0,5})"
    r"(?P<side>_reverse)?"
)
_FLOATS = {torch.float32, torch.float64, torch.float16, torch.bfloat16}
_EXPECTED = (
    "weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, ... of one nn.LSTM, nn.GRU or nn.RNN and weight and "
    "bias of one nn.Linear"
)


@dataclass(frozen=True)
class _Recurrent:
    """The recurrent module, recognised by the names and shapes of its tensors.

    Attributes:
        names: Names of the tensors by (kind, layer, side); side 1 reads backward.
        cell: The cell.
        inputs: F.
        hidden: H.
        layers: Number of layers.
        sides: Number of directions.
    """

    names: dict[tuple[str, int, int], str]
    cell: Cell
    inputs: int
    hidden: int
    layers: int
    sides: int


def read_state_dict(path: str | Path, options: ImportOptions | None = None) -> ImportedNetwork:
    """Read the network whose state_dict a .safetensors file holds.

    The state_dict must have one nn.LSTM, nn.GRU or nn.RNN and one nn.Linear with a weight (K, D*H), under any
    names. The cell is recognised by the number of rows of its weights, 4, 3 or 1 times H; layers, directions
    D and sizes by names and shapes. The two biases of an LSTM or RNN become one; missing biases are 0.
    Weight norm and pruning masks become part of the weights; single numbers are ignored, with a note.

    Args:
        path: The file.
        options: The readout, which a state_dict does not show.

    Raises:
        ModelError: If the file is missing or damaged, or tensors cannot be mapped; names them.
    """
    options, source = options or ImportOptions(), Path(path)
    tensors, folded = whole_tensors(source, _load(source))
    found = _recurrent(source, tensors)
    rest = tensors.keys() - set(found.names.values())
    if scalars := sorted(name for name in rest if _is_scalar(name, tensors[name])):
        folded.append(
            f"ignored, as single numbers: {listed(scalars)}; if one scales logits, probabilities differ"
        )
        rest -= set(scalars)
        tensors = {name: tensor for name, tensor in tensors.items() if name not in scalars}
    weight, bias = _linear(source, {name: tuple(tensors[name].shape) for name in rest}, found)
    classes = tensors[weight].shape[0]
    check_sizes(
        source, input_size=found.inputs, hidden_size=found.hidden, layers=found.layers, classes=classes
    )
    # float64 holds values of all four float types exactly; they are rounded once, by _narrow.
    wide = {name: _checked(source, name, tensors[name]) for name in tensors}
    weights = {"head.weight": wide[weight], "head.bias": wide[bias] if bias else np.zeros(classes)}
    for layer in range(found.layers):
        for side in range(found.sides):
            end = f"_l{layer}" + ("_reverse" if side else "")
            for kind in ("weight_ih", "weight_hh"):
                weights[f"recurrent.{kind}{end}"] = wide[found.names[kind, layer, side]]
            names = (found.names.get((kind, layer, side)) for kind in ("bias_ih", "bias_hh"))
            zeros = np.zeros(len(weights[f"recurrent.weight_ih{end}"]))
            first, second = (wide[name] if name else zeros for name in names)
            if found.cell.additive_biases:
                # Both biases are added to the same sum, so only their total matters.
                first, second = first + second, zeros
            weights[f"recurrent.bias_ih{end}"], weights[f"recurrent.bias_hh{end}"] = first, second
    sizes = (found.inputs, found.hidden, found.layers)
    both = found.sides == 2
    readout = options.pooling(both)
    architecture = Architecture(found.cell.name, *sizes, both, 0.0, "between", readout, classes)
    return ImportedNetwork(
        architecture,
        {name: _narrow(source, name, values) for name, values in weights.items()},
        f"imported from the PyTorch state_dict {source.name}",
        [*_notes(found, tensors, bias, options), *folded],
    )


def refuse_pickle(path: str | Path) -> NoReturn:
    """Refuse a file that may be pickled, and say how to convert it.

    Raises:
        ModelError: Always. A TensorFlow 1 checkpoint of the old format, which often has the same suffix, is
            called that.
    """
    source = Path(path)
    try:
        if is_table(source):
            raise v1_error(source).to_model_error()
    except OSError as error:
        raise ModelError(f"{source} cannot be read ({error.strerror or error})") from error
    new = source.with_suffix(".safetensors").name
    raise ModelError(
        f"{source} may be pickled, and reading a pickled file can run any code; expected a .safetensors "
        "file. "
        "If you trust this one, convert its state_dict in Python with "
        f"`state = torch.load({source.name!r}, weights_only=True)` and "
        f"`safetensors.torch.save_file(state, {new!r})`, and import {new}"
    )


def _load(source: Path) -> dict[str, Tensor]:
    if not source.is_file():
        near = [each.name for each in source.parent.iterdir()] if source.parent.is_dir() else []
        raise ModelError(
            f"there is no file {source}{did_you_mean(source.name, near)}; expected a PyTorch state_dict of "
            f"safetensors"
        )
    try:
        # read_tensor_file has checked the header; the library parses the same bytes, not the file again.
        return safetensors.torch.load(read_tensor_file(source))
    except (
        OSError,
        safetensors.SafetensorError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        RuntimeError,
    ) as error:
        raise ModelError(
            f"{source} is damaged, or no safetensors file ({one_line(error, 200)}); save it again with "
            "safetensors.torch.save_file"
        ) from error


def _recurrent(source: Path, tensors: dict[str, Tensor]) -> _Recurrent:
    names: dict[tuple[str, int, int], str] = {}
    modules: dict[str, str] = {}
    for name in sorted(tensors):
        if not (match := _RECURRENT.fullmatch(name)):
            continue
        # `modules` keeps one name of each module as an example for the message.
        modules.setdefault(match["module"], name)
        names[match["kind"], int(match["layer"]), int(match["side"] is not None)] = name
    if not modules:
        raise ModelError(
            f"{source}: found no recurrent module: expected {_EXPECTED}, found "
            f"{listed(sorted(tensors)) or 'none'}"
        )
    if len(modules) > 1:
        raise ModelError(
            f"{source}: expected one recurrent module, found {len(modules)}, with "
            f"{listed(list(modules.values()))}; several cannot be ordered by their names"
        )
    if projected := sorted(name for (kind, _, _), name in names.items() if kind == "weight_hr"):
        raise ModelError(
            f"{source}: cannot map {listed(projected)}: projections (proj_size) are not supported"
        )
    # The counts follow from the highest index; the check of `weights` below refuses gaps.
    layers = 1 + max(layer for _, layer, _ in names)
    sides = 1 + max(side for _, _, side in names)
    weights = [key for key in names if key[0].startswith("weight")]
    if len(weights) != 2 * layers * sides:
        raise ModelError(
            f"{source}: expected weight_ih and weight_hh of each of {layers:,} layers in {sides} "
            f"direction{'s' * (sides - 1)}, found {listed(sorted(names.values()))}"
        )
    shapes = {key: tuple(tensors[name].shape) for key, name in names.items()}
    inputs, hidden, gates = 0, 0, 0
    if len(shapes["weight_ih", 0, 0]) == len(shapes["weight_hh", 0, 0]) == 2:
        inputs, (rows, hidden) = shapes["weight_ih", 0, 0][1], shapes["weight_hh", 0, 0]
        gates = rows // hidden if hidden and rows % hidden == 0 else 0
    # The ratio of rows to H identifies the cell: 4 gates LSTM, 3 GRU, 1 RNN.
    by_gates = {len(cell.gates): cell for (cell,) in cells.by_layer("torch").values()}
    if gates not in by_gates:
        raise ModelError(
            f"{source}: {one_line(names['weight_hh', 0, 0], 120)}: expected (4 H, H) of an LSTM, (3 H, H) of "
            f"a GRU or (H, H) of an RNN, found {one_line(shapes['weight_hh', 0, 0])}"
        )
    for (kind, layer, side), shape in shapes.items():
        # Layer 0 reads F values; every later layer reads the outputs of all directions below it.
        width = hidden if kind == "weight_hh" else hidden * sides if layer else inputs
        expected = (gates * hidden, width) if kind.startswith("weight") else (gates * hidden,)
        if shape != expected:
            raise ModelError(
                f"{source}: {one_line(names[kind, layer, side], 120)}: expected {expected}, "
                f"found {one_line(shape)}"
            )
    return _Recurrent(names, by_gates[gates], inputs, hidden, layers, sides)


def _is_scalar(name: str, tensor: Tensor) -> bool:
    """Whether it is one number, such as a counter or a temperature, and not the bias of one output."""
    return tensor.dim() == 0 or (tensor.shape == (1,) and name.rpartition(".")[2] not in ("weight", "bias"))


def _linear(source: Path, shapes: dict[str, tuple[int, ...]], found: _Recurrent) -> tuple[str, str | None]:
    """Return the names of the Linear's weight, (K, D*H), and of its bias, if any: all that is left."""
    width = found.hidden * found.sides
    pairs = [
        (name, f"{name.removesuffix('weight')}bias")
        for name, shape in shapes.items()
        if name.rpartition(".")[2] == "weight" and len(shape) == 2 and shape[1] == width
    ]
    if len(pairs) == 1:
        weight, bias = pairs[0]
        others = sorted(shapes.keys() - {weight, bias})
        if not others and shapes.get(bias, shapes[weight][:1]) == shapes[weight][:1]:
            return weight, bias if bias in shapes else None
        what = f"found {weight} and also " + listed(
            [f"{name} {one_line(shapes[name])}" for name in others or [bias]]
        )
    else:
        every = listed([f"{name} {one_line(shape)}" for name, shape in sorted(shapes.items())])
        what = f"found {'more than one candidate: ' if pairs else ''}{every or 'none'}"
    raise ModelError(
        f"{source}: expected, beside the recurrent module, weight (classes, {width}) and bias (classes,) of "
        f"one nn.Linear, {what}; only such networks can be imported"
    )


def _checked(source: Path, name: str, tensor: Tensor) -> NDArray[np.float64]:
    """Return finite values as float64, in which two biases are added without loss."""
    if tensor.dtype not in _FLOATS:
        raise ModelError(
            f"{source}: {one_line(name, 120)}: expected float32, float64, float16 or bfloat16, found "
            f"{str(tensor.dtype).removeprefix('torch.')}"
        )
    values: NDArray[np.float64] = tensor.double().numpy()
    check_finite(source, name, values)
    return values


def _narrow(source: Path, name: str, values: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # refused in the next line
        narrow: NDArray[np.float32] = np.ascontiguousarray(values, np.float32)
    check_finite(source, name, narrow)
    return narrow


def _notes(
    found: _Recurrent, tensors: dict[str, Tensor], bias: str | None, options: ImportOptions
) -> list[str]:
    """Return what was assumed."""
    notes = []
    if not found.cell.clampable:  # without gates the activation is an option
        notes.append("the activation was assumed to be tanh, nn.RNN's default: a state_dict does not show it")
    if options.readout is None and found.sides == 2:
        notes.append(
            "logits were assumed to be computed from the two last states concatenated: the forward one at "
            "the end of the sequence and the backward one at its beginning, h_n[-2] and h_n[-1]; a network "
            "that reads output[:, -1] uses another backward state, and its outputs will differ"
        )
    elif options.readout is None:
        notes.append("logits were assumed to be computed from the last output, with no layer in between")
    biases = sum(kind.startswith("bias") for kind, _, _ in found.names)
    missing = 2 * found.layers * found.sides - biases + (bias is None)
    if missing:
        notes.append(f"{missing} of the biases are not in the file and are 0")
    narrowed = {str(each.dtype).removeprefix("torch.") for each in tensors.values()} - {"float32"}
    if narrowed:
        notes.append(f"{listed(sorted(narrowed))} became float32")
    return notes
