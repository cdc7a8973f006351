"""The files of a scoring job beside its parts: what is scored, which parts are done, and their sum."""

from __future__ import annotations

import json
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scanline.data.packed.location import Location
from scanline.errors import DataError, UsageError
from scanline.limits import limit_of
from scanline.scoring.scorer import Scorer
from scanline.scoring.work import Unit, Work
from scanline.storage.digest import sha256
from scanline.storage.json_files import parse_sealed_json, sealed_json
from scanline.version import __version__

JOB, SCORES = "job.json", "scores.json"
_OPTIONS = ("splits", "calibrated", "stop_at")

Count = Annotated[int, Field(strict=True, ge=0, lt=2**53)]
Digest = Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Job(_Entry):
    """Content of `job.json`: what is scored by what. It is written before the first part.

    Attributes:
        schema_: Version of this schema.
        kind: Says what the file is.
        scanline: Version of Scanline that began the job.
        model: Folder of the model.
        model_sha256: Digest of the model.
        source: Where the sequences are.
        source_sha256: Digest of the sequences.
        splits: Names of the splits that are scored.
        calibrated: Whether probabilities are calibrated.
        stop_at: Probability at which reading stops, or None.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    kind: Literal["scanline scoring job"] = "scanline scoring job"
    scanline: str = __version__
    model: str
    model_sha256: Digest
    source: str
    source_sha256: Digest
    splits: tuple[str, ...]
    calibrated: bool
    stop_at: float | None

    @classmethod
    def of(cls, scorer: Scorer, work: Work) -> Job:
        """Return the job of scoring `work`."""
        return cls(
            model=scorer.path,
            model_sha256=scorer.digest,
            source=work.address,
            source_sha256=work.digest(),
            splits=tuple(dict.fromkeys(unit.split for unit in work.units)),
            calibrated=scorer.calibrated,
            stop_at=scorer.stop_at,
        )

    @property
    def digest(self) -> str:
        """Digest of what decides about the scores: not of where the model and the sequences are."""
        # Without addresses: a model or a data set that was moved is the same one.
        keys = ("model_sha256", "source_sha256", *_OPTIONS)
        return sha256(json.dumps({key: getattr(self, key) for key in keys}, sort_keys=True).encode())


class Part(_Entry):
    """A file of scores: those of one unit.

    Attributes:
        split: Its split.
        number: Number of the unit in the split.
        n: Number of its sequences.
        errors: Number of sequences that have an error instead of a prediction.
        file: Its name.
        bytes: Its size.
        sha256: Its digest.
    """

    split: str
    number: Count
    n: Count
    errors: Count
    file: Name
    bytes: Count
    sha256: Digest

    @property
    def unit(self) -> Unit:
        """The unit."""
        return Unit(self.split, self.number, self.n)


class Done(_Entry):
    """Content of the file that is written after a part.

    Attributes:
        job: Digest of the job.
        part: The part.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    job: Digest
    part: Part


class Scores(_Entry):
    """Content of `scores.json`, which is written when all parts are there.

    Attributes:
        schema_: Version of this schema.
        kind: Says what the file is.
        job: What was scored by what.
        n: Number of sequences.
        errors: Number of sequences that have an error instead of a prediction.
        parts: The files of scores, in the order of the sequences.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    kind: Literal["scanline scores"] = "scanline scores"
    job: Job
    n: Count
    errors: Count
    parts: tuple[Part, ...]


_Content = TypeVar("_Content", bound=_Entry)


def part_file(unit: Unit) -> str:
    """Return the name of the file with the scores of a unit."""
    return f"part-{unit.name}.parquet"


def done_file(unit: Unit) -> str:
    """Return the name of the file that says that a part is complete."""
    return f"done-{unit.name}.json"


def begin(target: Location, job: Job) -> frozenset[str]:
    """Write the description of a job, or check that the one that is there is the same.

    Args:
        target: The folder of the scores.
        job: The job.

    Returns:
        The names of the files that are there.

    Raises:
        UsageError: If the folder has the scores of another job, or other files.
        DataError: If it cannot be read.
    """
    names = frozenset(target.names())
    if JOB in names:
        there = read_entry(target, JOB, Job)
        if there.digest != job.digest:
            raise UsageError(
                f"{target.uri} has scores of another job: {_difference(there, job)}; "
                "repeat its command to continue it, or choose another --to"
            )
        return names
    # Files of others must neither be mixed with scores nor be taken for parts.
    if names:
        raise UsageError(
            f"--to: expected an absent or empty folder, or one of the same job, got {target.uri}, "
            f"which has {min(names)}"
        )
    write_entry(target, JOB, job)
    return names


def _difference(there: Job, job: Job) -> str:
    for key, what in (("model_sha256", "model"), ("source_sha256", "source")):
        if getattr(there, key) != getattr(job, key):
            one, other = getattr(there, what), getattr(job, what)
            return f"expected the {what} {one}, got " + (other if one != other else "another one there")
    key = next(key for key in _OPTIONS if getattr(there, key) != getattr(job, key))
    option = {"splits": "--split", "calibrated": "--calibrated", "stop_at": "--stop-at"}[key]
    return f"expected {option} {_shown(getattr(there, key))}, got {_shown(getattr(job, key))}"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return "none" if value is None else str(value)


def read_entry(target: Location, name: str, kind: type[_Content]) -> _Content:
    """Read a sealed JSON file. Raises DataError if it is missing or damaged; names it."""
    content = target.read(name, limit_of("MANIFEST_BYTES"))
    try:
        return kind.model_validate(parse_sealed_json(content))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise DataError(f"{target.file(name)} is damaged: {where}: {fault['msg']}") from None
    except ValueError as error:
        raise DataError(f"{target.file(name)} is damaged: {error}") from None


def write_entry(target: Location, name: str, entry: _Entry) -> None:
    """Write a sealed JSON file. Raises ScanlineError if it cannot be written."""
    tree = json.loads(entry.model_dump_json(by_alias=True))
    target.write(name, sealed_json(tree).encode())
