"""Trainings that cannot start: one line, from one process, and the exit code of the reason."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading

import pytest

from tests.training.distributed.processes import (
    Launch,
    free_port,
    lines,
    train_alone,
    train_together,
)
from tests.training.distributed.runs import arguments


def refused(folder, commands, code):
    """Return the one line that all processes together print; all have the same exit code."""
    ended = train_together(folder, *commands)
    assert [each.code for each in ended] == [code] * len(commands), ended
    (line,) = [line for each in ended for line in lines(each.text)]
    assert "Traceback" not in "".join(each.text for each in ended)
    return line


def write_table(folder, name, first):
    rows = [f"{first if index == 0 else index % 7},{index % 5},{'ab'[index % 2]}" for index in range(60)]
    path = folder / name
    path.write_text("\n".join(["x,y,label", *rows]) + "\n")
    return path


def test_more_processes_than_slices_are_refused_once(tmp_path):
    line = refused(tmp_path, [arguments(train__slices=2)] * 3, 2)
    assert "3 processes need train.slices of at least 3, got 2" in line
    assert line.endswith("add --set train.slices=3")
    assert not (tmp_path / "run").exists()


def test_unknown_data_are_refused_once(tmp_path):
    assert "no-such-data" in refused(tmp_path, [["no-such-data", "--run", "run"]] * 2, 2)
    assert "missing.csv" in refused(tmp_path, [["missing.csv", "--run", "run"]] * 2, 3)


def test_an_existing_run_directory_is_refused_once(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").touch()
    line = refused(tmp_path, [arguments()] * 2, 2)
    assert "run" in line
    assert "exists" in line


def test_different_recipes_are_refused_and_their_digests_named(tmp_path):
    commands = [arguments(), arguments(), arguments(train__noise=0.1)]
    ended = train_together(tmp_path, *commands)
    assert [each.code for each in ended] == [2, 2, 2]
    for each in ended:
        assert "Traceback" not in each.text
    (line,) = {line for each in ended for line in lines(each.text)}
    assert re.search(r"processes 0 \(.*\) and 2 \(.*\) differ: recipe [0-9a-f]{12} and [0-9a-f]{12};", line)
    assert line.endswith("run the same command on the same data everywhere")


def test_different_data_are_refused_and_their_digests_named(tmp_path):
    files = [write_table(tmp_path, f"{rank}.csv", 3 + rank) for rank in range(2)]
    commands = [
        [str(file), "--run", "run", "--set", "train.slices=2", "--set", "train.batch_size=4"]
        for file in files
    ]
    ended = train_together(tmp_path, *commands)
    assert [each.code for each in ended] == [2, 2], ended
    (line,) = {line for each in ended for line in lines(each.text)}
    assert re.search(r"differ: split '\w+' [0-9a-f]{12} and [0-9a-f]{12};", line)
    assert "recipe" not in line


def test_data_that_only_the_writer_has_are_refused_once(tmp_path):
    file = write_table(tmp_path, "table.csv", 3)
    settings = ["--run", "run", "--set", "train.slices=2", "--set", "train.batch_size=4"]
    ended = train_together(tmp_path, [str(file), *settings], [str(tmp_path / "missing.csv"), *settings])
    assert [each.code for each in ended] == [3, 3], ended
    printed = [line for each in ended for line in lines(each.text)]
    assert len(printed) == 1, printed
    assert "missing.csv" in printed[0]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--nodes", "2"], "--nodes above 1 requires --rendezvous HOST:PORT"),
        (["--nodes", "2:1", "--rendezvous", "host:1"], "--nodes: expected 1 or more, and MIN up to MAX"),
        (["--nodes", "two"], "--nodes: expected a number or MIN:MAX, got 'two'"),
        (["--rendezvous", "host", "--job", "j"], "--rendezvous: expected HOST:PORT, got 'host'"),
        (["--rendezvous", ":29400", "--job", "j"], "--rendezvous: expected HOST:PORT"),
        (["--rendezvous", "host:http", "--job", "j"], "--rendezvous: expected HOST:PORT"),
        (["--rendezvous", "host:70000", "--job", "j"], "--rendezvous: expected HOST:PORT"),
        (["--rendezvous", "host:29400"], "--rendezvous requires --job NAME"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_machines_that_cannot_meet_are_refused(tmp_path, options, named):
    ended = train_alone(tmp_path, [*arguments(), *options])
    assert ended.code == 2
    (line,) = ended.text.splitlines()
    assert line.startswith(f"scanline: {named}")
    assert list(tmp_path.glob("run*")) == []


@pytest.mark.campaign
def test_a_launch_that_is_refused_is_not_started_again(tmp_path):
    with Launch(tmp_path, [*arguments(train__slices=2), "--processes", "3"]) as launch:
        ended = launch.ended()
        launch.wait_until_none_is_alive(5)
    assert ended.code == 2
    (line,) = lines(ended.text)
    assert "3 processes need train.slices of at least 3, got 2" in line
    assert ended.text.strip() == line


@pytest.mark.campaign
def test_a_missing_package_for_the_report_is_noticed_before_processes_start(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *given: None if name == 'jinja2' else real(name, *given)\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with Launch(tmp_path, [*arguments(), "--processes", "2", "--report"], {"PYTHONPATH": path}) as launch:
        ended = launch.ended()
    (line,) = ended.text.splitlines()
    assert "jinja2" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.campaign
def test_a_machine_that_never_comes_is_reported_after_the_timeout(tmp_path):
    place = ["--rendezvous", f"127.0.0.1:{free_port()}", "--job", "made-up", "--join-timeout", "4"]
    with Launch(tmp_path, [*arguments(), "--nodes", "2", *place]) as launch:
        ended = launch.ended()
        launch.wait_until_none_is_alive(5)
    assert ended.code == 1
    (line,) = ended.text.splitlines()
    assert "2 machines are needed, and 1 came within 4 s" in line


@pytest.mark.campaign
@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["silent", "answers"])
def test_a_port_that_another_program_uses_is_reported_after_the_timeout(tmp_path, answer):
    connections = []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connections.append(other.accept()[0])
                if answer is not None:
                    with connections[-1] as connection:
                        connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as other:
        server = threading.Thread(target=serve)
        server.start()
        endpoint = f"127.0.0.1:{other.getsockname()[1]}"
        place = ["--rendezvous", endpoint, "--job", "made-up", "--join-timeout", "2"]
        with Launch(tmp_path, [*arguments(), "--nodes", "2", *place]) as launch:
            ended = launch.ended()
            launch.wait_until_none_is_alive(5)
        other.shutdown(socket.SHUT_RDWR)
        server.join()
    for connection in connections:
        connection.close()
    assert ended.code == 1
    (line,) = ended.text.splitlines()
    assert line.startswith(f"scanline: cannot meet the other machines at {endpoint}: ")
