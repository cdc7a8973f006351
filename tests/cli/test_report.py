"""`scanline report` on the command line: output, files and errors."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.reporting.pages import by_id, rows, section, sections, sound, strict, words

PROGRAM = [sys.executable, "-m", "scanline"]
TRAINED = {"status": "finished", "steps": 8, "seconds": 1.5, "samples_seen": 128, "samples_per_s": 85.3}
TRAINED |= {"backend": "native", "precision": "float32", "device": "cpu"}


def one_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text


def everything(folder: Path) -> dict[str, bytes | None]:
    """All that lies in a folder, with what it holds."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


# --- what is written and printed


def test_report_writes_two_files_into_the_run_and_prints_where(scanline, folder):
    before = everything(folder)
    assert scanline("report", "one") == (0, "report: one/report.html\n", "")
    assert set(everything(folder)) - set(before) == {"one/report.html", "one/report.json"}
    assert {name: content for name, content in everything(folder).items() if name in before} == before
    root = sound((folder / "one" / "report.html").read_text("utf-8"))
    twin = strict((folder / "one" / "report.json").read_text())
    recorded = json.loads((folder / "one" / "result.json").read_text())
    assert twin["figures"] == recorded["test"]
    assert f"{recorded['test']['correct']} of 16 sequences of the test split of mine.npz" in words(root)
    # Judging and comparing the run are as before.
    assert scanline("evaluate", "one")[0] == 0


def test_report_in_json_names_both_files(scanline, folder):
    (folder / "pages").mkdir()
    code, out, err = scanline("report", "one/", "--output", "pages/one.html", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "schema": 1, "run": "one/", "page": "pages/one.html", "numbers": "pages/one.json",
    }  # fmt: skip
    assert sorted(path.name for path in (folder / "pages").iterdir()) == ["one.html", "one.json"]
    assert strict((folder / "pages" / "one.json").read_text())["run"] == "one"


def test_a_report_on_given_data_is_of_those(scanline, folder, here):
    code, _, err = scanline("report", "one", "--data", here / "others.npz")
    assert (code, err) == (0, "")
    twin = strict((folder / "one" / "report.json").read_text())
    evaluation = strict(scanline("evaluate", "one", "--data", here / "others.npz", "--json")[1])
    assert twin["judged"]["n"] == 60
    assert twin["judged"]["data"] == "others.npz"
    assert twin["figures"] == evaluation["test"]


# --- beside another run


def test_against_adds_the_same_comparison_as_compare(scanline, folder):
    code, _, err = scanline("report", "one", "--against", "two")
    assert (code, err) == (0, "")
    content = strict((folder / "one" / "report.json").read_text())["comparison"]
    compared = strict(scanline("compare", "one", "two", "--json")[1])
    for item in (content, compared):
        for run in item["runs"]:
            assert run.pop("sequences_per_s") > 0
    assert content["pairs"] == compared["pairs"]
    assert content["runs"] == compared["runs"]
    assert content["n"] == compared["n"] == 16
    assert content["data"] == Path(compared["data"]).name == "mine.npz"

    root = sound((folder / "one" / "report.html").read_text("utf-8"))
    assert sections(root)[0] == "comparison"
    (pair,) = compared["pairs"]
    text = words(section(root, "comparison"))
    assert pair["difference"] != 0
    more = "more" if pair["difference"] > 0 else "less"
    low, high = pair["ci95"]
    assert (
        f"On the same 16 sequences, one is {100 * abs(pair['difference']):.2f} percentage points {more} "
        f"accurate than two (95 % interval of the difference {100 * low:+.2f} to {100 * high:+.2f}; "
        f"exact McNemar test, p = {pair['mcnemar_p']:.3g})."
    ) in text
    negation = "not " if pair["mcnemar_p"] > 0.05 else ""
    assert f"The difference is {negation}significant at the 5 % level." in text
    assert (
        f"Correct predictions: both {pair['both_right']}, only one {pair['first_alone_right']}, only two "
        f"{pair['second_alone_right']}, neither {pair['neither_right']}."
    ) in text
    assert rows(root, "Different predictions") == [
        [str(each["sequence"]), each["true"], each["first"], each["second"]] for each in pair["disagree_on"]
    ]
    assert f"Different predictions ({pair['disagreements']} sequences)" in text
    sheet = {row[0]: row[1:] for row in rows(root, "16 sequences of mine.npz")}
    for column, run in enumerate(compared["runs"]):
        result = json.loads((folder / run["run"] / "result.json").read_text())["test"]
        assert sheet["correct"][column] == str(result["correct"])
        assert sheet["accuracy"][column].startswith(f"{result['accuracy']:.4f} (")
        assert sheet["mean cross-entropy"][column] == f"{result['loss']:.4f}"


def test_runs_of_the_same_name_are_distinguished_by_their_folders(scanline, folder, here):
    arguments = ("--against", "two/model", "--data", here / "others.npz", "--output", "page.html")
    assert scanline("report", "one/model", *arguments)[0] == 0
    (pair,) = strict((folder / "page.json").read_text())["comparison"]["pairs"]
    assert (pair["first"], pair["second"]) == ("one/model", "two/model")
    root = sound((folder / "page.html").read_text("utf-8"))
    assert words(by_id(root, "comparison")) == "Comparison with two/model"


