"""Which input values an answer rests on: integrated gradients, checked against what they must add up to."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.data.memory import MemorySource
from scanline.data.transforms.views import View
from scanline.metrics.probabilities import softmax
from scanline.model.inference import alike_batches, predict_logits, to_device
from scanline.model.network import Network
from scanline.seeding import numpy_generator

TOLERANCE = 1e-3
_PIECES, _NODES = 4, 4
_ENOUGH, _MOST = 1024, 8192  # points
_QUICK = 16  # points where only the ranking of values is wanted
_BATCH = 64


@dataclass(frozen=True, eq=False)
class Attribution:
    """How much each value of a sequence moved the logit of a class from where it is for the baseline.

    values: (T, F), in units of that logit. target: index of the class. difference: the logit for the sequence
    less the logit for the baseline, which `values` add up to within `error`.
    """

    values: NDArray[np.float64]
    target: int
    difference: float
    error: float


def baseline(network: Network, pictures: bool) -> NDArray[np.float32]:
    """(F,) what a value is taken to be where there is nothing: black in a picture, else the training mean."""
    if pictures:
        return np.zeros(network.architecture.input_size, np.float32)
    mean: NDArray[np.float32] = network.shift.cpu().numpy()
    return mean


def integrated_gradients(
    network: Network, values: NDArray[Any], target: int, nothing: NDArray[np.float32]
) -> Attribution:
    """Attribution of the logit `target` to each value of one sequence.

    values: (T, F). nothing: (F,), the baseline's steps. The path from baseline to sequence is integrated
    piece by piece by Gauss-Legendre quadrature. Over each piece the attributions must add up to what the
    logit, in float64, gains there; pieces where they do not are halved until all of it is right within 1e-3,
    or 8,192 points are taken.
    Source: Sundararajan, Taly & Yan 2017, "Axiomatic attribution for deep networks"; completeness, section 3.
    """
    path = _Path(network, values, target, nothing)
    waiting = np.stack([np.arange(_PIECES), np.arange(1, _PIECES + 1)], 1) / _PIECES
    total = np.zeros(np.shape(values))
    taken, missed, at_most = 0, 0.0, 0.0  # points; the error of what is done, and what it can be at most
    while len(waiting):
        shares, errors = path.attributions(waiting)
        taken += len(waiting) * _NODES
        # The best pieces are kept, as long as all that are kept stay right together.
        order = np.argsort(np.abs(errors), kind="stable")
        keep = at_most + np.abs(errors)[order].cumsum() <= TOLERANCE / 2
        if taken >= _MOST or (taken >= _ENOUGH and abs(missed + errors.sum()) <= TOLERANCE / 2):
            keep[:] = True
        kept, left = order[keep], waiting[order[~keep]]
        total += shares[kept].sum(0)
        missed += errors[kept].sum()
        at_most += np.abs(errors[kept]).sum()
        middle = left.mean(1)
        waiting = np.concatenate([np.stack([left[:, 0], middle], 1), np.stack([middle, left[:, 1]], 1)])
    begin, end = path.logits(np.array([0.0, 1.0]))
    return Attribution(total, target, float(end - begin), abs(float(total.sum() - (end - begin))))


class _Path:
    """The straight way from the baseline, at 0, to a sequence, at 1."""

    def __init__(
        self, network: Network, values: NDArray[Any], target: int, nothing: NDArray[np.float32]
    ) -> None:
        self.quick = copy.deepcopy(network).eval().requires_grad_(False)
        self.exact = copy.deepcopy(self.quick).double()
        self.target = target
        device = network.scale.device
        end = torch.as_tensor(np.asarray(values, np.float64), device=device)
        self.begin = torch.as_tensor(nothing, device=device).double().expand_as(end)
        self.way = end - self.begin
        self.known: dict[float, float] = {}  # logits by place
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        self.nodes, self.weights = (nodes + 1) / 2, weights / 2

    def at(self, places: NDArray[np.float64]) -> Tensor:
        """(n, T, F) values at each of `places`."""
        return self.begin + torch.as_tensor(places, device=self.way.device)[:, None, None] * self.way

    @torch.no_grad()
    def logits(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) in float64."""
        new = np.array(sorted(set(places.tolist()) - self.known.keys()))
        for first in range(0, len(new), _BATCH):
            some = new[first : first + _BATCH]
            self.known |= dict(zip(some, self.exact(self.at(some))[:, self.target].tolist(), strict=True))
        return np.array([self.known[place] for place in places.tolist()])

    def attributions(self, pieces: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """For pieces (P, 2) of the way: attributions (P, T, F), and by how much each sum is off, (P,)."""
        lengths = pieces[:, 1] - pieces[:, 0]
        places = pieces[:, :1] + lengths[:, None] * self.nodes
        shares = np.zeros((len(pieces), *self.way.shape))
        size = _BATCH // _NODES
        for first in range(0, len(pieces), size):
            some = slice(first, first + size)
            values = self.at(places[some].reshape(-1)).to(self.quick.scale.dtype).requires_grad_()
            (slopes,) = torch.autograd.grad(self.quick(values)[:, self.target].sum(), values)
            each = slopes.reshape(-1, _NODES, *self.way.shape).cpu().double().numpy()
            shares[some] = np.einsum("pntf,n->ptf", each, self.weights)
        shares *= lengths[:, None, None] * self.way.cpu().numpy()
        gains = self.logits(pieces[:, 1]) - self.logits(pieces[:, 0])
        return shares, shares.sum((1, 2)) - gains


@dataclass(frozen=True)
class DeletionCheck:
    """Whether attributions mean something: what becomes of the answer's probability without some values.

    n: sequences. share: of each one's values that were set to the baseline. before: mean probability of the
    answer. by_attribution: mean drop where the values of largest attribution went; at_random: where as many
    random ones went; at_random_present: where as many of those went that differ from the baseline.
    """

    n: int
    share: float
    before: float
    by_attribution: float
    at_random: float
    at_random_present: float


def check_by_deletion(
    network: Network,
    part: MemorySource,
    nothing: NDArray[np.float32],
    share: float = 0.1,
    seed: int = 0,
) -> DeletionCheck:
    """Remove the share of values with the largest attribution to each answer, and as many at random.

    part: the network's steps. nothing: (F,), what removed values become. seed: of the random ones.
    """
    shares = softmax(predict_logits(network, part))
    answers = shares.argmax(1)
    before = shares.max(1)
    draw = numpy_generator(seed, "deletion")
    kinds = ("by_attribution", "at_random", "at_random_present")
    removed: dict[str, list[NDArray[np.float32]]] = {kind: [] for kind in kinds}
    order: list[int] = []
    for index, values, weights in _quick_attributions(network, part, answers, nothing):
        for row, (sequence, weight) in zip(index, zip(values, weights, strict=True), strict=True):
            length = int(part.lengths[row])
            flat = sequence[:length].reshape(-1)
            stand_in = np.tile(nothing, length)
            count = max(1, round(flat.size * share))
            present = np.flatnonzero(flat != stand_in)
            count_present = min(count, len(present))
            chosen = {
                "by_attribution": np.argsort(-weight[:length].reshape(-1), kind="stable")[:count],
                "at_random": draw.permutation(flat.size)[:count],
                "at_random_present": draw.permutation(present)[:count_present],
            }
            for kind, places in chosen.items():
                without = flat.copy()
                without[places] = stand_in[places]
                removed[kind].append(without.reshape(length, -1))
            order.append(int(row))
    rows = np.array(order)
    drops = {}
    for kind, sequences in removed.items():
        gone = MemorySource(
            np.concatenate(sequences), part.lengths[rows], part.targets[rows], part.classes, part.name
        )
        after = softmax(predict_logits(network, gone))[np.arange(len(rows)), answers[rows]]
        drops[kind] = float((before[rows] - after).mean())
    return DeletionCheck(len(part), share, float(before.mean()), **drops)


def _quick_attributions(
    network: Network, part: MemorySource, answers: NDArray[np.int64], nothing: NDArray[np.float32]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]]:
    """Indices, values and attributions (n, T, F) with few points in float32: enough to rank the values."""
    network.eval()
    device = network.scale.device
    trained = [weight.requires_grad for weight in network.parameters()]
    network.requires_grad_(False)
    width = part.features + network.recurrent.output_size
    try:
        for index in alike_batches(part, width, _BATCH):
            values, lengths, _ = to_device(part.gather(index), device)
            values = values.float()
            begin = torch.as_tensor(nothing, device=device).expand_as(values)
            target = torch.as_tensor(answers[index], device=device)[:, None]
            total = torch.zeros_like(values)
            for point in range(_QUICK):
                path = (begin + (point + 0.5) / _QUICK * (values - begin)).requires_grad_()
                logits = network(path, lengths).gather(1, target)
                (slope,) = torch.autograd.grad(logits.sum(), path)
                total += slope
            shares = (total / _QUICK * (values - begin)).cpu().numpy()
            yield index, values.cpu().numpy(), shares
    finally:
        for weight, was in zip(network.parameters(), trained, strict=True):
            weight.requires_grad_(was)


def in_place(attribution: NDArray[np.float64], view: View | None) -> NDArray[np.float64]:
    """(T, F) shares of a picture's steps as (height, width), channels added up; others as they are."""
    if view is None:
        return attribution
    rows: NDArray[np.float64] = view.undo(attribution[None])[0]
    pixels: NDArray[np.float64] = rows.reshape(view.height, view.width, view.channels).sum(2)
    return pixels
