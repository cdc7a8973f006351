"""What a run ran on: enough to repeat it, nothing that names a person or a machine."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from scanline.kernels.library import PRECISIONS, load, why_absent

PACKAGES = ("scanline", "torch", "numpy", "safetensors", "scikit-learn", "pillow")


def describe(device: str) -> dict[str, Any]:
    """Versions, processor, threads and device, as `environment.json` holds them."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "native": native(),
        "packages": {name: _version(name) for name in PACKAGES},
        "code": code_digest(),
    }


@cache
def code_digest() -> str:
    """SHA-256 over Scanline's own modules and recipes, by name and content: equal code, equal digest."""
    package = Path(__file__).parents[1]
    sha = hashlib.sha256()
    for path in sorted(path for path in package.rglob("*") if path.suffix in (".py", ".toml")):
        content = path.read_bytes()
        sha.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode() + content)
    return sha.hexdigest()


def native() -> dict[str, Any]:
    """Whether the native library is there, and which of its kernels computes each precision."""
    library = load()
    if library is None:
        return {"found": False, "why": why_absent()}
    kernels = {name: library.kernel(code) for name, code in PRECISIONS.items()}
    choices = {name: library.kernels(code) for name, code in PRECISIONS.items()}
    return {"found": True, "kernels": kernels, "choices": choices, "threads": library.parallel}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
