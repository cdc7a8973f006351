"""The command line: what is printed where, and the exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import time

import pytest
from PIL import Image

import scanline as package
from scanline.data import catalogue as catalog
from scanline.kernels.library import load

PROGRAM = [sys.executable, "-m", "scanline"]
QUICK = ("--set", "train.samples=0", "--set", "train.steps=3", "--set", "model.hidden_size=8")


def one_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text


def test_help_names_every_command(scanline):
    code, out, _ = scanline("--help")
    assert code == 0
    for command in ("train", "evaluate", "predict", "recipes", "data"):
        assert re.search(rf"^  {command} +\w", out, re.MULTILINE)


def test_help_imports_nothing_heavy():
    heavy = ["torch", "numpy", "sklearn", "scipy", "rich", "pydantic", "requests"]
    probe = (
        "import sys; sys.argv = ['scanline', '--help']\n"
        "from scanline.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print('heavy:', [m for m in {heavy} if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "heavy: []" in ran.stdout


def test_the_version_is_the_packages(scanline):
    assert scanline("--version")[:2] == (0, f"scanline {package.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "no such command 'trian': expected one of train, .*did you mean 'train'"),
        (["train", "--sed", "1"], "no such option.*--seed"),
        (["train", "--seed", "-1"], "-1 is not in the range x>=0"),
        (["train", "mnsit"], "unknown data set 'mnsit': .* did you mean 'mnist'"),
        (["train", "digits", "--recipe", "rosw"], "unknown recipe 'rosw'.* did you mean 'rows'"),
        (["train", "digits", "--set", "train.bach_size=1"], "unknown key 'train.bach_size'; did you mean"),
        (["train", "digits", "--set", "train.learning_rate=-1"], "train.learning_rate must be > 0, got -1"),
        (["train", "digits", "--set", "train.batch_size=0"], "train.batch_size must be >= 1, got 0"),
        (["train", "digits", "--set", "train.samples=-5"], "train.samples must be >= 0, got -5"),
        (
            ["train", "digits", "--set", "train.learning_rate=true"],
            "train.learning_rate must be a number, got True",
        ),
        (["train", "digits", "--set", "name=../x"], "name must be up to 64 letters, digits,.* got '../x'"),
        (["train", "digits", "--set", "model.dropout=0.5"], "set model.dropout_on to .every."),
        (
            ["train", "digits", "--set", "model.forget_bias=1e39"],
            r"model.forget_bias must be <= 100, got 1e\+39",
        ),
        (
            ["train", "digits", "--set", "train.batch_size=" + "[" * 3000],
            "train.batch_size must be a whole number",
        ),
        (["train", "digits", "--set", "seed=" + "9" * 5000], "seed must be"),
        (["train", "digits", "--device", "tpu"], "device must be one of auto, cpu, cuda, cuda:N, got 'tpu'"),
        (["train", "--resume"], "--resume requires --run DIR"),
        (["recipes", "rosw"], "unknown recipe 'rosw'"),
        (["evaluate"], "Missing argument 'RUN'"),
        (["data", "verify", "imagenet"], "unknown data set 'imagenet'"),
    ],
)
def test_a_request_that_makes_no_sense_is_one_line_and_exits_with_2(
    scanline, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    code, out, err = scanline(*arguments)
    assert (code, out) == (2, "")
    assert re.search(message, one_line(err)), err
    assert not list(tmp_path.iterdir())


def test_a_missing_named_data_set_exits_with_3(scanline, tmp_path, monkeypatch):
    monkeypatch.delenv("SCANLINE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    code, _, err = scanline("train", "mnist")
    assert code == 3
    assert "SCANLINE_OFFLINE is set" in one_line(err)
    assert "SCANLINE_DATA" in err
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_model_exits_with_4(scanline, tmp_path):
    code, _, err = scanline("evaluate", tmp_path / "nothing")
    assert code == 4
    assert "there is no run" in one_line(err)


def test_train_prints_the_result_on_stdout_and_progress_on_stderr(scanline, tmp_path):
    code, out, err = scanline(
        "train", "digits", "--run", tmp_path / "run", *QUICK, "--set", "train.log_every=1"
    )
    assert code == 0
    assert re.fullmatch(
        r"test: \d+ of 360 correct, accuracy 0\.\d{4}, 95 % interval 0\.\d{4} to 0\.\d{4}\n"
        rf"run:  {tmp_path}/run\n",
        out,
    )
    assert re.search(r"^step: 2 / loss: \d+\.\d{6} / acc: 0\.\d{5}$", err, re.MULTILINE)
    assert "\x1b" not in err  # no escape codes where nobody watches
    assert "step: 2 / loss: " in (tmp_path / "run" / "log.txt").read_text()


def test_train_in_json_is_the_result_file(scanline, tmp_path):
    _, out, _ = scanline("train", "digits", "--run", tmp_path / "run", "--json", *QUICK)
    printed = json.loads(out)
    assert printed.pop("run") == str(tmp_path / "run")
    assert printed == json.loads((tmp_path / "run" / "result.json").read_text())


def test_a_run_folder_that_exists_is_refused(scanline, trained):
    before = sorted(trained.rglob("*"))
    code, _, err = scanline("train", "digits", "--run", trained)
    assert code == 2
    assert "exists already: choose another --run, or resume that run" in one_line(err)
    assert sorted(trained.rglob("*")) == before


def test_evaluate_prints_the_metrics_that_the_run_recorded(scanline, trained):
    recorded = json.loads((trained / "result.json").read_text())["test"]
    _, out, _ = scanline("evaluate", trained, "--json")
    assert json.loads(out)["test"] == recorded
    code, out, _ = scanline("evaluate", trained)
    assert code == 0
    assert f"{recorded['correct']} of 360 correct" in out
    assert f"accuracy on the first 128 (as in the tutorials): {recorded['first128_accuracy']:.6f}" in out
    table = out.splitlines()
    first = next(number for number, line in enumerate(table) if line.startswith("confusion matrix")) + 2
    rows = [line.split() for line in table[first : first + 10]]
    assert [[0 if cell == "." else int(cell) for cell in row[1:]] for row in rows] == recorded["confusion"]


def test_evaluate_lists_every_prediction(scanline, trained):
    _, out, _ = scanline("evaluate", trained, "--list")
    rows = [line.split("\t") for line in out.splitlines()[:361]]
    assert rows[0] == ["sequence", "predicted", "true"]
    truth = catalog.load("digits").test.targets
    assert [int(row[2]) for row in rows[1:]] == truth.tolist()
    right = sum(row[1] == row[2] for row in rows[1:])
    assert f"{right} of 360 correct" in out


def test_evaluate_on_other_data_is_refused_with_both_shapes(scanline, trained, mnist):
    code, _, err = scanline("evaluate", trained, "--data", "mnist")
    assert code == 3
    assert (
        "mnist (test): expected shape (N, 8, 8), found (10000, 28, 28); the model was trained on digits"
        in one_line(err)
    )


@pytest.fixture
def seven(tmp_path):
    values = catalog.load("digits").test.values[0]
    Image.fromarray(255 - values * 15).resize((90, 90)).save(tmp_path / "seven.png")
    return tmp_path / "seven.png"


def test_predict_prints_label_and_probabilities(scanline, trained, seven):
    code, out, _ = scanline("predict", trained, seven)
    assert code == 0
    first, second = out.splitlines()
    label = re.fullmatch(rf"{re.escape(str(seven))}: (\d)", first).group(1)
    probabilities = dict(re.findall(r"(\d): (\d\.\d{4})", second))
    assert len(probabilities) == 10
    assert max(probabilities, key=probabilities.get) == label
    printed = json.loads(scanline("predict", trained, seven, "--json")[1])
    assert printed["schema"] == 1
    assert str(printed["predictions"][0]["label"]) == label


def test_predict_reports_a_bad_picture_and_classifies_the_others(scanline, trained, seven, tmp_path):
    code, out, err = scanline("predict", trained, tmp_path / "nothing.png", seven)
    assert code == 3
    assert "nothing.png" in one_line(err)
    assert "seven.png: " in out


def test_recipes_can_be_listed_printed_and_used_again(scanline, tmp_path):
    listed = scanline("recipes")[1]
    assert [line.split()[0] for line in listed.splitlines()] == [
        "audio", "digits", "rows", "sequences", "steps", "text", "tutorial-basic", "tutorial-dynamic",
        "tutorial-stacked",
    ]  # fmt: skip
    (tmp_path / "mine.toml").write_text(scanline("recipes", "digits")[1])
    code, _, err = scanline("train", "--recipe", tmp_path / "mine.toml", "--run", tmp_path / "run", *QUICK)
    assert code == 0, err


def test_data_list_names_the_location_of_each_set(scanline):
    content = {entry["name"]: entry for entry in json.loads(scanline("data", "list", "--json")[1])["data"]}
    assert content["kmnist"]["found"] is None
    assert content["digits"]["found"]
    assert "kmnist: 70,000" in scanline("data", "list")[1]


def test_data_verify_reads_every_file(scanline, mnist):
    code, out, _ = scanline("data", "verify", "mnist")
    assert code == 0
    assert len(out.splitlines()) == 4


def test_fetch_without_a_network_exits_with_3(scanline):
    code, _, err = scanline("data", "fetch", "kmnist")
    assert code == 3
    assert "SCANLINE_OFFLINE" in one_line(err)


def test_a_closed_pipe_is_no_traceback():
    ran = subprocess.run(
        f"{sys.executable} -m scanline recipes rows | head -n 1", shell=True, capture_output=True, text=True
    )
    assert ran.stdout == 'name = "rows"\n'
    assert ran.stderr == ""


def run(command: str) -> subprocess.CompletedProcess[str]:
    """A shell line with the program as $SCANLINE."""
    environment = os.environ | {"SCANLINE": f"{sys.executable} -m scanline"}
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment)


def test_a_closed_output_is_no_traceback():
    ran = run("$SCANLINE recipes >&-")
    assert ran.returncode in (0, 1)
    assert "Traceback" not in ran.stderr


def test_a_full_disk_behind_the_output_is_one_line():
    ran = run("$SCANLINE recipes --json > /dev/full")
    assert ran.returncode == 1
    assert "No space left on device" in one_line(ran.stderr)


def test_a_path_that_is_too_long_is_one_line(scanline):
    code, _, err = scanline("evaluate", "x" * 5000)
    assert code == 1
    assert "File name too long" in one_line(err)


def test_too_little_memory_is_one_line(tmp_path):
    size = "--set train.samples=0 --set train.steps=1 --set model.hidden_size=65536"
    ran = run(f"ulimit -v 30000000; $SCANLINE train digits --run {tmp_path}/run {size}")
    assert ran.returncode == 1
    assert "out of memory: reduce model.hidden_size" in one_line(ran.stderr)
    assert not (tmp_path / "run").exists()


def start_and_wait_for_a_step(command: list[str]) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while not (line := process.stderr.readline()).startswith("step: "):
        assert process.poll() is None
    return process, line


@pytest.mark.campaign
def test_ctrl_c_leaves_a_usable_run_that_resumes(scanline, tmp_path):
    run = tmp_path / "run"
    command = [*PROGRAM, "train", "digits", "--run", str(run), "--set", "train.samples=10_000_000"]
    small = ["--set", "train.log_every=5", "--set", "model.hidden_size=8"]
    process, _ = start_and_wait_for_a_step([*command, *small])
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    remedy = re.search(r"resume with `scanline (train --resume --run .*)`", err)
    assert scanline("evaluate", run)[0] == 0

    again, line = start_and_wait_for_a_step([*PROGRAM, *remedy.group(1).split()])
    first = int(re.search(r"step: (\d+)", (run / "log.txt").read_text()).group(1))
    assert int(re.search(r"step: (\d+)", line).group(1)) > first
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=60)
    assert again.returncode == 143


@pytest.mark.parametrize("columns", [120, pytest.param(40, marks=pytest.mark.campaign)])
def test_on_a_terminal_a_bar_shows_progress_speed_and_the_best_validation(tmp_path, columns):
    import fcntl
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    command = [*PROGRAM, "train", "digits", "--run", str(tmp_path / "run"), "--set", "train.samples=8_000"]
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [*command, "--set", "train.validate_every=20", "--set", "model.hidden_size=8"],
        stdout=subprocess.DEVNULL, stderr=theirs, env=environment | {"TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # how Linux says that the other end of a terminal is closed
            break
        if not piece:
            break
        shown += piece
        time.sleep(0.01)
    os.close(ours)
    assert process.wait(timeout=60) == 0
    text = shown.decode()
    assert re.search(r"\d+/249", text)
    assert re.search(r"0:00:\d\d", text)
    assert re.search(r"best 0\.\d{4}", text)
    assert ("samples/s" in text) is (columns > 60)
    assert "step: 50 / loss: " in text


def test_doctor_shows_the_backend(scanline):
    code, out, err = scanline("doctor")
    assert (code, err) == (0, "")
    assert "torch 2" in out
    content = json.loads(scanline("doctor", "--json")[1])
    assert content["schema"] == 1
    if content["native"]["found"]:
        assert content["native"]["kernels"]["float32"] in out
        assert "native library; float32:" in out
    else:
        assert content["native"]["why"] in out


@pytest.mark.parametrize(
    ("kernel", "code", "expected"),
    [
        ("none", 0, "computed by torch, which is slower; native library not used: SCANLINE_KERNEL=none"),
        ("fast", 2, "SCANLINE_KERNEL=fast: this processor runs"),
    ],
)
def test_the_environment_chooses_the_kernel(kernel, code, expected):
    if kernel == "fast" and load() is None:
        pytest.skip("no native library to choose from")
    environment = os.environ | {"SCANLINE_KERNEL": kernel}
    ran = subprocess.run(
        [sys.executable, "-m", "scanline", "doctor"], env=environment, capture_output=True, text=True
    )
    assert ran.returncode == code
    assert expected in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_invalid_library_is_named(tmp_path):
    fake = tmp_path / "libscanline.so"
    fake.write_bytes(b"not a library")
    environment = {k: v for k, v in os.environ.items() if k != "SCANLINE_KERNEL"} | {
        "SCANLINE_LIBRARY": str(fake)
    }
    ran = subprocess.run(
        [sys.executable, "-m", "scanline", "doctor"], env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"scanline: SCANLINE_LIBRARY={fake} cannot be loaded")


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("--epochs", "it is a setting: --set train.epochs=VALUE"),
        ("--batch-size", "it is a setting: --set train.batch_size=VALUE"),
        ("--lr", "it is a setting: --set train.learning_rate=VALUE"),
        ("--labelcolumn", "did you mean '--label-column'?"),
    ],
)
def test_an_unknown_option_names_the_setting_or_option_that_is_meant(scanline, option, hint):
    code, _, err = scanline("train", option, "3")
    assert (code, err) == (2, f"scanline: no such option {option!r}; {hint} (see `scanline train --help`)\n")


def test_an_unknown_option_without_a_similar_one_has_no_suggestion(scanline):
    code, _, err = scanline("evaluate", "runs/x", "--epochs", "3")
    assert (code, err) == (2, "scanline: no such option '--epochs' (see `scanline evaluate --help`)\n")
