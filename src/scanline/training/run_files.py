"""The JSON files of a run: one versioned schema each, used by everything that writes or reads them.

Unknown keys are kept, as another version may have written them. Everything else is checked on reading,
because people and programs edit these files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from scanline.storage.json_files import read_bounded
from scanline.training.events import Evaluated, Logged
from scanline.training.records import Count, Finite, Fraction, JsonObject, Loss, Record, check_json


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
    kernels: dict[str, str | None] = Field(default_factory=dict)
    choices: dict[str, list[str]] = Field(default_factory=dict)
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
    packages: dict[str, str | None] = Field(default_factory=dict)
    code: str = ""


class Computation(Record):
    """Backend ("native", "torch") and precision ("float32", "bfloat16") that computed the training."""

    backend: str
    precision: str


class SplitDigest(Record):
    """Number of sequences of a split, and SHA-256 of their content; windows: into how many they are cut."""

    n: Count
    sha256: str
    windows: Count | None = None


# The order of the bases puts `schema` first in the file: fields of the last base come first.
class Environment(Machine, _Numbered):
    """Content of `environment.json`.

    Attributes:
        computes: Backend and precision of the training.
        data: Digest of each split, by the split's name.
    """

    computes: Computation | None = None
    data: dict[str, SplitDigest] = Field(default_factory=dict)


class TargetRange(Record):
    """Range and mean of targets that are numbers."""

    min: Finite
    mean: Finite
    max: Finite


class SplitOrigin(Record):
    """Where one split comes from.

    Attributes:
        n: Number of sequences.
        source: File or rule that it comes from.
        classes: Number of sequences of each class, or of steps if each has a label.
        unlabelled: Number of steps without a label; None if each sequence has one label.
        targets: Range and mean of the targets, if they are numbers.
        groups: Groups that its sequences belong to.
        sequences: Indices of its sequences in the source.
        ids: Names of its sequences.
    """

    n: Count
    source: str = Field(default="", alias="from")
    classes: dict[str, Count] = Field(default_factory=dict)
    unlabelled: Count | None = None
    targets: TargetRange | None = None
    groups: list[str] = Field(default_factory=list)
    sequences: list[Count] = Field(default_factory=list)
    ids: list[str] = Field(default_factory=list)


class SplitFile(_Numbered):
    """Content of `split.json`: the origin of each split, by the split's name."""

    parts: dict[str, SplitOrigin]


class TrainingSummary(Record):
    """Cost and outcome of a training.

    Attributes:
        status: "finished", "stopped early", "paused", "interrupted" or "diverged".
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
        n: Number of sequences, or of labelled steps.
        correct: Number of correct predictions; None, as the next two, if the task has no accuracy.
        accuracy: Fraction of correct predictions.
        ci95: 95 % confidence interval of the accuracy, (low, high): Wilson's, or of a bootstrap over
            sequences if each step has a label; None if it is unknown, as for the steps of a single sequence.
        loss: Mean loss.
    """

    n: Count
    correct: Count | None = None
    accuracy: Fraction | None = None
    ci95: Annotated[list[Fraction], Field(min_length=2, max_length=2)] | None = None
    loss: Loss

    @model_validator(mode="after")
    def _check_accuracy(self) -> SplitMetrics:
        given = [value is not None for value in (self.correct, self.accuracy)]
        if any(given) != all(given) or (self.ci95 is not None and not any(given)):
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


class _Scored(Record):
    """What the lines of `metrics.jsonl` have in common: a score, which is the accuracy or has a name."""

    @property
    def score_name(self) -> str:
        """Name of the score."""
        return str((self.model_extra or {}).get("score", "accuracy"))

    @property
    def value(self) -> float:
        """The score: an accuracy from 0 to 1, or another number of at most 1."""
        # The accuracy is a field, a score of another name is an unknown key.
        keys: dict[str, Any] = {"accuracy": getattr(self, "accuracy", None)} | (self.model_extra or {})
        value = keys.get(self.score_name)
        lowest = 0.0 if self.score_name == "accuracy" else -3.5e38
        if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= 1:
            least = "from 0 to 1" if lowest == 0 else "of at most 1"
            raise ValueError(f"expected a {self.score_name} {least}")
        return float(value)

    @model_validator(mode="after")
    def _check_value(self) -> Self:
        _ = self.value
        return self


class LoggedLine(_Scored):
    """A line of `metrics.jsonl`: loss and score of a training batch, see `events.Logged`."""

    event: Literal["logged"]
    step: Count
    samples: Count = 0
    loss: Loss
    accuracy: Fraction | None = None
    learning_rate: Finite = 0.0
    seconds: Finite = 0.0


class EvaluatedLine(_Scored):
    """A line of `metrics.jsonl`: an evaluation of a split (`part`), see `events.Evaluated`."""

    event: Literal["judged"]
    step: Count
    samples: Count = 0
    part: str
    loss: Loss
    accuracy: Fraction | None = None
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
    # "judged" and the key "part" are the names on disk, older than those in the code.
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
    return parse_metrics(read_bounded(path, "COURSE_BYTES")) if path.is_file() else []


def parse_metrics(content: bytes) -> list[MetricsLine]:
    """Return the valid lines of the content of a `metrics.jsonl`, or of a part of it."""
    lines: list[MetricsLine] = []
    for line in content.split(b"\n"):
        try:
            tree = json.loads(line.decode())
            check_json(tree)
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
    data: JsonObject = Field(default_factory=dict)
