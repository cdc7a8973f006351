"""The loss of a batch and its gradients by the weights.

Where the native library computes the recurrent layers, they are found without torch's autograd, whose graph
takes as long as the arithmetic of a small batch. Both ways give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scanline.kernels.layer_pass import LayerPass
from scanline.kernels.openmp import one_thread
from scanline.kernels.operators import BIDIRECTIONAL, OPERATORS
from scanline.model.dropout import Draws, SpanDraws
from scanline.model.layers import RecurrentLayers
from scanline.model.network import Network
from scanline.model.truncation import Spans, truncated_gradients
from scanline.tasks import Task

Gradients = dict[Tensor, Tensor]


def loss_and_gradients(
    network: Network,
    task: Task,
    batch: tuple[Tensor, Tensor | None, Tensor],
    weights: Tensor | None = None,
    draws: Draws | SpanDraws | None = None,
    standardized: bool = False,
    share: float = 1.0,
    truncate: int = 0,
) -> tuple[Tensor, Gradients]:
    """Return the loss of a batch and its gradients.

    Args:
        network: The network, in training mode.
        task: Defines the loss.
        batch: Values (N, T, F), lengths (N,) or None if all are T, and encoded targets (N,), or (N, T) of the
            steps.
        weights: Weight of each target in the mean loss; None if all are 1.
        draws: Source of dropout's random numbers; needed if the network has dropout.
        standardized: Whether the values are standardised already; see `Network.forward`.
        share: Factor of the loss: the share of these sequences in a larger batch.
        truncate: Steps through which gradients flow back, see `model.truncation`; 0: all.

    Returns:
        `share` times the mean loss, one number, and its gradient by each trained weight that it depends on.
    """
    if truncate and batch[0].shape[1] > truncate:
        return _truncated(network, task, batch, weights, draws, standardized, share, truncate)
    if isinstance(draws, SpanDraws):
        draws = draws.span(0, truncate, batch[0].device.type)
    backend, precision = network.recurrent.path(network.scale, training=True)
    # With static features the head reads more than the pooled state: autograd finds its gradients.
    plain = not (network.recurrent.dropout or network.dense.linears or network.architecture.static)
    if backend == "native" and plain:
        with torch.no_grad():
            return _direct(network, task, batch, weights, standardized, share, precision)
    values, lengths, targets = batch
    outputs = network(values, lengths, draws, standardized)
    # torch divides even these few numbers among threads, which takes longer than computing on one. Not the
    # products of the head: their bits depend on the number of threads.
    with one_thread() as all_threads:
        loss = task.loss(outputs, targets, weights)
        if share != 1.0:
            loss = loss * share
        # Called when the gradient of the loss by the outputs is known.
        outputs.register_hook(all_threads)
        trained = [weight for weight in network.parameters() if weight.requires_grad]
        derived = torch.autograd.grad(loss, trained, allow_unused=True)
    pairs = zip(trained, derived, strict=True)
    return loss.detach(), {weight: gradient for weight, gradient in pairs if gradient is not None}


def _truncated(
    network: Network,
    task: Task,
    batch: tuple[Tensor, Tensor | None, Tensor],
    weights: Tensor | None,
    draws: Draws | SpanDraws | None,
    standardized: bool,
    share: float,
    truncate: int,
) -> tuple[Tensor, Gradients]:
    """Return what `loss_and_gradients` does for sequences of several spans."""
    values, lengths, targets = batch
    if isinstance(draws, torch.Generator):
        draws = SpanDraws(draws.initial_seed(), *values.shape[:2])
    spans = Spans(network, values, lengths, truncate, standardized, draws)
    return truncated_gradients(spans, task, targets, weights, share)


def _direct(
    network: Network,
    task: Task,
    batch: tuple[Tensor, Tensor | None, Tensor],
    weights: Tensor | None,
    standardized: bool,
    share: float,
    precision: str,
) -> tuple[Tensor, Gradients]:
    """Return what `loss_and_gradients` does without dropout, dense layers and static features."""
    values, lengths, targets = batch
    recurrent, head, pooling = network.recurrent, network.head, network.pooling
    if not standardized:
        values = network.normalise(values)
    passes = _forward(recurrent, network.embeddings(values), lengths, precision)
    outputs, h = passes[-1].outputs, passes[-1].states[0]
    states = h if recurrent.directions == 1 else h.transpose(0, 1).flatten(1)  # (N, D*H)
    if pooling.reads_outputs:
        with torch.enable_grad():
            outputs = outputs.requires_grad_()
            pooled = pooling.apply(outputs, lengths, recurrent.directions, states)
        # (N*T, D*H) if there is a vector for each step, as torch's `linear` computes it.
        features = pooled.detach().flatten(0, -2)
    else:
        features = pooling.apply(outputs, lengths, recurrent.directions, states)
    logits = torch.addmm(head.bias, features, head.weight.t())
    shape = (*pooled.shape[:-1], -1) if pooling.reads_outputs else logits.shape
    # As in `loss_and_gradients`.
    with one_thread() as all_threads:
        loss, by_outputs_of_head = task.loss_gradient(logits.view(shape), targets, weights, share)
        by_logits = by_outputs_of_head.flatten(0, -2)
        gradients: Gradients = {head.bias: by_logits.sum(0)}
        all_threads()
        gradients[head.weight] = by_logits.t().mm(features)
        by_features = by_logits.mm(head.weight)
    by_outputs = by_states = None
    if pooling.reads_outputs:
        (by_outputs,) = torch.autograd.grad(pooled, outputs, by_features.view_as(pooled))
    elif recurrent.directions == 1:
        by_states = by_features
    else:
        by_states = by_features.unflatten(1, (2, -1)).transpose(0, 1)
    wants_x = bool(network.embeddings.embeddings)
    by_x = _backward(recurrent, passes, by_outputs, by_states, gradients, wants_x)
    if by_x is not None:
        gradients |= network.embeddings.gradients(values, by_x)
    return loss, {weight: gradient for weight, gradient in gradients.items() if weight.requires_grad}


def _forward(
    recurrent: RecurrentLayers, values: Tensor, lengths: Tensor | None, precision: str
) -> list[LayerPass]:
    """Return the passes of all layers, the first layer's first."""
    operators = OPERATORS if recurrent.directions == 1 else BIDIRECTIONAL
    operator = operators[str(recurrent.cell.native_operator)]
    passes: list[LayerPass] = []
    for layer in range(recurrent.layers):
        passes.append(LayerPass(operator, values, _weights(recurrent, layer), lengths, precision))
        values = passes[-1].outputs
    return passes


def _backward(
    recurrent: RecurrentLayers,
    passes: Sequence[LayerPass],
    by_outputs: Tensor | None,
    by_states: Tensor | None,
    gradients: Gradients,
    wants_x: bool,
) -> Tensor | None:
    """Add the gradients by the weights of all layers to `gradients`.

    Args:
        recurrent: The layers.
        passes: Their forward passes.
        by_outputs: Gradient by the last layer's outputs; None for zeros.
        by_states: Gradient by the last layer's states h; None for zeros.
        gradients: Extended in place.
        wants_x: Whether the gradient by the inputs of the first layer is wanted.

    Returns:
        That gradient, (N, T, E), or None.
    """
    for layer in reversed(range(recurrent.layers)):
        by_outputs, derived = passes[layer].backward(by_outputs, by_states, wants_x or layer > 0)
        gradients |= dict(zip(_weights(recurrent, layer), derived, strict=True))
        by_states = None  # of lower layers only the outputs are used
    return by_outputs if wants_x else None


def _weights(recurrent: RecurrentLayers, layer: int) -> list[Tensor]:
    return [weight for side in range(recurrent.directions) for weight in recurrent.weights(layer, side)]
