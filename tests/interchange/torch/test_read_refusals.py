"""PyTorch files that cannot be mapped, are damaged or are pickled are refused by name."""

from __future__ import annotations

import re
from collections import OrderedDict

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from scanline.errors import ModelError
from scanline.interchange.reading import read_network
from scanline.interchange.torch.read import read_state_dict, refuse_pickle
from tests.interchange.checkpoints import table
from tests.interchange.torch.modules import assert_logits_close, assert_refused, float32_state, make, save


def test_projections_are_refused_by_name(tmp_path):
    module = nn.Sequential(OrderedDict(lstm=nn.LSTM(5, 4, proj_size=2), fc=nn.Linear(2, 3)))
    assert_refused(
        save(tmp_path, module.state_dict()), r"cannot map lstm\.weight_hr_l0: projections \(proj_size\)"
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"embed.weight": (9, 5)},
            r"weight \(classes, 4\) and bias \(classes,\) of one nn\.Linear, found fc\.weight and "
            r"also embed\.weight \(9, 5\); only such",
        ),
        (
            {"fc2.weight": (2, 4), "fc2.bias": (2,)},
            r"found more than one candidate: fc\.bias \(3,\), fc\.weight \(3, 4\), fc2\.bias \(2,\)",
        ),
        (
            {"norm.running_mean": (4,)},
            r"found fc\.weight and also norm\.running_mean \(4,\)",
        ),
        ({"rnn.weight_hh_l0_v": (16, 4)}, r"found fc\.weight and also rnn\.weight_hh_l0_v \(16, 4\)"),
        (
            {"other.weight_ih_l0": (16, 5)},
            r"expected one recurrent module, found 2, with other\.weight_ih_l0, rnn\.\w+; several cannot",
        ),
        (
            {"rnn.bias_ih_l1": (16,)},
            r"expected weight_ih and weight_hh of each of 2 layers in 1 direction, found rnn\.bias_hh_l0",
        ),
        ({"rnn.weight_ih_l999999": (16, 4)}, r"of each of 1,000,000 layers in 1 direction, found"),
        ({"rnn.weight_ih_l0_reverse": (16, 5)}, r"of each of 1 layers in 2 directions, found"),
    ],
)
def test_tensors_that_cannot_be_mapped_are_refused_by_name(tmp_path, more, message):
    state = float32_state(make()) | {name: torch.ones(shape) for name, shape in more.items()}
    assert_refused(save(tmp_path, state), message)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (
            "rnn.weight_hh_l0",
            "expected weight_ih and weight_hh of each of 1 layers in 1 direction, found rnn.bias_hh",
        ),
        ("fc.weight", r"of one nn\.Linear, found fc\.bias \(3,\); only such"),
        ("rnn.", r"found no recurrent module: expected weight_ih_l0, .* found fc\.bias, fc\.weight"),
        ("fc.", r"of one nn\.Linear, found none; only such"),
        ("", r"found no recurrent module: expected .*, found none"),
    ],
)
def test_missing_parts_of_a_network_are_named(tmp_path, gone, message):
    state = {name: tensor for name, tensor in float32_state(make()).items() if not name.startswith(gone)}
    assert_refused(save(tmp_path, state), message)


