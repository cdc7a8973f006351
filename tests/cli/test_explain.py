"""`scanline explain`: output, files, and errors of one line."""

from __future__ import annotations

import json
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

import scanline as package
from scanline.data import catalogue as catalog

SETTINGS = {"train.samples": 0, "train.steps": 5, "train.epochs": 0, "model.hidden_size": 4}
NAMES = ["<script>alert(1)</script>", "a & b", "$x^2$", "x" * 300, "中文类"]


def one_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text


def table(names, labels, seed=0):
    """A long table of recordings of two features, 4 to 7 steps each."""
    draw = np.random.default_rng(seed)
    lines = [
        f"{name},{step},{draw.normal():.3f},{draw.normal():.3f},{label}"
        for number, (name, label) in enumerate(zip(names, labels, strict=True))
        for step in range(4 + number % 4)
    ]
    return "\n".join(["id,time,x,y,label", *lines]) + "\n"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A run on a table whose classes have names that are no friends of markup."""
    folder = tmp_path_factory.mktemp("recordings")
    names = [f"r{number:02d}" for number in range(60)]
    (folder / "mine.csv").write_text(table(names, NAMES * 12))
    package.train(folder / "mine.csv", settings=SETTINGS, run=folder / "run", log=None)
    return folder / "run"


@pytest.fixture
def new(tmp_path):
    (tmp_path / "new").mkdir()
    path = tmp_path / "new" / "new.csv"
    path.write_text(table(["first", "second"], ["", ""], seed=1).replace(",label", "").replace(",\n", "\n"))
    return path


@pytest.fixture
def seven(tmp_path):
    (tmp_path / "pictures").mkdir()
    path = tmp_path / "pictures" / "seven.png"
    Image.fromarray(255 - catalog.load("digits").test.values[0] * 15).resize((90, 90)).save(path)
    return path


# --- what it prints


def test_it_prints_the_prediction_when_it_settled_and_earlier_ones(scanline, trained):
    code, out, err = scanline("explain", trained, "5")
    assert (code, err) == (0, "")
    first, second, *steps, last = out.splitlines()
    label = re.match(r"test sequence 5: (\d) \((0\.\d{4})\)", first)
    assert re.fullmatch(r"  first predicted after row \d, settled from row \d of 8; .*", second)
    assert [int(line.split()[0]) for line in steps] == list(range(1, 9))
    image = catalog.load("digits").test.values[5]
    probabilities = package.load(trained).predict_proba(image)[0]
    best, other = probabilities.argsort()[::-1][:2]
    match = re.fullmatch(r" +8  (\d) +(0\.\d{4}) \S* +(\d) (0\.\d{4})", steps[-1])
    assert match.groups() == (
        str(best),
        f"{probabilities[best]:.4f}",
        str(other),
        f"{probabilities[other]:.4f}",
    )
    assert label.groups() == (str(best), f"{probabilities[best]:.4f}")
    sums = re.fullmatch(
        r"  the attributions add up to (-?\d+\.\d{4}); the difference of logits is (-?\d+\.\d{4})", last
    )
    assert float(sums.group(1)) == pytest.approx(float(sums.group(2)), abs=2e-3)


def test_in_json_it_has_every_number_and_no_nan(scanline, trained):
    def no_constant(name):
        raise AssertionError(name)

    code, out, err = scanline("explain", trained, "5", "--json")
    assert (code, err) == (0, "")
    content = json.loads(out, parse_constant=no_constant)
    assert (content["schema"], content["run"], content["sequence"]) == (1, str(trained), "test sequence 5")
    image = catalog.load("digits").test.values[5]
    assert content["values"] == image.tolist()
    assert content["true"] == catalog.load("digits").test.targets[5]
    probabilities = package.load(trained).predict_proba(image)[0]
    assert content["probabilities"][-1] == pytest.approx(probabilities, abs=1e-6)
    assert np.array(content["attribution"]["values"]).shape == (8, 8)
    (layer,) = content["layers"]
    assert all(np.array(layer[split]).shape == (8, 128) for split in "ifgoch")


def test_an_option_selects_calibrated_probabilities(scanline, trained):
    image = catalog.load("digits").test.values[5]
    plain, calibrated = (
        json.loads(scanline("explain", trained, "5", "--json", *options)[1])["probabilities"][-1]
        for options in ((), ("--calibrated",))
    )
    assert plain == pytest.approx(package.load(trained).predict_proba(image)[0], abs=1e-6)
    assert calibrated != pytest.approx(plain, abs=1e-4)
    model = package.load(trained, calibrated=True)
    assert calibrated == pytest.approx(model.predict_proba(image)[0], abs=1e-6)


def test_a_picture_is_explained_as_it_is_predicted(scanline, trained, seven):
    predicted = json.loads(scanline("predict", trained, seven, "--json")[1])["predictions"][0]
    explanation = json.loads(scanline("explain", trained, seven, "--json")[1])
    assert explanation["sequence"] == str(seven)
    assert explanation["true"] is None
    assert explanation["label"] == predicted["label"]
    assert explanation["probabilities"][-1] == pytest.approx(
        list(predicted["probabilities"].values()), abs=1e-6
    )


def test_a_sequence_of_a_file_is_explained_as_it_is_predicted(scanline, recordings, new):
    predicted = json.loads(scanline("predict", recordings, new, "--json")[1])["predictions"]
    for index, name in enumerate(["first", "second"]):
        for wanted in (name, index):
            explanation = json.loads(scanline("explain", recordings, new, "--sequence", wanted, "--json")[1])
            assert explanation["sequence"] == f"{new}, sequence {name}"
            probabilities = list(predicted[index]["probabilities"].values())
            assert explanation["probabilities"][-1] == pytest.approx(probabilities, abs=1e-6)
    code, out, _ = scanline("explain", recordings, new)
    assert code == 0
    assert out.startswith(f"{new}, sequence first: ")


def test_sequences_of_npz_and_ts_files_are_named_by_number(scanline, recordings, tmp_path):
    values = np.array([[[1, 2], [3, 4], [5, 6]], [[-1, 0], [0.5, 0.25], [2, 1]]], np.float32)
    np.savez(tmp_path / "new.npz", X=values)
    series = "\n".join(":".join(",".join(map(str, row)) for row in each.T) for each in values)
    header = "@problemName new\n@timeStamps false\n@univariate false\n@classLabel false\n@data\n"
    (tmp_path / "new.ts").write_text(f"{header}{series}\n")
    for kind in ("npz", "ts"):
        given = ("explain", recordings, tmp_path / f"new.{kind}", "--sequence", "1", "--json")
        code, out, err = scanline(*given)
        assert code == 0, err
        assert json.loads(out)["values"] == values[1].tolist()


# --- what it writes


def test_every_format_is_written_completely(scanline, trained, seven, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    targets = [folder / f"seven.{kind}" for kind in ("png", "svg", "json", "npz")]
    saves = [name for target in targets for name in ("--save", target)]
    code, out, err = scanline("explain", trained, seven, *saves)
    assert code == 0
    assert err == "".join(f"wrote {target}\n" for target in targets)
    assert out.startswith(f"{seven}: ")
    assert sorted(folder.iterdir()) == sorted(targets)
    with Image.open(targets[0]) as picture:
        assert np.asarray(picture.convert("L")).std() > 20
    label = ElementTree.parse(targets[1]).getroot().get("aria-label")
    assert label == f"Explanation of {seven}: gates and states by step"
    content = json.loads(targets[2].read_text())
    printed = json.loads(scanline("explain", trained, seven, "--json")[1])
    assert printed.pop("run") == str(trained)
    assert content == printed
    with np.load(targets[3], allow_pickle=False) as file:
        assert np.array_equal(file["attribution"], content["attribution"]["values"])
        assert np.array_equal(file["probabilities"], content["probabilities"])
        assert np.array_equal(file["values"], content["values"])


def test_unusual_class_names_are_plain_text_everywhere(scanline, recordings, new, tmp_path):
    code, out, err = scanline("explain", recordings, new, "--save", tmp_path / "e.svg", "--json")
    assert code == 0
    assert one_line(err) == f"wrote {tmp_path / 'e.svg'}\n"
    assert sorted(json.loads(out)["classes"]) == sorted(NAMES)
    text = (tmp_path / "e.svg").read_text("utf-8")
    assert "<script" not in text
    words = ["".join(each.itertext()) for each in ElementTree.fromstring(text).iter()]
    for name in ("<script>alert…", "a & b", "$x^2$", "x" * 13 + "…", "中文类"):
        assert name in words
    code, out, err = scanline("explain", recordings, new)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 2 + 4 + 1


# --- what cannot be


def refused(scanline, folder, *arguments):
    """The exit code and the line of a request that prints and leaves nothing."""
    before = sorted(folder.rglob("*"))
    code, out, err = scanline("explain", *arguments)
    assert out == ""
    assert sorted(folder.rglob("*")) == before
    return code, one_line(err)


def test_a_number_beyond_the_test_split_exits_with_2(scanline, trained, tmp_path):
    code, line = refused(scanline, tmp_path, trained, "360", "--save", tmp_path / "e.svg")
    assert code == 2
    assert "has no sequence '360': expected one of 0 to 359" in line


def test_an_unknown_sequence_exits_with_2(scanline, recordings, new, tmp_path):
    code, line = refused(scanline, tmp_path, recordings, new, "--sequence", "third")
    assert code == 2
    assert "new.csv has no sequence 'third': expected one of first, second" in line


def test_a_sequence_of_a_picture_exits_with_2(scanline, trained, seven, tmp_path):
    code, line = refused(scanline, tmp_path, trained, seven, "--sequence", "0")
    assert code == 2
    assert line == f"scanline: --sequence applies to files of several sequences; {seven} is a picture\n"


def test_a_sequence_of_a_number_exits_with_2(scanline, trained, tmp_path):
    code, line = refused(scanline, tmp_path, trained, "3", "--sequence", "4")
    assert code == 2
    assert "--sequence applies to files of several sequences; 3 is a number in the test split" in line


@pytest.mark.parametrize("ending", [".bmp", "", ".svg.gz"])
def test_another_ending_exits_with_2_and_writes_none_of_the_files(scanline, trained, tmp_path, ending):
    good, bad = tmp_path / "e.json", tmp_path / f"e{ending}"
    code, line = refused(scanline, tmp_path, trained, "3", "--save", good, "--save", bad)
    assert code == 2
    assert f"ending in .png, .svg, .gif, .json, .npz; got {bad}" in line


def test_a_place_that_cannot_be_written_to_exits_with_1(scanline, trained, tmp_path):
    code, line = refused(scanline, tmp_path, trained, "3", "--save", tmp_path / "nowhere" / "e.json")
    assert code == 1
    assert f"cannot write {tmp_path}/nowhere/e.json: No such file or directory" in line
    (tmp_path / "e.svg").mkdir()
    code, line = refused(scanline, tmp_path, trained, "3", "--save", tmp_path / "e.svg")
    assert code == 1
    assert f"cannot write {tmp_path}/e.svg: Is a directory" in line


@pytest.mark.parametrize("name", ["nothing.png", "nothing.csv", "nothing"])
def test_a_file_that_is_not_there_exits_with_3(scanline, trained, recordings, tmp_path, name):
    for run in (trained, recordings):
        code, line = refused(scanline, tmp_path, run, tmp_path / name)
        assert code == 3
        assert name in line


def test_a_name_that_is_too_long_is_one_line(scanline, trained, recordings, tmp_path):
    for run in (trained, recordings):
        assert refused(scanline, tmp_path, run, "x" * 5000)[0] in (1, 3)


def test_a_file_that_is_no_picture_exits_with_3(scanline, trained, tmp_path):
    (tmp_path / "seven.png").write_text("seven")
    code, line = refused(scanline, tmp_path, trained, tmp_path / "seven.png")
    assert code == 3
    assert "seven.png" in line


def test_a_sequence_of_another_width_exits_with_3(scanline, recordings, tmp_path):
    np.savez(tmp_path / "wide.npz", X=np.zeros((2, 5, 3)))
    code, line = refused(scanline, tmp_path, recordings, tmp_path / "wide.npz")
    assert code == 3
    assert "expected shape (N, steps, 2), found (2, 5, 3)" in line


def test_pictures_of_another_size_exit_with_3(scanline, trained, tmp_path):
    np.savez(tmp_path / "large.npz", X=np.zeros((2, 28, 28), np.uint8))
    code, line = refused(scanline, tmp_path, trained, tmp_path / "large.npz")
    assert code == 3
    assert "expected shape (N, 8, 8), found (2, 28, 28)" in line


def test_values_that_are_missing_exit_with_3(scanline, recordings, new, tmp_path):
    lines = new.read_text().splitlines()
    lines[2] = "first,1,,0.5"
    new.write_text("\n".join(lines) + "\n")
    code, line = refused(scanline, tmp_path, recordings, new)
    assert code == 3
    assert "new.csv: line 3, column x: expected a finite number, found a missing value" in line


def test_a_run_without_a_model_exits_with_4(scanline, trained, tmp_path):
    code, line = refused(scanline, tmp_path, tmp_path / "nothing", "3")
    assert code == 4
    assert "there is no run" in line
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(trained / "recipe.toml", unfinished)
    code, line = refused(scanline, tmp_path, unfinished, "3")
    assert code == 4
    assert "has no model yet" in line


def test_probabilities_that_were_never_calibrated_exit_with_4(scanline, tmp_path):
    data = package.Arrays(np.zeros((20, 3, 2)), np.arange(20) % 2)
    run = package.train(data, settings=SETTINGS | {"split.validation": 0.0}, run=tmp_path / "run", log=None)
    code, line = refused(scanline, tmp_path, run.path, "3", "--calibrated")
    assert code == 4
    assert "has no temperature" in line


def test_without_a_test_split_a_number_exits_with_2(scanline, recordings, tmp_path):
    code, line = refused(scanline, tmp_path, recordings / "model", "3")
    assert code == 2
    assert "was trained on" in line


def test_without_matplotlib_saving_a_figure_exits_with_2_and_text_still_works(
    scanline, trained, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert scanline("explain", trained, "3")[0] == 0
    code, line = refused(scanline, tmp_path, trained, "3", "--save", tmp_path / "e.png")
    assert code == 2
    assert "plotting requires matplotlib, which is not installed: run pip install '.[report]'" in line


def test_missing_and_unknown_arguments_exit_with_2(scanline, trained, tmp_path):
    assert "expected INPUT or --text, found neither" in refused(scanline, tmp_path, trained)[1]
    code, line = refused(scanline, tmp_path, trained, "3", "--device", "tpu")
    assert code == 2
    assert "device must be one of auto, cpu, cuda, cuda:N, got 'tpu'" in line
