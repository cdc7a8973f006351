"""Run folders: made once, written by one, found by name."""

from __future__ import annotations

import json

import pytest

from scanline import recipe
from scanline.errors import ModelError, ScanlineError, UsageError
from scanline.recipe import UNSAID, UNSPLIT
from scanline.training.environment import describe
from scanline.training.run_directory import RunDirectory, claim, trained_on, training_history

PLAN = recipe.load("rows")


def test_a_free_number_is_claimed_and_never_twice(tmp_path):
    assert [claim(tmp_path / "runs", "a-b").name for _ in range(3)] == ["a-b-001", "a-b-002", "a-b-003"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ScanlineError, match=r"cannot make the run folder .*Not a directory"):
        claim(tmp_path / "file", "a")


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_run_is_not_offered_for_resuming(tmp_path, kind):
    path = tmp_path / "run"
    if kind == "file":
        path.write_text("mine")
    elif kind == "link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.mkdir()
        (path / "mine").write_text("")
    with pytest.raises(UsageError, match=r"exists already: choose another --run$"):
        RunDirectory.create(path, PLAN, {}, {})


def test_a_folder_that_cannot_be_filled_is_taken_away(tmp_path, monkeypatch):
    def full(*arguments: object) -> None:
        raise ScanlineError("cannot write environment.json: No space left on device")

    monkeypatch.setattr("scanline.training.run_directory.write_json", full)
    with pytest.raises(ScanlineError, match="No space left"):
        RunDirectory.create(tmp_path / "run", PLAN, {}, {})
    assert not (tmp_path / "run").exists()


def test_an_empty_folder_may_be_filled(tmp_path):
    folder = RunDirectory.create(tmp_path, PLAN, {"schema": 1}, {"parts": {}})
    folder.unlock()
    assert recipe.parse(folder.recipe.read_text()) == PLAN
    assert json.loads(folder.environment.read_text()) == {"schema": 1}
    assert json.loads(folder.split.read_text()) == {"parts": {}}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"name = 3", b"= ="])
def test_a_run_with_a_damaged_recipe_is_refused_as_a_model(tmp_path, content):
    (tmp_path / "recipe.toml").write_bytes(content)
    with pytest.raises(ModelError, match=f"cannot go on with {tmp_path}: "):
        RunDirectory.reopen(tmp_path)


def test_lost_metrics_are_begun_anew_and_longer_ones_cut(tmp_path):
    folder = RunDirectory.create(tmp_path / "run", PLAN, {}, {})
    folder.append_log("first")
    folder.append_log("second")
    folder.metrics.unlink()
    folder.rewind(metrics_bytes=100, log_bytes=6)
    folder.unlock()
    assert folder.log.read_text() == "first\n"
    assert folder.sizes() == (0, 6)


def test_the_data_of_a_run_are_found_and_a_bundle_has_none(tmp_path):
    (tmp_path / "recipe.toml").write_text('[data]\nname = "mnist"\n')
    assert trained_on(tmp_path) == (UNSAID.model_copy(update={"name": "mnist"}), UNSPLIT)
    (tmp_path / "recipe.toml").write_text(PLAN.to_toml().replace("test = 0.2", "test = 0.3"))
    assert trained_on(tmp_path) == (PLAN.data, PLAN.split.model_copy(update={"test": 0.3}))
    assert trained_on(tmp_path / "model") is None


def test_the_environment_names_versions_and_no_person():
    found = describe("cpu")
    assert found["packages"].keys() >= {"scanline", "torch", "numpy"}
    assert found["threads"] >= 1
    assert not {"user", "host", "hostname", "path"} & found.keys()


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "log.txt", "checkpoints", "checkpoints/step-000001", "model", "result.json"]
)
def test_a_run_whose_files_are_links_is_not_gone_on_with(tmp_path, name):
    folder = RunDirectory.create(tmp_path / "run", PLAN, {}, {})
    folder.unlock()
    path, elsewhere = tmp_path / "run" / name, tmp_path / "elsewhere"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    elsewhere.write_text("mine") if path.suffix else elsewhere.mkdir()
    path.symlink_to(elsewhere)
    with pytest.raises(ModelError, match=f"{name} is a link, none of a run's own files and folders"):
        RunDirectory.reopen(tmp_path / "run")
    path.unlink()
    path.mkdir() if path.suffix else path.write_text("")
    with pytest.raises(ModelError, match=f"{name} is something else"):
        RunDirectory.reopen(tmp_path / "run")


def test_sweeping_looks_behind_no_link(tmp_path):
    folder = RunDirectory.create(tmp_path / "run", PLAN, {}, {})
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "run" / ".a.tmp").symlink_to(tmp_path / "mine")
    (tmp_path / "run" / ".b.tmp").mkdir()
    (tmp_path / "run" / ".b.tmp" / "model").symlink_to(tmp_path / "mine" / "model")
    folder.sweep()
    assert (tmp_path / "mine" / "model").is_dir()
    assert not folder.model.exists()
    assert not list((tmp_path / "run").glob(".*.tmp"))
    folder.unlock()


def test_lines_with_figures_that_cannot_be_are_left_out_of_the_course(tmp_path):
    line = {"event": "logged", "step": 3, "loss": 0.25, "accuracy": 0.5}
    wrong = [("accuracy", 1e308), ("accuracy", -1), ("loss", float("nan")), ("loss", 1e300), ("loss", True)]
    wrong += [("step", 10**400), ("step", -1), ("step", None), ("event", 3)]
    lines = [line, *(line | {key: value} for key, value in wrong), line]
    path = tmp_path / "metrics.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + '\n{"event": "lo')
    assert training_history(path) == [line, line]
    assert training_history(tmp_path / "none") == []
