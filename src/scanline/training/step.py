"""One training step: forward, loss, backward, clipping, update."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scanline.errors import ScanlineError, UsageError
from scanline.kernels.openmp import one_thread
from scanline.model.gradients import Gradients, loss_and_gradients
from scanline.model.network import Network
from scanline.recipe import TrainSettings
from scanline.tasks import Task
from scanline.training.schedule import learning_rate
from scanline.training.update import gradient_norm, update

EPSILON = 1e-8


class Diverged(ScanlineError):
    """The loss or its gradient became NaN or infinite. The weights are those from before the step.

    Attributes:
        step: Step that failed, counted from 1.
        what: What became NaN or infinite.
        rate: Learning rate of the step.
    """

    def __init__(self, step: int, what: str, rate: float) -> None:
        self.step, self.what, self.rate = step, what, rate
        super().__init__(
            f"training stopped at step {step}: {what}; try a train.learning_rate below {rate:g} "
            "or a train.clip_norm above 0"
        )


def choose_computation(network: Network, settings: TrainSettings) -> None:
    """Set the backend and the precision of the network.

    Raises:
        UsageError: If the backend is not available here, or the device has no bfloat16 products.
    """
    device = network.scale.device.type
    if settings.precision == "bfloat16" and device != "cpu":
        raise UsageError(
            f"train.precision=bfloat16 has no effect on {device}: only the native library computes bfloat16 "
            "products, on the CPU; use train.precision=float32, or device cpu"
        )
    network.recurrent.backend, network.recurrent.precision = settings.backend, settings.precision
    network.recurrent.path(network.scale, training=True)


def make_optimizer(network: Network, settings: TrainSettings) -> torch.optim.Adam:
    """Return Adam over the trained weights, with the learning rate of the recipe.

    Source: Kingma and Ba (2015).
    """
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    # foreach updates all weights with one call an operation, with the same bits as one weight at a time.
    return torch.optim.Adam(trained, lr=settings.learning_rate, eps=EPSILON, foreach=True)


def train_step(
    network: Network,
    optimizer: torch.optim.Adam,
    task: Task,
    batch: tuple[Tensor, Tensor | None, Tensor],
    settings: TrainSettings,
    step: int,
    generator: torch.Generator | None = None,
    weights: Tensor | None = None,
    standardized: bool = False,
) -> float:
    """Make one step.

    Args:
        network: The network, updated in place.
        optimizer: The optimizer of its weights.
        task: Defines the loss.
        batch: Values (N, T, F), lengths (N,) or None if all are T, and encoded targets (N,).
        settings: Optimizer, schedule and clipping of the recipe.
        step: Number of the step, counted from 0.
        generator: Source of dropout's random numbers; needed if the network has dropout.
        weights: Weight of each sequence in the mean loss, (N,); None if all are 1.
        standardized: Whether the values are standardised already; see `Network.forward`.

    Returns:
        The mean loss of the batch before the update.

    Raises:
        Diverged: If the loss or the gradient is not finite; the weights are then unchanged.
    """
    begin(network)
    loss, gradients = loss_and_gradients(
        network,
        task,
        batch,
        weights,
        draws=generator,
        standardized=standardized,
        truncate=settings.truncate,
    )
    return make_step(optimizer, loss, gradients, settings, step)


def begin(network: Network) -> None:
    """Put the network into training mode."""
    if not network.training:  # walks through all modules
        network.train()


def make_step(
    optimizer: torch.optim.Adam,
    loss: Tensor,
    gradients: Gradients,
    settings: TrainSettings,
    step: int,
    threads: int | None = None,
) -> float:
    """Update the weights.

    Args:
        optimizer: The optimizer of the weights.
        loss: The mean loss of the batch, one number.
        gradients: Its gradient by each weight.
        settings: Optimizer, schedule and clipping of the recipe.
        step: Number of the step, counted from 0.
        threads: The most threads that make the update; None: those of torch. The bits are the same.

    Returns:
        The loss.

    Raises:
        Diverged: If the loss or the gradient is not finite; the weights are then unchanged.
    """
    rate = learning_rate(settings, step)
    (group,) = optimizer.param_groups
    group["lr"] = rate
    if settings.optimizer == "tf1-adam":
        # TensorFlow adds epsilon to the square root before the bias correction ("epsilon hat" in section 2
        # of the paper), torch after it. This is TensorFlow's epsilon in torch's formula.
        group["eps"] = EPSILON / math.sqrt(1 - group["betas"][1] ** (step + 1))
    parameters: list[Tensor] = group["params"]
    # The only waits for a GPU are here and at the norm: both numbers decide whether the step is made.
    result = loss.item()
    if not math.isfinite(result):
        raise Diverged(step + 1, f"the loss became {result}", rate)
    for weight in parameters:
        weight.grad = gradients.get(weight)
    threads = threads or torch.get_num_threads()
    with one_thread():
        total_norm = gradient_norm(parameters)
        norm = total_norm.item()
        if not math.isfinite(norm):
            raise Diverged(step + 1, f"the gradient's norm became {norm}", rate)
        update(optimizer, total_norm, settings.clip_norm, threads)
    return result
