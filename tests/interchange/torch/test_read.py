"""PyTorch's networks: their numbers are those of the modules that saved them."""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, prune

from scanline.errors import ModelError, UsageError
from scanline.interchange.options import ImportOptions
from scanline.interchange.reading import read_network
from scanline.interchange.torch.read import read_state_dict, refuse_pickle
from scanline.model.artifact import Model
from tests.interchange.checkpoints import table

MODULES = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class Theirs(nn.Module):
    """As people write it: a recurrent module, and a Linear on its last states."""

    def __init__(self, cell: str = "lstm", sizes=(5, 4, 1, 3), both: bool = False, bias: bool = True) -> None:
        super().__init__()
        inputs, hidden, layers, classes = sizes
        self.rnn = MODULES[cell](inputs, hidden, layers, bias=bias, batch_first=True, bidirectional=both)
        self.fc = nn.Linear(hidden * (1 + both), classes, bias)

    def forward(self, values):
        state = self.rnn(values)[1]
        h = state[0] if isinstance(state, tuple) else state
        return self.fc(torch.cat([h[-2], h[-1]], 1) if self.rnn.bidirectional else h[-1])


def made(seed: int = 0, **options) -> Theirs:
    torch.manual_seed(seed)
    return Theirs(**options).double().eval()


def save(folder: Path, state: dict[str, torch.Tensor], name: str = "model.safetensors") -> Path:
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, folder / name)
    return folder / name


def singles(theirs: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.float() for name, tensor in theirs.state_dict().items()}


