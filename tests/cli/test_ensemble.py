"""`scanline ensemble`, and every other command with an ensemble in place of a run."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow.parquet
import pytest
from PIL import Image

import scanline as package
from scanline.api import train
from scanline.data import catalogue
from scanline.errors import ModelError, UsageError
from scanline.model.model_files import find_model
from scanline.storage.json_files import write_sealed_json
from scanline.training.provenance import trained_on

QUICK = {"train.samples": 800, "model.hidden_size": 12}
TINY = {"train.samples": 0, "train.epochs": 0, "train.steps": 4, "model.hidden_size": 4}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder with three runs on the digits that differ in cell, view and seed, and an ensemble of them."""
    folder = tmp_path_factory.mktemp("runs")
    kinds = [("lstm", "rows"), ("gru", "columns"), ("rnn", "rows")]
    for seed, (cell, view) in enumerate(kinds, 1):
        changes = QUICK | {"model.cell": cell, "input.view": view, "seed": seed}
        train("digits", settings=changes, run=folder / cell, log=None)
    package.ensemble([folder / "lstm", folder / "gru", folder / "rnn"], folder / "made", log=None)
    package.ensemble([folder / "lstm", folder / "rnn"], folder / "streams", log=None)
    return folder


@pytest.fixture
def here(runs, monkeypatch, tmp_path):
    """The commands run beside the runs, which they do not change; other files go to `tmp_path`."""
    monkeypatch.chdir(runs)
    return tmp_path


def one_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text.removeprefix("scanline: ").rstrip()


def test_an_ensemble_is_made_and_calibrated_on_the_validation_split_that_all_members_share(scanline, here):
    code, out, err = scanline("ensemble", "lstm", "gru/model", "rnn", "--output", here / "made", "--json")
    assert (code, err) == (0, "")
    made = json.loads(out)
    assert [each["name"] for each in made["members"]] == ["lstm", "gru", "rnn"]
    assert [each["seed"] for each in made["members"]] == [1, 2, 3]
    assert (made["n"], made["notes"]) == (180, [])
    model = package.load(here / "made", calibrated=True)
    validation = catalogue.load("digits").splits["validation"]
    members = np.mean([package.load(run).probabilities(validation) for run in ("lstm", "gru", "rnn")], axis=0)
    raised = members ** (1 / made["temperature"])
    expected = raised / raised.sum(1, keepdims=True)
    np.testing.assert_allclose(model.probabilities(validation), expected, rtol=1e-9)
    targets = model.align(validation).targets
    losses = [-np.log(each[np.arange(180), targets]).mean() for each in (members, expected)]
    assert losses[1] < losses[0]
    shown = scanline("ensemble", "lstm", "rnn", "--output", here / "two")[1]
    assert re.search(r"\ntemperature \d\.\d{4}, fitted on 180 validation sequences\nwrote ", shown)


def test_it_is_evaluated_on_the_test_split_of_its_members(scanline, here):
    code, out, err = scanline("evaluate", "made", "--json")
    assert (code, err) == (0, "")
    test = catalogue.load("digits").splits["test"]
    mean = np.mean([package.load(run).probabilities(test) for run in ("lstm", "gru", "rnn")], axis=0)
    found = json.loads(out)
    assert (found["data"], found["test"]["n"]) == ("digits", 360)
    assert found["test"]["correct"] == int((mean.argmax(1) == test.targets).sum())
    calibrated = json.loads(scanline("evaluate", "made", "--calibrated", "--json")[1])
    assert calibrated["test"]["correct"] == found["test"]["correct"]
    assert calibrated["test"]["loss"] < found["test"]["loss"]
    # The training data by name are not evaluated as a whole, and a member has the same test split.
    assert json.loads(scanline("evaluate", "made", "--data", "digits", "--json")[1])["test"]["n"] == 360
    alone = json.loads(scanline("evaluate", "made/members/2", "--json")[1])
    assert alone["test"] == json.loads(scanline("evaluate", "gru", "--json")[1])["test"]


def test_it_predicts_pictures_sequences_and_packed_data_as_its_members_do(scanline, here):
    test = catalogue.load("digits").splits["test"]
    model = package.load("made")
    picture = np.kron(test.steps_of(3) * 15, np.ones((4, 4), np.uint8)).astype(np.uint8)
    Image.fromarray(picture).save(here / "digit.png")
    code, out, _ = scanline("predict", "made", here / "digit.png", "--json")
    assert code == 0
    members = [package.load(run) for run in ("lstm", "gru", "rnn")]
    expected = sum(each.predict_proba(each.prepare(here / "digit.png"))[0] for each in members) / 3
    (found,) = json.loads(out)["predictions"]
    assert list(found["probabilities"].values()) == expected.tolist()

    assert scanline("data", "pack", "digits", "--to", here / "packed")[0] == 0
    assert scanline("predict", "made", here / "packed", "--to", here / "predicted.parquet")[0] == 0
    assert scanline("score", "made", here / "packed", "--to", here / "scores", "--split", "test")[0] == 0
    predicted = pyarrow.parquet.read_table(here / "predicted.parquet").to_pylist()
    files = sorted((here / "scores").rglob("*.parquet"))
    scored = [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]
    assert len(predicted) == 1797
    assert len(scored) == 360
    by_id = {each["id"]: each for each in predicted}
    assert all(by_id[each["id"]]["probabilities"] == each["probabilities"] for each in scored)
    rows = sorted(each["probabilities"] for each in scored)
    assert rows == sorted(model.probabilities(test).tolist())


