"""Which trials continue: the same for any order in which they come to their rungs."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanline.search import decisions
from scanline.search.decisions import Job
from scanline.search.definition import Definition
from scanline.search.records import FINAL, RungScore, TrialRecord
from scanline.search.space import Space

STUDY = Definition("waves", "", "", 40, "classification", "accuracy", "", Space({}), 0, 0, 0.3, generation=4)


def scored(rung: int, score: float, loss: float = 0.5) -> RungScore:
    return RungScore(rung, STUDY.rungs[rung], score, loss, round(100 * score), 100)


def trial(number: int, *scores: float, state: str = "waiting", generation: int | None = None) -> TrialRecord:
    made = tuple(scored(rung, score) for rung, score in enumerate(scores))
    generation = number // STUDY.generation if generation is None else generation
    return TrialRecord(number, generation, {}, state, made)


def test_the_better_half_of_a_generation_continues():
    trials = [trial(0, 0.5), trial(1, 0.9), trial(2, 0.7), trial(3, 0.8)]
    assert [decisions.verdict(each, trials, STUDY) for each in trials] == [
        "stop",
        "continue",
        "stop",
        "continue",
    ]


def test_of_equal_scores_the_lower_loss_and_then_the_earlier_trial_is_better():
    one, two = trial(0, 0.5), replace(trial(1, 0.5), scores=(scored(0, 0.5, loss=0.4),))
    assert [decisions.verdict(each, [one, two], STUDY) for each in (one, two)] == ["stop", "continue"]
    two = trial(1, 0.5)
    assert [decisions.verdict(each, [one, two], STUDY) for each in (one, two)] == ["continue", "stop"]


def test_a_trial_waits_for_its_generation_and_not_for_later_ones():
    behind = [trial(0, 0.9), trial(1), trial(4, 0.8)]
    assert decisions.verdict(behind[0], behind, STUDY) == "undecided"
    assert decisions.verdict(behind[2], behind, STUDY) == "undecided"
    done = [trial(0, 0.9), trial(1, 0.1), trial(4)]
    assert decisions.verdict(done[0], done, STUDY) == "continue"


def test_trials_that_failed_hold_up_nothing_and_are_no_rivals():
    trials = [trial(0, 0.5), trial(1, state="invalid"), trial(2, 0.4, state="diverged")]
    assert decisions.verdict(trials[0], trials, STUDY) == "continue"


def test_a_trial_at_the_last_rung_is_complete():
    trials = [trial(0, 0.1, 0.1, 0.1), trial(1, 0.9)]
    assert decisions.verdict(trials[0], trials, STUDY) == "complete"


def test_an_unordered_study_compares_with_what_there_is():
    unordered = replace(STUDY, ordered=False)
    trials = [trial(0, 0.5), trial(1), trial(2, 0.7)]
    assert decisions.verdict(trials[0], trials, unordered) == "stop"
    assert decisions.known(trials, unordered, 3) == []


def test_trials_that_are_further_are_trained_first():
    trials = [
        trial(0, 0.9, 0.9),
        trial(1, 0.8, 0.7),
        trial(2, 0.6, state="stopped"),
        trial(3, 0.5, state="stopped"),
        trial(4),
    ]
    assert decisions.jobs(trials, STUDY) == [Job(0, 2), Job(4, 0)]


def test_a_generation_is_asked_for_when_the_one_before_the_last_is_final():
    first = [trial(number, 0.5, state="stopped") for number in range(4)]
    begun = [trial(number, 0.5) for number in range(4, 8)]
    assert decisions.next_generation([], STUDY, 10) == (0, 4)
    assert decisions.next_generation([trial(0)], STUDY, 10) == (0, 3)  # asking for them was interrupted
    assert decisions.next_generation(first + begun, STUDY, None) == (2, 4)
    assert decisions.next_generation(first + begun, STUDY, 10) == (2, 2)
    assert decisions.next_generation(first + begun, STUDY, 8) is None
    assert decisions.next_generation(first + [trial(number) for number in range(4, 8)], STUDY, 10) is None
    waiting = [replace(first[0], state="waiting"), *first[1:]]
    assert decisions.next_generation(waiting + begun, STUDY, 10) is None
    assert [each.number for each in decisions.known(first + begun, STUDY, 2)] == [0, 1, 2, 3]


def run(scores: list[list[float]], failing: set[int], limit: int, choose: random.Random) -> dict:
    """Carry out a search whose scores are known, in an order that `choose` decides; check it on the way.

    Returns:
        What each trial came to, and what was known when each generation was asked for.
    """
    trials: list[TrialRecord] = []
    decided: dict[tuple[int, int], str] = {}
    known: dict[int, list[TrialRecord]] = {}
    while True:
        # As a worker does: settle, ask, then train; any of the possible jobs may end first.
        changed = True
        while changed:
            changed = False
            for index, each in enumerate(trials):
                if each.state == "waiting" and each.scores:
                    verdict = decisions.verdict(each, trials, STUDY)
                    key = each.number, len(each.scores)
                    assert decided.setdefault(key, verdict) in (verdict, "undecided")
                    decided[key] = verdict
                    if verdict in ("stop", "complete"):
                        state = "stopped" if verdict == "stop" else "complete"
                        trials[index] = replace(each, state=state)
                        changed = True
        wanted = decisions.next_generation(trials, STUDY, limit)
        if wanted is not None and (not decisions.jobs(trials, STUDY) or choose.random() < 0.5):
            generation, count = wanted
            known[generation] = list(decisions.known(trials, STUDY, generation))
            trials += [trial(len(trials) + each, generation=generation) for each in range(count)]
            continue
        jobs = decisions.jobs(trials, STUDY)
        if not jobs:
            assert len(trials) == limit
            assert all(each.state in FINAL for each in trials)
            return {"trials": trials, "known": known}
        job = choose.choice(jobs)
        each = trials[job.number]
        if job.number in failing:
            trials[job.number] = replace(each, state="invalid")
        else:
            score = scored(job.rung, scores[job.number][job.rung])
            trials[job.number] = replace(each, scores=(*each.scores, score))


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(
        st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.5]), min_size=3, max_size=3), min_size=14, max_size=14
    ),
    failing=st.sets(st.integers(0, 13), max_size=3),
    limit=st.integers(1, 14),
    orders=st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)),
)
def test_the_order_in_which_trials_end_decides_nothing(scores, failing, limit, orders):
    one, two = (run(scores, failing, limit, random.Random(seed)) for seed in orders)
    assert one == two


@pytest.mark.parametrize("seed", range(3))
def test_about_half_of_the_trials_are_trained_to_the_end_of_each_rung(seed):
    draw = random.Random(seed)
    scores = [[draw.random() for _ in range(3)] for _ in range(64)]
    found = run(scores, set(), 64, draw)["trials"]
    reached = [sum(len(each.scores) > rung for each in found) for rung in range(3)]
    assert reached[0] == 64
    assert 22 <= reached[1] <= 42
    assert 8 <= reached[2] <= 26
