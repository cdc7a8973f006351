"""Studies with known numbers, whose winner is a real run."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import tomli_w

from scanline.evaluation.baseline_records import (
    Baseline,
    Baselines,
    BaselineScore,
    SkippedBaseline,
    WinnerComparison,
)
from scanline.search.records import RungScore, StudyRecord, TrialRecord

FRACTIONS = (0.25, 0.5, 1.0)
RECIPE = '[data]\nname = "digits"\n\n[model]\ncell = "lstm"\n'


def trial(number: int, state: str, *correct: int, message: str = "", **settings: object) -> TrialRecord:
    """A trial that was validated on 100 sequences at one rung after the other."""
    scores = tuple(
        RungScore(rung, FRACTIONS[rung], right / 100, 1 - right / 100, right, 100)
        for rung, right in enumerate(correct)
    )
    values = {"model.cell": "lstm", "model.hidden_size": 32, "train.learning_rate": 0.01}
    values |= {key.replace("__", "."): value for key, value in settings.items()}
    return TrialRecord(number, number // 8, values, state, scores, message)  # type: ignore[arg-type]


TRIALS = (
    trial(0, "stopped", 60, 70),
    trial(1, "complete", 70, 80, 90, model__cell="gru"),
    trial(2, "stopped", 95, model__hidden_size=64),  # better at its rung than any other at the end
    trial(3, "complete", 75, 85, 88, model__cell="gru", train__learning_rate=0.2),
    trial(4, "diverged", 20, message="the loss is not finite at step 12", train__learning_rate=1.0),
    trial(5, "complete", 70, 75, 60, model__hidden_size=8),
)


def study(trials: tuple[TrialRecord, ...] = TRIALS, metric: str = "accuracy", name: str = "s") -> StudyRecord:
    """A study of these trials."""
    return StudyRecord(
        name=name,
        data="digits",
        task="classification",
        metric=metric,
        recipe=RECIPE,
        space={
            "model.cell": '"lstm", "gru"',
            "model.hidden_size": "8, 32, 64",
            "train.learning_rate": "0.001 to 1, log",
        },
        seed=7,
        validation="0.2 of 500 training sequences",
        n_train=500,
        trials=trials,
    )


def baselines(*accuracies: float, p: float | None = 0.25, total: int = 360) -> Baselines:
    """The majority class with 10 %, then others with these accuracies on the test split."""

    def score(value: float) -> BaselineScore:
        return BaselineScore(value=round(value * total) / total, correct=round(value * total), total=total)

    def compared() -> WinnerComparison | None:
        if p is None:
            return None
        return WinnerComparison(both=300, baseline_only=2, winner_only=3, neither=55, mcnemar_p=p)

    names = ("majority class", "1-nearest neighbour", "MiniRocket")
    measured = [
        Baseline(
            name=name,
            method="a method",
            validation=score(value),
            test=score(value),
            winner=compared(),
            seconds=0.5,
        )
        for name, value in zip(names, (0.1, *accuracies), strict=False)
    ]
    skipped = [SkippedBaseline(name=name, reason="aeon is not installed") for name in names[len(measured) :]]
    return Baselines(metric="accuracy", measured=measured, skipped=skipped)


def folder_of(
    path: Path, run: Path | None = None, measured: Baselines | None = None, winner: int = 1
) -> Path:
    """The folder of a study, with a copy of `run` that has the settings of the trial `winner`."""
    path.mkdir(parents=True)
    if run is not None:
        shutil.copytree(run, path / "winner", ignore=shutil.ignore_patterns("checkpoints", "model"))
        recipe = tomllib.loads((run / "recipe.toml").read_text())
        for key, value in (TRIALS[winner].settings).items():
            section, name = key.split(".")
            recipe[section][name] = value
        for file in (path / "winner" / "recipe.toml", path / "winner.toml"):
            file.write_text(tomli_w.dumps(recipe))
    if measured is not None:
        measured.write(path / "baselines.json")
    return path
