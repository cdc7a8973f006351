"""Run folders: made once, written by one, found by name."""

from __future__ import annotations

import json

import pytest

from scanline import recipe
from scanline.errors import ModelError, ScanlineError, UsageError
from scanline.recipe import DEFAULT_DATA, DEFAULT_SPLIT
from scanline.training.environment import describe
from scanline.training.provenance import trained_on
from scanline.training.run_directory import RunDirectory, claim
from scanline.training.run_files import Environment, SplitFile

PLAN = recipe.load("rows")
NO_SPLIT = SplitFile(parts={})


def test_a_free_number_is_claimed_and_never_twice(tmp_path):
    assert [claim(tmp_path / "runs", "a-b").name for _ in range(3)] == ["a-b-001", "a-b-002", "a-b-003"]


def test_a_directory_that_cannot_be_created_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ScanlineError, match=r"cannot create the run directory .*Not a directory"):
        claim(tmp_path / "file", "a")


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_resuming_is_not_suggested_for_other_files_and_folders(tmp_path, kind):
    path = tmp_path / "run"
    if kind == "file":
        path.write_text("mine")
    elif kind == "link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.mkdir()
        (path / "mine").write_text("")
    with pytest.raises(UsageError, match=r"exists already: choose another --run$"):
        RunDirectory.create(path, PLAN, Environment(), NO_SPLIT)


def test_a_directory_that_cannot_be_written_is_removed(tmp_path, monkeypatch):
    def full(*arguments: object) -> None:
        raise ScanlineError("cannot write environment.json: No space left on device")

    monkeypatch.setattr("scanline.training.run_directory.write_json", full)
    with pytest.raises(ScanlineError, match="No space left"):
        RunDirectory.create(tmp_path / "run", PLAN, Environment(), NO_SPLIT)
    assert not (tmp_path / "run").exists()


def test_an_empty_directory_can_be_used(tmp_path):
    folder = RunDirectory.create(tmp_path, PLAN, Environment(schema=1), NO_SPLIT)
    folder.unlock()
    assert recipe.parse(folder.recipe.read_text()) == PLAN
    assert json.loads(folder.environment.read_text()) == {"schema": 1}
    assert json.loads(folder.split.read_text()) == {"parts": {}}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"name = 3", b"= ="])
def test_a_run_with_a_damaged_recipe_is_refused_as_a_model(tmp_path, content):
    (tmp_path / "recipe.toml").write_bytes(content)
    with pytest.raises(ModelError, match=f"cannot resume {tmp_path}: "):
        RunDirectory.reopen(tmp_path)


def test_missing_logs_are_created_and_longer_ones_are_cut(tmp_path):
    folder = RunDirectory.create(tmp_path / "run", PLAN, Environment(), NO_SPLIT)
    folder.append_log("first")
    folder.append_log("second")
    folder.metrics.unlink()
    folder.truncate_logs(metrics_bytes=100, log_bytes=6)
    folder.unlock()
    assert folder.log.read_text() == "first\n"
    assert folder.log_sizes() == (0, 6)


def test_a_run_names_its_data_and_a_model_does_not(tmp_path):
    (tmp_path / "recipe.toml").write_text('[data]\nname = "mnist"\n')
    assert trained_on(tmp_path) == (DEFAULT_DATA.model_copy(update={"name": "mnist"}), DEFAULT_SPLIT)
    (tmp_path / "recipe.toml").write_text(PLAN.to_toml().replace("test = 0.2", "test = 0.3"))
    assert trained_on(tmp_path) == (PLAN.data, PLAN.split.model_copy(update={"test": 0.3}))
    assert trained_on(tmp_path / "model") is None


def test_the_environment_has_versions_and_nothing_personal():
    machine = describe("cpu")
    assert machine.packages.keys() >= {"scanline", "torch", "numpy"}
    assert machine.threads >= 1
    assert not {"user", "host", "hostname", "path"} & machine.to_json().keys()


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "log.txt", "checkpoints", "checkpoints/step-000001", "model", "result.json"]
)
def test_a_run_whose_files_are_links_is_not_resumed(tmp_path, name):
    folder = RunDirectory.create(tmp_path / "run", PLAN, Environment(), NO_SPLIT)
    folder.unlock()
    path, elsewhere = tmp_path / "run" / name, tmp_path / "elsewhere"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    elsewhere.write_text("mine") if path.suffix else elsewhere.mkdir()
    path.symlink_to(elsewhere)
    with pytest.raises(ModelError, match=f"{name}: expected a .*, got a link"):
        RunDirectory.reopen(tmp_path / "run")
    path.unlink()
    path.mkdir() if path.suffix else path.write_text("")
    with pytest.raises(ModelError, match=f"{name}: expected a .*, got something else"):
        RunDirectory.reopen(tmp_path / "run")


def test_sweeping_follows_no_link(tmp_path):
    folder = RunDirectory.create(tmp_path / "run", PLAN, Environment(), NO_SPLIT)
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "run" / ".a.tmp").symlink_to(tmp_path / "mine")
    (tmp_path / "run" / ".b.tmp").mkdir()
    (tmp_path / "run" / ".b.tmp" / "model").symlink_to(tmp_path / "mine" / "model")
    folder.sweep()
    assert (tmp_path / "mine" / "model").is_dir()
    assert not folder.model.exists()
    assert not list((tmp_path / "run").glob(".*.tmp"))
    folder.unlock()
