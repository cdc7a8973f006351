"""Truncated back-propagation through time, for sequences whose activations do not fit into memory.

A batch is read in spans of `truncate` steps. States are carried from span to span without their gradient: the
outputs and the loss are those of the whole sequences, and gradients flow back to the beginning of their span.
Activations are kept of one span at a time.

The loss of pooled outputs is known after the last step only. The spans are therefore read twice: first to
pool, then those that the pooled vector depends on once more, for their gradients.

Source: Williams and Peng (1990), with one update a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scanline.model.dropout import Draws, SpanDraws
from scanline.model.layers import States
from scanline.model.network import Network
from scanline.model.span_pooling import SPAN_POOLINGS, SpanPooling
from scanline.tasks import Task


@dataclass(frozen=True, eq=False)
class Spans:
    """A batch of sequences, read span by span by a network of one direction.

    Attributes:
        network: The network.
        values: (N, T, F) inputs.
        lengths: (N,) number of steps, or None if all are T.
        truncate: Steps of a span.
        standardized: Whether the values are standardised already; see `Network.forward`.
        draws: Source of dropout's random numbers; needed in training if the network has dropout.
    """

    network: Network
    values: Tensor
    lengths: Tensor | None
    truncate: int
    standardized: bool
    draws: Draws | SpanDraws | None = None

    @property
    def starts(self) -> range:
        """First steps of the spans."""
        return range(0, self.values.shape[1], self.truncate)

    def all_lengths(self) -> Tensor:
        """Return (N,) lengths of the sequences."""
        n, steps = self.values.shape[:2]
        if self.lengths is not None:
            return self.lengths
        return torch.full((n,), steps, dtype=torch.int64, device=self.values.device)

    def read(self, first: int, states: States | None) -> tuple[Tensor, States]:
        """Return the last layer's outputs in the span that begins with step `first`, and the states after it.

        Args:
            first: First step of the span.
            states: The states before it; None at the first span.
        """
        values = self.values[:, first : first + self.truncate]
        steps, counts, draws = values.shape[1], None, self.draws
        if self.lengths is not None:
            counts = (self.lengths - first).clamp(0, steps)
            counts = None if int(counts.min()) == steps else counts
        if isinstance(draws, SpanDraws):
            draws = draws.span(first, first + self.truncate, values.device.type)
        return self.network.recurrent.read_on(self._divided(values)[0], states, counts, draws)

    def static(self) -> Tensor | None:
        """Return the embedded static features, (N, P); None if there are none."""
        return self._divided(self.values[:, :1])[1]

    def _divided(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what the layers read of steps (N, t, F), and the static features, (N, P) or None."""
        network = self.network
        return network.embeddings.divide(
            network.embeddings(values if self.standardized else network.normalise(values))
        )


def outputs_of(
    network: Network, values: Tensor, lengths: Tensor | None, standardized: bool, truncate: int
) -> Tensor:
    """Return what `Network.forward` does, (N, M) or (N, T, M); of longer sequences in the memory of a span.

    Args:
        network: A network in evaluation mode, of one direction if sequences are read in spans.
        values: (N, T, F).
        lengths: (N,) number of steps, or None if all are T.
        standardized: Whether the values are standardised already.
        truncate: Steps of a span; 0: all.
    """
    if not truncate or values.shape[1] <= truncate:
        outputs: Tensor = network(values, lengths, standardized=standardized)
        return outputs
    spans = Spans(network, values, lengths, truncate, standardized)
    if not network.pooling.every_step:
        return network.project(_pool(spans)[0].pooled(), spans.static())
    projected: list[Tensor] = []
    states: States | None = None
    for first in spans.starts:
        read, states = spans.read(first, states)
        projected.append(network.project(read, spans.static()))
    return torch.cat(projected, 1)


