"""The training state: weights, optimizer and progress. A checkpoint holds all of it.

There are no generator states: every random draw is a function of (seed, purpose, step), see
`scanline.seeding`, and the learning rate a function of the step. A resumed run therefore makes the same
steps, bit for bit, as one that was not interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.errors import ModelError
from scanline.kernels.openmp import on_one_thread
from scanline.model.initialisation import initialise
from scanline.model.network import Architecture, Network
from scanline.recipe import Recipe
from scanline.seeding import torch_generator
from scanline.training.step import choose_computation, make_optimizer

BEST = "best/"  # prefix of the best weights among the optimizer's tensors


@dataclass(frozen=True)
class BestValidation:
    """The best validation so far.

    Attributes:
        accuracy: Its accuracy, or another score of the task; -1 before the first validation.
        step: Its step, 0 before the first validation.
        bad_evaluations: Validations since then.
        weights: Weights of that step; empty unless the recipe has early stopping.
    """

    accuracy: float = -1.0
    step: int = 0
    bad_evaluations: int = 0
    weights: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass
class TrainState:
    """A training between two steps.

    Attributes:
        network: The network being trained.
        optimizer: Adam over its trained weights.
        step: Steps done.
        pending_evaluation: Whether the events of this step have not all been yielded yet.
        loss: Loss of this step's batch.
        best: The best validation so far.
    """

    network: Network
    optimizer: torch.optim.Adam
    step: int = 0
    pending_evaluation: bool = False
    loss: float = 0.0
    best: BestValidation = BestValidation()

    def done(self, recipe: Recipe) -> bool:
        """Return whether all steps are done or early stopping ends the training."""
        patience = recipe.train.patience
        return self.step >= recipe.train.total_steps or (
            patience > 0 and self.best.bad_evaluations >= patience
        )

    def record_validation(self, accuracy: float, keep_weights: bool) -> bool:
        """Update `best` with a validation of the current weights.

        Args:
            accuracy: Accuracy of the validation split, or another score of the task.
            keep_weights: Whether to copy the weights if this is the best validation.

        Returns:
            Whether it is the best validation so far.
        """
        best = self.best
        # A score may be below the -1 that stands for none, so the step decides whether there was one.
        if best.step and accuracy <= best.accuracy:
            self.best = BestValidation(best.accuracy, best.step, best.bad_evaluations + 1, best.weights)
            return False
        weights = {}
        if keep_weights:  # copies, as the optimizer updates the weights in place
            weights = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.best = BestValidation(accuracy, self.step, 0, weights)
        return True

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """Return Adam's state as "weight/key" to tensor, and the best weights with the prefix `BEST`."""
        names: dict[Tensor, str] = {weight: name for name, weight in self.network.named_parameters()}
        tensors = {
            f"{names[weight]}/{key}": value
            for weight, values in self.optimizer.state.items()
            for key, value in values.items()
        }
        return tensors | {BEST + name: value for name, value in self.best.weights.items()}

    def load_optimizer_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Set Adam's state and the best weights: the inverse of `optimizer_tensors`.

        Raises:
            ModelError: If a tensor does not fit the network; names the tensor.
        """
        parameters, buffers = dict(self.network.named_parameters()), self.network.state_dict()
        best: dict[str, Tensor] = {}
        for full_name, value in tensors.items():
            if full_name.startswith(BEST):
                name = full_name.removeprefix(BEST)
                # Names and shapes come from a file: each is compared with the network before it is used.
                _check(full_name, value, buffers.get(name), scalar=False)
                best[name] = value
                continue
            name, _, key = full_name.rpartition("/")
            known = key in ("step", "exp_avg", "exp_avg_sq")
            _check(full_name, value, parameters.get(name) if known else None, scalar=key == "step")
            self.optimizer.state[parameters[name]][key] = value
        for name, weight in parameters.items():
            kept = self.optimizer.state.get(weight, {})
            if len(kept) not in (0, 3):
                raise ModelError(
                    f"the optimizer's state of {name} is incomplete: expected step, exp_avg and exp_avg_sq, "
                    f"got {', '.join(kept)}"
                )
        # A partial set would mix the weights of two steps when it is loaded.
        if best and best.keys() != buffers.keys():
            raise ModelError("the best weights are not those of this network")
        self.best = BestValidation(self.best.accuracy, self.best.step, self.best.bad_evaluations, best)


def _check(name: str, value: Tensor, like: Tensor | None, scalar: bool) -> None:
    """Raise ModelError unless `value` is a float32 scalar, or has the shape of the tensor `like`."""
    if like is None:
        raise ModelError(f"the optimizer's state {name!r} belongs to no weight of this network")
    shape = torch.Size() if scalar else like.shape
    if value.shape != shape or value.dtype != torch.float32:
        raise ModelError(
            f"the optimizer's state {name!r}: expected float32 {tuple(shape)}, got "
            f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
        )


def initial_state(
    recipe: Recipe,
    architecture: Architecture,
    shift: NDArray[np.float32] | float,
    scale: NDArray[np.float32] | float,
    device: str,
) -> TrainState:
    """Return the state before the first step, with weights drawn from the recipe's seed.

    Args:
        recipe: Initialisation, seed and optimizer.
        architecture: Shape of the network.
        shift: Subtracted from the values, (F,) or one number for all features.
        scale: Divisor of the values after that, (F,) or one number.
        device: "cpu" or "cuda".
    """
    # On the meta device, modules do not draw their weights from torch's global generator.
    with torch.device("meta"):
        network = Network(architecture)
    network.to_empty(device="cpu")
    model = recipe.model
    generator = torch_generator(recipe.seed, "init")

    def draw() -> None:
        initialise(network, model.init, model.head_init, model.forget_bias, generator)

    # The decomposition that makes a matrix orthogonal has other last bits on another number of threads.
    on_one_thread(draw) if recipe.train.slices > 1 else draw()
    # A purpose of their own: the draws of all other weights stay those of networks without embeddings.
    network.embeddings.initialise(torch_generator(recipe.seed, "embeddings"))
    network.shift.copy_(torch.as_tensor(shift, device="cpu"))
    network.scale.copy_(torch.as_tensor(scale, device="cpu"))
    network.to(device)
    choose_computation(network, recipe.train)
    return TrainState(network, make_optimizer(network, recipe.train))