def test_runs_with_equal_predictions_are_exactly_as_accurate(scanline, folder):
    shutil.copytree("one", "again")
    assert scanline("report", "one", "--against", "again")[0] == 0
    root = sound((folder / "one" / "report.html").read_text("utf-8"))
    text = words(section(root, "comparison"))
    assert "one is exactly as accurate as again (95 % interval of the difference " in text
    assert "The difference is not significant at the 5 % level." in text
    assert "Where they disagree" not in text


@pytest.mark.parametrize(
    ("against", "code", "message"),
    [
        ("one", 2, "different runs to compare, got one and one,"),
        ("one/model", 2, "different runs to compare, got one and one/model,"),
        ("other", 3, "one and other: expected the same test sequences, got "),
        ("ona", 4, "there is no run ona; did you mean 'one'?"),
    ],
)
def test_an_invalid_comparison_is_one_line_and_writes_no_files(scanline, folder, against, code, message):
    before = everything(folder)
    result, out, err = scanline("report", "one", "--against", against)
    assert (result, out) == (code, "")
    assert message in one_line(err)
    assert everything(folder) == before


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "Missing argument 'RUN'"),
        (["ona"], 4, "there is no run ona; did you mean 'one'?"),
        (["empty"], 4, r"empty is neither a run directory \(recipe.toml, model/\) nor a model"),
        (["empty", "--output", "page.html"], 4, "empty is neither a run directory"),
        (["file"], 4, "file is neither a run directory"),
        (
            ["one/model"],
            2,
            r"one/model is a model directory, not a run directory: name .* --output FILE\.html",
        ),
        (["one", "--output", "page.pdf"], 2, "expected a report file ending in .html, got page.pdf"),
        (["one", "--output", "page"], 2, "expected a report file ending in .html, got page"),
        (["one", "--output", ""], 2, "expected a report file ending in .html, got "),
        (["one", "--output", "one/result.html"], 2, "one/result.json is a file of the run itself: choose an"),
        (["one", "--output", "one/split.HTM"], 2, "one/split.json is a file of the run itself"),
        (
            ["one", "--output", "./one/environment.html"],
            2,
            "one/environment.json is a file of the run itself",
        ),
        (["one", "--output", "mine.html"], 2, "mine.json exists and is not a report: choose another name"),
        (["one", "--output", "no/such/page.html"], 1, "cannot write no/such/page.json: No such file"),
        (["one", "--output", "file/page.html"], 1, "cannot write file/page.json: Not a directory"),
        (["one", "--output", "folder.html"], 1, "cannot write folder.html: Is a directory"),
        (["one", "--output", "twin.html"], 1, "cannot write twin.json: Is a directory"),
        (["one", "--output", "x" * 300 + ".html"], 1, "File name too long"),
        (["one", "--data", "nowhere.csv"], 3, "nowhere.csv: no such file or folder"),
        (["one", "--data", "mine.json"], 3, "mine.json"),
        (["one", "--data", "imagenet"], 2, "unknown data set 'imagenet'"),
        (["one", "--data", "digits"], 3, r"expected shape \(N, steps, 2\), found \(\d+, 8, 8\)"),
        (["one", "--device", "tpu"], 2, "device must be one of auto, cpu, cuda, cuda:N, got 'tpu'"),
        (["one", "two"], 2, "unexpected extra argument"),
    ],
)
def test_an_invalid_request_is_one_line_and_writes_no_files(scanline, folder, arguments, code, message):
    (folder / "empty").mkdir()
    (folder / "folder.html").mkdir()
    (folder / "twin.json").mkdir()
    (folder / "file").write_text("no run")
    (folder / "mine.json").write_text('{"kind": "report card"}')
    before = everything(folder)
    result, out, err = scanline("report", *arguments)
    assert (result, out) == (code, ""), err
    assert re.search(message, one_line(err)), err
    assert everything(folder) == before


