"""The JSON files of a run: one versioned schema each, used by everything that writes or reads them.

Unknown keys are kept, as another version may have written them. Everything else is checked on reading,
because people and programs edit these files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError, model_validator

from scanline.errors import ModelError
from scanline.storage.json_files import read_bounded, read_json
from scanline.training.events import Evaluated, Logged

Count = Annotated[int, Field(ge=0, lt=2**53)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Loss = Annotated[float, Field(ge=0, le=3.5e38)]  # a mean of float32
Fraction = Annotated[float, Field(ge=0, le=1)]
JsonObject = dict[str, JsonValue]


class Record(BaseModel):
    """Base of all schemas: strict types, unknown keys kept."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    def to_json(self) -> JsonObject:
        """Return the content of the file: the keys that were set, in the order of the schema."""
        tree: JsonObject = self.model_dump(by_alias=True, exclude_unset=True)
        return tree


class _Numbered(Record):
    schema_: Literal[1] = Field(default=1, alias="schema")


class Native(Record):
    """The native library on this machine.

    Attributes:
        found: Whether it could be loaded.
        why: Reason why it could not.
        kernels: Kernel that computes each precision, None if the precision has none.
        choices: All kernels for each precision, fastest first.
        threads: What runs the kernels in parallel.
    """

    found: bool
    why: str | None = None
    kernels: dict[str, str | None] = {}
    choices: dict[str, list[str]] = {}
    threads: str = ""


class Machine(Record):
    """Versions and hardware that a run was computed with.

    Attributes:
        python: Version of Python.
        platform: Operating system.
        processor: Model name of the processor.
        cores: Number of logical cores.
        threads: Threads that torch uses.
        device: "cpu" or the name of the GPU.
        native: State of the native library.
        packages: Version of each package, None if it is not installed.
        code: SHA-256 of Scanline's own code.
    """

    python: str = ""
    platform: str = ""
    processor: str = ""
    cores: Count | None = None
    threads: Count = 0
    device: str = ""
    native: Native = Native(found=False)
    packages: dict[str, str | None] = {}
    code: str = ""


class Computation(Record):
    """Backend ("native", "torch") and precision ("float32", "bfloat16") that computed the training."""

    backend: str
    precision: str


class SplitDigest(Record):
    """Number of sequences of a split, and SHA-256 of their content."""

    n: Count
    sha256: str


class Environment(Machine, _Numbered):
    """Content of `environment.json`.

    Attributes:
        computes: Backend and precision of the training.
        data: Digest of each split, by the split's name.
    """

    computes: Computation | None = None
    data: dict[str, SplitDigest] = {}


class SplitOrigin(Record):
    """Where one split comes from.

    Attributes:
        n: Number of sequences.
        source: File or rule that it comes from.
        classes: Number of sequences of each class.
        groups: Groups that its sequences belong to.
        sequences: Indices of its sequences in the source.
        ids: Names of its sequences.
    """

    n: Count
    source: str = Field(default="", alias="from")
    classes: dict[str, Count] = {}
    groups: list[str] = []
    sequences: list[Count] = []
    ids: list[str] = []


class SplitFile(_Numbered):
    """Content of `split.json`: the origin of each split, by the split's name."""

    parts: dict[str, SplitOrigin]


class TrainingSummary(Record):
    """Cost and outcome of a training.

    Attributes:
        status: "finished", "stopped early", "interrupted" or "diverged".
        samples_seen: Sequences trained on, repetitions included.
        steps: Training steps.
        seconds: Duration in seconds.
        samples_per_s: Throughput; None if the duration is 0.
        backend: "native" or "torch".
        precision: "float32" or "bfloat16".
        device: "cpu" or "cuda".
    """

    status: str
    samples_seen: Count
    steps: Count
    seconds: Finite
    samples_per_s: Finite | None
    backend: str
    precision: str
    device: str

    @property
    def has_ended(self) -> bool:
        """Whether training has come to its end, so that the model was tested."""
        return self.status in ("finished", "stopped early")


class SplitMetrics(Record):
    """Metrics of a split; the keys that are not listed here are kept as they are.

    Attributes:
        n: Number of sequences.
        correct: Number of correct predictions; None, as the next two, if the task has no accuracy.
        accuracy: Fraction of correct predictions.
        ci95: 95 % confidence interval of the accuracy (Wilson), (low, high).
        loss: Mean loss.
    """

    n: Count
    correct: Count | None = None
    accuracy: Fraction | None = None
    ci95: Annotated[list[Fraction], Field(min_length=2, max_length=2)] | None = None
    loss: Loss

    @model_validator(mode="after")
    def _check_accuracy(self) -> SplitMetrics:
        given = [value is not None for value in (self.correct, self.accuracy, self.ci95)]
        if any(given) and not all(given):
            raise ValueError("expected correct, accuracy and ci95 together")
        return self


class Result(_Numbered):
    """Content of `result.json`.

    Attributes:
        recipe: Name of the recipe.
        data: Title of the data set.
        test: Metrics on the test split; None if there is none. Absent until training has ended.
        validation: Metrics on the validation split, likewise.
        training: Cost and outcome of the training.
    """

    recipe: str = ""
    data: str = ""
    test: SplitMetrics | None = None
    validation: SplitMetrics | None = None
    training: TrainingSummary


