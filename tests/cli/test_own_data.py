"""The command line on the user's data: options, notes, and errors of one line."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from scanline.api import train
from scanline.model.loading import load

QUICK = ("--set", "train.samples=0", "--set", "train.steps=3", "--set", "model.hidden_size=8")
ROWS = [
    f"{sequence},{step},{sequence % 4},{sequence % 2 + 0.1 * step},{'ab'[sequence % 2]}"
    for sequence in range(24)
    for step in range(3 + sequence % 3)
]
TABLE = "\n".join(["rec,when,who,x,kind", *ROWS]) + "\n"
COLUMNS = ("--id-column", "rec", "--time-column", "when", "--label-column", "kind", "--feature-columns", "x")


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(TABLE)
    return path


def one_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text


def test_a_command_that_is_repeated_with_resume_continues_the_run(scanline, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(table, "check.csv")
    (tmp_path / "own.toml").write_text('base = "sequences"\n[model]\nhidden_size = 8\n')
    command = ("train", table.name, *COLUMNS, "--test", "check.csv", "--recipe", "own.toml", "--run", "run")
    assert scanline(*command, "--set", "train.steps=3", "--seed", "3")[0] == 0
    code, out, err = scanline(*command, "--set", "train.steps=5", "--seed", "3", "--resume")
    assert code == 0, err
    assert out.startswith("test: ")
    assert "train: 3 steps become 5" in err
    # Without the seed and the columns, the command asks for another run, and for the columns of this one.
    code, _, err = scanline("train", "mine.csv", "--recipe", "own.toml", "--run", "run", "--resume")
    assert code == 2
    assert "seed (3 there, 0 wanted)" in one_line(err)
    assert "label_column" not in err
    code, _, err = scanline(*command, "--seed", "3", "--label-column", "who", "--resume")
    assert code == 2
    assert "data.label_column (kind there, who wanted)" in one_line(err)


def test_a_missing_file_is_not_reported_as_an_unknown_data_set(scanline, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCANLINE_DATA", raising=False)
    for command in (("train",), ("data", "show")):
        code, _, err = scanline(*command, "mime.csv")
        assert code == 3
        assert one_line(err) == "scanline: mime.csv: no such file or folder; did you mean 'mine.csv'?\n"


def test_a_fault_of_a_setting_is_reported_before_the_recipe_is_chosen(scanline, table):
    code, _, err = scanline("train", table, "--set", "train.steps=few")
    assert code == 2
    assert one_line(err).startswith("scanline: the default recipe with these settings: train.steps must be")
    # A setting that is not possible with the recipe for pictures is not refused for other data.
    code, _, err = scanline("train", "nowhere.npz", "--set", "train.stesp=3")
    assert one_line(err).startswith("scanline: the default recipe with these settings: unknown key")


def test_columns_are_named_by_options_and_groups_stay_together(scanline, table, tmp_path):
    code, out, err = scanline(
        "train",
        table,
        *COLUMNS,
        "--group-column",
        "who",
        "--run",
        tmp_path / "run",
        "--set",
        "split.test=0.3",
        *QUICK,
    )
    assert code == 0, err
    assert out.startswith("test: ")
    assert "read as a long table" in err
    splits = json.loads((tmp_path / "run" / "split.json").read_text())["parts"]
    assert sum(len(name["groups"]) for name in splits.values()) == 4


def test_show_summarises_a_source(scanline, table):
    code, out, err = scanline("data", "show", table, *COLUMNS)
    assert code == 0
    assert out == (
        "mine.csv: sequences, features x\n"
        "  24 sequences, 3 to 5 steps, 1 feature\n    2 classes: a 12, b 12\n"
        "  intervals: median 1, all equal\n"
    )
    assert "read as a long table, a row for each step" in err
    content = json.loads(scanline("data", "show", table, *COLUMNS, "--json")[1])
    assert content["parts"]["all"]["steps"] == {"min": 3, "median": 4.0, "max": 5}
    assert (content["feature_names"], content["schema"]) == (["x"], 1)


def test_show_lists_the_splits_of_a_named_set(scanline):
    _, out, _ = scanline("data", "show", "digits")
    assert out.startswith(
        "digits: grey pictures, 8 x 8 pixels\n"
        "  train: 1,257 sequences, 8 steps, 8 features\n    10 classes: 0 124, "
    )


def test_predict_names_every_sequence_of_a_file(scanline, table, tmp_path):
    assert scanline("train", table, *COLUMNS, "--run", tmp_path / "run", *QUICK)[0] == 0
    (tmp_path / "new.csv").write_text("rec,when,x\nfirst,0,1.5\nfirst,1,1.6\nsecond,0,0.1\n")
    code, out, _ = scanline("predict", tmp_path / "run", tmp_path / "new.csv")
    assert code == 0
    assert re.fullmatch(
        r".*new\.csv: first: [ab] \([01]\.\d{4}\)\n.*new\.csv: second: [ab] \([01]\.\d{4}\)\n", out
    )
    predictions = json.loads(scanline("predict", tmp_path / "run", tmp_path / "new.csv", "--json")[1])[
        "predictions"
    ]
    assert [prediction["sequence"] for prediction in predictions] == ["first", "second"]
    code, _, err = scanline(
        "predict", tmp_path / "run", tmp_path / "new.csv", "--save-input", tmp_path / "x.png"
    )
    assert code == 2
    assert "--save-input is for models of pictures, this one reads sequences" in one_line(err)


def test_evaluate_reads_other_files_in_the_same_way(scanline, table, tmp_path):
    assert scanline("train", table, *COLUMNS, "--run", tmp_path / "run", *QUICK)[0] == 0
    (tmp_path / "other.csv").write_text(TABLE.replace("who,", "").replace("\n0,", "\n100,"))
    code, out, err = scanline("evaluate", tmp_path / "run", "--data", tmp_path / "other.csv")
    assert code == 3
    assert "line 2: expected 4 cells, found 5" in one_line(err)
    (tmp_path / "other.csv").write_text(TABLE)
    (tmp_path / "copy.csv").write_text(TABLE)
    code, out, _ = scanline("evaluate", tmp_path / "run", "--data", tmp_path / "copy.csv")
    assert code == 0
    assert "of 24 correct" in out  # another file is judged as a whole


@pytest.mark.parametrize(
    ("content", "options", "code", "message"),
    [
        (TABLE.replace("0,1,0,0.1,a", "0,1,0,0.1"), (), 3, "line 3: expected 5 cells, found 4"),
        (
            TABLE.replace("0,1,0,0.1,a", "0,1,0,fast,a"),
            (),
            3,
            "line 3, column x: expected a number, found 'fast'",
        ),
        (
            TABLE.replace("0,1,0,0.1,a", "0,1,0,,a"),
            (),
            3,
            "line 3, column x: expected a finite number, found a mis",
        ),
        (
            TABLE.replace("0,1,0,0.1,a", "0,1,0,inf,a"),
            (),
            3,
            "line 3, column x: expected a finite number, found inf",
        ),
        (
            TABLE.replace("0,1,0,0.1,a", "0,0,0,0.1,a"),
            (),
            3,
            "line 3: expected one row of sequence 0 at each time",
        ),
        (
            TABLE.replace("0,1,0,0.1,a", "0,1,0,0.1,b"),
            (),
            3,
            "line 3, column kind: expected one label for a seq",
        ),
        (
            TABLE.replace("0,1,0,0.1,a", "0,1,0,0.1,"),
            (),
            3,
            "expected one label for a sequence, 'a' as in line 2",
        ),
        (TABLE + "99,0,0,1,c\n99,1,0,1,c\n", (), 3, "class c has a single sequence"),
        (TABLE, ("--label-column", "knd"), 2, "; did you mean 'kind'?"),
        (TABLE, ("--view", "columns"), 2, "input.view must be rows for mine.csv, which has no pictures"),
        (
            TABLE,
            ("--view", "spiral"),
            2,
            "input.view must be one of rows, columns, pixels, permuted or patches:k",
        ),
        (
            TABLE,
            ("--picture", "big"),
            2,
            "data.picture must be height x width, such as 28x28, or none, got 'big'",
        ),
        (
            TABLE,
            ("--missing", "guess"),
            2,
            "input.missing must be one of 'error', 'forward-fill', 'zero' or 'mean'",
        ),
        (TABLE, ("--recipe", "rows"), 2, "train.shift must be 0 for mine.csv, which has no pictures, got 1"),
        (TABLE, ("--test", "nowhere.csv"), 3, "nowhere.csv: no such file or folder; expected a .ts"),
        ("", (), 3, "mine.csv: expected a table, found an empty file"),
        ("\x89PNG\r\n\x1a\n\0\0\0", (), 3, "mine.csv: line 1: expected CSV text"),
    ],
)
def test_invalid_training_data_are_refused_in_one_line_and_leave_no_files(
    scanline, tmp_path, content, options, code, message
):
    (tmp_path / "mine.csv").write_bytes(content.encode("latin-1"))
    columns = COLUMNS if "--label-column" not in options else COLUMNS[:4]
    result, out, err = scanline(
        "train", tmp_path / "mine.csv", *columns, *options, "--run", tmp_path / "run", *QUICK
    )
    assert (result, out) == (code, "")
    assert message in one_line(err)
    assert not (tmp_path / "run").exists()


def test_unsorted_times_are_sorted_with_a_note(scanline, table, tmp_path):
    rows = TABLE.splitlines()
    table.write_text("\n".join([rows[0], rows[2], rows[1], *rows[3:]]) + "\n")
    code, _, err = scanline("train", table, *COLUMNS, "--run", tmp_path / "run", *QUICK)
    assert code == 0
    assert "1 of 24 sequences were not sorted by time: sorted" in err


def test_resuming_with_other_data_is_refused(scanline, tmp_path, trained):
    shutil.copytree(trained, tmp_path / "run")
    code, _, err = scanline("train", "--resume", "--run", tmp_path / "run", "--view", "columns")
    assert code == 2
    assert "cannot be resumed with another recipe: input.view (rows there, columns wanted)" in one_line(err)
    code, _, err = scanline("train", "nowhere.csv", "--resume", "--run", tmp_path / "run")
    assert code == 2
    assert "cannot be resumed with other data: it was trained on digits, got nowhere.csv" in one_line(err)
    code, _, err = scanline("train", "digits", "--resume")
    assert code == 2
    assert "--resume requires --run DIR" in one_line(err)


@pytest.fixture(scope="module")
def wide_run(tmp_path_factory):
    """A run on a wide table with decimal points, in the folder of its file a.csv."""
    folder = tmp_path_factory.mktemp("wide")
    (folder / "a.csv").write_text(wide_table())
    few = {"train.samples": 0, "train.steps": 3, "model.hidden_size": 4}
    train(folder / "a.csv", settings=few, run=folder / "run", log=None)
    return folder / "run"


def wide_table(separator: str = ",", decimal: str = ".") -> str:
    rows = [f"{index % 2 + step / 7:.3f}".replace(".", decimal) for index in range(24) for step in range(3)]
    lines = [["ba"[index % 2], *rows[3 * index : 3 * index + 3]] for index in range(24)]
    return "\n".join(separator.join(line) for line in [["label", "t0", "t1", "t2"], *lines]) + "\n"


DIALECTS = [
    (wide_table(";", ","), ("--decimal", ",")),
    (wide_table(":"), ("--separator", ":")),
    (wide_table("|", ","), ("--separator", "|", "--decimal", ",")),
    (wide_table(), ("--encoding", "utf-16-le")),
]


@pytest.mark.parametrize(("content", "options"), DIALECTS)
def test_a_model_predicts_and_explains_files_of_another_dialect(
    scanline, wide_run, tmp_path, content, options
):
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode("utf-16-le" if "utf-16-le" in options else "utf-8"))
    plain = wide_run.parent / "a.csv"
    for command in ("predict", "explain"):
        code, out, err = scanline(command, wide_run, path, *options)
        assert code == 0, err
        assert out.replace(str(path), "") == scanline(command, wide_run, plain)[1].replace(str(plain), "")


@pytest.mark.parametrize(("content", "options"), DIALECTS[:3])
def test_a_model_is_evaluated_on_files_of_another_dialect(scanline, wide_run, tmp_path, content, options):
    path = tmp_path / "b.csv"
    path.write_text(content)
    code, out, err = scanline("evaluate", wide_run, "--data", path, *options, "--json")
    assert code == 0, err
    assert json.loads(out)["test"]["n"] == 24


def test_a_dialect_is_refused_where_it_has_no_effect_or_is_not_legal(scanline, wide_run):
    code, _, err = scanline("evaluate", wide_run, "--encoding", "latin-1")
    assert code == 2
    assert "name the data to read by encoding with --data" in one_line(err)
    code, _, err = scanline("serve", wide_run, "--decimal", ",")
    assert code == 2
    assert "name the data to read by decimal with --data" in one_line(err)
    for option, value, message in (
        ("--separator", "x", "data.separator must be tab, blanks or one of"),
        ("--decimal", "x", "data.decimal must be one of '', '.' or ','"),
        ("--encoding", "klingon", "data.encoding must be a text encoding"),
        ("--white", "-1", "--white must be a whole number such as 4095, got '-1'"),
    ):
        code, _, err = scanline("predict", wide_run, "a.csv", option, value)
        assert code == 2
        assert message in one_line(err)


def test_white_is_named_in_training_and_for_other_files(scanline, tmp_path):
    draw = np.random.default_rng(0)
    for index in range(24):
        folder = tmp_path / "data" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        values = draw.integers(0, 4096, (6, 6), np.uint16) // (4 if index % 2 else 1)
        values[0, 0] = 4095
        Image.fromarray(values).save(folder / f"{index}.png")
    path, eight = tmp_path / "data" / "a" / "0.png", tmp_path / "eight.png"
    Image.fromarray(np.rint(np.asarray(Image.open(path)) / 4095 * 255).astype(np.uint8)).save(eight)
    code, _, err = scanline("train", tmp_path / "data", "--run", tmp_path / "refused", *QUICK)
    assert code == 3
    assert "such as --white 4095" in one_line(err)
    run = tmp_path / "run"
    code, _, err = scanline("train", tmp_path / "data", "--white", "4095", "--run", run, *QUICK)
    assert code == 0, err

    def answer(file, *options):
        code, out, err = scanline("predict", run, file, *options)
        assert code == 0, err
        return out.replace(str(file), "")

    assert answer(path) == answer(eight)
    Image.fromarray(np.asarray(Image.open(path)) // 4).save(ten := tmp_path / "ten.png")
    assert answer(ten) != answer(ten, "--white", "1023")
    code, _, err = scanline("evaluate", run, "--data", tmp_path / "data", "--white", "4095")
    assert code == 0, err
    assert load(run).preprocessing.settings.white == 4095
