"""What an MLflow server holds of a run after it was published, once or several times."""

from __future__ import annotations

import itertools
import json
import tomllib
from pathlib import Path

import pytest

from scanline.errors import ModelError, ScanlineError
from scanline.storage.digest import sha256
from scanline.tracking.connection import TrackingError
from scanline.tracking.facts import flatten
from scanline.tracking.publication import Publication, Tracked
from scanline.tracking.target import Target
from scanline.training.events import Stepped
from scanline.training.run import TrainingRun
from tests.object_store import Proxy
from tests.tracking.server import lines_as_points
from tests.training.runs import finish, short, stop_at

_numbers = itertools.count()


@pytest.fixture
def experiment() -> str:
    """An experiment that no other test uses."""
    return f"experiment {next(_numbers)}"


def publish(run: Path, target: str, **options) -> Tracked:
    return Publication(run, Target.parse(target)).update(**options)


def test_the_server_holds_exactly_the_metrics_of_a_run(run, store, experiment):
    tracked = publish(run, store.target(experiment))
    assert store.runs(experiment) == [tracked.mlflow_run]
    assert store.points(tracked.mlflow_run) == lines_as_points(run)
    assert (tracked.status, tracked.step) == ("FINISHED", 624)
    assert store.status(tracked.mlflow_run) == "FINISHED"


def test_the_result_is_published_too(run, store, experiment):
    tracked = publish(run, store.target(experiment))
    result, final = json.loads((run / "result.json").read_text()), store.final(tracked.mlflow_run)
    assert final["final/test/accuracy"] == result["test"]["accuracy"]
    assert final["final/test/ci95_low"] == result["test"]["ci95"][0]
    assert final["final/validation/loss"] == result["validation"]["loss"]
    assert final["final/seconds"] == result["training"]["seconds"]


def test_the_whole_recipe_is_published_as_parameters(run, store, experiment):
    parameters = store.texts("params", publish(run, store.target(experiment)).mlflow_run)
    recipe = tomllib.loads((run / "recipe.toml").read_text())
    assert parameters == flatten(recipe)
    assert parameters["train.learning_rate"] == "0.005"
    assert parameters["model.bidirectional"] == "false"
    assert parameters["data.name"] == "digits"
    assert parameters["data.step_columns"] == "[]"


def test_long_values_are_shortened_to_the_limit_of_mlflow():
    flat = flatten({"data": {"step_columns": ["é" * 100] * 100}, "k" * 300: 1})
    text = flat["data.step_columns"]
    assert len(text.encode()) <= 6000
    assert text.endswith("é...")
    assert flat["k" * 250] == "1"


def test_tags_have_the_digests_of_data_code_and_model(run, store, experiment):
    tags = store.texts("tags", publish(run, store.target(experiment)).mlflow_run)
    environment = json.loads((run / "environment.json").read_text())
    assert tags["scanline.data.train.sha256"] == environment["data"]["train"]["sha256"]
    assert tags["scanline.data.test.n"] == "360"
    assert tags["scanline.code_sha256"] == environment["code"]
    assert tags["scanline.version.torch"] == environment["packages"]["torch"]
    assert tags["scanline.model_sha256"] == sha256((run / "model" / "model.json").read_bytes())
    assert not [name for name in tags if "git" in name]


def test_the_files_of_the_run_are_published(run, store, experiment, tmp_path):
    from mlflow.tracking import MlflowClient

    target = Target.parse(store.target(experiment))
    (run / "report.html").write_text("a report")
    tracked = publish(run, store.target(experiment))
    client = MlflowClient(target.uri)
    names = {each.path for each in client.list_artifacts(tracked.mlflow_run)}
    files = {"recipe.toml", "environment.json", "split.json", "result.json", "metrics.jsonl", "report.html"}
    assert names == files
    for name in files:
        copy = client.download_artifacts(tracked.mlflow_run, name, str(tmp_path))
        assert Path(copy).read_bytes() == (run / name).read_bytes()


def test_publishing_again_adds_nothing(run, store, experiment):
    tables = ("metrics", "params", "tags", "runs", "inputs", "logged_models")

    def sizes():
        return [store.rows(f"select count(*) from {table}") for table in tables]

    first = publish(run, store.target(experiment))
    before = sizes()
    second = publish(run, store.target(experiment))
    assert sizes() == before
    assert (second.points, second.mlflow_run) == (0, first.mlflow_run)


def test_the_same_run_in_another_experiment_is_another_mlflow_run(run, store, experiment):
    first = publish(run, store.target(experiment))
    second = publish(run, store.target(f"{experiment} again"))
    assert first.mlflow_run != second.mlflow_run
    assert store.points(second.mlflow_run) == store.points(first.mlflow_run)


def test_an_interrupted_run_that_is_resumed_continues_its_mlflow_run(tmp_path, store, experiment):
    run, target = tmp_path / "run", store.target(experiment)
    stop_at(short(run), 16)
    interrupted = publish(run, target)
    assert store.points(interrupted.mlflow_run) == lines_as_points(run)
    assert store.status(interrupted.mlflow_run) == "KILLED"
    finish(TrainingRun.resume(run=run, device="cpu"))
    resumed = publish(run, target)
    assert store.runs(experiment) == [interrupted.mlflow_run]
    assert store.points(resumed.mlflow_run) == lines_as_points(run)
    assert store.status(resumed.mlflow_run) == "FINISHED"


