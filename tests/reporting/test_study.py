"""The report of a study: expected texts are made by hand from the trials in `studies`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scanline.errors import ModelError, ScanlineError, UsageError
from scanline.reporting.study.facts import StudyFacts, short_names, shown
from scanline.reporting.study.figures import charts, number_axis, setting_axis
from scanline.reporting.study.findings import findings, notes, result_sentence
from scanline.reporting.study.gather import study_facts
from scanline.reporting.study.page import render, study_json, write_study_page
from scanline.search.records import StudyRecord
from tests.browser import watched
from tests.reporting.pages import facts as page_facts
from tests.reporting.pages import labels, rows, section, sections, sound, strict, words
from tests.reporting.pages import notes as page_notes
from tests.reporting.studies import TRIALS, baselines, folder_of, study, trial


@pytest.fixture
def folder(tmp_path, trained) -> Path:
    return folder_of(tmp_path / "s", trained, baselines(0.5, 0.6))


@pytest.fixture
def facts(folder) -> StudyFacts:
    return study_facts(study(), folder)


def accuracy_of(run: Path) -> float:
    return json.loads((run / "result.json").read_text())["test"]["accuracy"]


def without_winner(record: StudyRecord, folder: Path) -> StudyFacts:
    return study_facts(record, folder_of(folder))


def test_trials_are_ranked_by_how_far_they_came_and_then_by_their_score(facts):
    assert [(rank, each.number) for rank, each in facts.listed] == [
        (1, 1),
        (2, 3),
        (3, 5),
        (4, 0),
        (5, 2),
        (None, 4),
    ]


def test_only_settings_that_differ_from_the_recipe_are_shown(facts):
    changes = {each.number: facts.changes(each) for each in TRIALS}
    assert changes[0] == {}
    assert changes[3] == {"model.cell": "gru", "train.learning_rate": 0.2}
    assert changes[2] == {"model.hidden_size": 64}


def test_names_of_settings_are_short_where_that_is_unambiguous():
    keys = ["model.cell", "model.features", "input.features"]
    assert list(short_names(keys).values()) == ["cell", "model.features", "input.features"]
    assert [shown(each) for each in (True, 0.0123456, 1.0, 64, "last")] == [
        "true",
        "0.01235",
        "1",
        "64",
        "last",
    ]


def test_the_page_has_every_trial_with_its_interval(facts):
    root = sound(render(facts, "report.json"))
    table = rows(root, "Trials, the best first")
    assert table[0] == ["1", "1", "90.00 % (82.6\u201394.5)", "100 %", "complete", "cell = gru"]
    assert table[3] == ["4", "0", "70.00 % (60.4\u201378.1)", "50 %", "stopped", "those of the recipe"]
    assert table[5][:5] == ["\u2013", "4", "20.00 % (13.3\u201328.9)", "25 %", "diverged"]
    assert table[5][5] == "learning_rate = 1; the loss is not finite at step 12"
    assert len(table) == len(TRIALS)
    assert page_facts(root) == {
        "trials": "6", "trained fully": "3", "stopped early": "2", "diverged": "1", "searched settings": "3",
        "seed": "7",
    }  # fmt: skip
    assert sections(root) == ["trials", "history", "settings", "baselines", "winner", "reproduce"]
    assert len(labels(root)) == 3  # too few trials for the importance of settings


def test_the_page_has_the_recipe_of_the_winner_and_how_to_reproduce_it(facts, trained):
    root = sound(render(facts.without_folders(), "report.json"))
    (recipe,) = section(root, "winner").iter("pre")
    assert words(recipe) == " ".join((facts.folder / "winner.toml").read_text().split())
    commands = [words(each) for each in section(root, "reproduce").iter("pre")]
    assert commands[0] == "scanline tune digits --recipe RECIPE.toml --seed 7 --trials 6 --folds 0"
    assert commands[1] == "scanline train --recipe s/winner.toml"


def test_the_result_is_the_test_of_the_winner(facts, trained):
    accuracy = accuracy_of(trained)
    text = result_sentence(facts)
    assert text.startswith(
        "Trial 1 is the best of 6 trials: validation accuracy 90.00 % (95 % interval 82.56 to 94.48 %). "
        "Trained again on the training and validation sequences, it classifies "
    )
    assert f"{100 * accuracy:.2f} %" in text
    big = [words(each) for each in sound(render(facts, "x.json")).iter("p") if each.get("class") == "big"]
    assert big == [f"{100 * accuracy:.2f} % test accuracy"]


def test_the_findings_say_what_the_numbers_do_not_show(facts):
    found = findings(facts)
    assert (
        "The settings of the recipe (trial 0) have rank 4, with 70.00 % after 50 % of the training." in found
    )
    # 88 is within 82.6 to 94.5, 60 is not.
    assert (
        "With 100 validated sequences, 1 of the 2 other trials that went as far has a score within the "
        "interval of the best: its difference may be noise."
    ) in found
    assert found[-1] == (
        "The validation accuracy of the best of 5 trials is optimistic: the trial was chosen for it. The "
        "test accuracy is not: the test split had no part in any choice."
    )


def test_a_baseline_that_wins_comes_first(tmp_path, trained):
    accuracy = accuracy_of(trained)
    facts = study_facts(study(), folder_of(tmp_path / "s", trained, baselines(0.99, 1.0, p=0.0004)))
    assert findings(facts)[:2] == [
        f"{name} is better on the test split: {value} % against {100 * accuracy:.2f} % (significant at 5 %: "
        "exact McNemar test, p < 0.001)."
        for name, value in (("MiniRocket", "100.00"), ("1-nearest neighbour", "98.89"))
    ]


def test_a_winner_that_is_better_is_compared_with_the_best_baseline(facts, trained):
    assert findings(facts)[0] == (
        "No baseline is better than the winner. The best is MiniRocket with 60.00 % against "
        f"{100 * accuracy_of(trained):.2f} % (not significant at 5 %: exact McNemar test, p = 0.25)."
    )


def test_without_predictions_of_the_winner_no_test_of_the_difference_is_claimed(tmp_path, trained):
    facts = study_facts(study(), folder_of(tmp_path / "s", trained, baselines(1.0, p=None)))
    assert findings(facts)[0].endswith(f"100.00 % against {100 * accuracy_of(trained):.2f} %.")


def test_a_baseline_that_is_as_good_is_called_so(tmp_path, trained):
    own = baselines(accuracy_of(trained))
    facts = study_facts(study(), folder_of(tmp_path / "s", trained, own))
    assert findings(facts)[0] == "1-nearest neighbour is as accurate as the winner on the test split."


def test_baselines_that_predict_numbers_are_not_compared(tmp_path, trained):
    own = baselines(0.5).model_copy(update={"metric": "mean absolute error"})
    facts = study_facts(study(), folder_of(tmp_path / "s", trained, own))
    assert findings(facts)[0].startswith("The baselines predict numbers")
    root = sound(render(facts, "x.json"))
    assert rows(root, "Baselines beside the winner")[1][:3] == ["1-nearest neighbour", "0.5", "0.5"]


def test_baselines_are_beside_the_winner(facts, trained):
    root = sound(render(facts, "report.json"))
    table = rows(root, "Baselines beside the winner")
    assert [row[0] for row in table] == [
        "winner of the search", "majority class", "1-nearest neighbour", "MiniRocket",
    ]  # fmt: skip
    assert table[0][1] == "90.00 % (82.6\u201394.5)"
    assert table[0][2].startswith(f"{100 * accuracy_of(trained):.2f} %")
    assert table[3][2:5] == ["60.00 % (54.9\u201364.9)", "0.25", "0.5 s"]


def test_baselines_that_were_not_measured_are_listed_with_the_reason(tmp_path, trained):
    facts = study_facts(study(), folder_of(tmp_path / "s", trained, baselines(0.5)))
    assert "MiniRocket: aeon is not installed" in words(section(sound(render(facts, "x.json")), "baselines"))


def test_a_search_that_is_running_is_shown_with_a_note(tmp_path):
    trials = (*TRIALS, trial(6, "running", 50), trial(7, "waiting"))
    facts = without_winner(study(trials), tmp_path / "s")
    assert notes(facts) == [
        "The search has not ended: 2 trials are not finished. All of this may change.",
        "The winner has not been trained again and tested yet.",
    ]
    root = sound(render(facts, "x.json"))
    assert page_notes(root) == notes(facts)
    assert "winner" not in sections(root)
    assert "chosen for it." in findings(facts)[-1]
    assert "test" not in findings(facts)[-1]


def test_a_winner_that_is_not_tested_is_noted(tmp_path, trained):
    folder = folder_of(tmp_path / "s", trained)
    result = folder / "winner" / "result.json"
    content = json.loads(result.read_text())
    result.write_text(json.dumps(content | {"test": None}))
    facts = study_facts(study(), folder)
    assert notes(facts) == [
        "There is no test split: only validation scores are known, and the best of them is optimistic."
    ]
    result.unlink()
    assert notes(study_facts(study(), folder))[0].startswith("The training of the winner has not ended")


def test_a_winner_that_is_not_the_best_any_more_is_noted(tmp_path, trained):
    folder = folder_of(tmp_path / "s", trained, baselines(0.5), winner=3)
    facts = study_facts(study(), folder)
    assert facts.winner.trial == 3
    assert notes(facts) == ["The winner that was trained again is trial 3; by now, trial 1 is better."]
    assert " Trial 3, trained again on the training and validation sequences, classifies " in result_sentence(
        facts
    )
    root = sound(render(facts, "x.json"))
    assert rows(root, "Baselines beside the winner")[0][1].startswith("88.00 %")
    assert words(section(root, "winner")).startswith("Winner Trial 3, trained again")
    # The recipe may be that of the next winner already: the run decides.
    newer = folder_of(tmp_path / "newer", trained)
    (folder / "winner.toml").write_text((newer / "winner.toml").read_text())
    assert study_facts(study(), folder).winner.trial == 3
    other = tuple(each for each in TRIALS if each.number != 3)
    assert (
        "The winner that was trained again is an earlier trial;"
        in notes(study_facts(study(other), folder))[0]
    )


@pytest.mark.parametrize("trials", [(), (trial(0, "waiting"),), (trial(0, "invalid", message="no <b>"),)])
def test_a_study_without_a_validated_trial_has_a_page(tmp_path, trials):
    facts = without_winner(study(trials), tmp_path / "s")
    assert result_sentence(facts).endswith("has been validated yet.")
    assert findings(facts) == []
    root = sound(render(facts, "x.json"))
    assert len(rows(root, "Trials, the best first")) == len(trials)
    assert labels(root) == []


def test_a_task_without_accuracy_has_no_intervals(tmp_path):
    trials = tuple(
        replace(each, scores=tuple(replace(score, correct=None) for score in each.scores)) for each in TRIALS
    )
    facts = without_winner(study(trials, metric="closeness"), tmp_path / "s")
    assert result_sentence(facts) == "Trial 1 is the best of 6 trials: validation closeness 0.9000."
    table = rows(sound(render(facts, "x.json")), "Trials, the best first")
    assert table[0][2] == "0.9000"


def test_the_metrics_of_a_task_without_accuracy_are_shown(tmp_path, trained):
    folder = folder_of(tmp_path / "s", trained)
    result = folder / "winner" / "result.json"
    content = json.loads(result.read_text())
    result.write_text(json.dumps(content | {"test": {"n": 16, "loss": 0.0656, "mean_error": 0.25}}))
    facts = study_facts(study(metric="closeness"), folder)
    assert result_sentence(facts).endswith("it was tested on 16 sequences: loss 0.0656, mean_error 0.25.")
    table = rows(sound(render(facts, "x.json")), "Metrics of the winner on the test split")
    assert table == [["loss", "0.0656"], ["mean_error", "0.25"]]


def test_the_recipe_may_be_best(tmp_path):
    facts = without_winner(study((trial(0, "complete", 1, 2, 90), trial(1, "stopped", 5))), tmp_path / "s")
    assert "No trial is better than the settings of the recipe (trial 0)." in findings(facts)


def test_names_from_files_are_escaped(tmp_path):
    hostile = '<script>alert("x")</script>'
    trials = (
        *TRIALS,
        trial(6, "invalid", message=hostile),
        trial(7, "complete", 1, 2, 3, model__cell=hostile),
    )
    record = replace(study(trials, name=hostile), data=hostile, recipe=f"name = '{hostile}'")
    text = render(without_winner(record, tmp_path / "s"), "x.json")
    assert "<script" not in text
    root = sound(text)
    assert f"cell = {hostile}" in [row[-1] for row in rows(root, "Trials, the best first")]


def test_the_page_and_its_numbers_are_written_together(facts, tmp_path):
    page = tmp_path / "out.html"
    write_study_page(facts, page)
    root, twin = sound(page.read_text()), strict(page.with_suffix(".json").read_text())
    assert words(root.find("body/footer")).endswith("All numbers of the charts and tables are in out.json.")
    assert twin == {"kind": "report"} | json.loads(json.dumps(study_json(facts.without_folders())))
    assert str(tmp_path) not in page.read_text() + page.with_suffix(".json").read_text()
    assert twin["schema"] == 1
    assert [each["rank"] for each in twin["trials"]] == [1, 2, 3, 4, 5, None]
    assert twin["trials"][0]["ci95"] == [pytest.approx(0.8256, abs=1e-4), pytest.approx(0.9448, abs=1e-4)]
    assert twin["trials"][0]["rungs"][1]["correct"] == 80
    assert twin["winner"]["trial"] == 1
    assert twin["baselines"]["measured"][2]["test"]["value"] == 0.6
    write_study_page(facts, page)  # an earlier report is replaced


def test_files_of_the_study_are_not_replaced(facts):
    with pytest.raises(UsageError, match="a file of the study itself"):
        write_study_page(facts, facts.folder / "baselines.html")
    with pytest.raises(UsageError, match="ending in"):
        write_study_page(facts, facts.folder / "report.txt")
    (facts.folder / "x.html").mkdir()
    with pytest.raises(ScanlineError, match="Is a directory"):
        write_study_page(facts, facts.folder / "x.html")


def test_damaged_files_are_named(folder):
    (folder / "winner.toml").write_bytes(b"\xff")
    with pytest.raises(ModelError, match=r"winner\.toml is damaged"):
        study_facts(study(), folder)
    (folder / "baselines.json").write_text("{}")
    (folder / "winner.toml").unlink()
    with pytest.raises(ModelError, match=r"baselines\.json is damaged"):
        study_facts(study(), folder)


def test_few_numbers_and_texts_are_equally_spaced_on_an_axis():
    axis = setting_axis("size", [64, 8, 32, 8])
    assert axis.positions.tolist() == [1, 0, 0.5, 0]
    assert axis.ticks == [(0, "8"), (0.5, "32"), (1, "64")]
    assert setting_axis("cell", ["lstm", "gru"]).positions.tolist() == [1, 0]
    assert setting_axis("both", [True, False]).ticks == [(0, "false"), (1, "true")]
    assert setting_axis("one", ["a", "a"]).positions.tolist() == [0, 0]


def test_many_numbers_are_placed_by_their_size():
    assert number_axis("x", [0, 1, 4]).positions.tolist() == [0, 0.25, 1]
    rates = setting_axis("rate", [0.0001, 0.001, 0.01, 0.1, 1.0, 0.5], log=True)
    np.testing.assert_allclose(rates.positions[:5], [0, 0.25, 0.5, 0.75, 1])
    assert rates.ticks[1] == (0.5, "0.01")
    assert setting_axis("x", [0, 1, 2, 4, 6, 8], log=True).positions.tolist() == [
        0,
        0.125,
        0.25,
        0.5,
        0.75,
        1,
    ]
    assert number_axis("same", [3, 3]).positions.tolist() == [0.5, 0.5]


def test_the_importance_of_settings_is_shown_with_its_limits(tmp_path):
    record = study(tuple(trial(n, "complete", 1, 2, 50 + n, model__hidden_size=n) for n in range(12)))
    facts = without_winner(record, tmp_path / "s")
    found = facts.importances.settings
    assert [each.key for each in found] == ["model.hidden_size"]
    assert facts.keys == ("model.hidden_size", "model.cell", "train.learning_rate")
    root = sound(render(facts, "x.json"))
    assert rows(root, "Importance of the settings") == [
        ["model.hidden_size", f"{100 * found[0].fraction:.1f} %"]
    ]
    assert "Importance of the settings; model.hidden_size matters most" in labels(root)


def test_charts_are_the_same_bytes_each_time(facts):
    assert charts(facts) == charts(facts)
    assert list(charts(facts)) == ["history", "parallel", "baselines"]


@pytest.mark.parametrize(("width", "scheme"), [(320, "dark"), (1280, "light")])
def test_the_page_is_accessible_and_fits_the_window(browser, facts, width, scheme):
    page = facts.folder / "report.html"
    write_study_page(facts, page)
    with watched(browser, width, scheme, offline=True) as seen:
        seen.page.goto(page.as_uri())
        seen.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert seen.violations() == []
        assert seen.sideways() <= 0
        seen.check(page.as_uri())