def test_it_predicts_a_stream_if_all_members_can(scanline, here, monkeypatch):
    rows = catalogue.load("digits").splits["test"].steps_of(0)
    text = "\n".join(",".join(map(str, row)) for row in rows.tolist())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    code, out, _ = scanline("predict", "streams", "-", "--stream", "--json")
    assert code == 0
    last = json.loads(out.splitlines()[-1])
    expected = package.load("streams").predict_proba(rows)[0]
    assert last["step"] == 8
    np.testing.assert_allclose(list(last["probabilities"].values()), expected, atol=1e-6)
    code, _, err = scanline("predict", "made", "-", "--stream")
    assert code == 2
    assert one_line(err).startswith(
        "member 2 of this ensemble reads columns, other than the steps of the data"
    )


def test_it_is_compared_with_its_members(scanline, here):
    code, out, _ = scanline("compare", "lstm", "made", "--json")
    assert code == 0
    one, ensemble = json.loads(out)["runs"]
    assert (ensemble["network"], ensemble["view"]) == ("ensemble of 3", "rows, columns")
    sizes = [json.loads(scanline("compare", "lstm", run, "--json")[1])["runs"][1] for run in ("gru", "rnn")]
    assert ensemble["parameters"] == one["parameters"] + sum(each["parameters"] for each in sizes)
    assert ensemble["weights_bytes"] == one["weights_bytes"] + sum(each["weights_bytes"] for each in sizes)
    assert scanline("compare", "lstm", "made")[0] == 0


def test_its_report_has_the_metrics_and_the_accuracy_of_each_member(scanline, here):
    code, out, _ = scanline("report", "made", "--output", here / "report.html", "--against", "lstm")
    assert code == 0
    assert out == f"report: {here / 'report.html'}\n"
    facts = json.loads((here / "report.json").read_text())
    assert facts["figures"] == json.loads(scanline("evaluate", "made", "--json")[1])["test"]
    assert [each["run"] for each in facts["members"]] == ["lstm", "gru", "rnn"]
    for each in facts["members"]:
        alone = json.loads(scanline("evaluate", each["run"], "--json")[1])["test"]
        assert (each["accuracy"], each["loss"]) == (alone["accuracy"], alone["loss"])
    assert facts["network"] is None
    assert not {"activity", "along", "mistakes"} & facts.keys()
    page = (here / "report.html").read_text()
    for text in ("Ensemble of 3 models, trained on digits", 'id="members"', "1 x gru 12", 'id="confusion"'):
        assert text in page
    assert "Gates and units" not in page
    # Without --output the page is written into the folder of the ensemble.
    shutil.copytree("streams", here / "copy")
    assert scanline("report", here / "copy")[0] == 0
    assert (here / "copy" / "report.html").is_file()
    assert package.load(here / "copy").short_name == "ensemble of 2"


def test_it_is_exported_to_onnx_as_one_graph(scanline, here):
    code, out, _ = scanline("export", "made", "--output", here / "made.onnx", "--calibrated", "--json")
    assert code == 0
    assert json.loads(out)["difference"] < 1e-4
    session = onnxruntime.InferenceSession(here / "made.onnx")
    test = catalogue.load("digits").splits["test"]
    pictures = np.stack([test.steps_of(index) for index in range(len(test))]).astype(np.float32)
    _, probabilities = session.run(None, {"pictures": pictures})
    expected = package.load("made", calibrated=True).probabilities(test)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


@pytest.mark.parametrize(
    "command",
    [
        ("explain", "made", "3"),
        ("evaluate", "made", "--steps"),
        ("export", "made", "--output", "{}/made.keras"),
        ("export", "made", "--output", "{}/made.onnx", "--step"),
        ("score", "made", "{}/digits.npz", "--to", "{}/scores", "--stop-at", "0.9"),
    ],
)
def test_what_needs_one_network_is_refused_in_one_line_that_names_a_member(scanline, here, command):
    np.savez(here / "digits.npz", X=np.zeros((2, 8, 8), np.uint8))
    code, out, err = scanline(*(word.format(here) for word in command))
    assert (code, out) == (2, "")
    assert "this model is an ensemble of 3: name a member, such as members/1 in its folder" in one_line(err)
    assert not list(here.glob("*.onnx"))


