"""`scanline train --track`, with and without a server, killed and resumed; `scanline track`."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from scanline.api import track, train
from scanline.errors import MissingExtraError, ModelError
from scanline.tracking import publisher
from scanline.tracking.publication import Publication
from scanline.tracking.target import Target
from scanline.training.run import TrainingRun
from tests.thorough import THOROUGH
from tests.tracking.server import MlflowServer, is_installed, lines_as_points
from tests.training.runs import SHORT, finish, short

NOBODY = "mlflow:http://127.0.0.1:9?experiment=x"  # the discard service, which no machine offers any more


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "scanline", *arguments]


def settings(**changes: object) -> list[str]:
    return [f"--set={key}={value}" for key, value in (SHORT | changes).items()]


def test_a_run_is_published_while_it_trains(tmp_path, store, scanline):
    code, out, err = scanline(
        "train", "digits", *settings(), "--run", tmp_path / "run", "--track", store.target("live"), "--json"
    )
    (run,) = store.runs("live")
    assert code == 0
    assert store.points(run) == lines_as_points(tmp_path / "run")
    assert store.final(run)["final/test/n"] == json.loads(out)["test"]["n"]
    assert store.status(run) == "FINISHED"
    assert f"tracked: {store.url}" in err or not store.url


def test_the_command_publishes_finished_runs_and_python_adds_nothing(run, tmp_path, store, scanline):
    target = store.target("later")
    code, out, _ = scanline("track", run, "--to", target, "--json")
    (mlflow_run,) = store.runs("later")
    (published,) = json.loads(out)["runs"]
    points = lines_as_points(run)
    assert code == 0
    assert store.points(mlflow_run) == points
    assert (published["run"], published["mlflow_run"], published["status"]) == (
        str(run),
        mlflow_run,
        "FINISHED",
    )
    assert published["points"] == len(points) + len(store.final(mlflow_run))
    (again,) = track(run, to=target)
    assert (again.mlflow_run, again.points) == (mlflow_run, 0)
    with pytest.raises(ModelError, match="is not a run directory"):
        track([run, tmp_path / "nothing"], to=target)


def test_without_a_server_training_is_the_same_and_can_be_published_later(tmp_path, store, scanline):
    run, plain = tmp_path / "run", tmp_path / "plain"
    finish(short(plain))
    code, _, err = scanline("train", "digits", *settings(), "--run", run, "--track", NOBODY)
    assert code == 0
    notes = [line for line in err.splitlines() if line.startswith("tracking: ")]
    assert notes[-1].startswith("tracking: cannot reach mlflow:http://127.0.0.1:9?experiment=x (")
    assert notes[-1].endswith(f"publish the rest with `scanline track {run} --to '{NOBODY}'`")
    weights = "model/model.safetensors"
    assert (run / weights).read_bytes() == (plain / weights).read_bytes()
    tracked = Publication(run, Target.parse(store.target("after"))).update()
    assert store.points(tracked.mlflow_run) == lines_as_points(run)
    assert store.status(tracked.mlflow_run) == "FINISHED"


def test_a_server_that_never_answers_does_not_hold_up_training(tmp_path, client, monkeypatch):
    import socket

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = Target.parse(f"mlflow:http://127.0.0.1:{silent.getsockname()[1]}")
        training, lines = short(tmp_path / "run"), []
        began = time.monotonic()
        with publisher.publishing(tmp_path / "run", target, lines.append):
            finish(training)
            seconds = time.monotonic() - began
    assert seconds < 10
    assert time.monotonic() - began < 20
    assert "cannot reach" in lines[-1]
    assert "timed out" in lines[-1]


@pytest.mark.parametrize(
    ("track", "expected"),
    [
        ("wandb:x", "scanline: tracking: expected mlflow:URI, such as"),
        ("mlflow:localhost:5000", "for a server write mlflow:http://localhost:5000"),
        ("mlflow:", "MLFLOW_TRACKING_URI is not set"),
    ],
)
def test_a_wrong_target_is_one_line_before_training(tmp_path, monkeypatch, scanline, track, expected):
    monkeypatch.chdir(tmp_path)
    for arguments in (("train", "digits", "--track", track), ("track", "run", "--to", track)):
        code, _, err = scanline(*arguments)
        assert (code, err.count("\n")) == (2, 1)
        assert expected in err
    assert not list(tmp_path.iterdir())


def test_the_command_names_what_is_no_run(tmp_path, run, client, scanline):
    run.rename(tmp_path / "digits-001")
    code, _, err = scanline("track", tmp_path / "digits-01", "--to", NOBODY)
    assert code == 4
    assert err == (
        f"scanline: {tmp_path / 'digits-01'} is not a run directory: it has no recipe.toml; "
        "did you mean 'digits-001'?\n"
    )


def test_the_command_names_a_server_that_cannot_be_reached(run, client, scanline):
    code, _, err = scanline("track", run, "--to", "mlflow:http://me:secret@127.0.0.1:9?experiment=x")
    assert (code, err) == (1, f"scanline: cannot reach {NOBODY} (Connection refused)\n")
    assert not (run / "tracking.json").exists()


class Refusal(BaseHTTPRequestHandler):
    """Refuses every request, as a proxy in front of a server does that wants other credentials."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"secret")

    do_POST = do_GET  # noqa: N815 -- the name that http.server calls

    def log_message(self, *arguments: object) -> None:
        pass


