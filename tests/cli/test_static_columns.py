"""Static columns of long tables, from the training to a stream."""

import io
import json
import random
import re

import numpy as np
import pandas as pd
import pytest

from scanline.api import load, train

FEW = {
    "train.samples": 3_200,
    "train.learning_rate": 0.02,
    "model.hidden_size": 8,
    "model.bidirectional": False,
}
STATIC = {"data.static_columns": ["age", "device"]}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Sequences of noise, whose class only the static columns show."""
    folder = tmp_path_factory.mktemp("static")
    for name, count in (("train", 80), ("new", 8)):
        draw, lines = random.Random(1), ["id,x,age,device,label"]
        for index in range(count):
            old = index % 2
            age = draw.randint(60, 90) if old else draw.randint(10, 50)
            device = draw.choice(["watch", "phone" if old else "ring"])
            device = "toaster" if name == "new" and index == 1 else device
            label = "old" if old else "young"
            lines += [
                f"s{index},{draw.gauss(0, 1):.3f},{age},{device},{label}" for _ in range(draw.randint(2, 5))
            ]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    train(folder / "train.csv", settings=FEW | STATIC, run=folder / "run", log=None)
    return folder


def _json(scanline, *command):
    code, out, messages = scanline(*command, "--json")
    assert code == 0, messages
    return json.loads(out), messages


def test_the_class_is_learned_from_static_columns_alone(tables):
    result = json.loads((tables / "run" / "result.json").read_text())
    assert result["test"]["accuracy"] == 1.0


def test_predictions_count_unknown_categories_and_evaluate_agrees(tables, scanline):
    found, messages = _json(scanline, "predict", str(tables / "run"), str(tables / "new.csv"))
    assert [each["label"] for each in found["predictions"]] == ["young", "old"] * 4
    assert found["categories"][0]["unknown"] >= 1
    assert "are unknown to the model" in messages
    evaluated, _ = _json(scanline, "evaluate", str(tables / "run"), "--data", str(tables / "new.csv"))
    assert evaluated["test"]["accuracy"] == 1.0


def test_the_model_records_what_is_static(tables):
    form = json.loads((tables / "run" / "model" / "model.json").read_text())
    assert form["input"]["static"] == form["architecture"]["static"] == [1, 2]
    assert form["input"]["settings"]["static_columns"] == ["age", "device"]
    assert "static" in repr(load(tables / "run"))
    assert "age, device have one value" in (tables / "run" / "model" / "README.md").read_text()


def test_a_stream_takes_them_from_the_first_line(tables, scanline, monkeypatch):
    lines = (tables / "new.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines[1:] if line.startswith("s0,")]
    text = "x,age,device\n" + "".join(
        f"{x},{age},{device}\n" if not number else f"{x},,\n"
        for number, (_, x, age, device, _) in enumerate(rows)
    )
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    _, out, _ = scanline("predict", tables / "run", "-", "--stream", "--json")
    last = json.loads(out.splitlines()[-1])
    found, _ = _json(scanline, "predict", str(tables / "run"), str(tables / "new.csv"))
    assert last["probabilities"] == pytest.approx(found["predictions"][0]["probabilities"], abs=1e-15)


def test_data_frames_and_files_give_the_same(tables):
    model, frame = load(tables / "run"), pd.read_csv(tables / "new.csv")
    assert model.predict(frame.drop(columns="label")).tolist() == ["young", "old"] * 4
    assert model.evaluate(frame).accuracy == 1.0


def test_an_explanation_attributes_to_static_columns(tables, scanline):
    found, _ = _json(scanline, "explain", str(tables / "run"), "0")
    values = np.array(found["attribution"]["values"])
    assert values[0, 1] != 0
    assert (values[1:, 1:] == 0).all()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("export RUN --output m.keras", "Keras export: expected"),
        ("score RUN DATA --to scores", "scoring: expected"),
        ("data pack DATA --to packed --static-columns age", "packed data have no static columns"),
        ("train DATA --static-columns age --set input.features=1 --run r", "input.features must be 0"),
        ("train digits --static-columns age --run r", "static_columns"),
        ("train DATA --static-columns x --run r", "'?s0'?.*"),
    ],
)
def test_what_does_not_apply_is_refused_in_one_line(tables, scanline, monkeypatch, command, message):
    monkeypatch.chdir(tables)
    names = {"RUN": "run", "DATA": "train.csv"}
    code, _, messages = scanline(*(names.get(word, word) for word in command.split()))
    assert code
    assert re.search(message, messages.splitlines()[-1]), messages
    assert "Traceback" not in messages


def test_arrays_have_no_static_columns(tables):
    from scanline import Arrays
    from scanline.errors import UsageError

    values = np.random.default_rng(0).normal(size=(8, 5, 2)).astype(np.float32)
    with pytest.raises(UsageError, match="static_columns must be empty"):
        train(
            Arrays(values, [0, 1] * 4), settings={"data.static_columns": ["1"]}, run=tables / "no", log=None
        )


@pytest.mark.parametrize("key", ["data.static_columns", "data.time_features"])
def test_estimators_refuse_them_by_name(key):
    from scanline import LSTMClassifier

    values = np.random.default_rng(0).normal(size=(8, 5, 2)).astype(np.float32)
    estimator = LSTMClassifier(epochs=1, settings={key: ["delta"]})
    with pytest.raises(ValueError, match=f"{key} must be empty"):
        estimator.fit(values, [0, 1] * 4)


def test_a_run_without_categories_resumes_and_combines(tables, scanline):
    settings = FEW | {"data.static_columns": ["age"], "data.feature_columns": ["x"], "train.samples": 256}
    for seed in (1, 2):
        train(tables / "train.csv", settings=settings | {"seed": seed}, run=tables / f"plain{seed}", log=None)
    runs = [str(tables / f"plain{seed}") for seed in (1, 2)]
    assert scanline("ensemble", *runs, "--output", tables / "both")[0] == 0
    found, _ = _json(scanline, "predict", str(tables / "both"), str(tables / "new.csv"))
    assert len(found["predictions"]) == 8
    assert scanline("compare", *runs)[0] == 0
    assert scanline("report", runs[0])[0] == 0
