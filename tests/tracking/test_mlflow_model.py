"""The published model in MLflow: the same bits, without pickle, served and in Spark."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import requests
from sklearn.datasets import load_digits

import scanline
from scanline.errors import DataError
from scanline.tracking.packaging import write_mlflow_model
from scanline.tracking.publication import Publication
from scanline.tracking.pyfunc import _load_pyfunc
from scanline.tracking.target import Target
from tests.thorough import THOROUGH

DIGITS = load_digits().images.astype(np.uint8)[:40]
JAVA = Path("/usr/lib/jvm/java-17-openjdk-amd64")  # of Debian


@pytest.fixture(scope="module")
def wanted(trained):
    return scanline.load(trained).predict_proba(DIGITS)


@pytest.fixture(scope="module")
def folder(client, trained, tmp_path_factory) -> Path:
    """The model as an MLflow model."""
    path = tmp_path_factory.mktemp("mlflow-model") / "model"
    write_mlflow_model(trained, path, "a-run", "m-1")
    return path


@pytest.fixture(scope="module")
def loaded(folder):
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str(folder))


def test_the_model_of_the_server_predicts_the_same_bits(run, store, wanted):
    import mlflow

    target = Target.parse(store.target("models"))
    tracked = Publication(run, target).update()
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(target.uri)
    try:
        model = mlflow.pyfunc.load_model(f"runs:/{tracked.mlflow_run}/model")
        assert np.array_equal(model.predict(DIGITS), wanted)
        assert model.metadata.run_id == tracked.mlflow_run
        outputs = mlflow.MlflowClient().get_run(tracked.mlflow_run).outputs
        assert [each.model_id for each in outputs.model_outputs] == [model.metadata.model_id]
    finally:
        mlflow.set_tracking_uri(before)


@pytest.mark.parametrize(
    "form", ["array", "list", "lists", "frame", "frame of arrays", "dictionary", "series"]
)
def test_every_form_of_input_gives_the_same_bits(loaded, wanted, form):
    import pandas

    forms = {
        "array": DIGITS,
        "list": list(DIGITS),
        "lists": DIGITS.tolist(),
        "frame": pandas.DataFrame({"steps": DIGITS.tolist()}),
        "frame of arrays": pandas.DataFrame({"steps": list(DIGITS)}),
        "dictionary": {"steps": DIGITS},
        "series": pandas.Series(list(DIGITS)),
    }
    assert np.array_equal(loaded.predict(forms[form]), wanted)


def test_sequences_of_different_lengths_and_missing_values(tmp_path):
    import pandas

    draw = np.random.default_rng(0)
    values = [draw.normal(size=(length, 2)).astype(np.float32) for length in (3, 5, 4, 6) * 8]
    values[0][1, 1] = np.nan
    settings = {"train.steps": 4, "train.samples": 0, "input.missing": "zero"}
    trained = scanline.train(
        scanline.Arrays(values, ["a", "b"] * 16), settings=settings, run=tmp_path / "run", log=None
    )
    wanted = trained.model.predict_proba(values)
    model = _load_pyfunc(str(tmp_path / "run" / "model"))
    assert np.array_equal(model.predict(values), wanted)
    # As in JSON, and as in Spark: arrays of arrays, None for a missing value.
    lists = [[[None if np.isnan(x) else float(x) for x in step] for step in each] for each in values]
    assert np.array_equal(model.predict(pandas.DataFrame({"steps": lists})), wanted)
    nested = np.empty(len(values), object)
    for index, each in enumerate(lists):
        nested[index] = np.array([np.array(step, object) for step in each] + [None], object)[:-1]
    assert np.array_equal(model.predict(pandas.DataFrame({"steps": nested})), wanted)
    with pytest.raises(DataError, match="expected"):
        model.predict(np.zeros((2, 3, 5)))


def test_one_feature_may_be_a_column_a_step(tmp_path):
    import pandas

    values = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    settings = {"train.steps": 4, "train.samples": 0}
    trained = scanline.train(
        scanline.Arrays(values, [0, 1] * 10), settings=settings, run=tmp_path / "run", log=None
    )
    model = _load_pyfunc(str(tmp_path / "run" / "model"))
    assert np.array_equal(model.predict(pandas.DataFrame(values)), trained.model.predict_proba(values))


def test_the_files_are_safetensors_and_text_without_pickle(folder):
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    data = {"data/model/model.json", "data/model/model.safetensors", "data/model/README.md"}
    assert data <= names
    for name in names - {"data/model/model.safetensors"}:
        (folder / name).read_text()
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".py"))]


def test_the_description_names_loader_versions_classes_and_an_example(folder):
    import yaml

    tree = yaml.safe_load((folder / "MLmodel").read_text())
    assert tree["flavors"]["python_function"]["loader_module"] == "scanline.tracking.pyfunc"
    assert tree["metadata"]["classes"] == [str(digit) for digit in range(10)]
    assert "probabilities" in tree["signature"]["outputs"]
    example = json.loads((folder / "serving_input_example.json").read_text())
    assert np.shape(example["inputs"]) == (1, 8, 8)
    requirements = (folder / "requirements.txt").read_text().split()
    names = {each.partition("==")[0] for each in requirements}
    assert {"torch", "numpy", "safetensors", "mlflow-skinny", "pandas"} <= names
    assert "scanline" not in names  # another project of the package index
    assert not [each for each in requirements if "+" in each]


@contextlib.contextmanager
def serving(folder: Path, work: Path):
    """Serve a model with `mlflow models serve`; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    programs = work / "programs"
    programs.mkdir()
    # MLflow calls uvicorn by name: that of this Python.
    uvicorn = programs / "uvicorn"
    uvicorn.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m uvicorn "$@"\n')
    uvicorn.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "--model-uri",
        str(folder),
        "--port",
        str(port),
    ]
    with (work / "serve.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--env-manager", "local"],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
    try:
        while True:
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{url}/ping", timeout=5).ok:
                    break
            assert process.poll() is None, (work / "serve.log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.campaign
def test_mlflow_serves_the_model(folder, wanted, tmp_path):
    digits = DIGITS.tolist()
    bodies = [
        {"inputs": digits},
        {"instances": digits},
        {"dataframe_split": {"columns": ["steps"], "data": [[each] for each in digits]}},
        {"dataframe_records": [{"steps": each} for each in digits]},
    ]
    with serving(folder, tmp_path) as url:
        for body in bodies:
            reply = requests.post(f"{url}/invocations", json=body, timeout=30)
            assert reply.status_code == 200, reply.text
            assert np.array_equal(reply.json()["predictions"], wanted)
        assert requests.post(f"{url}/invocations", json={"inputs": [[1, 2]]}, timeout=30).status_code == 400


@pytest.mark.skipif(not THOROUGH, reason="takes a minute: SCANLINE_THOROUGH=1")
@pytest.mark.campaign
def test_spark_predicts_the_same_bits(folder, wanted, tmp_path):
    pytest.importorskip("pyspark", reason="Spark is not installed: pip install '.[spark]'")
    if not JAVA.is_dir() and not shutil.which("java"):
        pytest.skip("Java is not installed, which Spark needs")
    digits = tmp_path / "digits.json"
    digits.write_text(json.dumps(DIGITS.tolist()))
    script = f"""
import json, sys
import mlflow.pyfunc
from pyspark.sql import SparkSession
from pyspark.sql.functions import struct
builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
spark = builder.getOrCreate()
rows = list(enumerate(json.load(open({str(digits)!r}))))
frame = spark.createDataFrame(rows, "id long, steps array<array<long>>")
predict = mlflow.pyfunc.spark_udf(spark, {str(folder)!r}, env_manager="local")
for columns in ("steps", struct("steps")):
    found = sorted(frame.select("id", predict(columns).alias("p")).collect())
    print("PREDICTIONS", json.dumps([row.p for row in found]))
"""
    environment = os.environ | {
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    if JAVA.is_dir():
        environment["JAVA_HOME"] = str(JAVA)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(each.partition("PREDICTIONS ")[2]) for each in done.stdout.splitlines()]
    assert len(found) == 2
    for predictions in found:
        assert np.array_equal(predictions, wanted)
