"""What the weights start from.

"glorot" with a "standard-normal" or a "truncated-normal" head is what the tutorials' programs do on
TensorFlow 1; "orthogonal" with a "xavier" head is today's usual choice.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from scanline.model.network import Network


@torch.no_grad()
def initialise(
    network: Network, init: str, head_init: str, forget_bias: float, generator: torch.Generator
) -> None:
    """Fill every weight of `classifier`, drawing from `generator` alone.

    init: "glorot" draws input and recurrent weights of all gates as one kernel, uniform within
    sqrt(6 / (F + H + G*H)) (Glorot & Bengio 2010 as TensorFlow 1 applies it to its joined kernel);
    "orthogonal" gives each gate an orthogonal recurrent matrix (Saxe et al. 2014) and Xavier-uniform
    input weights. Biases are 0, but an LSTM's forget gate's is `forget_bias` (Gers et al. 2000).
    head_init: "standard-normal" draws weights and biases from N(0, 1); "truncated-normal" weights from
    N(0, 0.1) cut at two deviations, biases 0.1; "xavier" weights Xavier-uniform, biases 0.
    """
    layers = network.recurrent
    hidden = layers.hidden_size
    for layer in range(layers.layers):
        for direction in range(layers.directions):
            w_input, w_recurrent, b_input, b_recurrent = layers.weights(layer, direction)
            if init == "glorot":
                bound = math.sqrt(6 / (w_input.shape[1] + hidden + len(w_input)))
                for weight in (w_input, w_recurrent):
                    weight.uniform_(-bound, bound, generator=generator)
            else:
                for gate in torch.split(w_input, hidden):
                    nn.init.xavier_uniform_(gate, generator=generator)
                for gate in torch.split(w_recurrent, hidden):
                    nn.init.orthogonal_(gate, generator=generator)
            b_input.zero_()
            b_recurrent.zero_()
            if layers.cell.forget_gate is not None:
                b_input[layers.cell.rows(layers.cell.forget_gate, hidden)] = forget_bias
    head = network.head
    if head_init == "standard-normal":
        head.weight.normal_(generator=generator)
        head.bias.normal_(generator=generator)
    elif head_init == "truncated-normal":
        nn.init.trunc_normal_(head.weight, std=0.1, a=-0.2, b=0.2, generator=generator)
        head.bias.fill_(0.1)
    else:
        nn.init.xavier_uniform_(head.weight, generator=generator)
        head.bias.zero_()