def truncated_gradients(
    spans: Spans, task: Task, targets: Tensor, weights: Tensor | None = None, share: float = 1.0
) -> tuple[Tensor, dict[Tensor, Tensor]]:
    """Return the loss of a batch and its truncated gradients.

    If one span covers the sequences, the gradients are the full ones.

    Args:
        spans: The batch; the network in training mode.
        task: Defines the loss.
        targets: Encoded targets (N,), or (N, T) of the steps.
        weights: Weight of each target in the mean loss; None if all are 1.
        share: Factor of the loss.

    Returns:
        `share` times the mean loss, one number, and its gradient by each trained weight that it depends on.
    """
    total = _Sum(spans.network)
    of = _of_steps if spans.network.pooling.every_step else _of_pooled
    return of(spans, task, targets, weights, share, total), total.gradients()


class _Sum:
    """Adds up gradients by the trained weights: in float64, as there may be thousands of spans."""

    def __init__(self, network: Network) -> None:
        self.weights = [weight for weight in network.parameters() if weight.requires_grad]
        self._sums: dict[Tensor, Tensor] = {}

    def add(self, result: Tensor, by_result: Tensor | None = None) -> None:
        """Add the gradient of `result`, weighted by `by_result` if it is not one number."""
        self.add_derived(torch.autograd.grad(result, self.weights, by_result, allow_unused=True))

    def add_derived(self, derived: Sequence[Tensor | None]) -> None:
        """Add gradients by the weights; None for those that nothing depends on."""
        for weight, gradient in zip(self.weights, derived, strict=True):
            if gradient is not None:
                known = self._sums.get(weight)
                self._sums[weight] = gradient.double() if known is None else known.add_(gradient)

    def gradients(self) -> dict[Tensor, Tensor]:
        """Return the sums in the dtype of the weights."""
        return {weight: total.to(weight.dtype) for weight, total in self._sums.items()}


def labelled_steps(targets: Tensor) -> Tensor:
    """Return which targets of steps, of any shape, are those of steps with a label."""
    return ~targets.isnan() if targets.is_floating_point() else targets >= 0


def _of_steps(
    spans: Spans, task: Task, targets: Tensor, weights: Tensor | None, share: float, total: _Sum
) -> Tensor:
    """Add the gradients of the losses of all steps to `total`, and return the mean loss."""
    is_labelled, states = labelled_steps(targets), None
    labelled = max(1, int(is_labelled.sum()))
    loss = torch.zeros((), dtype=torch.float64, device=spans.values.device)
    for first in spans.starts:
        here = slice(first, first + spans.truncate)
        own, count = targets[:, here], int(is_labelled[:, here].sum())
        with torch.set_grad_enabled(count > 0):
            outputs, states = spans.read(first, states)
            states = [tuple(state.detach() for state in layer) for layer in states]
            if count:
                projected = spans.network.project(outputs, spans.static())
                of_span = task.loss(projected, own, None if weights is None else weights[:, here])
                of_span = of_span * (share * count / labelled)
                total.add(of_span)
                loss += of_span.detach()
    return loss.to(spans.values.dtype)


def _of_pooled(
    spans: Spans, task: Task, targets: Tensor, weights: Tensor | None, share: float, total: _Sum
) -> Tensor:
    """Add the gradients of the loss of pooled outputs to `total`, and return the loss."""
    with torch.no_grad():
        pooling, before = _pool(spans)
    pooled = pooling.pooled().requires_grad_()
    loss = task.loss(spans.network.project(pooled, spans.static()), targets, weights) * share
    by_pooled, *derived = torch.autograd.grad(loss, [pooled, *total.weights], allow_unused=True)
    total.add_derived(derived)
    for first, states in zip(spans.starts, before, strict=True):
        steps = min(spans.truncate, spans.values.shape[1] - first)
        by_outputs = pooling.gradient(by_pooled, first, steps)
        if by_outputs is not None:
            total.add(spans.read(first, states)[0], by_outputs)
    return loss.detach()


def _pool(spans: Spans) -> tuple[SpanPooling, list[States | None]]:
    """Return the pooling, with all spans taken in, and the states before each of them."""
    pooling = SPAN_POOLINGS[spans.network.pooling.name](spans.all_lengths())
    states: States | None = None
    before: list[States | None] = []
    for first in spans.starts:
        before.append(states)
        outputs, states = spans.read(first, states)
        pooling.add(outputs, first)
    return pooling, before
