"""The task step-classification from training to prediction, by the commands and from Python."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

import scanline
from scanline import cli, recipe, tasks
from scanline.errors import DataError, UsageError
from scanline.tasks.step_classification import StepClassification

SETTINGS = {
    "train.epochs": 40,
    "train.log_every": 20,
    "train.validate_every": 40,
    "model.hidden_size": 12,
    "model.bidirectional": False,
    "model.dropout": 0.0,
}


def command(*arguments: object) -> tuple[str, BaseException | None]:
    """Run a command in this process; returns what it printed and what it raised."""
    result = CliRunner().invoke(cli.command, list(map(str, arguments)))
    return result.stdout, None if isinstance(result.exception, SystemExit) else result.exception


def draw_sequences(count=60, seed=0):
    """Return sequences whose steps are "up" while the sum of their first feature is positive."""
    draw = np.random.default_rng(seed)
    values = [draw.normal(size=(int(draw.integers(5, 25)), 2)).round(3) for _ in range(count)]
    labels = [np.where(each[:, 0].cumsum() > 0, "up", "down").astype(object) for each in values]
    for each in labels:
        each[draw.random(len(each)) < 0.1] = None
    return values, labels


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "steps.csv"
    lines = ["id,time,x,y,label"]
    for index, (steps, labels) in enumerate(zip(*draw_sequences(), strict=True)):
        lines += [
            f"s{index},{time},{x},{y},{label or ''}"
            for time, ((x, y), label) in enumerate(zip(steps, labels, strict=True))
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "steps"
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    out, error = command("train", table, "--task", "step-classification", "--run", path, *settings)
    assert error is None
    assert "accuracy" in out
    return path


@pytest.fixture(scope="module")
def model(run):
    return scanline.load(run)


def test_the_default_recipe_of_the_task_is_steps(run):
    made = recipe.parse((run / "recipe.toml").read_text(), "the run")
    assert (made.name, made.task, made.model.readout) == ("steps", "step-classification", "every-step")
    assert made.data.targets == "step-classes"


def test_training_learns_the_steps(run):
    result = json.loads((run / "result.json").read_text())
    assert result["test"]["macro_f1"] > 0.75
    assert result["test"]["n"] < result["test"]["n"] + result["test"]["unlabelled"]
    assert result["test"]["sequences"] == 12


def test_the_split_file_counts_steps(run):
    parts = json.loads((run / "split.json").read_text())["parts"]
    assert set(parts["train"]["classes"]) == {"up", "down"}
    assert parts["train"]["unlabelled"] > 0
    assert "drawn at random" in parts["test"]["from"]


def test_evaluation_repeats_the_result(run, table):
    out, error = command("evaluate", run, "--json", "--list")
    found = json.loads(out)
    assert error is None
    assert found["test"] == json.loads((run / "result.json").read_text())["test"]
    assert len(found["step"]) == len(found["predicted"]) == found["test"]["n"] + found["test"]["unlabelled"]
    assert found["true"].count(None) == found["test"]["unlabelled"]
    out, error = command("evaluate", run, "--data", table)
    assert error is None
    assert "macro F1" in out
    assert "bootstrap over sequences" in out


def test_a_prediction_of_a_file_has_a_label_for_each_step(run, model, table, tmp_path):
    out, error = command("predict", run, table, "--json")
    assert error is None
    rows = json.loads(out)["predictions"]
    values, _ = draw_sequences()
    first = [row for row in rows if row["sequence"] == "s0"]
    assert [row["step"] for row in first] == list(range(1, len(values[0]) + 1))
    probabilities = model.predict_proba([values[0].astype(np.float32)])[0]
    assert [row["probability"] for row in first] == probabilities.max(1).tolist()
    assert [row["label"] for row in first] == model.predict([values[0].astype(np.float32)])[0].tolist()
    command("predict", run, table, "--to", tmp_path / "steps.csv")
    with (tmp_path / "steps.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [(row["id"], int(row["step"]), row["prediction"]) for row in written] == [
        (row["sequence"], row["step"], row["label"]) for row in rows
    ]


def test_a_stream_of_lines_has_the_predictions_of_the_file(run, table):
    out, _ = command("predict", run, table, "--json")
    expected = [row["probabilities"] for row in json.loads(out)["predictions"] if row["sequence"] == "s3"]
    values, _ = draw_sequences()
    lines = "".join(f"{x},{y}\n" for x, y in values[3])
    arguments = ["predict", str(run), "-", "--stream", "--json"]
    streamed = CliRunner().invoke(cli.command, arguments, input=lines).stdout.splitlines()
    assert [json.loads(line)["probabilities"] for line in streamed] == expected


def test_data_show_counts_steps(table):
    out, error = command("data", "show", table, "--targets", "step-classes")
    assert error is None
    assert "2 classes of steps: down" in out
    assert "steps without a label" in out


def test_arrays_of_a_program_are_trained_on(tmp_path):
    values, labels = draw_sequences(40)
    data = scanline.Arrays([each.astype(np.float32) for each in values], labels)
    settings = SETTINGS | {
        "task": "step-classification",
        "train.epochs": 2,
        "train.class_weights": "balanced",
    }
    run = scanline.train(data, settings=settings, run=tmp_path / "run", log=lambda line: None)
    assert run.model.task == StepClassification(("down", "up"))
    assert run.result["test"]["sequences"] == 8
    metrics = run.model.evaluate(scanline.Arrays(data.values, labels))
    assert metrics.n + metrics.unlabelled == sum(map(len, values))


def test_a_run_in_slices_that_is_resumed_has_the_bits_of_one_that_was_not_interrupted(table, tmp_path):
    settings = SETTINGS | {"task": "step-classification", "train.slices": 3, "train.schedule": "constant"}
    of_steps = [settings | {"train.steps": steps} for steps in (12, 6)]
    whole, half = tmp_path / "whole", tmp_path / "half"
    for run, each in zip((whole, half), of_steps, strict=True):
        scanline.train(table, settings=each, run=run, log=lambda line: None)
    _, error = command("train", "--resume", "--run", half, "--set", "train.steps=12")
    assert error is None
    one, other = ((run / "model" / "model.safetensors").read_bytes() for run in (whole, half))
    assert one == other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--recipe", "sequences"), "model.readout must be every-step for the task step-classification"),
        (("--set", "model.readout=mean"), "model.readout must be every-step"),
        (("--set", "input.features=1"), "input.features must be 0 or 2 for a label at each step"),
    ],
)
def test_settings_that_do_not_fit_the_task_are_refused(table, tmp_path, arguments, message):
    _, error = command("train", table, "--task", "step-classification", *arguments, "--run", tmp_path / "run")
    assert isinstance(error, UsageError)
    assert message in str(error)


def test_data_without_labels_of_steps_are_refused(tmp_path):
    _, error = command("train", "digits", "--task", "step-classification", "--run", tmp_path / "run")
    assert isinstance(error, DataError)
    assert "digits: expected a label for each step" in str(error)
    _, error = command("train", "digits", "--recipe", "steps", "--task", "classification")
    assert "model.readout must be last, mean, max or last-step" in str(error)


def test_data_that_cannot_carry_labels_of_steps_are_refused(table, tmp_path):
    _, error = command("data", "pack", table, "--to", tmp_path / "packed", "--targets", "step-classes")
    assert "packed data have a label for each sequence, not for each step" in str(error)


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "RUN", "TABLE"),
        ("evaluate", "RUN", "--steps"),
        ("evaluate", "RUN", "--stop-at", "0.9"),
        ("score", "RUN", "TABLE", "--to", "OUT"),
        ("export", "RUN", "--output", "OUT.keras"),
        ("ensemble", "RUN", "COPY", "--output", "OUT"),
    ],
)
def test_what_does_not_apply_is_refused_by_name(run, table, tmp_path, arguments):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    names = {"RUN": run, "TABLE": table, "COPY": copy}
    words = [str(names.get(word, word)).replace("OUT", str(tmp_path / "out")) for word in arguments]
    _, error = command(*words)
    assert isinstance(error, UsageError)
    assert "step-classification" in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize("options", [(), ("--opset", 11), ("--step",), ("--step", "--calibrated")])
def test_an_onnx_graph_has_outputs_for_each_step(run, model, tmp_path, options):
    onnxruntime = pytest.importorskip("onnxruntime")
    out, error = command("export", run, "--output", tmp_path / "steps.onnx", "--json", *options)
    assert error is None
    assert json.loads(out)["verification" if "verification" in json.loads(out) else "difference"] is not None
    if "--step" in options:
        return
    session = onnxruntime.InferenceSession(str(tmp_path / "steps.onnx"))
    values = np.random.default_rng(3).normal(size=(2, 5, 2)).astype(np.float32)
    lengths = np.array([5, 3])
    logits, probabilities = session.run(["logits", "probabilities"], {"steps": values, "lengths": lengths})
    assert logits.shape == probabilities.shape == (2, 5, 2)
    for row, length, expected in zip(
        probabilities, lengths, model.predict_proba(values, lengths), strict=True
    ):
        assert np.allclose(row[:length], expected, atol=1e-5)


def test_the_task_is_built_in():
    assert tasks.get("step-classification") is StepClassification
    assert StepClassification.from_json(StepClassification(("a", "b")).to_json()) == StepClassification(
        ("a", "b")
    )


def test_one_class_cannot_be_learned():
    from scanline.data.memory import MemorySource

    source = MemorySource(
        np.zeros((2, 1), np.float32), np.array([2]), np.zeros(1, np.int64), ("a",),
        step_targets=np.zeros(2, np.int64),
    )  # fmt: skip
    with pytest.raises(DataError, match=r"expected at least 2 classes, got 1 \(a\)"):
        StepClassification.fit(source, "data")


def test_columns_of_text_are_embedded(tmp_path):
    draw = np.random.default_rng(0)
    lines = ["id,time,x,mood,label"]
    for index in range(20):
        for time in range(int(draw.integers(4, 12))):
            mood = str(draw.choice(["good", "bad"]))
            lines.append(f"s{index},{time},{draw.normal():.3f},{mood},{'up' if mood == 'good' else 'down'}")
    path = tmp_path / "moods.csv"
    path.write_text("\n".join(lines) + "\n")
    settings = SETTINGS | {"task": "step-classification", "train.epochs": 3}
    scanline.train(path, settings=settings, run=tmp_path / "run", log=None)
    out, error = command("predict", tmp_path / "run", path, "--json")
    assert error is None
    rows = [row for row in json.loads(out)["predictions"] if row["sequence"] == "s0"]
    text = "".join(f"{line.split(',')[2]},{line.split(',')[3]}\n" for line in lines if line.startswith("s0,"))
    arguments = ["predict", str(tmp_path / "run"), "-", "--stream", "--json"]
    streamed = CliRunner().invoke(cli.command, arguments, input=text).stdout.splitlines()
    assert [json.loads(line)["probabilities"] for line in streamed] == [row["probabilities"] for row in rows]


def test_a_report_has_metrics_and_classes_over_time(table, tmp_path):
    arguments = ["train", str(table), "--task", "step-classification", "--run", str(tmp_path / "run")]
    quick = ["--set", "train.epochs=1", "--set", "model.hidden_size=4", "--report"]
    result = CliRunner().invoke(cli.command, [*arguments, *quick])
    assert result.exit_code == 0
    page = (tmp_path / "run" / "report.html").read_text()
    for text in ("True and predicted classes over time", "Classes of the labelled steps", "edit score"):
        assert text in page
    assert "true classes (upper bar)" in page.lower()


def test_runs_are_compared_over_the_same_resamples_of_sequences(run, table, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    quick = SETTINGS | {"task": "step-classification", "train.epochs": 1}
    scanline.train(table, settings=quick, run=tmp_path / "worse", log=None)
    out, error = command("compare", run, copy, tmp_path / "worse", "--json")
    assert error is None
    found = json.loads(out)
    result = json.loads((run / "result.json").read_text())["test"]
    assert (found["n"], found["steps"]) == (result["sequences"], result["n"])
    scores = {each["name"]: each for each in found["runs"][0]["scores"]}
    assert scores["accuracy"]["value"] == result["accuracy"]
    assert scores["macro_f1"]["ci95"] == result["macro_f1_ci95"]
    same, worse = found["pairs"][:2]
    assert [(each["value"], each["ci95"]) for each in same["differences"]] == [(0, [0, 0])] * 3
    accuracy = worse["differences"][0]
    assert accuracy["ci95"][0] < accuracy["value"] < accuracy["ci95"][1]
    out, error = command("compare", run, tmp_path / "worse")
    assert error is None
    assert "macro F1 (95 %)" in out
    assert "significant at 5 %" in out