@pytest.mark.parametrize(
    ("changed", "shape", "message"),
    [
        ("rnn.weight_hh_l0", (8, 4), r"rnn\.weight_hh_l0: expected \(4 H, H\) of an LSTM, .* found \(8, 4\)"),
        ("rnn.weight_hh_l0", (15, 4), r"expected \(4 H, H\) of an LSTM, .* found \(15, 4\)"),
        ("rnn.weight_hh_l0", (0, 0), r"expected \(4 H, H\) of an LSTM, .* found \(0, 0\)"),
        ("rnn.weight_hh_l0", (16,), r"expected \(4 H, H\) of an LSTM, .* found \(16,\)"),
        ("rnn.weight_ih_l0", (12, 5), r"rnn\.weight_ih_l0: expected \(16, 5\), found \(12, 5\)"),
        ("rnn.weight_ih_l0", (16, 0), r"expected 1 to 65,536 input_size, found 0"),
        ("rnn.bias_hh_l0", (16, 1), r"rnn\.bias_hh_l0: expected \(16,\), found \(16, 1\)"),
        ("fc.weight", (3, 5), r"found fc\.bias \(3,\), fc\.weight \(3, 5\); only such"),
        ("fc.weight", (0, 4), r"found fc\.weight and also fc\.bias \(3,\)"),
        ("fc.bias", (4,), r"found fc\.weight and also fc\.bias \(4,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(tmp_path, changed, shape, message):
    assert_refused(save(tmp_path, float32_state(make()) | {changed: torch.ones(shape)}), message)


def test_too_many_layers_are_refused(tmp_path):
    assert_refused(
        save(tmp_path, float32_state(make(sizes=(1, 1, 65, 2)))), "expected 1 to 64 layers, found 65"
    )


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["rnn.weight_hh_l0", "rnn.bias_ih_l0", "fc.bias"])
def test_invalid_numbers_are_refused(tmp_path, wrong, name):
    state = float32_state(make())
    state[name].view(-1)[1] = wrong
    assert_refused(
        save(tmp_path, state), rf"{re.escape(name)}: expected finite numbers .* found 1 of \d+ that are not"
    )


def test_numbers_beyond_float32_are_refused(tmp_path):
    state = make().state_dict()
    state["fc.bias"][0] = 1e39
    assert_refused(
        save(tmp_path, state), r"head\.bias: expected finite numbers that float32 can hold, found 1 of 3"
    )


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_tensors_that_are_not_floats_are_refused(tmp_path, dtype):
    state = float32_state(make()) | {"fc.bias": torch.ones(3).to(dtype)}
    name = str(dtype).removeprefix("torch.")
    assert_refused(
        save(tmp_path, state), rf"fc\.bias: expected float32, float64, float16 or bfloat16, found {name}"
    )


def test_a_missing_file_is_named(tmp_path):
    save(tmp_path, float32_state(make()))
    assert_refused(
        tmp_path / "modle.safetensors", r"there is no file .*; did you mean 'model\.safetensors'\?; expected"
    )
    assert_refused(tmp_path, "there is no file")


def test_a_truncated_file_is_refused(tmp_path):
    path = save(tmp_path, float32_state(make()))
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert_refused(path, "is damaged, or no safetensors file")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(data=st.data())
def test_a_changed_header_is_read_or_refused(tmp_path, data):
    path = save(tmp_path, float32_state(make()))
    content = bytearray(path.read_bytes())
    end = 8 + int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        read_state_dict(path)
    except ModelError:
        assert_refused(path, "model")


def test_a_pickled_file_is_refused_with_the_lines_that_convert_it(tmp_path):
    path, state = tmp_path / "model.pt", float32_state(make())
    torch.save(state, path)
    with pytest.raises(ModelError, match="reading a pickled file can run any code") as caught:
        refuse_pickle(path)
    lines = re.findall(r"`([^`]+)`", str(caught.value))
    assert lines == [
        "state = torch.load('model.pt', weights_only=True)",
        "safetensors.torch.save_file(state, 'model.safetensors')",
    ]
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ModelError, match=r"model\.pt may be pickled"):
        read_network(path)


def test_the_lines_that_convert_a_pickled_file_convert_it(tmp_path, values, monkeypatch):
    theirs = make()
    torch.save(float32_state(theirs), tmp_path / "model.pt")
    with pytest.raises(ModelError) as caught:
        refuse_pickle(tmp_path / "model.pt")
    monkeypatch.chdir(tmp_path)
    exec("import torch, safetensors.torch\n" + "\n".join(re.findall(r"`([^`]+)`", str(caught.value))))
    assert_logits_close(read_state_dict(tmp_path / "model.safetensors"), theirs, values)


def test_the_old_format_of_tensorflow_is_not_called_pickled(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(table([(b"", b"x")]))
    with pytest.raises(ModelError, match=r"model\.ckpt: TensorFlow checkpoints in the old format \(V1\)"):
        read_network(tmp_path / "model.ckpt")


def test_a_missing_pickled_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"model\.pt cannot be read \(No such file or directory\)"):
        refuse_pickle(tmp_path / "model.pt")
