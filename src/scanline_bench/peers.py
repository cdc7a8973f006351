"""Which implementations take part in a workload, and what must be installed for each."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import metadata, util

from scanline_bench.workloads import Workload

# A layer of scanline.nn; a call of the predictor that owns its weights; `Model.predict_proba`.
SCANLINE, PREDICTOR, MODEL = "scanline", "scanline predictor", "scanline model"
OURS = (SCANLINE, PREDICTOR, MODEL)


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
    """Return Scanline, its predictor and model if the workload predicts, then every peer that supports it.

    Peers are returned whether they are installed or not.
    """
    onnx = Peer("ONNX Runtime", "onnx_graph", str(threads), ("onnx", "onnxruntime"))
    if workload.kind == "stream":
        return [Peer(SCANLINE, "scanline_model"), Peer("torch", "torch_stream"), onnx]
    if workload.kind == "training":
        return [Peer(SCANLINE, "scanline_model"), Peer("torch", "torch_layers", "torch")]
    peers = [Peer(SCANLINE, "torch_layers", "scanline")]
    predicts = not workload.trains and precision == "float32"
    if predicts:
        peers += [Peer(name, "scanline_model", name) for name in (PREDICTOR, MODEL)]
    torch_variants = ("torch packed", "torch padded") if workload.lengths else ("torch",)
    peers += [Peer(name, "torch_layers", name) for name in torch_variants]
    peers.append(Peer("JAX", "jax_scan", needs=("jax", "optax")))
    if not workload.lengths:
        for backend in ("tensorflow", "jax"):
            needs = ("keras", backend)
            name = f"Keras on {'JAX' if backend == 'jax' else 'TensorFlow'}"
            peers.append(Peer(name, "keras_model", needs=needs, environment={"KERAS_BACKEND": backend}))
    return [*peers, onnx] if predicts else peers


def precisions_of(workload: Workload) -> tuple[str, ...]:
    """Return the precisions that a workload can be measured in: a stream predicts in float32 only."""
    return ("float32",) if workload.kind == "stream" else ("float32", "bfloat16")


def versions() -> dict[str, str]:
    """Return the version of every framework that is installed."""
    found = {}
    for package in ("torch", "jax", "optax", "keras", "tensorflow", "tensorflow-cpu", "onnxruntime"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
