"""Collecting what a report shows: the run's files, an evaluation, a comparison and explanations."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from scanline.data.download import Progress
from scanline.data.source import SequenceSource
from scanline.device import choose_device
from scanline.errors import DataError, ModelError, UsageError
from scanline.evaluation.comparison import Comparison, compare_runs
from scanline.evaluation.early import accuracy_by_step
from scanline.evaluation.evaluate import Evaluation, evaluate_model, evaluate_source, own_split
from scanline.evaluation.number_comparison import NumberComparison
from scanline.evaluation.step_comparison import StepComparison
from scanline.explanation.attribution import baseline
from scanline.explanation.deletion import DeletionCheck, check_by_deletion
from scanline.explanation.explain import explain_sequence
from scanline.explanation.explanation import Explanation
from scanline.metrics.classification import ClassificationMetrics
from scanline.model.artifact import TrainedModel
from scanline.model.loading import load
from scanline.model.model_files import find_model
from scanline.recipe import read_tree
from scanline.reporting.activity import gate_activity
from scanline.reporting.facts import ErrorTrace, EvaluatedSplit, ModelFacts, ReportFacts, RunFacts
from scanline.reporting.members import member_facts
from scanline.storage.json_files import read_json
from scanline.training.provenance import trained_on
from scanline.training.records import parse
from scanline.training.run_directory import RunDirectory
from scanline.training.run_files import RecipeFile

_SHOWN_ERRORS = 12
_CHECKED = 200  # sequences of the deletion check
_STEPS_READ = 2_000_000  # steps over which accuracy by step is measured; more sequences are subsampled
_LONGEST_EXPLAINED = 3_000  # steps; attributions of longer sequences take minutes

Split = Literal["test", "validation"]


@dataclass(frozen=True)
class _Request:
    """What a report is made of: see `gather`."""

    run: str
    data: str | None
    against: str | None
    device: str
    on_progress: Progress | None


def gather(
    run: str,
    data: str | None = None,
    against: str | None = None,
    device: str = "auto",
    on_progress: Progress | None = None,
) -> ReportFacts:
    """Evaluate, compare and explain a run.

    Args:
        run: A run directory or a model folder.
        data: Data to evaluate on; None takes the test split of what the run was trained on, and the
            validation split if training has not come to its end.
        against: A second run to compare with.
        device: "auto", "cpu", "cuda" or "cuda:N".
        on_progress: Called with (received, total) bytes of a download.

    Raises:
        ModelError: If there is neither a run nor a model, or a file is damaged.
        DataError: If the data cannot be read or do not fit.
        UsageError: If the request cannot be met.
    """
    request = _Request(run, data, against, device, on_progress)
    path = Path(run)
    # Facts are frozen: each phase returns a copy with more of them, so that no phase depends on a
    # half-filled object.
    facts = ReportFacts(path.name or run, notes=[])
    # Phase 1: the files of the run. They exist even if training was interrupted before it wrote a model.
    if (path / "recipe.toml").is_file():
        files = _read_files(RunDirectory(path))
        facts = dataclasses.replace(facts, files=files, notes=_training_notes(files, path))
    try:
        folder = find_model(path)
    except ModelError:
        if facts.files is None or against is not None:
            raise
        # A report on the training alone is still useful; a comparison needs a model.
        note = (
            "There is no model yet: training was interrupted before it wrote one, "
            "so there is nothing to evaluate."
        )
        return dataclasses.replace(facts, notes=[*facts.notes, note])
    # Phase 2: model and evaluation, then everything derived from them.
    model = load(run, choose_device(device))
    facts = dataclasses.replace(facts, model=_model_facts(model, folder), loaded=model)
    facts = _evaluate(facts, model, request)
    if against is not None:
        facts = dataclasses.replace(facts, comparison=_compare(facts, model, request, against))
    return facts if facts.evaluation is None else _measure(facts, model, facts.evaluation)


def _read_files(directory: RunDirectory) -> RunFacts:
    """Read the files of a run; those that are absent are left out."""
    history, environment = directory.read_metrics(), directory.read_environment()
    split, result = directory.read_split(), directory.read_result()
    try:
        recipe = read_tree(directory.recipe)
    except UsageError as error:
        raise ModelError(" ".join(str(error).split())) from error
    parse(RecipeFile, recipe, directory.recipe)
    return RunFacts(history, environment, split, recipe, result.training if result else None)


def _training_notes(files: RunFacts, path: Path) -> list[str]:
    if files.finished:
        return []
    if files.training is None:
        status, step = "not finished", max((line.step for line in files.history), default=0)
    else:
        status, step = files.training.status, files.training.steps
    return [f"Training is {status}, at step {step:,}. Resume it with `scanline train --resume --run {path}`."]


def _model_facts(model: TrainedModel, folder: Path) -> ModelFacts:
    return ModelFacts(
        data=model.data,
        classes=[str(name) for name in model.class_names],
        architecture=model.models[0].network.architecture if len(model.models) == 1 else None,
        parameters=model.parameter_count,
        view=model.view,
        temperature=model.temperature,
        sha256=str(read_json(folder / "model.json").get("sha256")),
    )


def _is_finished(facts: ReportFacts) -> bool:
    """Whether the test split may be read: yes for a model folder, and for a run that has ended."""
    return facts.files is None or facts.files.finished


def _evaluate(facts: ReportFacts, model: TrainedModel, request: _Request) -> ReportFacts:
    """Add the evaluation of the requested data or of the run's own split."""
    if request.data is not None:
        evaluation = evaluate_model(model, request.run, request.data, request.on_progress)
        return _with_evaluation(facts, evaluation, "test", evaluation.data)
    known, reason = trained_on(Path(request.run)), ""
    # The test split is read once, by a finished run: a report on an unfinished one must not influence
    # training with it.
    splits: tuple[Split, ...] = ("test", "validation") if _is_finished(facts) else ("validation",)
    for split in splits:
        try:
            name, source = own_split(model, request.run, known, split, request.on_progress)
        except (UsageError, DataError) as error:
            # The last reason is shown only if no split could be read.
            reason = str(error)
            continue
        evaluation = evaluate_source(model, name, source)
        return _with_evaluation(facts, evaluation, split, name, *_split_notes(facts, split, evaluation))
    return dataclasses.replace(facts, notes=[*facts.notes, f"Nothing could be evaluated: {reason}."])


