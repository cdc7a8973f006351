"""The functions of the Python API: `scanline.train`, `scanline.explain`, `scanline.export`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scanline import recipe as recipes
from scanline.data import packing
from scanline.data.data_frames import training_data
from scanline.data.download import Progress
from scanline.data.packing import PackResult
from scanline.data.readers.arrays import Arrays
from scanline.device import choose_device
from scanline.errors import ModelError, UsageError
from scanline.evaluation.ensembling import ensemble_runs
from scanline.explanation.explain import explain as explain_values
from scanline.explanation.explanation import Explanation
from scanline.model import loading
from scanline.model.artifact import Model, TrainedModel
from scanline.model.ensemble import Ensemble
from scanline.model.model_files import find_model
from scanline.python_terms import in_python, python_terms
from scanline.reporting import report as reports
from scanline.reporting.notebooks import run_html
from scanline.tracking import publisher
from scanline.tracking.publication import Tracked
from scanline.tracking.target import Target, check_installed
from scanline.training.dictionaries import Dictionaries, OnEvent
from scanline.training.events import Stepped
from scanline.training.inputs import reading_settings
from scanline.training.run import TrainingRun
from scanline.training.run_directory import RunDirectory

PathLike = str | os.PathLike[str]


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run, as `scanline.train` returns it.

    Attributes:
        path: The run directory.
        result: Content of `result.json`.
    """

    path: Path
    result: dict[str, Any]

    @property
    def model(self) -> Model:
        """The trained model, read from the run directory."""
        return Model.load(find_model(self.path))

    def report(self, output: PathLike | None = None) -> Path:
        """Write the run's report, by default into its directory; `scanline.report` has more options."""
        return report(self.path, output)

    def _repr_html_(self) -> str:
        return run_html(self.path, self.result)


def load(run: PathLike, device: str = "cpu", calibrated: bool = False) -> TrainedModel:
    """Read the model of a run, or an ensemble.

    Args:
        run: A run directory, a model folder (`runs/<name>/model`), or the folder of an ensemble.
        device: "cpu" or "cuda".
        calibrated: Whether probabilities are calibrated.

    Raises:
        ModelError: If a file is missing or damaged, or if the model has no temperature to calibrate with.
    """
    with python_terms():
        return loading.load(Path(run), device, calibrated)


def report(
    run: PathLike,
    output: PathLike | None = None,
    *,
    against: PathLike | None = None,
    data: PathLike | None = None,
    device: str = "auto",
    on_progress: Progress | None = None,
) -> Path:
    """Write the report of a run: metrics, errors, explanations, and how to reproduce it.

    Args:
        run: Run directory or model directory.
        output: The .html file; None writes report.html into the run directory. A JSON file of the same name
            with every number is written beside it.
        against: A second run to compare with.
        data: Data set to evaluate on; None takes the test split of what the run was trained on.
        device: "auto", "cpu", "cuda" or "cuda:N".
        on_progress: Called with the received and the total bytes of a download.

    Returns:
        The path of the page.

    Raises:
        ModelError: If a run or model is missing or damaged.
        DataError: If the data cannot be read or do not fit the model.
        UsageError: If an argument does not make sense, or an optional dependency is missing.
        ScanlineError: If a file cannot be written.
    """
    with python_terms():
        return reports.report(run, output, against=against, data=data, device=device, on_progress=on_progress)


def explain(model: TrainedModel | PathLike, values: Any, *, name: str = "the given sequence") -> Explanation:
    """Explain a prediction: probabilities, gates and states after every step, and the value of each input.

    Args:
        model: A model, or its run directory.
        values: (T, F), or a picture (height, width) or (height, width, 3), as for `Model.predict`.
        name: Name of the sequence in texts and figures.

    Raises:
        DataError: If the shape does not fit the model; names the expected and the actual one.
    """
    with python_terms():
        return explain_values(_model(model), values, name)