class LoggedLine(Record):
    """A line of `metrics.jsonl`: loss and accuracy of a training batch, see `events.Logged`."""

    event: Literal["logged"]
    step: Count
    samples: Count = 0
    loss: Loss
    accuracy: Fraction
    learning_rate: Finite = 0.0
    seconds: Finite = 0.0


class EvaluatedLine(Record):
    """A line of `metrics.jsonl`: an evaluation of a split (`part`), see `events.Evaluated`."""

    event: Literal["judged"]
    step: Count
    samples: Count = 0
    part: str
    loss: Loss
    accuracy: Fraction
    correct: Count = 0
    total: Count = 0
    best: bool = False
    seconds: Finite = 0.0


MetricsLine = LoggedLine | EvaluatedLine
_LINES: TypeAdapter[MetricsLine] = TypeAdapter(
    Annotated[LoggedLine | EvaluatedLine, Field(discriminator="event")]
)


def metrics_line(event: Logged | Evaluated, seconds: float) -> str:
    """Return an event as a line of `metrics.jsonl`, without the line break.

    Args:
        event: The event.
        seconds: Duration of the training up to it, in seconds.
    """
    kind = "logged" if isinstance(event, Logged) else "judged"
    return json.dumps({"event": kind, **event.to_json(), "seconds": round(seconds, 3)}, allow_nan=False)


def read_metrics(path: Path) -> list[MetricsLine]:
    """Read a `metrics.jsonl`.

    Lines that are cut off or not valid are skipped: the last one may have been being written.

    Args:
        path: The file; an absent one has no lines.

    Raises:
        ModelError: If the file is larger than the limit COURSE_BYTES.
    """
    lines: list[MetricsLine] = []
    if not path.is_file():
        return lines
    for content in read_bounded(path, "COURSE_BYTES").split(b"\n"):
        try:
            tree = json.loads(content.decode())
            _check_json(tree)
            lines.append(_LINES.validate_python(tree))
        except (ValueError, TypeError, RecursionError):  # a ValidationError is a ValueError
            continue
    return lines


class _SplitSettings(Record):
    seed: Count


class RecipeFile(Record):
    """The keys of a `recipe.toml` that a report needs; the recipe may have been written by another version.

    Attributes:
        name: Name of the recipe.
        seed: Seed of the training.
        split: Settings of the split, with its seed.
        data: Settings of the data.
    """

    name: str
    seed: Count
    split: _SplitSettings
    data: JsonObject = {}


class Position(BaseModel):
    """Where a run's own files stood when a checkpoint was made.

    Attributes:
        metrics_bytes: Size of metrics.jsonl.
        log_bytes: Size of log.txt.
        seconds: Duration of the training so far.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    metrics_bytes: Annotated[int, Field(ge=0)]
    log_bytes: Annotated[int, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class CheckpointState(BaseModel):
    """Content of a checkpoint's `state.json`, which is sealed: unknown keys are refused.

    Attributes:
        step: Steps done.
        pending_evaluation: Whether the events of this step have not all been yielded yet.
        loss: Loss of this step's batch.
        best_accuracy: Best validation accuracy so far, -1 before the first validation.
        best_step: Step of the best validation, 0 before the first.
        bad_evaluations: Validations since the best one.
        position: Where the run's own files stood.
        files: SHA-256 of each tensor file.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    schema_: Literal[2] = Field(alias="schema")
    step: Annotated[int, Field(ge=0)]
    pending_evaluation: bool = Field(alias="unseen")
    loss: Finite
    best_accuracy: Annotated[float, Field(ge=-1, le=1)]
    best_step: Annotated[int, Field(ge=0)]
    bad_evaluations: Annotated[int, Field(ge=0)] = Field(alias="misses")
    position: Position
    files: dict[Literal["model.safetensors", "optimizer.safetensors"], str]


_SHOWN = 8  # faults in a message
AnyRecord = TypeVar("AnyRecord", bound=BaseModel)


def parse(schema: type[AnyRecord], tree: Mapping[str, Any], path: Path) -> AnyRecord:
    """Validate the content of a file.

    Args:
        schema: The schema of the file.
        tree: Its content.
        path: The file, for the message.

    Raises:
        ModelError: If the content does not follow the schema; names the file and the wrong places.
    """
    try:
        record = schema.model_validate(tree)
        _check_json(tree)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        text = "; ".join(
            f"{'.'.join(map(str, each['loc']))[:120]}: {each['msg']}" for each in faults[:_SHOWN]
        )
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise ModelError(f"{path} is damaged: {text}{more}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: expected plain JSON ({str(error)[:200]})") from None
    return record


def _place(loc: tuple[int | str, ...]) -> str:
    return ".".join(map(str, loc))[:120]


def _check_json(tree: object) -> None:
    """Raise ValueError or TypeError for a lone surrogate, NaN or a date: JSON and HTML cannot hold them."""
    json.dumps(tree, allow_nan=False, ensure_ascii=False).encode()


def read(schema: type[AnyRecord], path: Path) -> AnyRecord:
    """Read and validate a JSON file of a run.

    Raises:
        ModelError: If the file is missing, too large or damaged; names the file and the wrong places.
    """
    return parse(schema, read_json(path), path)
