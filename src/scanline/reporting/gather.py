"""All that a report tells of a run, as numbers and words: what the page shows and its JSON twin holds."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scanline.data.download import Progress
from scanline.data.memory import MemorySource
from scanline.device import choose_device
from scanline.errors import DataError, ModelError, UsageError
from scanline.evaluation import run_files
from scanline.evaluation.comparison import compare_runs
from scanline.evaluation.early import accuracy_by_step
from scanline.evaluation.evaluate import Evaluation, evaluate_model, evaluate_source, own_split
from scanline.explanation.attribution import baseline
from scanline.explanation.deletion import check_by_deletion
from scanline.explanation.explain import explain_sequence
from scanline.explanation.explanation import Explanation
from scanline.model.artifact import Model, load
from scanline.model.model_files import find_model
from scanline.recipe import read_tree
from scanline.reporting.activity import gate_activity
from scanline.storage.json_files import read_json
from scanline.training.provenance import trained_on
from scanline.training.run_directory import RunDirectory

SHOWN_MISTAKES = 12
_CHECKED = 200  # sequences of the deletion check
_STEPS_READ = 2_000_000  # of all sequences that are read along; more are thinned out
_LONGEST_EXPLAINED = 3_000  # steps; beyond, an attribution takes minutes
# What the page needs of the files that a run wrote.
_TRAINING = ("status", "steps", "seconds", "samples_seen", "samples_per_s", "backend", "precision", "device")
_NEEDED = {
    "recipe": ("name", "seed", "split.seed"),
    "result": tuple(f"training.{key}" for key in _TRAINING),
}


@dataclass(frozen=True, eq=False)
class Story:
    """What there is to tell of a run.

    facts: ready for JSON; every number that is plotted is in it. mistakes: the explanation of each of
    facts["mistakes"]. judgement: None where there was nothing to judge.
    """

    facts: dict[str, Any]
    judgement: Evaluation | None = None
    model: Model | None = None
    mistakes: list[Explanation] = field(default_factory=list)


def gather(
    run: str,
    data: str | None = None,
    against: str | None = None,
    device: str = "auto",
    on_progress: Progress | None = None,
) -> Story:
    """Judge, compare and explain the run or bundle at `run`.

    data: what to judge it on; None takes the test part of what it was trained on, and the validation part if
    its training has not come to its end. against: a second run to set beside it.
    Raises ModelError if there is neither, DataError or UsageError naming what cannot be used.
    """
    path = Path(run)
    folder = RunDirectory(path) if (path / "recipe.toml").is_file() else None
    facts: dict[str, Any] = {"schema": 1, "run": path.name or run, "notes": []}
    if folder is not None:
        facts |= _of_the_folder(folder, facts["notes"])
    try:
        bundle = find_model(path)
    except ModelError:
        if folder is None:
            raise
        facts["notes"].append(
            "There is no model yet, as training was cut off before it could write one: nothing can be judged."
        )
        if against is not None:
            raise
        return Story(facts)
    model = load(run, choose_device(device))
    facts |= _of_the_model(model, bundle)
    judgement = _judge(model, run, facts, data, on_progress)
    if against is not None:
        if not facts.get("finished", True) and data is None:
            raise UsageError(f"{run} has not come to its end: only then is its test part read and compared")
        if judgement is None:
            raise UsageError(f"{run} has nothing to be judged on: say what by --data")
        known = {run: judgement} if facts["judged"]["part"] == "test" else {}
        facts["comparison"] = _compare(run, against, data, model, known, on_progress)
    if judgement is None:
        return Story(facts, model=model)
    part, network = judgement.source, model.network
    facts["figures"] = judgement.metrics.to_json()
    read = _thinned(part, network.architecture.bidirectional)
    facts["along"] = {"n": len(read)} | accuracy_by_step(network, model.task, read).to_json()
    facts["activity"] = gate_activity(network, part)
    mistakes = []
    if part.max_length <= _LONGEST_EXPLAINED:
        chosen = facts["figures"]["mistakes"][:SHOWN_MISTAKES]
        mistakes = [explain_sequence(model, part, each["index"]) for each in chosen]
        nothing = baseline(network, judgement.has_pictures)
        facts["deletion"] = vars(check_by_deletion(network, part.subsample(_CHECKED), nothing))
    facts["mistakes"] = [_course(each) for each in mistakes]
    return Story(facts, judgement, model, mistakes)


def _of_the_folder(folder: RunDirectory, notes: list[str]) -> dict[str, Any]:
    """What the run's own files say; a file that is not there is left out. Raises ModelError if one is
    damaged."""
    facts: dict[str, Any] = {"course": [line.to_json() for line in folder.read_metrics()]}
    for name, file, kind in (
        ("environment", folder.environment, run_files.Environment),
        ("split", folder.split, run_files.Split),
    ):
        facts[name] = run_files.check(file, read_json(file), kind) if file.is_file() else None
    result = read_json(folder.result) if folder.result.is_file() else None
    try:
        facts["recipe"] = read_tree(folder.recipe)
    except UsageError as error:
        raise ModelError(" ".join(str(error).split())) from error
    _check_keys(folder.recipe, facts["recipe"], _NEEDED["recipe"])
    run_files.check(folder.recipe, facts["recipe"], run_files.Plan)
    if result is not None:
        _check_keys(folder.result, result, _NEEDED["result"])
        run_files.check(folder.result, result, run_files.Result)
    training = result["training"] if result else {}
    facts["training"] = training
    facts["finished"] = training.get("status") in ("finished", "stopped early")
    if not facts["finished"]:
        step = max((entry.get("step", 0) for entry in facts["course"]), default=0)
        status = training.get("status", "not finished")
        notes.append(
            f"Training is {status}, at step {training.get('steps', step):,}: this is how far it has come. "
            f"`scanline train --resume --run {folder.path}` goes on."
        )
    return facts


def _check_keys(file: Path, tree: Any, keys: tuple[str, ...]) -> None:
    """Raises ModelError naming a dotted key that is not in the tree that `file` holds."""
    for key in keys:
        place = tree
        for name in key.split("."):
            if not isinstance(place, dict) or name not in place:
                raise ModelError(f"{file} is damaged: it has no {key}")
            place = place[name]


def _of_the_model(model: Model, bundle: Path) -> dict[str, Any]:
    network = model.network
    architecture = network.architecture
    form = model.preprocessing
    return {
        "data": model.data,
        "classes": [str(name) for name in model.class_names],
        "network": dataclasses.asdict(architecture),
        "parameters": network.parameter_count,
        "view": form.view if form.picture else None,
        "temperature": model.temperature,
        "model_sha256": read_json(bundle / "model.json").get("sha256"),
    }


def _judge(
    model: Model, run: str, facts: dict[str, Any], data: str | None, on_progress: Progress | None
) -> Evaluation | None:
    """The judgement of the right part, and into `facts` which one it is of."""
    if data is not None:
        judgement = evaluate_model(model, run, data, on_progress)
        facts["judged"] = {"part": "test", "data": _name(judgement.data)}
    else:
        known = trained_on(Path(run))
        kinds: tuple[Any, ...] = ("test", "validation") if facts.get("finished", True) else ("validation",)
        for kind in kinds:
            try:
                name, part = own_split(model, run, known, kind, on_progress)
            except (UsageError, DataError) as error:
                reason = str(error)
                continue
            judgement = evaluate_source(model, name, part)
            facts["judged"] = {"part": kind, "data": _name(name)}
            break
        else:
            facts["notes"].append(f"Nothing could be judged: {reason}.")
            return None
        if facts["judged"]["part"] == "validation":
            facts["notes"].append(
                "These figures are of the validation part, by which training was steered: "
                "the test part is kept until training has come to its end."
                if not facts.get("finished", True)
                else "There is no test part: these figures are of the validation part, by which training "
                "was steered, and are likely to flatter."
            )
        digests = (facts.get("environment") or {}).get("data", {})
        then = digests.get(facts["judged"]["part"], {}).get("sha256")
        if then not in (None, judgement.digest):
            facts["notes"].append(
                "The data have changed since training: these figures are of the data as they are now."
            )
    facts["judged"] |= {"n": len(judgement.source), "sha256": judgement.digest}
    return judgement


def _compare(
    run: str,
    against: str,
    data: str | None,
    model: Model,
    known: dict[str, Evaluation],
    on_progress: Progress | None,
) -> dict[str, Any]:
    device = model.network.scale.device.type
    found = compare_runs((run, against), data, device, on_progress, known=known).to_json()
    pair = found["pairs"][0]
    for own, name in zip(found["runs"], _names_apart(run, against), strict=True):
        own["run"] = name
    found["data"] = _name(found["data"])
    pair["first"], pair["second"] = (own["run"] for own in found["runs"])
    return found


def _names_apart(run: str, against: str) -> tuple[str, str]:
    """What to call two runs: the last of their folders, and so many above it as tell them apart."""
    one, other = (Path(path).resolve().parts for path in (run, against))
    count = next(n for n in range(1, max(len(one), len(other)) + 1) if one[-n:] != other[-n:])
    return Path(*one[-count:]).as_posix(), Path(*other[-count:]).as_posix()


def _name(data: str) -> str:
    """Of a data set, without the folders of this machine: a page is sent about."""
    return Path(data).name or data


def _thinned(part: MemorySource, bidirectional: bool) -> MemorySource:
    """As many sequences as can be read along in reasonable time."""
    cost = part.lengths.mean() * (part.max_length if bidirectional else 1)
    return part.subsample(max(200, int(_STEPS_READ / cost)))


def _course(explanation: Explanation) -> dict[str, Any]:
    """The numbers of a mistake's picture: input, attribution, and the two classes in question along it."""
    trace = explanation.trace
    shares = trace.probabilities
    true = [str(name) for name in trace.classes].index(str(explanation.true))
    return {
        "sequence": explanation.name,
        "true": str(explanation.true),
        "answer": str(explanation.label),
        "probability": float(shares[-1, trace.prediction]),
        "settled": trace.settled,
        "along_answer": np.round(shares[:, trace.prediction], 6).tolist(),
        "along_true": np.round(shares[:, true], 6).tolist(),
        "values": np.round(np.asarray(explanation.values, np.float64), 6).tolist(),
        "attribution": np.round(explanation.attribution.values, 6).tolist(),
    }
