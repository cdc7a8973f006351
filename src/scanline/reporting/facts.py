"""The numbers of a report as typed values, and their form in `report.json`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from pydantic import JsonValue

from scanline.evaluation.comparison import Comparison
from scanline.evaluation.early import StepAccuracies
from scanline.evaluation.evaluate import Evaluation
from scanline.explanation.deletion import DeletionCheck
from scanline.explanation.explanation import Explanation
from scanline.metrics.results import Metrics
from scanline.model.artifact import TrainedModel
from scanline.model.network import Architecture
from scanline.reporting.activity import GateActivity
from scanline.tasks import ReportTable
from scanline.training.records import JsonObject
from scanline.training.run_files import Environment, MetricsLine, SplitFile, TrainingSummary


@dataclass(frozen=True)
class RunFacts:
    """Content of the files of a run directory.

    Attributes:
        history: The lines of metrics.jsonl.
        environment: Content of environment.json; None if it is absent.
        split: Content of split.json; None if it is absent.
        recipe: Content of recipe.toml, which may have been written by another version.
        training: Cost and outcome of the training; None if there is no result yet.
    """

    history: list[MetricsLine]
    environment: Environment | None
    split: SplitFile | None
    recipe: JsonObject
    training: TrainingSummary | None

    @property
    def finished(self) -> bool:
        """Whether training has come to its end."""
        return self.training is not None and self.training.has_ended

    def to_json(self) -> JsonObject:
        """Return the facts under the names of report.json."""
        return {
            "course": [line.to_json() for line in self.history],
            "environment": None if self.environment is None else self.environment.to_json(),
            "split": None if self.split is None else self.split.to_json(),
            "recipe": self.recipe,
            "training": {} if self.training is None else self.training.to_json(),
            "finished": self.finished,
        }


@dataclass(frozen=True)
class ModelFacts:
    """Content of the model folder.

    Attributes:
        data: Title of the data set it was trained on.
        classes: Names of the K classes.
        architecture: Shape of the network; None for an ensemble.
        parameters: Number of parameters.
        view: How pictures are cut into steps; None if the data are not pictures.
        temperature: Calibration temperature; None if it was not fitted.
        sha256: Digest of model.json.
    """

    data: str
    classes: list[str]
    architecture: Architecture | None
    parameters: int
    view: str | None
    temperature: float | None
    sha256: str

    def to_json(self) -> JsonObject:
        """Return the facts under the names of report.json."""
        classes: list[JsonValue] = [*self.classes]
        return {
            "data": self.data,
            "classes": classes,
            "network": None if self.architecture is None else dataclasses.asdict(self.architecture),
            "parameters": self.parameters,
            "view": self.view,
            "temperature": self.temperature,
            "model_sha256": self.sha256,
        }


@dataclass(frozen=True)
class EvaluatedSplit:
    """What the metrics were measured on.

    Attributes:
        split: "test" or "validation".
        data: Name of the data set, without its folders.
        n: Number of sequences.
        sha256: Digest of the sequences as steps of the network.
    """

    split: str
    data: str
    n: int
    sha256: str

    def to_json(self) -> JsonObject:
        """Return the facts under the names of report.json."""
        return {"part": self.split, "data": self.data, "n": self.n, "sha256": self.sha256}


@dataclass(frozen=True)
class MemberFacts:
    """A member of an ensemble, with its metrics on the sequences that the ensemble is evaluated on.

    Attributes:
        number: Its number, from 1.
        run: Name of the run that it comes from; empty if unknown.
        network: Its network in a few words.
        view: How it cuts pictures into steps; None if the data are not pictures.
        recipe: Name of its recipe; empty if unknown.
        seed: Seed of its training; None if unknown.
        accuracy: Its accuracy; None, as the next, if the task has none.
        ci95: 95 % confidence interval of the accuracy (Wilson), (low, high).
        loss: Its mean loss.
    """

    number: int
    run: str
    network: str
    view: str | None
    recipe: str
    seed: int | None
    accuracy: float | None
    ci95: tuple[float, float] | None
    loss: float | None


@dataclass(frozen=True)
class ErrorTrace:
    """A misclassified sequence, step by step.

    Attributes:
        sequence: Name of the sequence.
        true: Name of its class.
        answer: Name of the predicted class.
        probability: Probability of the predicted class.
        settled: Step after which the prediction does not change any more.
        along_answer: Probability of the predicted class after each step.
        along_true: Probability of the true class after each step.
        values: (T, F) values.
        attribution: (T, F) attributions.
    """

    sequence: str
    true: str
    answer: str
    probability: float
    settled: int
    along_answer: list[float]
    along_true: list[float]
    values: list[list[float]]
    attribution: list[list[float]]


@dataclass(frozen=True, eq=False)
class ReportFacts:
    """Everything that a report shows.

    Attributes:
        run: Name of the run.
        notes: Remarks for the reader.
        files: What the files of the run directory say; None for a model folder.
        model: What the model folder says; None if there is no model yet.
        evaluated: What the metrics were measured on; None if nothing could be evaluated.
        comparison: Comparison with another run, if it was asked for.
        metrics: The metrics.
        by_step: Accuracy against steps read.
        n_by_step: Number of sequences that this was measured on.
        activity: Saturation of the gates.
        deletion: Deletion check of the attributions; None if the sequences are too long.
        members: The members of an ensemble; empty for a model of one network.
        errors: The most confident errors; none except for a classification.
        task_tables: Tables of the model's task.
        evaluation: The evaluation behind `metrics`.
        loaded: The model.
        explanations: The explanation of each of `errors`.
    """

    run: str
    notes: list[str]
    files: RunFacts | None = None
    model: ModelFacts | None = None
    evaluated: EvaluatedSplit | None = None
    comparison: Comparison | None = None
    metrics: Metrics | None = None
    by_step: StepAccuracies | None = None
    n_by_step: int = 0
    activity: GateActivity | None = None
    deletion: DeletionCheck | None = None
    members: tuple[MemberFacts, ...] = ()
    errors: list[ErrorTrace] = field(default_factory=list)
    task_tables: tuple[ReportTable, ...] = ()
    evaluation: Evaluation | None = None
    loaded: TrainedModel | None = None
    explanations: list[Explanation] = field(default_factory=list)

    def to_json(self) -> JsonObject:
        """Return the content of report.json; facts that are not known are left out."""
        tree: JsonObject = {"schema": 1, "run": self.run, "notes": [*self.notes]}
        for facts in (self.files, self.model):
            tree |= {} if facts is None else facts.to_json()
        if self.evaluated is not None:
            tree["judged"] = self.evaluated.to_json()
        if self.comparison is not None:
            tree["comparison"] = self.comparison.to_json()
        if self.metrics is not None:
            tree["figures"] = self.metrics.to_json()
        if self.by_step is not None:
            tree["along"] = {"n": self.n_by_step, **self.by_step.to_json()}
        if self.activity is not None:
            tree["activity"] = self.activity.to_json()
            if self.deletion is not None:
                tree["deletion"] = dataclasses.asdict(self.deletion)
            tree["mistakes"] = [dataclasses.asdict(each) for each in self.errors]
        if self.members:
            tree["members"] = [dataclasses.asdict(each) for each in self.members]
        if self.task_tables:
            tree["tables"] = [
                {"caption": each.caption, "heads": [*each.heads], "rows": [[*row] for row in each.rows]}
                for each in self.task_tables
            ]
        return tree