def test_a_running_run_is_published_up_to_its_newest_checkpoint(tmp_path, store, experiment):
    training, target = short(tmp_path / "run"), store.target(experiment)
    publication = Publication(tmp_path / "run", Target.parse(target))
    steps = []
    for event in training.events():
        if isinstance(event, Stepped) and event.step in (1, 9, 18):
            training._recorder.wait()
            tracked = publication.update(is_training=True)
            points = store.points(tracked.mlflow_run)
            steps.append((event.step, tracked.step, max((step for _, _, step, _ in points), default=0)))
            assert store.status(tracked.mlflow_run) == "RUNNING"
    # A checkpoint is made every 7 steps, and at the evaluation of step 15 if that is the best one.
    assert steps[:2] == [(1, 0, 0), (9, 7, 6)]
    assert steps[2] in ((18, 14, 12), (18, 15, 15))
    tracked = publication.update()
    assert store.points(tracked.mlflow_run) == lines_as_points(tmp_path / "run")


def test_more_steps_become_a_tag_as_parameters_cannot_change(tmp_path, store, experiment):
    run, target = tmp_path / "run", store.target(experiment)
    finish(short(run))
    publish(run, target)
    finish(TrainingRun.resume(run=run, settings={"train.steps": 36}, device="cpu"))
    tracked = publish(run, target)
    assert store.texts("params", tracked.mlflow_run)["train.steps"] == "24"
    assert store.texts("tags", tracked.mlflow_run)["recipe.train.steps"] == "36"
    assert store.points(tracked.mlflow_run) == lines_as_points(run)


def test_points_that_the_run_does_not_have_are_refused(run, store, experiment):
    tracked = publish(run, store.target(experiment))
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    changed = json.loads(lines[3]) | {"loss": 0.125}
    lines[3] = json.dumps(changed) + "\n"
    (run / "metrics.jsonl").write_text("".join(lines))
    with pytest.raises(TrackingError, match=r"holds 1 points that metrics\.jsonl does not have") as caught:
        publish(run, store.target(experiment))
    assert f"mlflow runs delete --run-id {tracked.mlflow_run}" in str(caught.value)


def test_a_deleted_mlflow_run_is_replaced(run, store, experiment):
    from mlflow.tracking import MlflowClient

    target = store.target(experiment)
    first = publish(run, target)
    MlflowClient(Target.parse(target).uri).delete_run(first.mlflow_run)
    second = publish(run, target)
    assert store.runs(experiment) == [second.mlflow_run]
    assert store.points(second.mlflow_run) == lines_as_points(run)


def test_a_deleted_experiment_is_named(run, store, experiment):
    from mlflow.tracking import MlflowClient

    target = store.target(experiment)
    tracked = publish(run, target)
    MlflowClient(Target.parse(target).uri).delete_experiment(tracked.experiment)
    with pytest.raises(TrackingError, match=rf"the experiment '{experiment}' of .* is deleted; restore it"):
        publish(run, target)


def test_a_damaged_identity_is_named(run, store, experiment):
    (run / "tracking.json").write_text('{"id": "a b"}')
    with pytest.raises(ModelError, match=r"tracking\.json is damaged: expected an id; remove it"):
        publish(run, store.target(experiment))


def test_two_processes_do_not_publish_the_same_run(run, store, experiment):
    target = Target.parse(store.target(experiment))
    with (
        Publication(run, target).lock(0),
        pytest.raises(ScanlineError, match="is being published by another process"),
    ):
        Publication(run, target).lock(0.1)


def break_answers(run: Path, server, experiment: str, proxy: Proxy, after: int) -> int:
    """Publish through a proxy that cuts an answer of the server after so many bytes, until it succeeds.

    Returns the number of failures.
    """
    proxy.heal()
    proxy.cut_responses(1, after)
    publication = Publication(run, Target.parse(server.target(experiment, proxy.url)))
    failures, tracked = 0, None
    while tracked is None:
        try:
            tracked = publication.update()
        except TrackingError as error:
            failures += 1
            if failures > 3 or "cannot reach" not in str(error):
                raise
    assert server.runs(experiment) == [tracked.mlflow_run]
    assert server.points(tracked.mlflow_run) == lines_as_points(run)
    models = server.rows("select count(*) from logged_models where source_run_id = ?", tracked.mlflow_run)
    assert models == [(1,)]
    return failures


def test_a_request_whose_answer_is_lost_is_not_carried_out_twice(run, mlflow_server, experiment):
    proxy = Proxy(int(mlflow_server.url.rpartition(":")[2]))
    failures = 0
    try:
        for after in (0, 700, 2000):  # finding the experiment, creating the run, reading it
            failures += break_answers(run, mlflow_server, f"{experiment} {after}", proxy, after)
    finally:
        proxy.close()
    assert failures >= 2


def test_the_client_does_not_repeat_requests_by_itself(run, client):
    proxy = Proxy(9)
    proxy.refuse(100)
    try:
        with pytest.raises(TrackingError, match="cannot reach"):
            publish(run, f"mlflow:{proxy.url}")
        assert proxy.connections == 1
    finally:
        proxy.close()


@pytest.mark.campaign
def test_no_lost_answer_adds_a_point_twice(run, mlflow_server, experiment):
    proxy = Proxy(int(mlflow_server.url.rpartition(":")[2]))
    try:
        failures = [
            break_answers(run, mlflow_server, f"{experiment} {after}", proxy, after)
            for after in range(0, 9000, 900)
        ]
    finally:
        proxy.close()
    assert sum(failures) >= 5
