"""The software and hardware that a run is computed with: enough to repeat it, nothing personal."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

import torch

from scanline.kernels.library import PRECISIONS, load, why_absent
from scanline.training.run_files import Machine, Native

PACKAGES = ("scanline", "torch", "numpy", "safetensors", "scikit-learn", "pillow")


def describe(device: str) -> Machine:
    """Return versions, processor, threads and device, as `environment.json` holds them.

    Args:
        device: "cpu", "cuda" or "cuda:N".
    """
    return Machine(
        python=platform.python_version(),
        platform=platform.platform(),
        processor=_processor(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        native=native(),
        packages={name: _version(name) for name in PACKAGES},
        code=code_digest(),
    )


@cache
def code_digest() -> str:
    """Return the SHA-256 of Scanline's modules and recipes, by name and content."""
    package = Path(__file__).parents[1]
    sha = hashlib.sha256()
    # Name and length delimit the contents: no two sets of files have the same stream of bytes.
    for path in sorted(path for path in package.rglob("*") if path.suffix in (".py", ".toml")):
        content = path.read_bytes()
        sha.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode() + content)
    return sha.hexdigest()


def native() -> Native:
    """Return whether the native library can be loaded, and which kernel computes each precision."""
    library = load()
    if library is None:
        return Native(found=False, why=why_absent())
    kernels = {name: library.kernel(code) for name, code in PRECISIONS.items()}
    choices = {name: library.kernels(code) for name, code in PRECISIONS.items()}
    return Native(found=True, kernels=kernels, choices=choices, threads=library.parallel)


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
