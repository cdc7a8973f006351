"""Addresses of tracking servers."""

from __future__ import annotations

import pytest

from scanline.errors import UsageError
from scanline.tracking.target import Target


def test_the_experiment_is_part_of_the_address():
    target = Target.parse("mlflow:http://host:5000?experiment=my%20runs", {})
    assert (target.uri, target.experiment) == ("http://host:5000", "my runs")
    assert target.shown == "mlflow:http://host:5000?experiment=my+runs"


def test_other_queries_of_a_database_stay():
    target = Target.parse("mlflow:sqlite:///a.db?timeout=5&experiment=x", {})
    assert (target.uri, target.experiment) == ("sqlite:///a.db?timeout=5", "x")


@pytest.mark.parametrize(
    ("environment", "experiment"), [({}, "scanline"), ({"MLFLOW_EXPERIMENT_NAME": "theirs"}, "theirs")]
)
def test_without_an_experiment_the_environment_or_the_default_has_it(environment, experiment):
    assert Target.parse("mlflow:http://host", environment).experiment == experiment


@pytest.mark.parametrize("text", ["mlflow:", "mlflow:?experiment=x"])
def test_without_an_address_the_environment_has_it(text):
    assert Target.parse(text, {"MLFLOW_TRACKING_URI": "https://host"}).uri == "https://host"
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_URI is not set"):
        Target.parse(text, {})


def test_a_password_leaves_the_address():
    target = Target.parse("mlflow:https://me:s%40cret@host:5000/path?experiment=x", {})
    assert target.uri == "https://host:5000/path"
    assert target.secrets == {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "s@cret"}
    assert "s@cret" not in repr(target) + target.shown
    assert "s%40cret" not in repr(target) + target.shown


def test_a_password_of_a_database_is_not_shown():
    target = Target.parse("mlflow:postgresql://me:secret@host/mlflow", {})
    assert target.uri == "postgresql://me:secret@host/mlflow"
    assert "secret" not in repr(target) + target.shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wandb:project", r"expected mlflow:URI.*got 'wandb:project'; .*on_event"),
        ("mlflow", r"expected mlflow:URI"),
        ("mlflow:localhost:5000", r"got 'localhost:5000'; for a server write mlflow:http://localhost:5000"),
        ("mlflow:./mlruns", r"got './mlruns'; MLflow no longer develops .* mlflow:sqlite:///mlflow.db"),
        ("mlflow:http://host?experiment=", r"the experiment has no name"),
        ("wandb://me:secret@host", r"got 'wandb://host'"),
    ],
)
def test_other_targets_are_refused_in_one_line(text, expected):
    with pytest.raises(UsageError, match=expected) as caught:
        Target.parse(text, {})
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
