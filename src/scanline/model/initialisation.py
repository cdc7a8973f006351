"""Initial weights of a network.

"glorot" with a "standard-normal" or "truncated-normal" head is what the tutorials' TensorFlow 1 programs use;
"orthogonal" with a "xavier" head is today's usual choice.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from scanline.model.layers import RecurrentLayers
from scanline.model.network import Network


@torch.no_grad()
def initialise(
    network: Network, init: str, head_init: str, forget_bias: float, generator: torch.Generator
) -> None:
    """Set every weight of a network. The order of the draws is part of what a seed means.

    Args:
        network: Network to initialise.
        init: "glorot" draws input and recurrent weights of all gates as one matrix, uniform within
            sqrt(6 / (F + H + G*H)); "orthogonal" gives each gate an orthogonal recurrent matrix and
            Xavier-uniform input weights. Biases are 0, except for the forget gate's.
        head_init: "standard-normal" draws weights and biases from N(0, 1); "truncated-normal" draws weights
            from N(0, 0.1) truncated at two standard deviations and sets biases to 0.1; "xavier" draws weights
            Xavier-uniform and sets biases to 0.
        forget_bias: Bias of the cell's `forget_gate`, if it has one.
        generator: Only source of random numbers.

    Source: Glorot & Bengio (2010), as TensorFlow 1 applies it to its joined kernel; Saxe et al. (2014);
    forget bias: Gers et al. (2000).
    """
    _initialise_recurrent(network.recurrent, init, forget_bias, generator)
    for layer in network.dense.linears:
        _initialise_head(layer, "xavier", generator)
    _initialise_head(network.head, head_init, generator)


def _initialise_recurrent(
    layers: RecurrentLayers, init: str, forget_bias: float, generator: torch.Generator
) -> None:
    cell, hidden = layers.cell, layers.hidden_size
    for layer in range(layers.layers):
        for direction in range(layers.directions):
            weight_ih, weight_hh, bias_ih, bias_hh = layers.weights(layer, direction)
            if init == "glorot":
                # TensorFlow 1 has one matrix (F + H, G*H) for both: its fans are F + H and G*H.
                bound = math.sqrt(6 / (weight_ih.shape[1] + hidden + len(weight_ih)))
                for weight in (weight_ih, weight_hh):
                    weight.uniform_(-bound, bound, generator=generator)
            else:
                for gate in torch.split(weight_ih, hidden):
                    nn.init.xavier_uniform_(gate, generator=generator)
                # Gate by gate: (G*H, H) as one matrix would have orthogonal columns, but no orthogonal
                # gate.
                for gate in torch.split(weight_hh, hidden):
                    nn.init.orthogonal_(gate, generator=generator)
            bias_ih.zero_()
            bias_hh.zero_()
            if cell.forget_gate is not None:
                bias_ih[cell.rows(cell.forget_gate, hidden)] = forget_bias


def _initialise_head(head: nn.Linear, init: str, generator: torch.Generator) -> None:
    if init == "standard-normal":
        head.weight.normal_(generator=generator)
        head.bias.normal_(generator=generator)
    elif init == "truncated-normal":
        nn.init.trunc_normal_(head.weight, std=0.1, a=-0.2, b=0.2, generator=generator)
        head.bias.fill_(0.1)
    else:
        nn.init.xavier_uniform_(head.weight, generator=generator)
        head.bias.zero_()
