"""Which implementations take part in a workload, and what must be installed for each."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import metadata, util

from scanline_bench.workloads import Workload


@dataclass(frozen=True)
class Peer:
    """One implementation.

    Attributes:
        name: Name in the results.
        module: Module in `scanline_bench.implementations`.
        variant: Passed to the module's `make`.
        needs: Packages that must be importable.
        environment: Variables of its process.
    """

    name: str
    module: str
    variant: str = ""
    needs: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def installed(self) -> bool:
        """Return whether all of `needs` can be imported."""
        # Without importing: a framework must not start its threads in the process of the runner.
        return all(util.find_spec(name) is not None for name in self.needs)


def peers_for(workload: Workload, precision: str, threads: int) -> list[Peer]:
    """Return Scanline, then every peer that supports the workload, installed or not."""
    torch_variants = ("torch packed", "torch padded") if workload.lengths else ("torch",)
    peers = [Peer(name, "torch_layers", name) for name in ("scanline", *torch_variants)]
    peers.append(Peer("JAX", "jax_scan", needs=("jax", "optax")))
    if not workload.lengths:
        for backend in ("tensorflow", "jax"):
            needs = ("keras", backend)
            name = f"Keras on {'JAX' if backend == 'jax' else 'TensorFlow'}"
            peers.append(Peer(name, "keras_model", needs=needs, environment={"KERAS_BACKEND": backend}))
    if workload.kind != "train" and precision == "float32":
        peers.append(Peer("ONNX Runtime", "onnx_graph", str(threads), ("onnx", "onnxruntime")))
    return peers


def versions() -> dict[str, str]:
    """Return the version of every framework that is installed."""
    found = {}
    for package in ("torch", "jax", "optax", "keras", "tensorflow", "tensorflow-cpu", "onnxruntime"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
