"""The end of a training: the model and `result.json`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scanline.model.artifact import Model
from scanline.model.description import Provenance, TestResult
from scanline.model.description import SplitDigest as ModelSplitDigest
from scanline.model.predictor import Predictor
from scanline.storage.json_files import write_json
from scanline.tasks import Task
from scanline.training.preparation import Prepared
from scanline.training.run_directory import RunDirectory
from scanline.training.run_files import Result, SplitDigest, SplitMetrics, TrainingSummary
from scanline.training.state import TrainState
from scanline.training.team import Team


def write_outcome(
    directory: RunDirectory,
    prepared: Prepared,
    state: TrainState,
    digests: dict[str, SplitDigest],
    status: str,
    seconds: float,
    team: Team,
    abandon: Callable[[], bool] | None = None,
) -> Result:
    """Write the model and `result.json` of a training.

    The test split is read here and only here, and only if the training has ended.

    Args:
        directory: Where to write them.
        prepared: What was trained on.
        state: The state of the training; if it has ended, its network gets the best weights that were kept.
        digests: Digest of each split.
        status: "finished", "stopped early", "paused", "interrupted" or "diverged".
        seconds: Duration of the training.
        team: The processes that share the evaluation; the others call `final_metrics`.
        abandon: Asked during evaluations, which end with Abandoned as soon as it returns True.

    Returns:
        The content of `result.json`.
    """
    recipe, data, network = prepared.recipe, prepared.data, state.network
    samples = state.step * recipe.train.batch_size
    backend, precision = network.recurrent.path(network.scale, training=True)
    summary = TrainingSummary(
        status=status,
        samples_seen=samples,
        steps=state.step,
        seconds=round(seconds, 3),
        samples_per_s=round(samples / seconds, 1) if seconds else None,
        backend=backend,
        precision=precision,
        device=network.scale.device.type,
    )
    result = Result(schema=1, recipe=recipe.name, data=data.title, training=summary)
    temperature, task = None, prepared.task
    if summary.has_ended:
        final = final_metrics(prepared, state, team, abandon)
        temperature, task = final.temperature, final.task
        result = Result(
            schema=1,
            recipe=recipe.name,
            data=data.title,
            test=final.test,
            validation=final.validation,
            training=summary,
        )
    # The model that is saved has no dropout, whatever mode the loop left.
    network.eval()
    provenance = Provenance(
        recipe=recipe.name,
        seed=recipe.seed,
        licence=recipe.licence,
        parts={name: ModelSplitDigest(n=digest.n, sha256=digest.sha256) for name, digest in digests.items()},
        test=_tested(result.test),
    )
    model = Model(network, task, prepared.preprocessing, data.title, temperature, provenance)
    # The result comes last: a run with a result has its model, whenever it is killed.
    model.save(directory.model)
    write_json(directory.result, result.to_json())
    return result


@dataclass(frozen=True)
class FinalMetrics:
    """What is measured at the end of a training.

    Attributes:
        test: Metrics of the test split; None if there is none.
        validation: Metrics of the validation split, likewise.
        temperature: Calibration temperature; None if the task has none or there is no validation split.
        task: The task, with prediction intervals where it has them.
    """

    test: SplitMetrics | None
    validation: SplitMetrics | None
    temperature: float | None
    task: Task


def final_metrics(
    prepared: Prepared, state: TrainState, team: Team, abandon: Callable[[], bool] | None
) -> FinalMetrics:
    """Measure the test and the validation split, and calibrate with the latter.

    Args:
        prepared: What was trained on.
        state: The state at the end of the training; its network gets the best weights that were kept.
        team: The processes that share the evaluation, all of which call this.
        abandon: Asked during the evaluation.

    Raises:
        Abandoned: Once `abandon` has returned True in one of the processes.
    """
    # Kept by early stopping: the model is that of the best validation, not of the last step.
    if state.best.weights:
        state.network.load_state_dict(dict(state.best.weights))
        team.check_weights(state.network, state.best.step)
    prepared.data.train.expect(())  # its row groups are not needed any more
    task, temperature = prepared.task, None
    measured = {name: each for name, each in prepared.data.splits.items() if name != "train"}
    predictor = Predictor(state.network, joining=prepared.joining)
    outputs = {name: team.outputs(predictor, each, abandon) for name, each in measured.items()}
    metrics: dict[str, SplitMetrics] = {}
    # The validation split first: its own metrics are without what is calibrated with it.
    for name in sorted(measured, key=lambda name: name != "validation"):
        source = measured[name]
        metrics[name] = SplitMetrics.model_validate(task.metrics(outputs[name], source).to_json())
        if name == "validation":
            targets = task.encode(source)
            temperature = task.fit_temperature(outputs[name], targets)
            errors = task.calibration_errors(outputs[name], targets, source.lengths)
            task = task if errors is None else task.calibrated(errors)
    return FinalMetrics(metrics.get("test"), metrics.get("validation"), temperature, task)


def _tested(test: SplitMetrics | None) -> TestResult | None:
    """Return the metrics that the model card shows."""
    if test is None or test.correct is None or test.accuracy is None or test.ci95 is None:
        return None
    low, high = test.ci95
    return TestResult(n=test.n, correct=test.correct, accuracy=test.accuracy, ci95=(low, high))
