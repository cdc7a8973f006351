"""Targets that read models, checkpoints, runs and results."""

from __future__ import annotations

import contextlib
import functools
import json
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzz.mutators import Files
from fuzz.targets.base import _made_by, _saved, refusal_allowed
from fuzz.targets.pictures import _forms


def make_model(folder: Path | None = None, **changes: Any) -> Any:
    """A small model of made-up weights, saved to `folder` if one is named.

    changes: cell, layers, readout, missing, bidirectional, picture.
    """
    import torch

    from scanline.data.preprocessing import Preprocessing
    from scanline.model.artifact import Model
    from scanline.model.network import Architecture, Network
    from scanline.recipe import DEFAULT_DATA
    from scanline.tasks.classification import Classification

    chosen = {
        "cell": "lstm",
        "layers": 1,
        "readout": "last",
        "missing": "error",
        "bidirectional": False,
    } | changes
    picture, features = chosen.get("picture"), 8 if chosen.get("picture") else 3
    sizes = (
        chosen["cell"],
        features,
        4,
        chosen["layers"],
        chosen["bidirectional"],
        0.0,
        "between",
        chosen["readout"],
        3,
    )
    network = Network(Architecture(*sizes)).eval()
    generator = torch.Generator().manual_seed(0)
    for tensor in network.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    means = (0.5,) * features if chosen["missing"] in ("mean", "forward-fill") else ()
    settings = DEFAULT_DATA.model_copy(update={"feature_columns": () if picture else ("x", "y", "z")})
    form = Preprocessing(
        _forms()[0] if picture else None, "rows", 0, features, features, chosen["missing"], means, settings
    )
    held = Model(network, Classification(("a", "b", 3)), form, "made up", 1.5)
    if folder is not None:
        held.save(folder, "0")
    return held


MODELS: tuple[dict[str, Any], ...] = (
    {},
    {"picture": True},
    {"cell": "gru", "layers": 2, "readout": "mean", "missing": "forward-fill"},
    {"cell": "rnn", "bidirectional": True, "readout": "max", "missing": "mean"},
)


def _bundles() -> list[Files]:
    return [_made_by(lambda folder, m=model: make_model(folder / "model", **m)) for model in MODELS]


def _reseal(files: Files, rng: Random) -> Files:
    """Descriptions of models and states with the digests of what lies beside them, and of themselves."""
    import safetensors.torch

    from scanline.model.model_files import describe_tensors
    from scanline.storage.digest import sha256
    from scanline.storage.json_files import sealed_json

    files = dict(files)
    for name in [name for name in files if name.endswith(("model.json", "state.json"))]:
        place = name[: name.rfind("/") + 1]
        beside = {path.removeprefix(place): held for path, held in files.items() if path.startswith(place)}
        weights = {path: held for path, held in beside.items() if path.endswith(".safetensors")}
        try:
            tree = json.loads(files[name])
            tree.pop("sha256", None)
            if rng.random() < 0.8 and "files" in tree:
                tree["files"] |= {path: sha256(held) for path, held in weights.items()}
            elif rng.random() < 0.8:
                with contextlib.suppress(Exception):  # weights that cannot be read have no digests
                    digests = describe_tensors(safetensors.torch.load(*weights.values()))
                    tree["tensors"] = {name: each.model_dump() for name, each in digests.items()}
            files[name] = sealed_json(tree).encode()
        except (ValueError, TypeError, AttributeError, RecursionError):
            continue
    return files


def _read_model(folder: Path) -> None:
    """As commands load a model, or an ensemble."""
    from scanline.model.loading import load

    model = load(folder / "model")
    use(model)
    repr(model)
    model.save(folder / "again")
    with refusal_allowed():
        load(folder / "model", calibrated=True)


def _ensembles() -> list[Files]:
    from scanline.model.ensemble import make_ensemble

    def write(folder: Path, *members: dict[str, Any]) -> None:
        made = make_ensemble([make_model(**member) for member in members], names=("a", "b"))
        made.save(folder / "model", "0")

    pairs = [({}, {"cell": "gru"}), ({"picture": True}, {"picture": True, "cell": "rnn"})]
    return [_made_by(lambda folder, p=pair: write(folder, *p)) for pair in pairs]