def export(
    model: TrainedModel | PathLike,
    path: PathLike,
    *,
    step: bool = False,
    probabilities: bool = True,
    opset: int | None = None,
) -> dict[str, Any]:
    """Export a model to ONNX or Keras, and verify the file against Scanline's predictions.

    Args:
        model: A model, or its run directory.
        path: The file to write, ending in .onnx or .keras.
        step: Whether to write an ONNX graph of one step, with the states as inputs and outputs.
        probabilities: Whether the file computes probabilities; otherwise only logits.
        opset: ONNX opset; None takes a widely supported one.

    Returns:
        The verification: "file", "kind", "opset", "difference", the largest from Scanline's outputs, and how
        it was measured.

    Raises:
        UsageError: If the model cannot be exported to this format, or a package is missing.
        ModelError: If the file does not compute what the model does. Nothing is written then.
    """
    with python_terms():
        return _export(_model(model), Path(path), step, probabilities, opset)


def _export(
    exported: TrainedModel, target: Path, step: bool, probabilities: bool, opset: int | None
) -> dict[str, Any]:
    suffix = target.suffix.lower()
    if suffix == ".onnx":
        # Imported here, since ONNX and Keras are optional dependencies.
        from scanline.interchange.onnx.write import DEFAULT_OPSET, export_onnx, export_step_graph

        opset = opset or DEFAULT_OPSET
        if step:
            single = exported.one_network("a graph of one step")
            return export_step_graph(single, target, probabilities=probabilities, opset=opset).to_json()
        return export_onnx(exported, target, probabilities=probabilities, opset=opset).to_json()
    if suffix != ".keras":
        raise UsageError(f"expected a file ending in .onnx or .keras, got {target}")
    if step or opset:
        raise UsageError("step and opset are for .onnx files")
    from scanline.interchange.keras.write import export_keras

    single = exported.one_network("a Keras file")
    return export_keras(single, target, probabilities=probabilities).to_json()


def ensemble(
    runs: Sequence[PathLike],
    output: PathLike,
    *,
    data: PathLike | None = None,
    device: str = "cpu",
    on_progress: Progress | None = None,
    log: Callable[[str], None] | None = print,
) -> Ensemble:
    """Make one model of several runs: its probabilities are the mean of those of its members.

    The temperature is fitted on the validation split that all members share. The test split is not read.

    Args:
        runs: Run directories, model folders or folders of ensembles, whose members are taken.
        output: The folder to create, which `scanline.load` reads.
        data: Name or path of data to calibrate with, on which no member was trained; None takes the
            validation split of the members.
        device: "auto", "cpu", "cuda" or "cuda:N".
        on_progress: Called with the received and the total bytes of a download.
        log: Called with each note, such as why there is no temperature; None is silent.

    Raises:
        UsageError: If the runs do not fit together, the folder exists, or `data` cannot be used.
        ModelError: If a run has no usable model.
        DataError: If `data` cannot be read or do not fit.
        ScanlineError: If the folder cannot be written.
    """
    with python_terms():
        made = ensemble_runs(
            [os.fspath(run) for run in runs],
            os.fspath(output),
            None if data is None else os.fspath(data),
            choose_device(device),
            on_progress,
        )
    for note in made.notes:
        (log or (lambda line: None))(in_python(note))
    return made.model


