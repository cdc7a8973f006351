"""Scoring of one unit: its rows are read, scored, and written as a Parquet file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from scanline.data.packed.location import Location
from scanline.errors import DataError
from scanline.scoring.job import (
    SCORES,
    Done,
    Job,
    Part,
    Scores,
    done_file,
    part_file,
    read_entry,
    write_entry,
)
from scanline.scoring.output import parquet_bytes
from scanline.scoring.scorer import Scorer
from scanline.scoring.work import PackedWork, Unit, Work
from scanline.storage.atomic import TEMPORARY
from scanline.storage.digest import sha256

_READERS = 8  # threads that read finished parts, which mostly wait for an object store


@dataclass(frozen=True)
class PartScorer:
    """Scores units of one job and writes their parts.

    The same unit always has the same part, so that it does not matter if two processes score it.

    Attributes:
        scorer: The scorer.
        work: What is scored.
        target: Folder of the scores.
        job: Digest of the job.
    """

    scorer: Scorer
    work: Work
    target: Location
    job: str

    def __call__(self, unit: Unit) -> Part:
        """Score a unit, unless its part is complete, and return its part.

        Raises:
            DataError: If the unit cannot be read.
            ModelError: If the model cannot be loaded.
            ScanlineError: If the part cannot be written.
        """
        if self.target.exists(done_file(unit)) and (done := self.finished(unit)) is not None:
            return done
        # A digest of the source is compared while it is read, so scores of damaged rows are never written.
        scores = self.scorer(self.work.read(unit), unit.value)
        content = parquet_bytes(scores)
        part = Part(
            split=unit.split,
            number=unit.number,
            n=len(scores),
            errors=len(scores) - scores.column("error").null_count,
            file=part_file(unit),
            bytes=len(content),
            sha256=sha256(content),
        )
        self.target.write(part.file, content)
        # Written after the part: where it is, the part is complete.
        write_entry(self.target, done_file(unit), Done(job=self.job, part=part))
        return part

    def finished(self, unit: Unit) -> Part | None:
        """Return the part of a unit; None if it is missing, damaged or of another job."""
        try:
            done = read_entry(self.target, done_file(unit), Done)
        except DataError:
            return None
        return done.part if done.job == self.job and self.is_valid(unit, done.part) else None

    def is_valid(self, unit: Unit, part: Part) -> bool:
        """Return whether the file of a part is there, and all of its bytes are those that were written."""
        if (part.unit, part.file) != (unit, part_file(unit)):
            return False
        try:
            content = self.target.read(part.file, part.bytes)
        except DataError:
            return False
        return len(content) == part.bytes and sha256(content) == part.sha256

    def to_json(self) -> dict[str, Any]:
        """Return what another process needs for the same, as a JSON object.

        Raises:
            TypeError: If the sequences are in the memory of this process.
        """
        if not isinstance(self.work, PackedWork):
            raise TypeError("sequences in memory cannot be scored by other processes")
        scorer = {key: value for key, value in self.scorer.__getstate__().items() if key != "_loaded"}
        splits = list(self.work.splits)
        source = {"uri": self.work.address, "splits": splits, "digest": self.work.digest()}
        return {"scorer": scorer, "source": source, "target": self.target.uri, "job": self.job}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> PartScorer:
        """Return what `to_json` described. Raises DataError if the source cannot be read, or was replaced."""
        source = state["source"]
        work = PackedWork.open(Location.parse(source["uri"]), source["splits"])
        if work.digest() != source["digest"]:
            raise DataError(
                where=source["uri"],
                expected="the packed data set with which the job began",
                found="another one",
                remedy="choose another --to for it",
            )
        return cls(Scorer(**state["scorer"]), work, Location.parse(state["target"]), state["job"])


def finished_parts(score: PartScorer, names: frozenset[str]) -> dict[Unit, Part]:
    """Return the parts of a job that are complete and valid, by unit.

    Args:
        score: The scorer of the job's units.
        names: Names of the files in its target.

    Raises:
        DataError: If the target cannot be read.
    """
    known: dict[Unit, Part] = {}
    if SCORES in names:
        scores = read_entry(score.target, SCORES, Scores)
        if scores.job.digest == score.job:
            known = {part.unit: part for part in scores.parts}

    def check(unit: Unit) -> Part | None:
        part = known.get(unit)
        if part is not None and score.is_valid(unit, part):
            return part
        if done_file(unit) not in names:
            return None
        part = score.finished(unit)
        if part is None:
            # When the unit is scored again, what is not valid must not look complete.
            score.target.remove(done_file(unit))
        return part

    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(check, score.work.units))
    return {unit: part for unit, part in zip(score.work.units, found, strict=True) if part is not None}


def finish(score: PartScorer, job: Job, parts: dict[Unit, Part]) -> Scores:
    """Write the sum of a job, and remove what only an unfinished job needs.

    Args:
        score: The scorer of the job's units.
        job: The job.
        parts: The part of each unit.
    """
    ordered = tuple(parts[unit] for unit in score.work.units)
    n, errors = sum(part.n for part in ordered), sum(part.errors for part in ordered)
    scores = Scores(job=job, n=n, errors=errors, parts=ordered)
    write_entry(score.target, SCORES, scores)
    known = set(map(done_file, score.work.units))
    for name in known.intersection(score.target.names()):
        score.target.remove(name)
    if score.target.is_local:
        # What processes that were killed have begun to write.
        for kind in ("part", "done"):
            for path in score.target.path.glob(f".{kind}-*{TEMPORARY}"):
                path.unlink(missing_ok=True)
    return scores