def _reseal_ensemble(files: Files, rng: Random) -> Files:
    """The descriptions of the members as `_reseal`, and that of the ensemble with their digests."""
    from scanline.storage.digest import sha256
    from scanline.storage.json_files import sealed_json

    members = {name: held for name, held in files.items() if name.startswith("model/members/")}
    files = files | (_reseal(members, rng) if rng.random() < 0.7 else members)
    try:
        tree = json.loads(files["model/model.json"])
        tree.pop("sha256", None)
        for number, member in enumerate(tree["members"], 1):
            path = f"model/members/{number}/model.json"
            if path in files and rng.random() < 0.9:
                member["sha256"] = sha256(files[path])
        files["model/model.json"] = sealed_json(tree).encode()
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        pass
    return files


def use(model: Any) -> None:
    """Has a model answer, if that takes no more than a moment."""
    form = model.preprocessing
    sizes = [each.network.architecture for each in model.models]
    if any(a.input_size * a.hidden_size * a.layers > 100_000 for a in sizes):
        return
    if form.picture is not None:
        p = form.picture
        if p.height * p.width > 4096:
            return
        with refusal_allowed():
            model.predict_proba(
                np.zeros((1, p.height, p.width, *((3,) if p.channels == 3 else ())), np.uint8)
            )
        return
    with refusal_allowed():
        model.predict_proba(np.ones((1, 3, form.source_features), np.float32))
    with refusal_allowed():
        model.stream().feed(np.ones((2, form.features), np.float32))


def _architecture() -> Any:
    from scanline.model.network import Architecture

    return Architecture("gru", 3, 4, 1, False, 0.0, "between", "last", 2)


def _checkpoints() -> list[Files]:
    import torch

    from scanline import recipe
    from scanline.training import checkpoint
    from scanline.training.checkpoint_state import Position
    from scanline.training.state import BestValidation, initial_state

    def write(folder: Path, best: bool) -> None:
        state = initial_state(recipe.load("rows"), _architecture(), 0.0, 1.0, "cpu")
        state.network(torch.ones(2, 3, 3)).sum().backward()
        state.optimizer.step()
        state.step, state.best = 7, BestValidation(0.5, 3, 2)
        if best:
            weights = {name: each.clone() for name, each in state.network.state_dict().items()}
            state.best = BestValidation(0.5, 3, 2, weights)
        at = Position(metrics_bytes=10, log_bytes=20, seconds=1.5)
        checkpoint.save(folder, checkpoint.snapshot(state, at))

    return [_made_by(lambda folder, b=best: write(folder, b)) for best in (False, True)]


@functools.cache
def _settings_of_training() -> Any:
    from scanline import recipe

    return recipe.load("rows").train


def _read_checkpoint(folder: Path) -> None:
    """As `train --resume` does, and a step more."""
    import torch

    from scanline.tasks.classification import Classification
    from scanline.training import checkpoint
    from scanline.training.step import train_step

    settings = _settings_of_training()
    state = checkpoint.load_newest(folder, _architecture(), settings, "cpu").state
    batch = torch.ones(2, 3, 3), None, torch.tensor([0, 1])
    step = min(state.step, settings.total_steps)
    train_step(state.network, state.optimizer, Classification((0, 1)), batch, settings, step)


def _runs() -> list[Files]:
    """A run that was cut off before it had a model, of which a report tells what its files say."""
    from scanline.training.run import TrainingRun

    names = ("recipe.toml", "environment.json", "split.json", "metrics.jsonl", "result.json")

    def write(folder: Path) -> None:
        settings = {"train.samples": 0, "train.steps": 2, "train.validate_every": 1, "train.log_every": 1}
        X = np.random.default_rng(0).random((30, 3, 2)).astype(np.float32)
        np.savez(folder / "it.npz", X=X, y=np.arange(30) % 2)
        run = TrainingRun.begin(str(folder / "it.npz"), settings=settings, run=folder / "run", device="cpu")
        for _ in run.events():
            pass

    made = _made_by(write)
    files = {name: made[f"run/{name}"] for name in names}
    course = {name: held for name, held in files.items() if name != "metrics.jsonl"}
    return [
        course,
        course,
        course,
        files,
        {name: held for name, held in course.items() if name != "result.json"},
    ]