def test_a_member_is_explained_by_its_folder(scanline, here):
    code, out, _ = scanline("explain", "made/members/1", "3")
    assert code == 0
    assert out == scanline("explain", "lstm", "3")[1]


def test_an_ensemble_among_the_runs_is_replaced_by_its_members(scanline, here):
    code, out, _ = scanline("ensemble", "streams", "gru", "--output", here / "made", "--json")
    assert code == 0
    assert [each["name"] for each in json.loads(out)["members"]] == ["lstm", "rnn", "gru"]
    assert json.loads(out)["n"] == 180


def test_requests_that_make_no_ensemble_are_refused_in_one_line(scanline, here):
    (here / "there").mkdir()
    (here / "there" / "file").touch()
    for command, status, message in (
        (("lstm",), 2, "expected at least two models to combine, got 1"),
        (
            ("lstm", "./lstm/model"),
            2,
            "expected different runs, got lstm and ./lstm/model, which are the same",
        ),
        (("lstm", "streams"), 2, "members 1 and 2 have the same weights"),
        (("lstm", "lsmt"), 4, "there is no run lsmt; did you mean 'lstm'?"),
        (("lstm", "gru", "--output", here / "there"), 2, f"{here / 'there'} exists already: choose another"),
        (("lstm", "gru", "--data", here / "none.csv"), 3, "no such file"),
    ):
        output = () if "--output" in command else ("--output", here / "made")
        code, out, err = scanline("ensemble", *command, *output)
        assert (code, out) == (status, ""), command
        assert message in one_line(err)
    assert not (here / "made").exists()


# --- which split calibrates, and which is tested


def write_data(folder: Path, seed: int = 0, n: int = 60) -> Path:
    draw = np.random.default_rng(seed)
    y = np.arange(n) % 2
    X = (draw.normal(size=(n, 3, 2)) + (y - 0.5)[:, None, None]).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "mine.npz", X=X, y=np.array(["low", "high"])[y])
    return folder / "mine.npz"


def tiny(folder: Path, name: str, data: Path, **changes: object) -> Path:
    train(data, settings=TINY | changes, run=folder / name, log=None)
    return folder / name


def test_the_file_of_the_test_split_is_not_opened(scanline, tmp_path, monkeypatch):
    data, test = write_data(tmp_path / "data"), write_data(tmp_path / "test", 1)
    own = {"data.test": str(test)}
    runs = [tiny(tmp_path, str(seed), data, seed=seed, **own) for seed in (1, 2)]
    test.rename(test.with_suffix(".moved"))
    code, _, err = scanline("ensemble", *runs, "--output", tmp_path / "made")
    assert (code, err) == (0, "")
    assert package.load(tmp_path / "made").temperature is not None
    assert scanline("evaluate", tmp_path / "made")[0] == 3
    test.with_suffix(".moved").rename(test)
    assert json.loads(scanline("evaluate", tmp_path / "made", "--json")[1])["test"]["n"] == 60


