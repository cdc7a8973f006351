"""Recurrent PyTorch modules with a Linear layer, saved as safetensors and compared with the import."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from scanline.errors import ModelError
from scanline.interchange.torch.read import read_state_dict

MODULES = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class Classifier(nn.Module):
    """A recurrent module and a Linear layer on its last states, as users write it."""

    def __init__(self, cell: str = "lstm", sizes=(5, 4, 1, 3), both: bool = False, bias: bool = True) -> None:
        super().__init__()
        inputs, hidden, layers, classes = sizes
        self.rnn = MODULES[cell](inputs, hidden, layers, bias=bias, batch_first=True, bidirectional=both)
        self.fc = nn.Linear(hidden * (1 + both), classes, bias)

    def forward(self, values):
        state = self.rnn(values)[1]
        h = state[0] if isinstance(state, tuple) else state
        return self.fc(torch.cat([h[-2], h[-1]], 1) if self.rnn.bidirectional else h[-1])


def make(seed: int = 0, **options) -> Classifier:
    """Return a classifier in float64 whose weights depend on the seed alone."""
    torch.manual_seed(seed)
    return Classifier(**options).double().eval()


def save(folder: Path, state: dict[str, torch.Tensor], name: str = "model.safetensors") -> Path:
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, folder / name)
    return folder / name


def float32_state(theirs: nn.Module) -> dict[str, torch.Tensor]:
    """Return the state_dict in float32."""
    return {name: tensor.float() for name, tensor in theirs.state_dict().items()}


def predict_logits(network, values: torch.Tensor) -> torch.Tensor:
    """Return the logits of the imported network."""
    with torch.inference_mode():
        return network.to_model(Path("model.safetensors")).network(values.float()).double()


def assert_logits_close(network, theirs: nn.Module, values: torch.Tensor, atol: float = 2e-6) -> None:
    """Assert that the imported network has the logits of the PyTorch module."""
    with torch.inference_mode():
        torch.testing.assert_close(predict_logits(network, values), theirs(values), rtol=0, atol=atol)


def assert_refused(path: Path, message: str) -> None:
    """Assert that reading raises a one-line error that names the file."""
    with pytest.raises(ModelError, match=message) as caught:
        read_state_dict(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)