def test_a_result_that_a_run_has_yet_to_write_keeps_its_place(scanline, folder):
    (folder / "one" / "result.json").unlink()
    before = everything(folder)
    code, _, err = scanline("report", "one", "--output", "one/result.html")
    assert code == 2
    assert "one/result.json is a file of the run itself" in one_line(err)
    assert everything(folder) == before


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("result.json", '{"training": {"status": "fin', r"one/result\.json is damaged: not valid JSON"),
        ("result.json", "[]", r"one/result\.json is damaged: expected a JSON object, found list"),
        ("result.json", '{"training": 3}', r"one/result\.json is damaged: training: "),
        (
            "result.json",
            '{"training": {"status": "finished", "steps": 8}}',
            r"one/result\.json is damaged: .*training\.seconds: Field required",
        ),
        ("environment.json", "\x00", r"one/environment\.json is damaged: not valid JSON"),
        (
            "result.json",
            json.dumps({"training": TRAINED | {"seconds": "long"}}),
            r"one/result\.json is damaged: training\.seconds: Input should be a valid number",
        ),
        (
            "result.json",
            json.dumps({"training": TRAINED | {"seconds": float("nan")}}),
            r"one/result\.json is damaged: training\.seconds: Input should be a finite number",
        ),
        (
            "environment.json",
            '{"packages": -1}',
            r"one/environment\.json is damaged: packages: .* dictionary",
        ),
        ("environment.json", '{"data": {"test": {"n": 3}}}', r"one/environment\.json is damaged: .*sha256: "),
        ("environment.json", '{"data": []}', r"one/environment\.json is damaged: data: .* dictionary"),
        ("environment.json", '{"computes": 3}', r"one/environment\.json is damaged: computes: "),
        (
            "environment.json",
            '{"cores": NaN}',
            r"one/environment\.json is damaged: ",
        ),
        (
            "environment.json",
            '{"python": "\\ud800"}',
            r"one/environment\.json is damaged: expected plain JSON",
        ),
        ("split.json", "{}", r"one/split\.json is damaged: parts: Field required"),
        ("split.json", '{"parts": {"train": [4]}}', r"one/split\.json is damaged: parts\.train: "),
        ("split.json", '{"parts": {"train": {"n": "4"}}}', r"one/split\.json is damaged: parts\.train\.n: "),
        ("split.json", "", r"one/split\.json is damaged: not valid JSON"),
        ("recipe.toml", "seed = ", r"one/recipe\.toml is not valid TOML: Invalid value"),
        ("recipe.toml", "", r"one/recipe\.toml is damaged: name: Field required"),
        (
            "recipe.toml",
            'name = "rows"\nseed = 1\nsplit.seed = 2\ndata = 3',
            r"one/recipe\.toml is damaged: data: Input should be a valid dictionary",
        ),
        (
            "recipe.toml",
            'name = "rows"\nseed = 1\nsplit.seed = 2\nabout = 2026-01-31',
            r"one/recipe\.toml is damaged: ",
        ),
        ("recipe.toml", 'name = "rows"\nseed = 1\nsplit = 2', r"one/recipe\.toml is damaged: split: "),
        (
            "recipe.toml",
            'name = "rows"\nseed = 1\nsplit.seed = 2',
            r"one/recipe\.toml is damaged: it names no data",
        ),
        ("model/model.json", "{", r"one/model/model\.json is damaged: not valid JSON"),
        ("model/model.safetensors", "", r"one/model/model\.safetensors is damaged"),
    ],
)
def test_a_damaged_file_is_named_in_one_line_and_no_files_are_written(
    scanline, folder, file, content, message
):
    (folder / "one" / file).write_text(content)
    before = everything(folder)
    code, out, err = scanline("report", "one")
    assert (code, out) == (4, ""), err
    assert re.search(message, one_line(err)), err
    assert everything(folder) == before


def test_a_run_that_was_cut_off_before_its_clock_moved_is_shown(scanline, folder):
    path = folder / "one" / "result.json"
    result = json.loads(path.read_text())
    result["training"] |= {"status": "interrupted", "seconds": 0.0, "samples_per_s": None}
    path.write_text(json.dumps(result))
    code, _, err = scanline("report", "one")
    assert (code, err) == (0, "")


def test_invalid_lines_of_the_history_are_skipped(scanline, folder):
    path = folder / "one" / "metrics.jsonl"
    recorded = path.read_text()
    valid = {"event": "logged", "step": 3, "loss": 0.5, "accuracy": 0.5}
    invalid = [
        {"learning_rate": None},
        {"samples": "many"},
        {"event": "judged", "part": 3},
        {"seconds": []},
        {"step": 1.5},
        {"step": 2**60},
    ]
    path.write_text(recorded + "".join(json.dumps(valid | changed) + "\n" for changed in invalid))
    assert scanline("report", "one")[0] == 0
    history = json.loads((folder / "one" / "report.json").read_text())["course"]
    assert history == [json.loads(line) for line in recorded.splitlines()]


def test_a_failed_report_keeps_the_earlier_one(scanline, folder):
    assert scanline("report", "one")[0] == 0
    before = everything(folder)
    assert scanline("report", "one", "--against", "other")[0] == 3
    assert everything(folder) == before


@pytest.mark.parametrize(
    ("absent", "names"),
    [
        (["jinja2"], "jinja2"),
        (["matplotlib"], "matplotlib"),
        (["jinja2", "matplotlib"], "jinja2 and matplotlib"),
    ],
)
def test_without_the_extra_it_is_named_before_anything_is_done(
    scanline, folder, here, monkeypatch, absent, names
):
    for name in absent:
        monkeypatch.setitem(sys.modules, name, None)
    before = everything(folder)
    for arguments in (
        ["report", "one"],
        ["train", str(here / "mine.npz"), "--report", "--run", "new", "--set", "train.samples=100"],
    ):
        code, out, err = scanline(*arguments)
        assert (code, out) == (2, "")
        assert f"a report requires {names}, which " in one_line(err)
        assert "pip install '.[report]'" in err
    assert everything(folder) == before
