"""Scoring of a data set: the same job on this machine or on Ray, continued where it was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scanline.data.packed.location import Location
from scanline.data.packing.sorting import check_installed
from scanline.errors import UsageError
from scanline.scoring.cluster import check_ray, score_on_ray
from scanline.scoring.job import Job, Part, Scores, begin
from scanline.scoring.local import check_processes, score_here, score_in_processes
from scanline.scoring.parts import PartScorer, finish, finished_parts
from scanline.scoring.scorer import Scorer, check_scorable
from scanline.scoring.sorting import read_parts, write_sorted
from scanline.scoring.work import PackedWork, Unit, open_work

Engine = Literal["local", "ray"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Scored:
    """A finished job.

    Attributes:
        scores: What was scored, and the parts.
        target: Folder of the scores.
        before: Number of sequences that an earlier call had scored.
        sorted_file: Address of the file with all scores in order, or None.
    """

    scores: Scores
    target: Location
    before: int
    sorted_file: str | None = None

    def to_json(self) -> dict[str, str | int | None]:
        """Return the addresses and counts as a JSON object."""
        scores = self.scores
        counts = {"n": scores.n, "errors": scores.errors, "before": self.before, "parts": len(scores.parts)}
        return {"to": self.target.uri, **counts, "sorted": self.sorted_file}


def score(
    run: str | Path,
    source: str,
    to: str,
    *,
    engine: Engine = "local",
    processes: int = 1,
    address: str = "auto",
    calibrated: bool = False,
    stop_at: float | None = None,
    splits: Sequence[str] = (),
    order: Literal["id"] | None = None,
    file_format: Literal["parquet", "csv"] = "parquet",
    reading: dict[str, str | int] | None = None,
    on_progress: Progress = lambda done, total: None,
) -> Scored:
    """Score all sequences of a data set, a row for each.

    The scores of each row group are a Parquet file in `to`. The same call after an interruption continues
    where it was; files that are complete are kept.

    Args:
        run: A run directory or a model folder.
        source: A packed data set, or what `scanline predict` reads.
        to: Folder of the scores: a path or a URI.
        engine: "local" scores on this machine, "ray" on a Ray cluster.
        processes: Number of processes, or of Ray actors.
        address: For Ray: "local" starts it on this machine, "auto" or "HOST:PORT" joins a cluster.
        calibrated: Whether probabilities are calibrated.
        stop_at: Adds the first step after which a class has this probability.
        splits: Names of the splits to score; empty for all.
        order: "id" also writes one file with all scores sorted by identifier.
        file_format: Format of that file.
        reading: As for `Model.with_reading`.
        on_progress: Called with the number of sequences that are scored, and the number of all.

    Returns:
        The finished job.

    Raises:
        ModelError: If the model cannot be used.
        DataError: If the sequences cannot be read.
        UsageError: If the arguments do not fit together, or `to` has the scores of another job.
        ScanlineError: If scores cannot be written, or processes end again and again.
    """
    if engine not in ("local", "ray"):
        raise UsageError(f"--engine: expected local or ray, got {engine!r}")
    # Everything that can be refused is refused before the first file is written.
    target = Location.parse(to)
    if target.is_local and target.path.is_file():
        raise UsageError(where=target.uri, expected="a folder for the scores", found="a file")
    scorer = Scorer.open(run, calibrated, stop_at)
    check_scorable(scorer.model)
    preprocessing = scorer.model.with_reading(**(reading or {})).preprocessing
    work = open_work(source, preprocessing, splits)
    if isinstance(work, PackedWork):
        work.check(scorer.model.preprocessing, scorer.model.data)
    if engine == "ray":
        check_ray(work, address)
    else:
        check_processes(work, processes)
    if order is not None:
        check_installed("sorting scores")
    job = Job.of(scorer, work)
    part_scorer = PartScorer(scorer, work, target, job.digest)
    scores, before = _run(job, part_scorer, engine, processes, address, on_progress)
    if order is None:
        return Scored(scores, target, before)
    tables = read_parts(target, scores.parts)
    return Scored(scores, target, before, write_sorted(tables, scorer.schema, target, file_format))


def _run(
    job: Job, part_scorer: PartScorer, engine: Engine, processes: int, address: str, on_progress: Progress
) -> tuple[Scores, int]:
    """Score all units that have no valid part. Return the sum, and the number of sequences done before."""
    names = begin(part_scorer.target, job)
    units = part_scorer.work.units
    parts = finished_parts(part_scorer, names)
    before = done = sum(part.n for part in parts.values())
    total = sum(unit.n for unit in units)
    on_progress(done, total)
    pending = [unit for unit in units if unit not in parts]
    for part in _engine(part_scorer, pending, engine, processes, address):
        parts[part.unit] = part
        done += part.n
        on_progress(done, total)
    return finish(part_scorer, job, parts), before


def _engine(
    part_scorer: PartScorer, units: Sequence[Unit], engine: Engine, processes: int, address: str
) -> Iterator[Part]:
    if not units:
        return iter(())
    if engine == "ray":
        return score_on_ray(part_scorer, units, processes, address)
    if processes == 1:
        return score_here(part_scorer, units)
    return score_in_processes(part_scorer, units, processes)
