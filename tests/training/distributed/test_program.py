"""`scanline.train(..., processes=K)`: the result of one process, and its errors."""

import numpy as np
import pytest

import scanline
from scanline.errors import Interrupted, ScanlineError, UsageError
from scanline.training.distributed.program import _failure

SETTINGS = {"train.slices": 4, "train.steps": 12, "train.samples": 0, "model.hidden_size": 8}


def _arrays():
    draw = np.random.default_rng(0)
    values = [draw.normal(size=(n, 3)).astype(np.float32) for n in draw.integers(3, 9, 40)]
    return scanline.Arrays(values, ["above" if each.mean() > 0 else "below" for each in values])


def _weights(run):
    return (run.path / "model" / "model.safetensors").read_bytes()


@pytest.mark.campaign
def test_two_processes_have_the_result_of_one(tmp_path):
    lines = {1: [], 2: []}
    one, two = (
        scanline.train(
            _arrays(),
            settings=SETTINGS,
            run=tmp_path / str(k),
            processes=k,
            log=lines[k].append,
            device="cpu",
        )
        for k in (1, 2)
    )
    assert _weights(one) == _weights(two)
    assert lines[1] == lines[2] != []
    assert one.result["test"] == two.result["test"]
    # The run is resumed in processes, with the same arrays.
    longer = SETTINGS | {"train.steps": 20}
    runs = [
        scanline.train(_arrays(), settings=longer, resume=tmp_path / "2", processes=2, log=None, device="cpu")
    ]
    runs.append(scanline.train(_arrays(), settings=longer, run=tmp_path / "3", log=None, device="cpu"))
    assert runs[0].result["training"]["steps"] == 20
    with pytest.raises(
        UsageError, match=r"3 processes need train\.slices .*settings=\{\"train\.slices\": 3\}"
    ):
        scanline.train("digits", run=tmp_path / "4", processes=3, log=None, device="cpu")


@pytest.mark.parametrize(
    ("content", "code", "kind", "message"),
    [
        ('{"class": "DataError", "message": "no such file"}', 3, scanline.errors.DataError, "no such file"),
        ('{"class": "Diverged", "message": "the loss became nan"}', 1, ScanlineError, "the loss became nan"),
        ('{"class": "Interrupted", "message": "stopped"}', 143, Interrupted, "stopped"),
        (None, 130, Interrupted, "the training was stopped"),
        (None, 1, ScanlineError, "exit code 1"),
    ],
)
def test_the_error_of_the_processes_is_raised(content, code, kind, message, tmp_path):
    if content is not None:
        (tmp_path / "failure.json").write_text(content)
    error = _failure(tmp_path, code)
    assert type(error) is kind
    assert message in str(error)
    if isinstance(error, Interrupted):
        assert error.exit_code == code
