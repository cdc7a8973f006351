"""What a user may get wrong with a search: one line each, and the exit code, also on the command line."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy

from scanline.cli import main
from scanline.errors import DataError, ModelError, ScanlineError, UsageError
from scanline.search.request import Request
from scanline.search.storage import StudyStorage, _without_password, open_study
from scanline.search.study import Search
from scanline.search.worker import Worker
from tests.search.problems import SPACE, begin, write_ts, write_waves

pytest.importorskip("optuna", reason="Optuna is not installed: pip install '.[tune]'")


@pytest.fixture
def waves(tmp_path) -> Path:
    return write_waves(tmp_path / "data")


@pytest.fixture
def begun(waves, tmp_path) -> Search:
    return begin(waves, tmp_path / "study")


def test_a_study_of_another_data_set_is_refused(begun, tmp_path):
    other = write_ts(tmp_path / "other.ts", 24, seed=5)
    message = r"^study study is a study of .*waves, with other sequences than the file other\.ts: choose"
    with pytest.raises(UsageError, match=message):
        begin(other, tmp_path / "study")


def test_data_that_change_during_a_search_are_refused(begun, waves):
    write_ts(waves.parent / "waves_TRAIN.ts", 24, seed=9)
    data = begun.files.read_data(begun.definition)
    with pytest.raises(DataError, match="expected the sequences of the study, which was begun with"):
        Worker(begun.storage, begun.definition, data, begun.files.folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"space": {"model.layers": [1, 2]}},
            r"searches another space \(model.hidden_size, model.layers, model",
        ),
        ({"space": SPACE | {"model.hidden_size": [4, 9]}}, r"another space \(model.hidden_size differ\)"),
        ({"seed": 3}, r"was begun with another --seed \(0 there, 3 wanted\): repeat"),
        ({"folds": 2}, r"another --folds \(0 there, 2 wanted\)"),
        ({"ordered": False}, r"another order of trials \(--async\) \(True there, False"),
        (
            {"settings": {"train.epochs": 5}},
            r"has another recipe \(model.*, train.epochs differ\)",
        ),
    ],
)
def test_two_searches_in_one_study_must_be_the_same(begun, waves, tmp_path, changes, message):
    with pytest.raises(UsageError, match=message) as caught:
        begin(waves, tmp_path / "study", **changes)
    assert "\n" not in str(caught.value)


def test_a_study_of_a_version_with_fewer_keys_is_the_same(begun):
    definition = begun.definition
    older = replace(definition, recipe=definition.recipe.replace("minimum_count = 1\n", ""))
    assert older.recipe != definition.recipe
    older.check_same(definition, "study waves")
    with pytest.raises(UsageError, match=r"has another recipe \(input.minimum_count differ\)"):
        replace(older, recipe=definition.recipe.replace("minimum_count = 1", "minimum_count = 2")).check_same(
            definition, "study waves"
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": None}, "expected the size of the search: --trials or --minutes"),
        ({"trials": 0}, "--trials must be at least 1, got 0"),
        ({"minutes": -1.0}, "--minutes must be above 0, got -1.0"),
        ({"minutes": float("nan")}, "--minutes must be above 0, got nan"),
        ({"folds": 1}, "--folds must be 0 or from 2 to 100, got 1"),
        ({"workers": -1}, "--workers must be at least 1, got -1"),
        (
            {"storage": "memory", "workers": 2},
            "--storage memory is for a search in this process, got 2 workers",
        ),
        ({"settings": {"split.use_test": False}}, "split.use_test must not be set for a search"),
        ({"storage": "mysql://host/studies"}, "--storage: expected a postgresql:// or sqlite:/// address"),
        ({"storage": "nonsense"}, "--storage: expected postgresql://USER:PASSWORD@HOST/DATABASE or sqlite"),
        ({"folds": 20}, "expected at least 20 sequences of a class for split.folds = 20, found 12"),
    ],
)
def test_a_request_that_is_not_valid_writes_nothing(waves, tmp_path, changes, message):
    with pytest.raises(ScanlineError, match=message):
        begin(waves, tmp_path / "study", **changes)
    assert not (tmp_path / "study/study.json").exists()


@pytest.mark.parametrize("content", [b"", b"not a database any more, " * 100])
def test_a_storage_that_vanishes_is_one_line_and_names_what_to_do(begun, monkeypatch, content):
    monkeypatch.setattr("scanline.search.storage._WAIT_S", 0.01)
    begun.run()
    begun.close()
    for file in begun.files.folder.glob("study.db*"):
        file.unlink()
    (begun.files.folder / "study.db").write_bytes(content)
    message = r"study.db: the storage of the study cannot be used \(.*\); the same command with this --study "
    with pytest.raises(ScanlineError, match=message) as caught:
        begun.run()
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_database_without_the_study_is_refused(begun, tmp_path):
    with sqlite3.connect(begun.files.folder / "study.db") as database:
        database.execute("delete from studies")
    database.close()
    with pytest.raises(ModelError, match="has no study study"):
        open_study(str(begun.files.folder))


def test_a_study_of_another_program_is_refused(tmp_path):
    import optuna

    url = f"sqlite:///{tmp_path / 'mine.db'}"
    optuna.create_study(storage=url, study_name="mine")
    with pytest.raises(ModelError, match=r"study mine in sqlite:.* is not a study of Scanline"):
        StudyStorage(url, "mine").find()


def test_a_folder_that_is_no_study_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere is not a study: expected a folder with study.json"):
        open_study(str(tmp_path / "nowhere"))


def test_a_definition_of_another_version_or_damaged_is_refused(begun):
    from scanline.search.definition import Definition

    text = begun.definition.to_json()
    assert Definition.from_json(text, "here") == begun.definition
    for wrong, message in (
        (text.replace('"schema": 1', '"schema": 9'), "expected a study of schema 1, found 9"),
        (text[:50], "is not a study of Scanline"),
        (text.replace('"seed"', '"sead"'), "the definition of the study is damaged"),
    ):
        with pytest.raises(ModelError, match=message):
            Definition.from_json(wrong, "here")


# --- the command line


def write_recipe(folder: Path, search: str) -> str:
    path = folder / "mine.toml"
    path.write_text(f'base = "sequences"\n[train]\nepochs = 1\n{search}')
    return str(path)


@pytest.mark.parametrize(
    ("search", "code", "message"),
    [
        ("[search]\n", 2, "mine.toml: [search] is empty: name settings, such as"),
        (
            '[search]\n"model.layerz" = [1, 2]\n',
            2,
            "unknown setting 'model.layerz'; did you mean 'model.layers'?",
        ),
        ('[search]\n"model.layers" = {low = 3, high = 1}\n', 2, "low must be below high, got 3 and 1"),
        ("search = 3\n", 2, "unknown key 'train.search'"),
    ],
)
def test_the_command_refuses_a_faulty_space_in_one_line(
    waves, tmp_path, monkeypatch, capsys, search, code, message
):
    monkeypatch.chdir(tmp_path)
    arguments = ["tune", str(waves), "--trials", "1", "--recipe", write_recipe(tmp_path, search)]
    assert run(arguments, monkeypatch) == code
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.count("\n") == 0
    assert not (tmp_path / "studies").exists()


def run(arguments: list[str], monkeypatch) -> int:
    """Run a command in this process, and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["scanline", *arguments])
    try:
        code = main()
    except SystemExit as end:
        code = end.code
    return int(code or 0)


