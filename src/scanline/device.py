"""The choice of the device."""

from __future__ import annotations

from scanline.errors import UsageError, did_you_mean

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> str:
    """Return the device to compute on, "cpu" or "cuda".

    Args:
        name: "auto", "cpu" or "cuda"; "auto" is "cuda" if torch finds a usable device.

    Raises:
        UsageError: If the device is unknown or not available.
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
