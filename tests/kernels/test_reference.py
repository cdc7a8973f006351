"""The reference against torch's own LSTM, and against itself by finite differences."""

from __future__ import annotations

import pytest
import torch

from scanline.kernels import reference
from tests.kernels.test_lstm import NAMES, make


def doubles(*sizes, **options):
    return {name: t.detach().double().requires_grad_() for name, t in make(*sizes, **options).items()}


def test_it_is_torchs_lstm():
    arguments = doubles(4, 6, 3, 5)
    theirs = torch.nn.LSTM(3, 5, batch_first=True).double()
    for name in NAMES[3:]:
        getattr(theirs, f"{name}_l0").data = arguments[name].detach()
    y, hn, cn = reference.lstm(*arguments.values())
    states = (arguments["h0"][None], arguments["c0"][None])
    their_y, (their_hn, their_cn) = theirs(arguments["x"], states)
    torch.testing.assert_close(y, their_y)
    torch.testing.assert_close(hn, their_hn[0])
    torch.testing.assert_close(cn, their_cn[0])


@pytest.mark.parametrize("reverse", [False, True])
def test_with_lengths_every_sequence_is_as_if_it_were_alone(reverse):
    arguments = doubles(4, 6, 3, 5)
    lengths = torch.tensor([6, 1, 3, 0])
    y, hn, cn = reference.lstm(*arguments.values(), lengths, reverse)
    for n in range(3):
        own = {k: v[n : n + 1] if k in NAMES[:3] else v for k, v in arguments.items()}
        own["x"] = own["x"][:, : lengths[n]]
        alone = reference.lstm(*own.values(), None, reverse)
        torch.testing.assert_close(y[n, : lengths[n]], alone[0][0])
        torch.testing.assert_close(hn[n], alone[1][0])
        torch.testing.assert_close(cn[n], alone[2][0])
    assert not y[3].any()
    assert torch.equal(hn[3], arguments["h0"][3])


@pytest.mark.parametrize("reverse", [False, True])
def test_its_written_gradient_is_the_one_that_torch_derives(reverse):
    arguments = doubles(4, 6, 3, 5)
    lengths = torch.tensor([6, 1, 3, 0])
    results = reference.lstm(*arguments.values(), lengths, reverse)
    weights = [torch.randn_like(result) for result in results]
    derived = torch.autograd.grad(results, list(arguments.values()), weights)
    *written, bias = reference.lstm_backward(*weights, *arguments.values(), lengths, reverse)
    for name, got, expected in zip(NAMES, [*written, bias, bias], derived, strict=True):
        torch.testing.assert_close(got, expected, msg=lambda text, name=name: f"{name}: {text}")
