"""The choice of the device."""

from __future__ import annotations

from scanline.errors import UsageError, did_you_mean

_NAMES = ("auto", "cpu", "cuda")
DEVICES = (*_NAMES, "cuda:N")


def choose_device(name: str) -> str:
    """Return the device to compute on, "cpu", "cuda" or "cuda:N".

    Args:
        name: "auto", "cpu", "cuda", or "cuda:N" for one of several; "auto" is "cuda" if torch finds a usable
            device.

    Raises:
        UsageError: If the device is unknown or not available.
    """
    kind, _, number = name.partition(":")
    if not (name in _NAMES or (kind == "cuda" and number.isdecimal())):
        raise UsageError(
            f"device must be one of {', '.join(DEVICES)}, got {name!r}" + did_you_mean(name, DEVICES)
        )
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {name}: torch finds no usable CUDA device here; use device cpu")
    if number and int(number) >= torch.cuda.device_count():
        raise UsageError(f"device {name}: this machine has cuda:0 to cuda:{torch.cuda.device_count() - 1}")
    return name
