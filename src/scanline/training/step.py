"""One training step."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scanline.errors import ScanlineError
from scanline.model.network import Network
from scanline.recipe import TrainSettings
from scanline.training.schedule import learning_rate

EPSILON = 1e-8


class Diverged(ScanlineError):
    """The loss or its gradient became NaN or infinite. The weights are those from before the step."""

    def __init__(self, step: int, what: str, rate: float) -> None:
        self.step, self.what, self.rate = step, what, rate
        super().__init__(
            f"training stopped at step {step}: {what}; try a train.learning_rate below {rate:g} "
            "or a train.clip_norm above 0"
        )


def choose_computation(network: Network, settings: TrainSettings) -> None:
    """Has the network computed as the settings ask. Raises UsageError if that cannot be had here."""
    network.recurrent.backend, network.recurrent.precision = settings.backend, settings.precision
    network.recurrent.path(network.scale, training=True)


def make_optimizer(network: Network, settings: TrainSettings) -> torch.optim.Adam:
    """Adam (Kingma & Ba 2015) over the trained weights, with the rate of the first step."""
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    return torch.optim.Adam(trained, lr=settings.learning_rate, eps=EPSILON)


def train_step(
    network: Network,
    optimizer: torch.optim.Adam,
    batch: tuple[Tensor, Tensor | None, Tensor],
    settings: TrainSettings,
    step: int,
    generator: torch.Generator | None = None,
    weights: Tensor | None = None,
) -> float:
    """Forward, loss, backward, clipping, update. Returns the batch's mean cross-entropy before the update.

    batch: values (N, T, F), lengths (N,) or None, labels (N,). step: counted from 0. generator: for dropout.
    weights: (N,) how much each sequence's cross-entropy counts in the mean, or None if all count 1.
    Raises Diverged, and leaves the weights as they were, if the loss or the gradient is not finite.
    """
    values, lengths, labels = batch
    rate = learning_rate(settings, step)
    for group in optimizer.param_groups:
        group["lr"] = rate
        if settings.optimizer == "tf1-adam":
            # TensorFlow adds epsilon to the square root before it corrects the bias ("epsilon hat" in
            # section 2 of the paper), torch after it: the same epsilon, seen from torch, is this one.
            group["eps"] = EPSILON / math.sqrt(1 - group["betas"][1] ** (step + 1))
    network.train()
    optimizer.zero_grad()
    logits = network(values, lengths, generator)
    if weights is None:
        loss = F.cross_entropy(logits, labels)
    else:
        loss = (F.cross_entropy(logits, labels, reduction="none") * weights).mean()
    result = loss.item()
    if not math.isfinite(result):
        raise Diverged(step + 1, f"the loss became {result}", rate)
    loss.backward()
    trained = [weight for weight in network.parameters() if weight.grad is not None]
    norm = nn.utils.get_total_norm([weight.grad for weight in trained if weight.grad is not None])
    if not math.isfinite(norm.item()):
        raise Diverged(step + 1, f"the gradient's norm became {norm.item()}", rate)
    if settings.clip_norm:
        nn.utils.clip_grads_with_norm_(trained, settings.clip_norm, norm)
    optimizer.step()
    return result
