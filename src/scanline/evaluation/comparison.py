"""Runs beside each other on the same test sequences."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.download import Progress
from scanline.errors import DataError, UsageError
from scanline.evaluation import run_files
from scanline.evaluation.evaluate import Evaluation, evaluate_run
from scanline.metrics.intervals import Paired, mcnemar, paired_interval
from scanline.model.inference import predict_logits
from scanline.model.model_files import WEIGHTS, find_model
from scanline.storage.json_files import read_json

_ROUNDS, _TIMED = 5, 2000


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """A run to be compared. path: as it was given. judgement: on the common test sequences."""

    path: str
    judgement: Evaluation

    @cached_property
    def answers(self) -> NDArray[Any]:
        """(N,) class names."""
        names = np.array([str(name) for name in self.judgement.part.classes], dtype=object)
        answers: NDArray[Any] = names[self.judgement.logits.argmax(1)]
        return answers


def compare_runs(
    runs: Sequence[str],
    data: str | None = None,
    device: str = "cpu",
    on_progress: Progress | None = None,
    measure_speed: bool = True,
    known: Mapping[str, Evaluation] | None = None,
) -> dict[str, Any]:
    """Two or more runs or bundles judged on the same test sequences; ready for JSON.

    data: what to judge them on; None takes what each was trained on. Returns {"data", "n", "runs": a figure
    sheet of each, "pairs": of each two the difference of their accuracies with its 95 % interval (Newcombe),
    the exact McNemar test, and where they disagree}.
    measure_speed: time their predictions, in turns. known: judgements on these sequences that were made
    already, by run.
    Raises UsageError for fewer than two or for one given twice, DataError if they were not judged on the same
    sequences.
    """
    if len(runs) < 2:
        raise UsageError(f"two runs at least are needed to compare, got {len(runs)}")
    for one, other in combinations(runs, 2):
        if find_model(Path(one)).resolve() == find_model(Path(other)).resolve():
            raise UsageError(f"runs to compare must be different: {one} and {other} are the same")
    contenders = [
        ComparedRun(run, (known or {}).get(run) or evaluate_run(run, data, device, on_progress))
        for run in runs
    ]
    _check_same(contenders)
    speeds = _speeds(contenders) if measure_speed else [None] * len(contenders)
    return {
        "data": contenders[0].judgement.data,
        "n": len(contenders[0].judgement.part),
        "runs": [_sheet(each, speed) for each, speed in zip(contenders, speeds, strict=True)],
        "pairs": [_pair(one, other) for one, other in combinations(contenders, 2)],
    }


def _check_same(contenders: Sequence[ComparedRun]) -> None:
    first = contenders[0]
    for other in contenders[1:]:
        if other.judgement.digest != first.judgement.digest:
            raise DataError(
                f"{first.path} and {other.path} are not judged on the same sequences: {first.judgement.data} "
                f"({len(first.judgement.part):,}, SHA-256 {first.judgement.digest[:12]}...) and "
                f"{other.judgement.data} ({len(other.judgement.part):,}, SHA-256 "
                f"{other.judgement.digest[:12]}...); name one data set for all by --data"
            )


def _sheet(contender: ComparedRun, speed: float | None) -> dict[str, Any]:
    model, test = contender.judgement.model, contender.judgement.test
    folder = find_model(Path(contender.path))
    result = folder.parent / "result.json"
    told = run_files.check(result, read_json(result), run_files.Compared) if result.is_file() else {}
    training = told.get("training", {})
    architecture = model.network.architecture
    form = model.preprocessing
    return {
        "run": contender.path,
        "network": f"{architecture.layers} x {architecture.cell} {architecture.hidden_size}"
        + (", both directions" if architecture.bidirectional else ""),
        "view": form.view if form.picture else None,
        "correct": test["correct"],
        "accuracy": test["accuracy"],
        "ci95": test["ci95"],
        "loss": test["loss"],
        "calibration_error": test["calibration"]["error"],
        "parameters": sum(weight.numel() for weight in model.network.parameters()),
        "weights_bytes": (folder / WEIGHTS).stat().st_size,
        "sequences_per_s": speed,
        "training_seconds": training.get("seconds"),
        "training_samples": training.get("samples_seen"),
    }


def _speeds(contenders: Sequence[ComparedRun]) -> list[float]:
    """Sequences a second in prediction: medians of rounds in which they take turns."""
    times: list[list[float]] = [[] for _ in contenders]
    for round_number in range(_ROUNDS + 1):
        for contender, own in zip(contenders, times, strict=True):
            part = contender.judgement.part
            part = part.take(slice(min(len(part), _TIMED)))
            begin = time.perf_counter()
            predict_logits(contender.judgement.model.network, part)
            if round_number:  # the first warms up
                own.append((time.perf_counter() - begin) / len(part))
    return [1 / statistics.median(own) for own in times]


def _pair(one: ComparedRun, other: ComparedRun) -> dict[str, Any]:
    part = one.judgement.part
    true = np.array([str(part.classes[label]) for label in part.targets], dtype=object)
    right, also = one.answers == true, other.answers == true
    pairs = Paired(
        both=int((right & also).sum()),
        first=int((right & ~also).sum()),
        second=int((~right & also).sum()),
        neither=int((~right & ~also).sum()),
    )
    apart = np.flatnonzero(one.answers != other.answers)
    return {
        "first": one.path,
        "second": other.path,
        "difference": pairs.difference,
        "ci95": list(paired_interval(pairs)),
        "mcnemar_p": mcnemar(pairs),
        "both_right": pairs.both,
        "first_alone_right": pairs.first,
        "second_alone_right": pairs.second,
        "neither_right": pairs.neither,
        "disagreements": len(apart),
        "disagree_on": [
            {
                "index": int(index),
                "sequence": part.identifier(int(index)),
                "true": str(true[index]),
                "first": str(one.answers[index]),
                "second": str(other.answers[index]),
            }
            for index in apart
        ],
    }