def test_members_without_a_common_validation_split_have_no_temperature(scanline, tmp_path):
    data = write_data(tmp_path)
    runs = [tiny(tmp_path, str(part), data, **{"split.validation": part}) for part in (0.1, 0.3)]
    code, _, err = scanline("ensemble", *runs, "--output", tmp_path / "made")
    assert code == 0
    assert one_line(err) == (
        "the validation split of 0.3 is not the one that was read: the ensemble has no temperature; "
        "--data names sequences to fit one on"
    )
    assert package.load(tmp_path / "made").temperature is None
    notes: list[str] = []
    model = package.ensemble(runs, tmp_path / "python", log=notes.append)
    assert (model.temperature, model.names) == (None, ("0.1", "0.3"))
    assert [re.sub("--", "", one_line(err))] == notes
    with pytest.raises(UsageError, match="python exists already: choose another output"):
        package.ensemble(runs, tmp_path / "python")
    code, _, err = scanline("evaluate", tmp_path / "made", "--calibrated")
    assert code == 4
    assert "has no temperature" in one_line(err)
    # The test split is the same, and known.
    assert json.loads(scanline("evaluate", tmp_path / "made", "--json")[1])["test"]["n"] == 12
    # Their own data calibrate nothing; others do.
    code, _, err = scanline("ensemble", *runs, "--output", tmp_path / "own", "--data", data)
    assert code == 2
    assert "name data that no member was trained on" in one_line(err)
    other = write_data(tmp_path / "other", 5)
    code, out, err = scanline("ensemble", *runs, "--output", tmp_path / "own", "--data", other, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["n"] == 60
    assert json.loads(out)["temperature"] > 0


# With another imputation, digests of the members' steps cannot show that their test splits differ.
@pytest.mark.parametrize("missing", ["error", "zero"])
def test_members_with_different_test_splits_are_not_tested_on_either(scanline, tmp_path, missing):
    data = write_data(tmp_path)
    changes = [{"split.seed": 0}, {"split.seed": 1, "input.missing": missing}]
    runs = [tiny(tmp_path, f"seed-{seed}", data, **each) for seed, each in enumerate(changes)]
    code, _, err = scanline("ensemble", *runs, "--output", tmp_path / "made")
    assert code == 0
    first, second = err.splitlines()
    assert first == (
        "members 1 and 2 have different test splits: the ensemble has no test split, as members may be "
        "trained on its sequences"
    )
    assert second.startswith("the validation split of seed-1 is not the one that was read")
    code, _, err = scanline("evaluate", tmp_path / "made")
    assert code == 2
    assert "name its path with --data" in one_line(err)


def test_a_changed_place_of_the_data_is_refused(scanline, here):
    # With another seed, training sequences would be taken for the test split.
    shutil.copytree("streams", here / "made")
    path = here / "made" / "data.json"
    whole = path.read_bytes()
    for place in range(0, len(whole), 1 + len(whole) // 40):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ModelError, match=r"data\.json is damaged"):
            trained_on(here / "made")
    code, _, err = scanline("evaluate", here / "made")
    assert code == 4
    assert "data.json is damaged" in one_line(err)
    for change, message in (({"schema": 2}, "expected schema 1, found 2"), ({"split": {}}, "Field required")):
        tree = json.loads(whole) | change
        tree.pop("sha256")
        write_sealed_json(path, tree)
        with pytest.raises(ModelError, match=message):
            trained_on(here / "made" / "members" / "1")


def test_members_that_were_trained_on_data_before_and_after_a_change_have_no_test_split(scanline, tmp_path):
    first = tiny(tmp_path, "before", write_data(tmp_path))
    second = tiny(tmp_path, "after", write_data(tmp_path, 9))
    code, _, err = scanline("ensemble", first, second, "--output", tmp_path / "made")
    assert code == 0
    assert err.splitlines()[0].startswith("members 1 and 2 have different test splits")
    assert not (tmp_path / "made" / "data.json").exists()


def test_data_that_have_changed_since_training_calibrate_nothing(scanline, tmp_path):
    data = write_data(tmp_path)
    runs = [tiny(tmp_path, str(seed), data, seed=seed) for seed in (1, 2)]
    write_data(tmp_path, 9)
    code, _, err = scanline("ensemble", *runs, "--output", tmp_path / "made")
    assert code == 0
    assert "the validation split of 1 is not the one that was read" in one_line(err)
    data.unlink()
    code, _, err = scanline("ensemble", *runs, "--output", tmp_path / "again")
    assert code == 0
    assert "the validation split cannot be read" in one_line(err)


def test_the_training_sequences_of_a_member_calibrate_nothing(scanline, tmp_path):
    data = write_data(tmp_path)
    whole = {"split.test": 0, "split.validation": 0}
    runs = [tiny(tmp_path, str(seed), data, seed=seed, **whole) for seed in (1, 2)]
    copy = tmp_path / "copy.npz"
    shutil.copy(data, copy)
    code, _, err = scanline("ensemble", *runs, "--output", tmp_path / "made", "--data", copy)
    assert code == 2
    assert one_line(err).endswith("copy.npz is the train split of 1: name data that no member was trained on")
    code, _, err = scanline("ensemble", *runs, "--output", tmp_path / "made")
    assert code == 0
    assert "the members have no validation split" in one_line(err)


def test_a_run_that_has_not_finished_is_refused(scanline, tmp_path):
    data = write_data(tmp_path)
    runs = [tiny(tmp_path, str(seed), data, seed=seed) for seed in (1, 2)]
    result = json.loads((runs[1] / "result.json").read_text())
    result["training"]["status"] = "interrupted"
    (runs[1] / "result.json").write_text(json.dumps(result))
    code, _, err = scanline("ensemble", *runs, "--output", tmp_path / "made")
    assert code == 2
    assert one_line(err) == (
        f"{runs[1]} has not finished training: continue it with `scanline train --resume --run {runs[1]}`"
    )


def test_members_may_be_models_without_a_run(scanline, here, runs):
    for name in ("lstm", "gru"):
        shutil.copytree(find_model(runs / name), here / name)
    code, out, err = scanline("ensemble", here / "lstm", here / "gru", "--output", here / "made", "--json")
    # The digits are in the catalogue, and the members' digests show that the split is theirs.
    assert (code, err) == (0, "")
    assert json.loads(out)["n"] == 180
