"""The measurements as typed values; `scanline bench --json` prints them, `--from` reads them again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from scanline.errors import DataError
from scanline_bench.peers import OURS
from scanline_bench.workloads import Kind

SCHEMA = 2  # 1 had shares of torch's matrix product


@dataclass(frozen=True)
class Measurement:
    """One implementation of one workload.

    Attributes:
        name: Name of the implementation.
        median_ms: Median time of a step in milliseconds.
        quartiles_ms: First and third quartile in milliseconds.
        runs: Number of timed steps.
        gflops: Rate in GFLOP/s at the median.
        share: Share of the workload's first limit, as a fraction; None without the native library.
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
    share: float | None
    peak_mb: float
    above_imports_mb: float
    results: tuple[float, ...]
    batch: int | None = None


@dataclass(frozen=True)
class Limit:
    """What the processor allows at most, measured by the native library between the turns of the run.

    Attributes:
        name: "multiply-adds" (in registers) or "loads" (of blocks as large as each thread's weights).
        rate: GFLOP/s or GB/s of all threads, the median of the rounds.
        amount: GFLOP or GB that one measurement of the workload needs at least.
        bound_ms: `amount` at this rate, in milliseconds: no implementation can be faster.
    """

    name: str
    rate: float
    amount: float
    bound_ms: float


@dataclass(frozen=True)
class WorkloadResult:
    """All implementations of one workload in one precision.

    Attributes:
        workload: Name of the workload.
        about: Description of the workload.
        kind: As `Workload.kind`.
        precision: "float32" or "bfloat16".
        gflop: Operations of a measurement in units of 1e9.
        limits: The limits, first the one that shares refer to: loads for one sequence, whose weights are
            used once a step, otherwise multiply-adds. Empty without the native library.
        implementations: Scanline first.
        fastest_peer: Name of the fastest of the others.
        ratio: Median of the fastest peer divided by Scanline's.
    """

    workload: str
    about: str
    kind: Kind
    precision: str
    gflop: float
    limits: tuple[Limit, ...]
    implementations: tuple[Measurement, ...]
    fastest_peer: str
    ratio: float

    @property
    def scanline(self) -> Measurement:
        """Scanline's own measurement."""
        return self.implementations[0]

    @property
    def other_ways(self) -> tuple[Measurement, ...]:
        """Scanline's predictor and `Model.predict_proba`, if they were measured."""
        return tuple(each for each in self.implementations[1:] if each.name in OURS)

    def of_every_way(self, text: Callable[[Measurement], str]) -> str:
        """Return `text` of Scanline's own measurement and, in brackets with their names, of the others."""
        others = ", ".join(f"{way.name.removeprefix('scanline ')}: {text(way)}" for way in self.other_ways)
        return f"{text(self.scanline)} ({others})" if others else text(self.scanline)

    def ratios(self) -> str:
        """Return how many times as fast as the fastest peer Scanline is, in every way that was measured."""
        return self.of_every_way(lambda way: f"{self.peer.median_ms / way.median_ms:.2f}")

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
        schema: Version of this form.
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
    schema: int = SCHEMA


_ADAPTER = TypeAdapter(BenchResult)


def from_json(text: str | bytes, name: str) -> BenchResult:
    """Return the results that `scanline bench --json` printed.

    Args:
        text: What it printed.
        name: Name of the file, for messages.

    Raises:
        DataError: If it is something else, or of another schema.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(
            f"{name}: expected the output of `scanline bench --json`, got no JSON: {error}"
        ) from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise DataError(
            f"{name}: expected schema {SCHEMA} of `scanline bench --json`, got {schema!r}; measure again: "
            "the shares of older results are of torch's matrix product, not of the processor's limits"
        )
    try:
        return _ADAPTER.validate_python(content)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise DataError(
            f"{name}: {place}: {fault['msg']}; measure again with `scanline bench --json`"
        ) from error