def answers(network, values: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network.to_model(Path("somewhere")).network(values.float()).double()


def close(network, theirs: nn.Module, values: torch.Tensor, atol: float = 2e-6) -> None:
    with torch.inference_mode():
        torch.testing.assert_close(answers(network, values), theirs(values), rtol=0, atol=atol)


def refused(path: Path, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        read_state_dict(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)


@pytest.fixture
def values() -> torch.Tensor:
    return torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    cell=st.sampled_from(list(MODULES)),
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3), st.integers(2, 5)),
    both=st.booleans(),
    bias=st.booleans(),
    steps=st.integers(1, 5),
    seed=st.integers(0, 2**16),
)
def test_any_module_gives_the_same_numbers(tmp_path, cell, sizes, both, bias, steps, seed):
    theirs = made(seed, cell=cell, sizes=sizes, both=both, bias=bias)
    network = read_state_dict(save(tmp_path, singles(theirs)))
    found = network.architecture
    assert (found.cell, found.bidirectional, found.readout) == (cell, both, "last")
    assert (found.input_size, found.hidden_size, found.layers, found.classes) == sizes
    close(network, theirs, torch.randn(2, steps, sizes[0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("recurrent", "linear"),
    [
        ("rnn.", "fc."),
        ("", "out."),
        ("encoder.lstm.", "decoder.head.0."),
        ("module.model.gru.", "module.network."),
        ("r.", ""),
    ],
)
def test_modules_may_have_any_names(tmp_path, values, recurrent, linear):
    theirs = made(cell="gru", sizes=(5, 4, 2, 3), both=True)
    renamed = {
        name.replace("rnn.", recurrent, 1).replace("fc.", linear, 1)
        if name.startswith(("rnn.", "fc."))
        else name: t
        for name, t in singles(theirs).items()
    }
    close(read_network(save(tmp_path, renamed)), theirs, values)


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_two_biases_that_do_the_same_become_one(tmp_path, cell):
    theirs = made(cell=cell)
    weights = read_state_dict(save(tmp_path, singles(theirs))).weights
    both = (theirs.rnn.bias_ih_l0 + theirs.rnn.bias_hh_l0).detach().numpy()
    np.testing.assert_allclose(weights["recurrent.bias_ih_l0"], both, rtol=1e-6)
    assert not weights["recurrent.bias_hh_l0"].any()


def test_a_grus_biases_stay_two(tmp_path):
    theirs = made(cell="gru")
    weights = read_state_dict(save(tmp_path, singles(theirs))).weights
    for name in ("bias_ih_l0", "bias_hh_l0"):
        assert np.array_equal(weights[f"recurrent.{name}"], singles(theirs)[f"rnn.{name}"].numpy())


@pytest.mark.parametrize(
    ("cell", "gone"), [("lstm", "rnn.bias_hh_l0"), ("gru", "rnn.bias_ih_l0"), ("rnn", "fc.bias")]
)
def test_one_bias_that_is_missing_is_0(tmp_path, values, cell, gone):
    theirs = made(cell=cell)
    state = singles(theirs)
    state.pop(gone)
    network = read_state_dict(save(tmp_path, state))
    assert "1 of the biases are not in the file and are 0" in network.notes
    with torch.no_grad():
        theirs.get_parameter(gone).zero_()
    close(network, theirs, values)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_widths_become_float32_with_a_note(tmp_path, values, dtype):
    theirs = made(both=True)
    state = {name: tensor.to(dtype) for name, tensor in theirs.state_dict().items()}
    network = read_state_dict(save(tmp_path, state))
    assert {str(array.dtype) for array in network.weights.values()} == {"float32"}
    assert f"{str(dtype).removeprefix('torch.')} became float32" in network.notes
    theirs.load_state_dict({name: tensor.double() for name, tensor in state.items()})
    close(network, theirs, values)


@pytest.mark.parametrize(
    ("options", "notes"),
    [
        ({}, ["logits were assumed to be computed from the last output, with no layer in between"]),
        (
            {"cell": "rnn", "both": True, "bias": False},
            [
                "the activation was assumed to be tanh, nn.RNN's default: a state_dict does not show it",
                "logits were assumed to be computed from the two last states concatenated: the "
                "forward one at the end of the sequence and the backward one at its beginning, h_n[-2] and "
                "h_n[-1]; a network that reads output[:, -1] uses another backward state, and its outputs "
                "will "
                "differ",
                "5 of the biases are not in the file and are 0",
            ],
        ),
    ],
)
def test_what_was_taken_for_granted_is_told(tmp_path, options, notes):
    network = read_state_dict(save(tmp_path, singles(made(**options))))
    assert network.notes == notes
    assert network.made == "imported from the PyTorch state_dict model.safetensors"


def test_a_network_is_saved_and_loaded_as_a_model(tmp_path, values):
    network = read_state_dict(save(tmp_path, singles(made())))
    network.to_model(tmp_path / "model.safetensors").save(tmp_path / "model", "0.0.0")
    with torch.inference_mode():
        found = Model.load(tmp_path / "model").network(values.float()).double()
    assert torch.equal(found, answers(network, values))


def test_projections_are_refused_by_name(tmp_path):
    module = nn.Sequential(OrderedDict(lstm=nn.LSTM(5, 4, proj_size=2), fc=nn.Linear(2, 3)))
    refused(save(tmp_path, module.state_dict()), r"cannot map lstm\.weight_hr_l0: projections \(proj_size\)")


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
    state = singles(made()) | {name: torch.ones(shape) for name, shape in more.items()}
    refused(save(tmp_path, state), message)


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
    state = {name: tensor for name, tensor in singles(made()).items() if not name.startswith(gone)}
    refused(save(tmp_path, state), message)


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
    refused(save(tmp_path, singles(made()) | {changed: torch.ones(shape)}), message)


def test_more_layers_than_a_model_has_are_refused(tmp_path):
    refused(save(tmp_path, singles(made(sizes=(1, 1, 65, 2)))), "expected 1 to 64 layers, found 65")


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["rnn.weight_hh_l0", "rnn.bias_ih_l0", "fc.bias"])
def test_invalid_numbers_are_refused(tmp_path, wrong, name):
    state = singles(made())
    state[name].view(-1)[1] = wrong
    refused(
        save(tmp_path, state), rf"{re.escape(name)}: expected finite numbers .* found 1 of \d+ that are not"
    )


def test_numbers_beyond_float32_are_refused(tmp_path):
    state = made().state_dict()
    state["fc.bias"][0] = 1e39
    refused(save(tmp_path, state), r"head\.bias: expected finite numbers that float32 can hold, found 1 of 3")


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_tensors_that_are_no_real_numbers_are_refused(tmp_path, dtype):
    state = singles(made()) | {"fc.bias": torch.ones(3).to(dtype)}
    name = str(dtype).removeprefix("torch.")
    refused(save(tmp_path, state), rf"fc\.bias: expected float32, float64, float16 or bfloat16, found {name}")


def test_a_file_that_is_missing_is_named(tmp_path):
    save(tmp_path, singles(made()))
    refused(
        tmp_path / "modle.safetensors", r"there is no file .*; did you mean 'model\.safetensors'\?; expected"
    )
    refused(tmp_path, "there is no file")


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    path = save(tmp_path, singles(made()))
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        refused(path, "is damaged, or no safetensors file")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(data=st.data())
def test_a_header_that_was_changed_is_read_or_refused(tmp_path, data):
    path = save(tmp_path, singles(made()))
    content = bytearray(path.read_bytes())
    end = 8 + int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        read_state_dict(path)
    except ModelError:
        refused(path, "model")


def test_a_pickled_file_is_refused_with_the_lines_that_convert_it(tmp_path):
    path, state = tmp_path / "model.pt", singles(made())
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
    theirs = made()
    torch.save(singles(theirs), tmp_path / "model.pt")
    with pytest.raises(ModelError) as caught:
        refuse_pickle(tmp_path / "model.pt")
    monkeypatch.chdir(tmp_path)
    exec("import torch, safetensors.torch\n" + "\n".join(re.findall(r"`([^`]+)`", str(caught.value))))
    close(read_state_dict(tmp_path / "model.safetensors"), theirs, values)


def test_tensorflows_old_format_is_not_called_pickled(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(table([(b"", b"x")]))
    with pytest.raises(ModelError, match=r"model\.ckpt: TensorFlow checkpoints in the old format \(V1\)"):
        read_network(tmp_path / "model.ckpt")


def test_a_pickled_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"model\.pt cannot be read \(No such file or directory\)"):
        refuse_pickle(tmp_path / "model.pt")


# --- what a state_dict does not show


@pytest.mark.parametrize("readout", ["last-step", "final-states", "mean", "max"])
@pytest.mark.parametrize("both", [False, True])
def test_the_readout_is_an_option(tmp_path, values, readout, both):
    theirs = made(both=both)
    network = read_network(save(tmp_path, singles(theirs)), options=ImportOptions(readout=readout))
    with torch.inference_mode():
        outputs, (h, _) = theirs.rnn(values)
        read = {
            "last-step": lambda: outputs[:, -1],
            "final-states": lambda: torch.cat([h[-2], h[-1]], 1) if both else h[-1],
            "mean": lambda: outputs.mean(1),
            "max": lambda: outputs.amax(1),
        }[readout]()
        torch.testing.assert_close(answers(network, values), theirs.fc(read), rtol=0, atol=2e-6)
    assert not any("logits were assumed" in note for note in network.notes)
    # In one direction the last step has the final state: such a network can read streams.
    assert (network.architecture.readout == "last-step") == (both and readout == "last-step")


def test_an_unknown_readout_is_refused_with_a_suggestion(tmp_path):
    with pytest.raises(UsageError, match=r"readout must be .*, got 'last'; did you mean 'last-step'"):
        ImportOptions(readout="last")
    with pytest.raises(UsageError, match=r"--cell-scope has no effect on .*leave it out"):
        read_network(save(tmp_path, singles(made())), options=ImportOptions(cell_scope="enc"))


def test_one_output_is_two_classes_if_the_user_names_them_and_refused_otherwise(tmp_path, values):
    theirs = made(sizes=(5, 4, 1, 1))
    path = save(tmp_path, singles(theirs))
    network = read_state_dict(path)
    with pytest.raises(UsageError, match=r"has one output.*--classes NO,YES"):
        network.to_model(path)
    with pytest.raises(UsageError, match="has one output"):
        network.to_model(path, classes=("a", "b", "c"))
    found = network.to_model(path, classes=("no", "yes"))
    with torch.inference_mode():
        expected = theirs(values).sigmoid()[:, 0].numpy()
    np.testing.assert_allclose(found.predict_proba(values.float().numpy())[:, 1], expected, rtol=0, atol=1e-6)
    assert list(found.classes) == ["no", "yes"]


# --- weights in parts, and single numbers


@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("kind", ["names", "parametrizations"])
def test_weight_norm_becomes_part_of_the_weights(tmp_path, values, kind, dim):
    theirs = made(both=True)
    norm = parametrizations.weight_norm if kind == "parametrizations" else nn.utils.weight_norm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older function is deprecated, and files of it remain
        for module, name in (
            (theirs.rnn, "weight_hh_l0_reverse"),
            (theirs.rnn, "weight_ih_l0"),
            (theirs.fc, "weight"),
        ):
            norm(module, name, dim)
    with torch.no_grad():
        for name, tensor in theirs.named_parameters():
            if name.endswith(("_g", "original0")):
                tensor.mul_(1.7)
    with torch.inference_mode():
        expected = theirs(values)
    network = read_state_dict(save(tmp_path, singles(theirs)))
    torch.testing.assert_close(answers(network, values), expected, rtol=0, atol=2e-6)
    assert "the weight norm of fc.weight, rnn.weight_hh_l0_reverse, rnn.weight_ih_l0" in network.notes[-1]


def test_a_pruning_mask_becomes_part_of_the_weights(tmp_path, values):
    theirs = made()
    prune.random_unstructured(theirs.fc, "weight", 0.5)
    prune.random_unstructured(theirs.rnn, "weight_hh_l0", 0.5)
    with torch.inference_mode():
        expected = theirs(values)
    network = read_state_dict(save(tmp_path, singles(theirs)))
    torch.testing.assert_close(answers(network, values), expected, rtol=0, atol=2e-6)
    assert "the pruning mask of fc.weight, rnn.weight_hh_l0" in network.notes[-1]


@pytest.mark.parametrize(
    "make", [parametrizations.orthogonal, parametrizations.spectral_norm, nn.utils.spectral_norm]
)
def test_another_parametrization_is_refused_by_name(tmp_path, make):
    theirs = made()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make(theirs.fc, "weight")
    refused(save(tmp_path, singles(theirs)), r"cannot map fc\..*weight.*orig.*remove_parametrizations")


def test_single_numbers_are_ignored_by_name(tmp_path, values):
    theirs = made()
    more = {
        "log_temperature": torch.tensor(0.3),
        "scale": torch.ones(1),
        "norm.num_batches_tracked": torch.tensor(7),
    }
    network = read_state_dict(save(tmp_path, singles(theirs) | more))
    close(network, theirs, values)
    note = "ignored, as single numbers: log_temperature, norm.num_batches_tracked, scale; if one scales"
    assert network.notes[-1].startswith(note)
    # The bias of one output is a single number, too, and belongs to it.
    one = read_state_dict(save(tmp_path, singles(made(sizes=(5, 4, 1, 1))), "one.safetensors"))
    assert one.weights["head.bias"].any()