def _read_run(folder: Path) -> None:
    from scanline.reporting.report import report
    from scanline.training.provenance import trained_on

    with refusal_allowed():
        trained_on(folder)
    report(folder)


_DATA = "@DATA@"  # stands in a recipe for where the data lie in this process


@functools.cache
def _data() -> tuple[tempfile.TemporaryDirectory[str], Path]:
    """A folder that lasts as long as the process, and a file of sequences in it."""
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "it.npz"
    X = np.random.default_rng(0).random((30, 3, 2)).astype(np.float32)
    np.savez(path, X=X, y=np.arange(30) % 2)
    return folder, path


_INTERRUPTED = (
    b'{"schema": 1, "training": {"status": "interrupted", "samples_seen": 0, "steps": 0, "seconds": 0.0, '
    b'"samples_per_s": null, "backend": "torch", "precision": "float32", "device": "cpu"}}'
)


def _unfinished() -> list[Files]:
    """Runs that can go on."""
    from scanline.training.run import TrainingRun

    _, data = _data()

    def write(folder: Path, **own: Any) -> None:
        few = {"train.samples": 0, "train.steps": 3, "train.log_every": 1, "model.hidden_size": 4} | own
        run = TrainingRun.begin(str(data), settings=few, run=folder / "it", device="cpu")
        run.close()

    found = []
    for own in ({}, {"train.epochs": 0, "train.patience": 2, "train.validate_every": 1, "model.cell": "gru"}):
        made = _made_by(lambda folder, o=own: write(folder, **o))
        files = {name.removeprefix("it/"): held for name, held in made.items()}
        files["recipe.toml"] = files["recipe.toml"].replace(str(data).encode(), _DATA.encode())
        found += [files, files | {"result.json": _INTERRUPTED}]
    return found


def _read_unfinished(folder: Path) -> None:
    """As `train --resume` does, to the first thing that it has to say."""
    from scanline.training.run import TrainingRun

    path = folder / "recipe.toml"
    if path.exists():
        path.write_bytes(path.read_bytes().replace(_DATA.encode(), str(_data()[1]).encode()))
    run = TrainingRun.resume(run=folder, device="cpu")
    if run.recipe.train.total_steps > 100 or run.recipe.model.hidden_size > 100:  # that may take its time
        run.close()
        return
    records = run.events()
    try:
        next(records, None)
    finally:
        records.close()


def _results() -> list[Files]:
    return [{"result.json": _runs()[0]["result.json"]}]


def _read_result(folder: Path) -> None:
    """As `compare` prints it, beside a model that never ran."""
    from click.testing import CliRunner

    from scanline.cli.compare import command

    names = []
    for name, files in _compared().items():
        for path, content in files.items():
            place = folder / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        names.append(str(folder / name))
    if (folder / "result.json").exists():
        (folder / "result.json").rename(folder / "one/result.json")
    failure = CliRunner().invoke(command, [*names[:2], "--data", f"{names[2]}/it.npz"]).exception
    if failure is not None and not isinstance(failure, SystemExit):
        raise failure


@functools.cache
def _compared() -> dict[str, Files]:
    """Two models, and what they are compared on."""
    X = np.random.default_rng(0).random((9, 3, 3)).astype(np.float32)
    data = _saved(lambda file: np.savez(file, X=X, y=np.array(["a", "b", "3"] * 3)))
    models = [
        _made_by(lambda folder, c=cell: make_model(folder / "model", cell=c)) for cell in ("lstm", "gru")
    ]
    return {"one": models[0], "two": models[1], "data": {"it.npz": data}}
