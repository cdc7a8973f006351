"""What a study found, in sentences: the result, and what it does and does not show."""

from __future__ import annotations

from scanline.evaluation.baseline_records import Baseline, BaselineScore
from scanline.reporting.study.facts import StudyFacts
from scanline.search.records import RungScore
from scanline.training.run_files import SplitMetrics


def result_sentence(facts: StudyFacts) -> str:
    """Return what came out of the study, in one or two sentences."""
    study, best = facts.study, facts.ranked[0] if facts.ranked else None
    n = len(study.trials)
    if best is None or best.last is None:
        return f"None of the {_trials(n)} has been validated yet."
    score = score_text(best.last.score, study.metric)
    text = f"Trial {best.number} is the best of {_trials(n)}: validation {study.metric} {score}"
    text += f"{_between(best.last, study.metric)}."
    test = test_metrics(facts)
    if test is None:
        return text
    # The winner may be of an earlier, shorter search: then it is named.
    subject = "Trained again on the training and validation sequences, it"
    if facts.overtaken:
        subject = (
            f"{capitalised(_winner_name(facts))}, trained again on the training and validation sequences,"
        )
    if test.accuracy is None or test.ci95 is None:
        numbers = (f"{name} {value:.4g}" for name, value in test_numbers(test).items())
        return f"{text} {subject} was tested on {test.n:,} sequences: {', '.join(numbers)}."
    low, high = (f"{100 * end:.2f}" for end in test.ci95)
    return (
        f"{text} {subject} classifies {test.correct:,} of {test.n:,} test sequences correctly: "
        f"{100 * test.accuracy:.2f} % (95 % interval {low} to {high} %)."
    )


def findings(facts: StudyFacts) -> list[str]:
    """Return what the numbers of a study do and do not show."""
    if not facts.ranked:
        return []
    # Results first, then what limits them.
    sentences = [_of_ensemble(facts), *_of_baselines(facts), _recipe(facts), _noise(facts), _optimism(facts)]
    return [each for each in sentences if each]


def notes(facts: StudyFacts) -> list[str]:
    """Return what is missing from a study and what a reader has to know first."""
    found = []
    # Trials of other machines count, too: they are in the same storage.
    unfinished = facts.count("waiting", "running")
    if unfinished:
        are = "trial is" if unfinished == 1 else "trials are"
        found.append(f"The search has not ended: {unfinished} {are} not finished. All of this may change.")
    if facts.overtaken:
        found.append(
            f"The winner that was trained again is {_winner_name(facts)}; by now, trial "
            f"{facts.ranked[0].number} is better."
        )
    if facts.winner is None:
        found.append("The winner has not been trained again and tested yet.")
    elif facts.winner.result is None or not facts.winner.result.training.has_ended:
        found.append("The training of the winner has not ended: it has not been tested yet.")
    elif facts.winner.result.test is None:
        found.append(
            "There is no test split: only validation scores are known, and the best of them is optimistic."
        )
    return found


def test_metrics(facts: StudyFacts) -> SplitMetrics | None:
    """Return the winner's metrics on the test split, None before it is tested."""
    return facts.winner.result.test if facts.winner and facts.winner.result else None


def test_numbers(test: SplitMetrics) -> dict[str, float]:
    """Return the metrics that are numbers, by name; of a task without accuracy they are its own."""
    return {
        name: float(value)
        for name, value in test.to_json().items()
        if name != "n" and isinstance(value, int | float) and not isinstance(value, bool)
    }


def score_text(score: float, metric: str) -> str:
    """Return a score as text: an accuracy in percent."""
    return f"{100 * score:.2f} %" if metric == "accuracy" else f"{score:.4f}"


def _winner_name(facts: StudyFacts) -> str:
    number = facts.winner.trial if facts.winner else None
    return "an earlier trial" if number is None else f"trial {number}"


def _optimism(facts: StudyFacts) -> str:
    tested = test_metrics(facts)
    text = (
        f"The validation {facts.study.metric} of the best of {_trials(len(facts.ranked))} is optimistic: the "
        "trial was chosen for it"
    )
    if tested is None:
        return f"{text}."
    return f"{text}. The test {facts.study.metric} is not: the test split had no part in any choice."


