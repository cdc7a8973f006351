"""Weights that PyTorch stores in parts: weight norm, and pruning with a mask.

Source: torch.nn.utils.weight_norm, torch.nn.utils.parametrizations.weight_norm and torch.nn.utils.prune.
"""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from scanline.errors import ModelError
from scanline.interchange.checks import listed

_PARAMETRIZED = re.compile(r"((?:.+\.)?)parametrizations\.([^.]+)\.(original[01]?|[0-9]+\..+)")


def whole_tensors(source: Path, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors with weights in parts computed, and notes about them.

    Args:
        source: The file, for messages.
        tensors: The tensors by name.

    Raises:
        ModelError: If a weight has a parametrization that the file does not determine; names it.
    """
    made, normed, pruned = dict(tensors), [], []
    for name, (g, v) in _norm_parts(tensors).items():
        if name not in tensors and _fits(tensors[g], tensors[v]):
            made[name] = _weight_norm(made.pop(g), made.pop(v))
            normed.append(name)
    for original in [name for name in tensors if name.endswith("_orig")]:
        name = original.removesuffix("_orig")
        mask = tensors.get(f"{name}_mask")
        if mask is not None and name not in tensors and mask.shape == tensors[original].shape:
            made[name] = made.pop(original).double() * made.pop(f"{name}_mask").double()
            pruned.append(name)
    left = [name for name in made if _PARAMETRIZED.fullmatch(name) or name.endswith("_orig")]
    if left:
        raise ModelError(
            f"{source}: cannot map {listed(sorted(left))}: a file does not say which parametrization "
            "this is; remove it with torch.nn.utils.parametrize.remove_parametrizations (or "
            "remove_spectral_norm) and save the state_dict again"
        )
    notes = [f"the weight norm of {listed(sorted(normed))} became part of the weights"] if normed else []
    if pruned:
        notes.append(f"the pruning mask of {listed(sorted(pruned))} became part of the weights")
    return made, notes


def _norm_parts(tensors: dict[str, Tensor]) -> dict[str, tuple[str, str]]:
    """Return the names of (magnitude, direction) by the name of the weight that they make."""
    found = {}
    for name in tensors:
        match = _PARAMETRIZED.fullmatch(name)
        if match and match[3] == "original0" and name[:-1] + "1" in tensors:
            found[match[1] + match[2]] = name, name[:-1] + "1"
        elif name.endswith("_g") and name[:-1] + "v" in tensors:
            found[name.removesuffix("_g")] = name, name[:-1] + "v"
    return found


def _fits(g: Tensor, v: Tensor) -> bool:
    """Whether `g` can hold norms of `v`: one for each index of an axis, or one of all."""
    sizes = zip(g.shape, v.shape, strict=True) if g.dim() == v.dim() else ()
    return g.is_floating_point() and (g.dim() == 0 or (v.dim() == 2 and all(a in (1, b) for a, b in sizes)))


def _weight_norm(g: Tensor, v: Tensor) -> Tensor:
    """Return g * v / ||v|| in float64, with the norm over the axes that `g` has not."""
    wide = v.double()
    axes = [axis for axis in range(v.dim()) if g.dim() == 0 or g.shape[axis] == 1]
    return g.double() * wide / (wide.square().sum(axes, keepdim=True).sqrt() if axes else wide.abs())