@pytest.mark.campaign
def test_the_real_command_line_has_the_exit_codes_of_all_commands(waves, tmp_path):
    small = write_recipe(tmp_path, '[search]\n"model.readout" = ["last", "max"]\n')
    other = write_ts(tmp_path / "other.ts", 24, seed=5)
    size = ("--trials", "1", "--workers", "1", "--folds", "0", "--no-baselines", "--study", "one")

    def tune(*arguments: str) -> tuple[int, str]:
        program = [sys.executable, "-m", "scanline", "tune", *arguments]
        done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr.strip().split("\n")[-1]

    assert tune(str(waves), *size, "--recipe", small)[0] == 0
    assert tune(str(other), *size, "--recipe", small)[0] == 2
    code, line = tune(str(waves), *size, "--recipe", small, "--seed", "5")
    assert (code, line) == (
        2,
        "scanline: study one was begun with another --seed (0 there, 5 wanted): repeat the options that it "
        "was begun with, or choose another --study",
    )
    assert tune("missing.csv", "--trials", "1")[0] == 3
    assert tune("show", "missing")[0] == 4


def test_a_study_whose_creation_was_interrupted_is_created(waves, tmp_path, monkeypatch):
    def fail(*values):
        raise KeyboardInterrupt  # as if killed between two writes

    with monkeypatch.context() as patch:
        patch.setattr(StudyStorage, "set_attribute", fail)
        with pytest.raises(KeyboardInterrupt):
            begin(waves, tmp_path / "study")
    assert begin(waves, tmp_path / "study").storage.find() is not None


@pytest.mark.parametrize(
    "url", ["postgresql://me:secret@host/studies", "postgresql://me@host/studies?password=secret"]
)
def test_the_password_of_a_storage_is_not_kept(url):
    assert _without_password(sqlalchemy.make_url(url)) == "postgresql://me@host/studies"


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_study_has_a_folder_of_its_own(waves, name):
    with pytest.raises(UsageError, match="--study must be a name or the path of a folder"):
        Search.begin(Request(data=str(waves), trials=1, study=name))