def _noise(facts: StudyFacts) -> str:
    """Return how many trials cannot be distinguished from the best."""
    best = facts.ranked[0].last
    if best is None or best.interval is None:
        return ""
    # Only trials at the same rung: a score after less training is lower for that reason alone.
    peers = [each.last for each in facts.ranked[1:] if each.last and each.last.rung == best.rung]
    # Not a test: trials share their sequences, and many are compared. It only warns of small differences.
    low = best.interval[0]
    close = sum(each.score >= low for each in peers)
    if not close:
        return ""
    others = f"{close} of the {len(peers)} other trials"
    if close == len(peers):
        others = "the only other trial" if close == 1 else f"all {close} other trials"
    verb, its = ("has a score", "its difference") if close == 1 else ("have scores", "their differences")
    return (
        f"With {best.total:,} validated sequences, {others} that went as far {verb} within the interval of "
        f"the best: {its} may be noise."
    )


def _recipe(facts: StudyFacts) -> str:
    """Return how the settings of the recipe compare with the best ones."""
    best, metric = facts.ranked[0], facts.study.metric
    if best.number == 0:
        return "No trial is better than the settings of the recipe (trial 0)."
    # Trial 0 may have been stopped, or be missing from a study that another program made.
    rank, first = next(((rank, each) for rank, each in facts.listed if each.number == 0), (None, None))
    if rank is None or first is None or first.last is None or best.last is None:
        return ""
    text = (
        f"The settings of the recipe (trial 0) have rank {rank}, with {score_text(first.last.score, metric)}"
    )
    if first.last.rung != best.last.rung:
        return f"{text} after {100 * first.last.fraction:.0f} % of the training."
    return f"{text}."


def _of_ensemble(facts: StudyFacts) -> str:
    made = facts.ensemble
    if made is None or made.test is None:
        return ""
    low, high = (f"{100 * end:.2f}" for end in made.test.ci95)
    return (
        f"The ensemble of the {made.members} best trials has a test accuracy of "
        f"{100 * made.test.accuracy:.2f} % (95 % interval {low} to {high} %)."
    )


def _of_baselines(facts: StudyFacts) -> list[str]:
    if facts.baselines is None:
        return []
    test = test_metrics(facts)
    tested = [each for each in facts.baselines.measured if each.test is not None]
    if facts.baselines.metric != "accuracy":
        return [
            "The baselines predict numbers and have a mean absolute error: compare it with those metrics of "
            "the winner that have the same unit."
        ]
    if test is None or test.accuracy is None or not tested:
        return []
    accuracy = test.accuracy
    # All better baselines are named, the best first, also where the difference is not significant.
    better = [each for each in tested if each.test and each.test.value > accuracy]
    if better:
        return [_comparison(each, accuracy) for each in sorted(better, key=_value, reverse=True)]
    best = max(tested, key=_value)
    if best.test is not None and best.test.value == accuracy:
        return [f"{capitalised(best.name)} is as accurate as the winner on the test split."]
    return [f"No baseline is better than the winner. The best is {_comparison(best, accuracy, 'with')}"]


def _comparison(baseline: Baseline, accuracy: float, verb: str = "is better on the test split:") -> str:
    """Return the accuracies of a baseline and of the winner with the test of their difference."""
    name = baseline.name if verb == "with" else capitalised(baseline.name)
    text = f"{name} {verb} {100 * _value(baseline):.2f} % against {100 * accuracy:.2f} %"
    pair = baseline.winner
    if pair is None:
        return f"{text}."
    # The winner and the baseline predict the same sequences, which pairs their errors.
    significant = "significant" if pair.mcnemar_p <= 0.05 else "not significant"
    return f"{text} ({significant} at 5 %: exact McNemar test, p {p_text(pair.mcnemar_p)})."


def _value(baseline: Baseline) -> float:
    score: BaselineScore | None = baseline.test
    return -1.0 if score is None else score.value


def p_text(p: float) -> str:
    """Return a p-value with its sign, as "= 0.03"."""
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"


def capitalised(name: str) -> str:
    """Return a name as the beginning of a sentence."""
    return name[:1].upper() + name[1:]


def _between(score: RungScore, metric: str) -> str:
    if score.interval is None:
        return ""
    low, high = (f"{100 * end:.2f}" for end in score.interval)
    return f" (95 % interval {low} to {high} %)"


def _trials(n: int) -> str:
    return "1 trial" if n == 1 else f"{n:,} trials"
