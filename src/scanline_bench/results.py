"""The measurements as typed values; `scanline bench --json` prints them."""

from __future__ import annotations

from dataclasses import dataclass

from scanline_bench.workloads import Kind


@dataclass(frozen=True)
class Measurement:
    """One implementation of one workload.

    Attributes:
        name: Name of the implementation.
        median_ms: Median time of a step in milliseconds.
        quartiles_ms: First and third quartile in milliseconds.
        runs: Number of timed steps.
        gflops: Rate in GFLOP/s at the median.
        share_of_matrix_rate: `gflops` divided by the rate of torch's matrix product.
        peak_mb: Peak resident memory in MB.
        above_imports_mb: Peak memory above that after the imports, in MB.
        results: Losses, or sums of logits, of the first three steps.
        batch: Sequences per call, for inference.
    """

    name: str
    median_ms: float
    quartiles_ms: tuple[float, float]
    runs: int
    gflops: float
    share_of_matrix_rate: float
    peak_mb: float
    above_imports_mb: float
    results: tuple[float, ...]
    batch: int | None = None


@dataclass(frozen=True)
class WorkloadResult:
    """All implementations of one workload in one precision.

    Attributes:
        workload: Name of the workload.
        about: Description of the workload.
        kind: "train", "infer" or "latency".
        precision: "float32" or "bfloat16".
        gflop: Operations of a step in units of 1e9.
        matrix_gflops: Rate of torch's product of two 2048 x 2048 matrices, GFLOP/s.
        implementations: Scanline first.
        fastest_peer: Name of the fastest of the others.
        ratio: Median of the fastest peer divided by Scanline's.
    """

    workload: str
    about: str
    kind: Kind
    precision: str
    gflop: float
    matrix_gflops: float
    implementations: tuple[Measurement, ...]
    fastest_peer: str
    ratio: float

    @property
    def scanline(self) -> Measurement:
        """Scanline's own measurement."""
        return self.implementations[0]

    @property
    def peer(self) -> Measurement:
        """The fastest peer's measurement."""
        return next(each for each in self.implementations if each.name == self.fastest_peer)


@dataclass(frozen=True)
class BenchResult:
    """A whole run of `scanline bench`.

    Attributes:
        command: The command line.
        threads: Threads of every implementation.
        processor: Model name of the processor.
        cores: Number of cores.
        system: Operating system.
        python: Version of Python.
        versions: Version of each framework.
        kernels: Scanline's kernel for each precision.
        workloads: The results.
    """

    command: str
    threads: int
    processor: str
    cores: int | None
    system: str
    python: str
    versions: dict[str, str]
    kernels: dict[str, str | None]
    workloads: tuple[WorkloadResult, ...]
