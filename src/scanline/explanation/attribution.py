"""Attributions of a logit to the input values: integrated gradients with an error bound.

`deletion.py` checks attributions by removing the values that they rank highest.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.data.transforms.views import View
from scanline.model.network import Network

TOLERANCE = 1e-3
_INITIAL_INTERVALS = 4
_NODES = 4  # of the quadrature rule in each interval
_ENOUGH_NODES, _MAX_NODES = 1024, 8192
_BATCH = 64


@dataclass(frozen=True, eq=False)
class Attribution:
    """How much each value of a sequence contributed to the logit of a class, compared with a baseline.

    Attributes:
        values: (T, F), in units of the logit.
        target: Index of the class.
        difference: Logit of the sequence minus logit of the baseline; the sum of `values` should equal it.
        error: Absolute difference between the two.
    """

    values: NDArray[np.float64]
    target: int
    difference: float
    error: float


def baseline(network: Network, pictures: bool) -> NDArray[np.float32]:
    """Return the step that stands for missing input: black for pictures, else the training mean.

    Categories are missing in it: the mean of ids would be that of no category.

    Args:
        network: The network.
        pictures: Whether its sequences are pictures.

    Returns:
        (F,) values.
    """
    if pictures:
        return np.zeros(network.architecture.input_size, np.float32)
    mean: NDArray[np.float32] = network.shift.cpu().numpy()
    return mean


def integrated_gradients(
    network: Network,
    values: NDArray[Any],
    target: int,
    background: NDArray[np.float32],
    max_nodes: int = _MAX_NODES,
) -> Attribution:
    """Attribute a logit to each value of one sequence.

    The straight path from the baseline to the sequence is divided into intervals, and each is integrated by
    Gauss-Legendre quadrature. In each interval the attributions must add up to the gain of the logit in
    float64. Intervals where they do not are halved, until the total error is below 1e-3 or 8,192 nodes
    have been evaluated.

    Args:
        network: The network.
        values: (T, F) steps.
        target: Index of the class.
        background: (F,) a step of the baseline.
        max_nodes: Number of nodes after which the intervals are not halved any more.

    Returns:
        The attribution, with its remaining error.

    Source: Sundararajan, Taly & Yan 2017, "Axiomatic attribution for deep networks"; completeness, section 3.
    """
    path = _Path(network, values, target, background)
    edges = np.arange(_INITIAL_INTERVALS + 1) / _INITIAL_INTERVALS
    pending = np.stack([edges[:-1], edges[1:]], 1)
    total = np.zeros(tuple(path.direction.shape))
    nodes, signed_error, error_bound = 0, 0.0, 0.0  # the errors are of the intervals that were accepted
    while len(pending):
        # Where many intervals do not help, rounding in float32 may be the cause.
        attributions, errors = path.attributions(
            pending, path.exact if nodes >= _ENOUGH_NODES else path.network
        )
        nodes += len(pending) * _NODES
        # Accept the best intervals as long as the sum of all accepted errors stays below half the tolerance.
        # The sum of absolute values cannot cancel, so it bounds the total error.
        order = np.argsort(np.abs(errors), kind="stable")
        accepted = error_bound + np.abs(errors)[order].cumsum() <= TOLERANCE / 2
        if nodes >= max_nodes or (
            nodes >= _ENOUGH_NODES and abs(signed_error + errors.sum()) <= TOLERANCE / 2
        ):
            accepted[:] = True
        done, rest = order[accepted], pending[order[~accepted]]
        total += attributions[done].sum(0)
        signed_error += errors[done].sum()
        error_bound += np.abs(errors[done]).sum()
        # Halves of the intervals that were not accepted; their attributions are computed anew.
        middle = rest.mean(1)
        pending = np.concatenate([np.stack([rest[:, 0], middle], 1), np.stack([middle, rest[:, 1]], 1)])
    start, end = path.logits(np.array([0.0, 1.0]))
    by_feature = network.embeddings.by_feature(total)
    return Attribution(by_feature, target, float(end - start), abs(float(total.sum() - (end - start))))


def to_pixels(attribution: NDArray[np.float64], view: View) -> NDArray[np.float64]:
    """Return the attributions of a picture's steps as an image.

    Args:
        attribution: (T, F).
        view: How the picture was cut into steps.

    Returns:
        (height, width), summed over channels.
    """
    rows: NDArray[np.float64] = view.undo(attribution[None])[0]
    pixels: NDArray[np.float64] = rows.reshape(view.height, view.width, view.channels).sum(2)
    return pixels


class _Path:
    """The straight path from the baseline, at 0, to a sequence, at 1."""

    def __init__(
        self, network: Network, values: NDArray[Any], target: int, background: NDArray[np.float32]
    ) -> None:
        # Gradients are taken in float32 on the fast path unless that is too coarse; the logits that they are
        # checked against are in float64.
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.exact = copy.deepcopy(self.network).double()
        self.target = target
        device = network.scale.device
        end = torch.as_tensor(np.asarray(values, np.float64), device=device)
        self.start = torch.as_tensor(background, device=device).double().expand_as(end)
        if network.embeddings.changes:
            # Ids have no values between them: the path is that of the embedded steps. Static features are
            # read from the first step, which has all of their attribution.
            with torch.no_grad():
                end, self.start = (
                    self.exact.embeddings(self.exact.normalise(each)) for each in (end, self.start)
                )
        self.direction = end - self.start
        self.known_logits: dict[float, float] = {}  # by position on the path
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        self.nodes, self.weights = (nodes + 1) / 2, weights / 2  # for an interval from 0 to 1

    @staticmethod
    def _outputs(network: Network, values: Tensor) -> Tensor:
        """Return the outputs for points of the path."""
        outputs: Tensor = network.read(values) if network.embeddings.changes else network(values)
        return outputs

    def at(self, positions: NDArray[np.float64]) -> Tensor:
        """Return the sequences (n, T, F) at n positions."""
        factors = torch.as_tensor(positions, device=self.direction.device)[:, None, None]
        return self.start + factors * self.direction

    @torch.no_grad()
    def logits(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logits (n,) at n positions, in float64."""
        # Neighbouring intervals share an end, and halves keep one: each logit is computed once.
        new = np.array(sorted(set(positions.tolist()) - self.known_logits.keys()))
        for first in range(0, len(new), _BATCH):
            batch = new[first : first + _BATCH]
            logits = self._outputs(self.exact, self.at(batch))[:, self.target].tolist()
            self.known_logits |= dict(zip(batch, logits, strict=True))
        return np.array([self.known_logits[position] for position in positions.tolist()])

    def attributions(
        self, intervals: NDArray[np.float64], network: Network
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Integrate the gradients over intervals (P, 2) of the path.

        Args:
            intervals: Begin and end of each.
            network: `network`, or `exact` for gradients in float64.

        Returns:
            Attributions (P, T, F), and the error of the sum of each, (P,).
        """
        lengths = intervals[:, 1] - intervals[:, 0]
        positions = intervals[:, :1] + lengths[:, None] * self.nodes
        attributions = np.zeros((len(intervals), *self.direction.shape))
        size = _BATCH // _NODES
        for first in range(0, len(intervals), size):
            chosen = slice(first, first + size)
            # Sequences do not interact: the gradient of the summed logits is each sequence's own gradient.
            values = self.at(positions[chosen].reshape(-1)).to(network.scale.dtype).requires_grad_()
            (gradients,) = torch.autograd.grad(self._outputs(network, values)[:, self.target].sum(), values)
            # (P * nodes, T, F) to (P, nodes, T, F): the nodes of an interval are adjacent.
            by_node = gradients.reshape(-1, _NODES, *self.direction.shape).cpu().double().numpy()
            attributions[chosen] = np.einsum("pntf,n->ptf", by_node, self.weights)
        attributions *= lengths[:, None, None] * self.direction.cpu().numpy()
        gains = self.logits(intervals[:, 1]) - self.logits(intervals[:, 0])
        return attributions, attributions.sum((1, 2)) - gains
