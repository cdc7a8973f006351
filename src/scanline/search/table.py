"""The table of trials, as CSV: the same bytes for the same trials."""

from __future__ import annotations

import csv
import io

from scanline.search.records import StudyRecord

_FACTS = ("number", "generation", "state")


def table(study: StudyRecord) -> str:
    """Return the trials in the order of their numbers: settings, and score and loss at each rung."""
    keys = list(study.space)
    rungs = max((len(trial.scores) for trial in study.trials), default=0)
    heads = [f"{name}_{rung}" for rung in range(rungs) for name in ("score", "loss", "correct", "total")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_FACTS, *keys, *heads, "message"])
    for trial in study.trials:
        cells: list[object] = [trial.number, trial.generation, trial.state]
        cells += [trial.settings.get(key, "") for key in keys]
        for score in trial.scores:
            cells += [repr(score.score), repr(score.loss), score.correct, score.total]
        cells += [""] * (4 * (rungs - len(trial.scores)))
        writer.writerow([*cells, trial.message])
    return text.getvalue()