def pack(
    data: PathLike | Sequence[PathLike],
    to: PathLike,
    *,
    settings: Mapping[str, Any] | None = None,
    test: float = recipes.DEFAULT_SPLIT.test,
    validation: float = recipes.DEFAULT_SPLIT.validation,
    split_seed: int = recipes.DEFAULT_SPLIT.seed,
    split: bool = True,
    labelled: bool = True,
    keep_order: bool = False,
    row_group_mb: int = 32,
    memory: str | int = "2GB",
    temp: PathLike | None = None,
    force: bool = False,
) -> PackResult:
    """Pack data of any size into Parquet files that training and scoring read in parts.

    The same call after an interruption goes on where it ended.

    Args:
        data: Name or path of a dataset, or several paths or patterns such as "data/*.csv" that are read as
            one.
        to: Path or URI of the folder to write.
        settings: How to read the data, dotted key to value: {"data.label_column": "activity"}.
        test: Test split as a fraction of all sequences, if the data have none; 0: none.
        validation: Validation split as a fraction of the sequences not in the test split; 0: none.
        split_seed: Seed of the splits, and of the order of the sequences.
        split: Whether to make splits; otherwise all sequences are one split, to be scored.
        labelled: Whether sequences must have labels; without, `split` must be False.
        keep_order: Whether sequences stay in the order of the source; otherwise they are shuffled.
        row_group_mb: Size of a row group in MB of step values.
        memory: How much memory may be used, in bytes or such as "2GB".
        temp: Folder for temporary files; None: beside a local target, or that of the system.
        force: Whether to replace a packed data set, or an unfinished one of another request.

    Raises:
        DataError: If something is wrong with the data; names the place.
        UsageError: If an argument is out of range, or the target exists.
        ScanlineError: If the target or a temporary file cannot be written.
    """
    if split and not labelled:
        raise UsageError("labelled=False requires split=False: splits are drawn by class")
    with python_terms():
        chosen = recipes.load(recipes.DEFAULT, dict(settings or {})).data
        several = [data] if isinstance(data, str | os.PathLike) else data
        return packing.pack(
            [os.fspath(each) for each in several],
            os.fspath(to),
            chosen,
            test=test,
            validation=validation,
            split_seed=split_seed,
            split=split,
            labelled=labelled,
            keep_order=keep_order,
            row_group_mb=row_group_mb,
            memory=memory,
            temp=None if temp is None else Path(temp),
            force=force,
        )


def train(
    data: PathLike | Arrays | Any | None = None,
    *,
    task: str | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    time_column: str | None = None,
    group_column: str | None = None,
    recipe: PathLike | None = None,
    settings: Mapping[str, Any] | None = None,
    run: PathLike | None = None,
    seed: int | None = None,
    device: str = "auto",
    resume: PathLike | None = None,
    tensorboard: bool = False,
    processes: int = 1,
    log: Callable[[str], None] | None = print,
    track: str | None = None,
    on_event: OnEvent | None = None,
) -> Run:
    """Train a model, test it and write its run directory, as `scanline train` does.

    Args:
        data: Name or path of a dataset; `scanline.Arrays(values, labels)`; a data frame of pandas or polars,
            a table of Arrow or a data set of Hugging Face, or a dictionary of these by split, long or wide as
            tables in files, or with columns of lists as features. None takes MNIST if it is available,
            otherwise the small digits.
        label_column: Short for settings["data.label_column"].
        id_column: Short for settings["data.id_column"]: what identifies the sequence of a row.
        time_column: Short for settings["data.time_column"].
        group_column: Short for settings["data.group_column"].
        task: Short for settings["task"]: "classification" (a class for each sequence) or "regression" (a
            number); None leaves it to the recipe, which is a classification unless it says otherwise.
        recipe: Name of a recipe, or a TOML file.
        settings: Changes of the recipe, dotted key to value: {"train.batch_size": 64}.
        run: The run directory to create.
        seed: Short for settings["seed"].
        device: "auto", "cpu", "cuda" or "cuda:N".
        resume: A run directory to resume. `settings` may then ask for more steps and change nothing else; a
            run that began with arrays needs them again. Other data may be named again.
        tensorboard: Whether to write event files.
        processes: Number of processes on this machine; more than 1 need `train.slices` of at least as many,
            and data that are named or arrays. The result is that of one process, to the bit.
        log: Called with each log line; None is silent.
        track: Tracking server to publish the run to, "mlflow:URI"; see `track`. With several processes the
            run is published at its end.
        on_event: Called with a dictionary after each event, for other tracking services; see
            docs/tracking.md for the keys. An exception of it ends the training, which can be resumed.

    Raises:
        UsageError: If the request is not valid, or an optional dependency is missing.
        DataError: If the data cannot be used.
        ModelError: If there is nothing to resume.
        Diverged: If the loss becomes NaN.
        Interrupted: After Ctrl-C or SIGTERM in the main thread, once the step has ended and the run is saved;
            a second signal acts at once.
    """
    columns = {"label": label_column, "id": id_column, "time": time_column, "group": group_column}
    roles = {f"data.{role}_column": name for role, name in columns.items() if name is not None}
    changes = dict(settings or {}) | roles | ({} if seed is None else {"seed": seed})
    changes |= {} if task is None else {"task": task}
    given = training_data(data, reading_settings(changes))
    if resume is not None and run is not None:
        raise UsageError("run must be None if resume names the run directory")
    say = log or (lambda line: None)
    target = _target(track)
    if processes > 1:
        if on_event is not None:
            raise UsageError("on_event requires processes=1: the events are in other processes")
        done = _train_in_processes(given, recipe, changes, run, device, resume, tensorboard, processes, say)
        if target is not None:
            publisher.track([done.path], target)
        return done
    # One path for new and resumed runs: both yield the same events.
    start = TrainingRun.begin if resume is None else TrainingRun.resume
    with python_terms():
        training = start(
            given,
            None if recipe is None else os.fspath(recipe),
            changes,
            run if resume is None else resume,
            device,
            tensorboard,
        )
    for note in training.notes:
        say(in_python(note))
    path, tell = training.directory.path, Dictionaries(training, on_event or (lambda event: None))
    with python_terms(), publisher.publishing(path, target, say) as report_tracking:
        tell.start()
        for event in training.events():
            # `Stepped` is yielded after every step and is only useful to a progress bar.
            if not isinstance(event, Stepped):
                say(event.line())
                report_tracking()
            tell.event(event)
        tell.end()
    return Run(path, training.finished().to_json())


