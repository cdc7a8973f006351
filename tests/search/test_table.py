"""The table of trials."""

from __future__ import annotations

from scanline.search.records import RungScore, StudyRecord, TrialRecord
from scanline.search.table import table


def test_each_trial_is_a_line_with_settings_and_validations():
    rungs = RungScore(0, 0.5, 0.75, 0.1 + 0.2, 3, 4), RungScore(1, 1.0, 1.0, 0.25, 4, 4)
    trials = (
        TrialRecord(0, 0, {"model.cell": "lstm", "train.noise": 0.1}, "complete", rungs),
        TrialRecord(1, 0, {"model.cell": 'g"ru,', "train.noise": 1e-05}, "stopped", rungs[:1]),
        TrialRecord(2, 0, {"model.cell": "gru"}, "invalid", (), "too, large"),
    )
    space = {"model.cell": "", "train.noise": ""}
    study = StudyRecord("s", "d", "classification", "accuracy", "", space, 0, "", 8, trials)
    assert table(study) == (
        "number,generation,state,model.cell,train.noise,score_0,loss_0,correct_0,total_0,"
        "score_1,loss_1,correct_1,total_1,message\n"
        "0,0,complete,lstm,0.1,0.75,0.30000000000000004,3,4,1.0,0.25,4,4,\n"
        '1,0,stopped,"g""ru,",1e-05,0.75,0.30000000000000004,3,4,,,,,\n'
        '2,0,invalid,gru,,,,,,,,,,"too, large"\n'
    )


def test_trials_are_ranked_by_rung_score_loss_and_number():
    def trial(number, *scores, state="stopped"):
        made = tuple(RungScore(rung, 1.0, *each, None, 4) for rung, each in enumerate(scores))
        return TrialRecord(number, 0, {}, state, made)

    trials = (
        trial(0),
        trial(1, (0.9, 0.1)),
        trial(2, (0.5, 0.1), (0.5, 0.2)),
        trial(3, (0.5, 0.1), (0.5, 0.2)),
        trial(4, (0.5, 0.1), (0.5, 0.1)),
        trial(5, (0.5, 0.9), (0.6, 0.9)),
        trial(6, (0.9, 0.1), (0.9, 0.1), state="diverged"),  # its settings cannot be trained again
    )
    study = StudyRecord("s", "d", "classification", "accuracy", "", {}, 0, "", 8, trials)
    assert [each.number for each in study.ranked] == [5, 4, 2, 3, 1]
    assert study.best.number == 5
