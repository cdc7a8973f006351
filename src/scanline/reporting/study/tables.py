"""The tables in the report of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scanline.evaluation.baseline_records import Baselines, BaselineScore
from scanline.reporting.study.facts import StudyFacts, short_names, shown
from scanline.reporting.study.findings import p_text, score_text, test_metrics, test_numbers
from scanline.reporting.tables import Table
from scanline.reporting.text import MISSING, duration
from scanline.search.records import RungScore, Value
from scanline.training.run_files import SplitMetrics


def tables(facts: StudyFacts) -> dict[str, Table]:
    """Return the tables, by the name of the section that they belong to."""
    made = {"trials": _trials(facts), "space": _space(facts)}
    if facts.importances.settings:
        made["importance"] = _importance(facts)
    if facts.baselines is not None and facts.baselines.measured:
        made["baselines"] = _baselines(facts, facts.baselines)
    test = test_metrics(facts)
    # An accuracy is in the headline; other tasks have metrics of their own.
    if test is not None and test.accuracy is None:
        made["test"] = _test(test)
    return made


def _trials(facts: StudyFacts) -> Table:
    metric, names = facts.study.metric, short_names(facts.keys)
    rows = [
        (
            MISSING if rank is None else str(rank),
            str(each.number),
            MISSING if each.last is None else score(each.last, metric),
            MISSING if each.last is None else f"{100 * each.last.fraction:.0f} %",
            each.state,
            "; ".join(filter(None, (settings_text(facts.changes(each), names), each.message)))
            or "those of the recipe",
        )
        for rank, each in facts.listed
    ]
    heads = (
        "rank",
        "trial",
        f"{metric} (95 % interval)",
        "trained",
        "state",
        "settings that differ",
    )
    return Table("Trials, the best first", heads, rows)


def score(last: RungScore, metric: str) -> str:
    """Return a score with its interval."""
    if metric != "accuracy" or last.interval is None:
        return score_text(last.score, metric)
    return _percent(last.score, last.interval)


def settings_text(settings: Mapping[str, Value], names: Mapping[str, str]) -> str:
    """Return settings as "cell = gru, layers = 2", without line breaks within one."""
    # A line may break between settings only.
    space = "\N{NO-BREAK SPACE}"
    return ", ".join(f"{names[key]}{space}={space}{shown(value)}" for key, value in settings.items())


def _space(facts: StudyFacts) -> Table:
    # Settings in the order of the space, as the recipe file has them.
    best = facts.ranked[0].settings if facts.ranked else {}
    rows = [
        (key, text, shown(best[key]) if key in best else MISSING) for key, text in facts.study.space.items()
    ]
    return Table("Searched settings", ("setting", "choices or range", "best trial"), rows, words=True)


def _importance(facts: StudyFacts) -> Table:
    rows = [(each.key, f"{100 * each.fraction:.1f} %") for each in facts.importances.settings]
    return Table("Importance of the settings", ("setting", "part of the variance"), rows)


def _baselines(facts: StudyFacts, baselines: Baselines) -> Table:
    rows = []
    # The row of the winner has the scores of its own trial, which may not be the best any more.
    number = facts.winner.trial if facts.winner else None
    best = next((each.last for each in facts.ranked if each.number == number), None)
    test = test_metrics(facts)
    # Errors of numbers are in another unit than the task's score: the winner has no row then.
    if baselines.metric == "accuracy":
        own = MISSING if best is None else score(best, facts.study.metric)
        rows.append(
            ("winner of the search", own, _winner_score(test), "", "", "trained on all but the test split")
        )
    if facts.ensemble is not None and facts.ensemble.test is not None:
        tested = _percent(facts.ensemble.test.accuracy, facts.ensemble.test.ci95)
        rows.append(
            (facts.ensemble.name, MISSING, tested, "", "", "mean of the probabilities of the best trials")
        )
    for each in baselines.measured:
        p = "" if each.winner is None else p_text(each.winner.mcnemar_p).removeprefix("= ")
        scores = (_score(each.validation, baselines.metric), _score(each.test, baselines.metric))
        rows.append((each.name, *scores, p, duration(each.seconds), each.method))
    heads = (
        "name",
        f"validation {baselines.metric}",
        f"test {baselines.metric}",
        "p against winner",
        "time",
        "method",
    )
    return Table("Baselines beside the winner", heads, rows)


def _score(value: BaselineScore | None, metric: str) -> str:
    if value is None:
        return MISSING
    if metric != "accuracy" or value.interval is None:
        return f"{value.value:.4g}"
    return _percent(value.value, value.interval)


def _winner_score(test: SplitMetrics | None) -> str:
    if test is None or test.accuracy is None or test.ci95 is None:
        return MISSING
    return _percent(test.accuracy, test.ci95)


def _percent(value: float, interval: Sequence[float]) -> str:
    low, high = (f"{100 * end:.1f}" for end in interval)
    return f"{100 * value:.2f} % ({low}\N{EN DASH}{high})"


def _test(test: SplitMetrics) -> Table:
    rows = [(name, f"{value:,.6g}") for name, value in test_numbers(test).items()]
    return Table("Metrics of the winner on the test split", ("metric", "value"), rows)