def _with_evaluation(
    facts: ReportFacts, evaluation: Evaluation, split: Split, data: str, *notes: str
) -> ReportFacts:
    evaluated = EvaluatedSplit(split, _base_name(data), len(evaluation.source), evaluation.steps_digest)
    return dataclasses.replace(
        facts,
        evaluation=evaluation,
        evaluated=evaluated,
        metrics=evaluation.metrics,
        notes=[*facts.notes, *notes],
    )


def _split_notes(facts: ReportFacts, split: Split, evaluation: Evaluation) -> list[str]:
    notes = []
    if split == "validation":
        notes.append(
            "There is no test split: the metrics are of the validation split, on which training decisions "
            "were based, and are probably too high."
            if _is_finished(facts)
            else "The metrics are of the validation split, on which training decisions were based: the test "
            "split is read only when training has ended."
        )
    environment = facts.files.environment if facts.files else None
    digest = environment.data.get(split) if environment else None
    # environment.json has the digests of the network's steps: missing values replaced, pictures cut.
    if digest is not None and digest.sha256 != evaluation.steps_digest:
        notes.append("The data have changed since training: the metrics are of the data as they are now.")
    return notes


def _compare(facts: ReportFacts, model: TrainedModel, request: _Request, against: str) -> Comparison:
    """Compare with another run, under names without the folders that both have in common."""
    run = request.run
    if not _is_finished(facts) and request.data is None:
        raise UsageError(f"{run} has not finished training: only then is its test split read and compared")
    if facts.evaluation is None or facts.evaluated is None:
        raise UsageError(f"{run} has nothing to be evaluated on: give data with --data")
    # Reuse the evaluation made above instead of computing it twice; a validation split is not comparable.
    known = {run: facts.evaluation} if facts.evaluated.split == "test" else {}
    device = model.device
    compared = compare_runs((run, against), request.data, device, request.on_progress, known=known)
    if isinstance(compared, NumberComparison | StepComparison):
        raise UsageError(
            f"a report compares classifications only, got {facts.evaluation.model.task.name}: "
            "use `scanline compare`"
        )
    names = _distinct_names(run, against)
    runs = [row.model_copy(update={"run": name}) for row, name in zip(compared.runs, names, strict=True)]
    pairs = [pair.model_copy(update={"first": names[0], "second": names[1]}) for pair in compared.pairs]
    return compared.model_copy(update={"data": _base_name(compared.data), "runs": runs, "pairs": pairs})


def _distinct_names(run: str, against: str) -> tuple[str, str]:
    """Return the last folders of two paths, as many as are needed to distinguish them."""
    one, other = (Path(path).resolve().parts for path in (run, against))
    # The paths differ, as `compare_runs` refuses equal runs, so some number of folders distinguishes them.
    count = next(n for n in range(1, max(len(one), len(other)) + 1) if one[-n:] != other[-n:])
    return Path(*one[-count:]).as_posix(), Path(*other[-count:]).as_posix()


