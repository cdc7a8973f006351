"""Where to compute."""

from __future__ import annotations

from scanline.errors import UsageError, did_you_mean

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> str:
    """`name` as "cpu" or "cuda"; "auto" takes CUDA where torch finds it.

    Raises UsageError for an unknown device, or one that is not there.
    """
    if name not in DEVICES:
        raise UsageError(
            f"device must be one of {', '.join(DEVICES)}, got {name!r}" + did_you_mean(name, DEVICES)
        )
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda: torch finds no usable CUDA device here; use --device cpu")
    return name
