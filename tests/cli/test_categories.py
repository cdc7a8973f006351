"""Categorical columns of long tables, from the training to a stream."""

import io
import json
import random
import re

import pytest
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from scanline.api import train

FEW = {"train.samples": 640, "model.hidden_size": 8, "model.bidirectional": False}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("categories")
    for name, count in (("train", 60), ("new", 6)):
        draw, lines = random.Random(1), ["id,verb,size,label"]
        for index in range(count):
            loud = index % 2
            for _ in range(draw.randint(3, 6)):
                verb = draw.choice(["GET", "PUT", ("DELETE" if loud else "PATCH")])
                verb = "" if draw.random() < 0.05 else verb
                lines.append(f"s{index},{verb},{draw.gauss(0, 1):.3f},{'loud' if loud else 'quiet'}")
            if name == "new" and not index:
                lines.append("s0,TRACE,0.1,quiet")
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    train(folder / "train.csv", settings=FEW, run=folder / "run", log=None)
    return folder


def _json(scanline, *command):
    code, out, messages = scanline(*command, "--json")
    assert code == 0
    return json.loads(out), messages


def test_text_columns_are_categories_and_unknown_ones_are_counted(tables, scanline):
    found, messages = _json(scanline, "predict", str(tables / "run"), str(tables / "new.csv"))
    assert len(found["predictions"]) == 6
    (counted,) = found["categories"]
    assert counted["unknown"] == 1
    assert "1 of" in messages
    assert "are unknown to the model" in messages
    found, messages = _json(scanline, "evaluate", str(tables / "run"), "--data", str(tables / "new.csv"))
    assert found["test"]["categories"] == {"n": counted["n"], "unknown": 1}


def test_the_model_lists_its_categories_in_the_order_of_their_ids(tables):
    form = json.loads((tables / "run" / "model" / "model.json").read_text())["input"]
    (vocabulary,) = form["vocabularies"]
    assert vocabulary["feature"] == 0
    assert sorted(vocabulary["names"]) == ["DELETE", "GET", "PATCH", "PUT"]
    assert form["settings"]["categorical_columns"] == ["verb"]


def test_a_stream_predicts_what_the_file_does(tables, scanline, monkeypatch):
    lines = (tables / "new.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines[1:] if line.startswith("s0,")]
    text = "verb,size\n" + "".join(f"{verb},{size}\n" for _, verb, size, _ in rows)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    _, out, _ = scanline("predict", tables / "run", "-", "--stream", "--json")
    last = json.loads(out.splitlines()[-1])
    found, _ = _json(scanline, "predict", str(tables / "run"), str(tables / "new.csv"))
    assert last["probabilities"] == found["predictions"][0]["probabilities"]


def test_parquet_predicts_what_csv_does(tables, scanline):
    table = arrow_csv.read_csv(tables / "new.csv")
    parquet.write_table(table, tables / "new.parquet")
    verb = table["verb"].dictionary_encode()
    parquet.write_table(table.set_column(1, "verb", verb), tables / "coded.parquet")
    expected, _ = _json(scanline, "predict", str(tables / "run"), str(tables / "new.csv"))
    for name in ("new.parquet", "coded.parquet"):
        found, _ = _json(scanline, "predict", str(tables / "run"), str(tables / name))
        probabilities = [each["probabilities"] for each in found["predictions"]]
        assert probabilities == [each["probabilities"] for each in expected["predictions"]]


def test_an_explanation_attributes_to_categories(tables, scanline):
    found, _ = _json(scanline, "explain", str(tables / "run"), "0")
    attribution = found["attribution"]
    assert abs(attribution["sum"] - attribution["difference_of_logits"]) < 1e-2
    assert any(verb for verb, _ in attribution["values"])


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("export RUN --output m.keras", "got one that reads categories; export it to ONNX"),
        ("score RUN DATA --to scores", "got one that reads categories"),
        ("data pack DATA --to packed", "packed data have no categories"),
        ("train DATA --categorical-columns sise --run r", "must be a feature"),
        ("train DATA --set input.features=1 --run r", "input.features must be 0"),
        ("train DATA --shape wide --feature-columns verb,size --run r", "expected"),
    ],
)
def test_what_does_not_apply_is_refused_in_one_line(tables, scanline, monkeypatch, command, message):
    monkeypatch.chdir(tables)
    names = {"RUN": "run", "DATA": "train.csv"}
    code, _, messages = scanline(*(names.get(word, word) for word in command.split()))
    assert code
    assert re.search(message, messages.splitlines()[-1]), messages
    assert "Traceback" not in messages


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,x,1,u"] * 1200 + ["b,7,2,v", "b,x,2,v"], "line 1202, column verb.*text.*the number '7'"),
        (["a,x,1,u", "a,7,1,u", "b,7,2,v"], "line 2, column verb: expected a number, found 'x'.*categorical"),
    ],
)
def test_mixed_types_in_a_column_are_named(tmp_path, scanline, rows, message):
    path = tmp_path / "mixed.csv"
    path.write_text("id,verb,size,label\n" + "\n".join(rows) + "\n")
    code, _, messages = scanline("train", path, "--run", tmp_path / "run")
    assert code == 3
    assert re.search(message, messages.splitlines()[-1])


def test_numbers_are_categories_where_the_user_names_the_column(tmp_path):
    path = tmp_path / "codes.csv"
    rows = [f"s{i},{7 if i % 2 else 8},{step},{'uv'[i % 2]}" for i in range(20) for step in (1, 2)]
    path.write_text("id,code,size,label\n" + "\n".join(rows) + "\n")
    settings = FEW | {"train.samples": 64, "data.categorical_columns": ["code"]}
    train(path, settings=settings, run=tmp_path / "run", log=None)
    form = json.loads((tmp_path / "run" / "model" / "model.json").read_text())["input"]
    assert sorted(form["vocabularies"][0]["names"]) == ["7", "8"]