def test_refused_credentials_are_one_line_without_them(run, client, scanline):
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_port
        code, _, err = scanline("track", run, "--to", f"mlflow:http://me:secret@127.0.0.1:{port}")
        server.shutdown()
    assert code == 1
    assert err.startswith(f"scanline: mlflow:http://127.0.0.1:{port}?experiment=scanline refuses the credent")
    assert "set MLFLOW_TRACKING_USERNAME" in err
    assert "secret" not in err


def test_without_mlflow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"mlflow-skinny and pandas, which are .*'\.\[mlflow\]'"):
        train("digits", run=tmp_path / "run", track=NOBODY, log=None)
    with pytest.raises(MissingExtraError):
        track(tmp_path / "run", to=NOBODY)
    assert not (tmp_path / "run").exists()


def test_the_help_imports_no_client():
    script = (
        "import sys; sys.argv = ['scanline', 'track', '--help']\n"
        "from scanline.cli import main\n"
        "try: main()\n"
        "except SystemExit: print({'torch', 'mlflow'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "set()\n"


def kill_and_resume(folder: Path, server: MlflowServer, kills: int, draw: random.Random) -> int:
    """Kill a training again and again, half of the times with the process that publishes, and resume it.

    In the end the server must hold exactly the metrics of the run. Returns how often it was killed, which is
    less often than asked for if it was over before.
    """
    run, target, published, killed = folder / "run", server.target("killed"), 0, 0
    # Quick steps with many lines and checkpoints, so that kills meet every state of publishing.
    often = {"train.steps": 4000 * (kills + 1), "train.checkpoint_every": 40, "train.log_every": 20}
    arguments = ["digits", *settings(**often, **{"train.validate_every": 200})]
    for _ in range(kills):
        process = start_training(run, target, arguments)
        # Mostly after something was published, sometimes while the publishing process starts.
        if draw.random() < 0.8:
            wait_for_points(server, published, process)
        time.sleep(draw.uniform(0, 1.5))
        if process.poll() is not None:
            process.communicate()
            break
        killed += 1
        if draw.random() < 0.5:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()  # the process that publishes makes a last pass
        process.communicate()
        points = [point for mlflow_run in server.runs("killed") for point in server.points(mlflow_run)]
        assert len(set(points)) == len(points)
        # The file has all lines until the training is resumed; there is none before the first line.
        written = lines_as_points(run) if (run / "metrics.jsonl").exists() else []
        assert set(points) <= set(written)
        published = len(points)
        arguments = ["--resume"] if (run / "checkpoints").is_dir() else arguments
    if (run / "result.json").exists():  # the training had ended, the process that publishes had not
        err = ""
        track(run, to=target)
    else:
        _, err = start_training(run, target, arguments).communicate(timeout=600)
    (mlflow_run,) = server.runs("killed")
    assert server.points(mlflow_run) == lines_as_points(run), err[-1000:]
    assert server.status(mlflow_run) == "FINISHED"
    assert published > 0
    return killed


def start_training(run: Path, target: str, arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("train", *arguments, "--run", str(run), "--device", "cpu", "--track", target),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_points(server: MlflowServer, before: int, process: subprocess.Popen[str]) -> None:
    """Wait until the server holds more points than before, or the training is over."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if sum(len(server.points(run)) for run in server.runs("killed")) > before:
            return
        time.sleep(0.05)


@pytest.mark.campaign
@pytest.mark.skipif(not is_installed(), reason="there is no MLflow server: run `make mlflow-server`")
def test_after_kills_the_server_holds_exactly_the_metrics(tmp_path, mlflow_server):
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # shown if the test fails
    killed = kill_and_resume(tmp_path, mlflow_server, 20 if THOROUGH else 2, random.Random(seed))
    assert killed == 20 if THOROUGH else killed > 0


def test_a_killed_training_is_marked_as_killed(tmp_path, store):
    TrainingRun.begin("digits", settings=SHORT, run=tmp_path / "run", device="cpu").close()
    process = publisher._start(Target.parse(store.target("ends")), [tmp_path / "run"], follows=True)
    assert process.stdin is not None
    process.stdin.close()  # as the end of a process does that is killed
    replies = list(publisher._replies(process))
    assert process.wait(30) == 0
    assert replies[-1]["tracked"]["status"] == "KILLED"
    (run,) = store.runs("ends")
    assert store.status(run) == "KILLED"