def track(runs: PathLike | Sequence[PathLike], to: str) -> list[Tracked]:
    """Publish runs to a tracking server, or what is missing of them there, as `scanline track` does.

    Args:
        runs: A run directory, or several. They may be finished, interrupted or still in training.
        to: "mlflow:URI", such as "mlflow:http://localhost:5000?experiment=NAME"; "mlflow:" alone takes the
            variable MLFLOW_TRACKING_URI.

    Returns:
        What was published, run by run.

    Raises:
        UsageError: If the target is not valid, or an optional dependency is missing.
        ModelError: If one of them is not a run directory.
        ScanlineError: If the server does not answer, or refuses a request.
    """
    several = [runs] if isinstance(runs, str | os.PathLike) else runs
    with python_terms():
        return publisher.track([Path(each) for each in several], Target.parse(to))


def _target(track: str | None) -> Target | None:
    if track is None:
        return None
    check_installed()
    return Target.parse(track)


def _train_in_processes(
    data: str | Arrays | None,
    recipe: PathLike | None,
    settings: Mapping[str, Any],
    run: PathLike | None,
    device: str,
    resume: PathLike | None,
    tensorboard: bool,
    processes: int,
    log: Callable[[str], None],
) -> Run:
    # Imported here: torch's launcher is needed by few.
    from scanline.training.distributed.join import Request
    from scanline.training.distributed.program import train_in_processes

    request = Request(
        data,
        None if recipe is None else os.fspath(recipe),
        settings,
        None if (run or resume) is None else os.fspath(run or resume or ""),
        device,
        resume=resume is not None,
        tensorboard=tensorboard,
    )
    with python_terms():
        path = train_in_processes(request, processes, lambda line: log(in_python(line)))
    result = RunDirectory(path).read_result()
    if result is None:
        raise ModelError(f"{path} has no result")
    return Run(path, result.to_json())


def _model(model: TrainedModel | PathLike) -> TrainedModel:
    return model if isinstance(model, TrainedModel) else load(Path(model))
