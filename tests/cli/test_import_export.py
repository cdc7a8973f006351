"""`scanline import` and `scanline export`, end to end, on real files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from scanline.errors import UsageError
from scanline.model.loading import load
from scanline.serving.gallery import build_gallery

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture
def state(tmp_path):
    """A PyTorch network's weights, and what it answers to one sequence."""
    torch.manual_seed(0)
    modules = torch.nn.ModuleDict(
        {"lstm": torch.nn.LSTM(3, 5, batch_first=True), "head": torch.nn.Linear(5, 4)}
    )
    path = tmp_path / "theirs.safetensors"
    save_file(dict(modules.state_dict()), path)
    x = torch.randn(1, 7, 3)
    with torch.inference_mode():
        prediction = modules["head"](modules["lstm"](x)[0][:, -1]).softmax(1).numpy()
    return path, x.numpy(), prediction


def test_an_imported_pytorch_network_works_with_every_command(state, scanline, tmp_path):
    path, x, prediction = state
    code, out, _ = scanline("import", path, "--output", tmp_path / "made", "--classes", "n,e,s,w")
    assert code == 0
    assert "1 x lstm 5, readout last: 3 features, 4 classes" in out
    model = load(tmp_path / "made")
    assert list(model.classes) == ["n", "e", "s", "w"]
    np.testing.assert_allclose(model.predict_proba(x), prediction, rtol=0, atol=1e-6)
    np.savez(tmp_path / "x.npz", X=x)
    for command in (
        ("predict", tmp_path / "made", tmp_path / "x.npz"),
        ("explain", tmp_path / "made", tmp_path / "x.npz"),
        ("export", tmp_path / "made", "--output", tmp_path / "again.onnx"),
    ):
        assert scanline(*command)[0] == 0
    card = (tmp_path / "made" / "README.md").read_text()
    assert "unknown: the model was not tested" in card


def test_the_tutorials_checkpoint_names_9665_of_10000_digits(golden, mnist, scanline, tmp_path):
    source = golden / "tf1_checkpoint_basic_128" / "model.ckpt"
    folder = tmp_path / "tutorial"
    code, _, err = scanline("import", source, "--output", folder, "--picture", "28x28", "--divide-by", 255)
    assert code == 0
    assert "forget_bias" in err
    _, out, _ = scanline("evaluate", folder, "--data", "mnist", "--json")
    assert json.loads(out)["test"]["correct"] == 9665


def test_an_exported_run_predicts_the_same_in_onnx_runtime(trained, scanline, tmp_path):
    code, out, err = scanline("export", trained, "--output", tmp_path / "digits.onnx", "--json")
    assert (code, err) == (0, "")
    content = json.loads(out)
    assert content["difference"] <= 1e-4
    pictures = np.random.default_rng(0).integers(0, 17, (9, 8, 8))
    session = onnxruntime.InferenceSession((tmp_path / "digits.onnx").read_bytes())
    inputs = {"steps": pictures.astype(np.float32), "lengths": np.full(9, 8, np.int64)}
    (probabilities,) = session.run(["probabilities"], inputs)
    np.testing.assert_allclose(probabilities, load(trained).predict_proba(pictures), rtol=0, atol=1e-4)


def test_the_step_graph_is_written_too(trained, scanline, tmp_path):
    assert scanline("export", trained, "--output", tmp_path / "step.onnx", "--step")[0] == 0
    names = [each.name for each in onnxruntime.InferenceSession(str(tmp_path / "step.onnx")).get_inputs()]
    assert names == ["step", "h", "c"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--output", "m.h5"), 2, "--output must end in .onnx or .keras, got"),
        (("--output", "m.keras", "--step"), 2, "--step and --opset are for .onnx files"),
        (("--output", "m.onnx", "--opset", "3"), 2, "opset"),
        (("--output", "nowhere/m.onnx"), 1, "nowhere"),
    ],
)
def test_an_impossible_export_is_refused_in_one_line(trained, scanline, tmp_path, options, code, message):
    options = ["--output", tmp_path / options[1], *options[2:]]
    result, out, err = scanline("export", trained, *options)
    assert (result, out) == (code, "")
    assert err.count("\n") == 1
    assert message in err
    assert not any(tmp_path.rglob("m.*"))


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--classes", "a,b"), 2, "4 outputs: expected as many class names, got 2"),
        (("--classes", "a,a,b,c"), 2, "class names must be different"),
        (("--picture", "28x28"), 2, "reads 3 values a step, but rows of pictures of 28 x 28 have 28"),
        (("--picture", "big"), 2, "--picture must be HEIGHTxWIDTH, such as 28x28, got 'big'"),
        (("--picture", "3x3", "--view", "rose"), 2, "input.view must be one of"),
        (("--view", "columns"), 2, "--view columns is for pictures"),
        (("--divide-by", "0"), 2, "divided by a number above 0, got 0"),
    ],
)
def test_options_that_do_not_fit_the_network_are_refused_in_one_line(
    state, scanline, tmp_path, options, code, message
):
    result, _, err = scanline("import", state[0], "--output", tmp_path / "made", *options)
    assert result == code
    assert message in err.splitlines()[-1]
    assert not (tmp_path / "made").exists()


def test_a_missing_file_is_named(scanline, tmp_path):
    (tmp_path / "a.txt").write_text("no")
    for name, message in (("a.txt", "is no model that can be imported"), ("b.keras", "b.keras")):
        code, _, err = scanline("import", tmp_path / name, "--output", tmp_path / "made")
        assert code == 4
        assert err.count("\n") == 1
        assert message in err
    torch.save({"a": torch.zeros(1)}, tmp_path / "theirs.pt")
    code, _, err = scanline("import", tmp_path / "theirs.pt", "--output", tmp_path / "made")
    assert code == 4
    assert "safetensors" in err


def test_an_existing_folder_is_not_written_over(state, scanline, trained):
    code, _, err = scanline("import", state[0], "--output", trained)
    assert code == 2
    assert "exists: choose another --output" in err


def test_pictures_that_are_not_scaled_are_warned_of(scanline, tmp_path):
    torch.manual_seed(0)
    modules = {"rnn": torch.nn.LSTM(4, 3), "fc": torch.nn.Linear(3, 2)}
    save_file(
        {f"{n}.{k}": v for n, m in modules.items() for k, v in m.state_dict().items()},
        tmp_path / "m.safetensors",
    )
    command = ("import", tmp_path / "m.safetensors", "--picture", "4x4")
    assert "warning: the network reads grey levels" in scanline(*command, "--output", tmp_path / "a")[2]
    quiet = scanline(*command, "--output", tmp_path / "b", "--divide-by", 255)
    assert quiet[0] == 0
    assert "warning" not in quiet[2]


def test_an_imported_model_has_a_gallery_of_data_that_the_user_names(state, scanline, tmp_path):
    assert scanline("import", state[0], "--output", tmp_path / "made")[0] == 0
    values = np.random.default_rng(0).normal(size=(8, 6, 3)).astype(np.float32)
    np.savez(tmp_path / "theirs.npz", X=values, y=np.arange(8) % 4)
    model, run = load(tmp_path / "made"), str(tmp_path / "made")
    with pytest.raises(UsageError, match="with --data"):
        build_gallery(model, run)
    result = build_gallery(model, run, str(tmp_path / "theirs.npz"))
    assert {item.index for item in result.items} == set(range(8))
    assert "--data" in scanline("serve", "--help")[1]