def _base_name(data: str) -> str:
    """Return the name of a data set without its folders: reports are shared, and paths are private."""
    return Path(data).name or data


def _measure(facts: ReportFacts, model: TrainedModel, evaluation: Evaluation) -> ReportFacts:
    """Add what takes passes over the evaluated sequences: accuracy by step, gates, explanations."""
    if len(model.models) > 1:
        return _measure_members(facts, model, evaluation)
    if model.task.per_step:
        # Accuracy by step, gates and explanations are about one prediction for each sequence.
        tables = model.task.report_tables(evaluation.outputs, evaluation.source)
        return dataclasses.replace(facts, task_tables=tables)
    source, single = evaluation.source, model.models[0]
    network, windows = single.network, single.preprocessing.windows
    if windows is not None and source.max_length > windows.length:
        return _measure_joined(facts, model, evaluation)
    subsample = _affordable(source, network.architecture.bidirectional)
    explanations: list[Explanation] = []
    deletion: DeletionCheck | None = None
    if source.max_length <= _LONGEST_EXPLAINED:
        # Integrated gradients of each error shown: by far the most expensive part for long sequences.
        explanations = [explain_sequence(single, source, index) for index in _errors(evaluation)]
        background = baseline(network, evaluation.has_pictures)
        deletion = check_by_deletion(network, model.task, source.subsample(_CHECKED), background)
    return dataclasses.replace(
        facts,
        by_step=accuracy_by_step(network, model.task, subsample) if model.task.has_accuracy else None,
        n_by_step=len(subsample),
        task_tables=model.task.report_tables(evaluation.outputs, source),
        activity=gate_activity(network, model.task, source),
        deletion=deletion,
        errors=[_error_trace(each) for each in explanations],
        explanations=explanations,
    )


def _measure_joined(facts: ReportFacts, model: TrainedModel, evaluation: Evaluation) -> ReportFacts:
    """Add the tables of the task alone if the predictions of windows are joined."""
    note = (
        "Accuracy by step, gates and explanations are of one window, and the predictions of this model are "
        "joined from several: `scanline explain` reads a window."
    )
    tables = model.task.report_tables(evaluation.outputs, evaluation.source)
    return dataclasses.replace(facts, notes=[*facts.notes, note], task_tables=tables)


def _measure_members(facts: ReportFacts, model: TrainedModel, evaluation: Evaluation) -> ReportFacts:
    """Add the metrics of each member of an ensemble instead: there is no one network to look into."""
    note = (
        "Accuracy by step, gates and explanations are of one network, and this model is an ensemble: "
        "`scanline report` of a member has them."
    )
    return dataclasses.replace(
        facts,
        notes=[*facts.notes, note],
        members=member_facts(model, evaluation.source),
        task_tables=model.task.report_tables(evaluation.outputs, evaluation.source),
    )


def _errors(evaluation: Evaluation) -> list[int]:
    """Return the indices of the most confident errors to show; empty except for classification."""
    metrics = evaluation.metrics
    if not isinstance(metrics, ClassificationMetrics):
        return []
    return [error.index for error in metrics.mistakes[:_SHOWN_ERRORS]]


def _affordable(source: SequenceSource, bidirectional: bool) -> SequenceSource:
    """Return as many sequences as can be evaluated after every step in reasonable time.

    A bidirectional network reads each prefix from its beginning: its cost grows with the squared length.
    """
    # Steps computed for a sequence on average. At least 200 sequences keep the intervals meaningful.
    cost = source.lengths.mean() * (source.max_length if bidirectional else 1)
    return source.subsample(max(200, int(_STEPS_READ / cost)))


def _error_trace(explanation: Explanation) -> ErrorTrace:
    trace = explanation.trace
    probabilities = trace.probabilities
    true = [str(name) for name in trace.classes].index(str(explanation.true))
    return ErrorTrace(
        sequence=explanation.name,
        true=str(explanation.true),
        answer=str(explanation.label),
        probability=float(probabilities[-1, trace.prediction]),
        settled=trace.settled,
        # Six decimals are more than a plot can show, and keep report.json small.
        along_answer=np.round(probabilities[:, trace.prediction], 6).tolist(),
        along_true=np.round(probabilities[:, true], 6).tolist(),
        values=np.round(np.asarray(explanation.values, np.float64), 6).tolist(),
        attribution=np.round(explanation.attribution.values, 6).tolist(),
    )
