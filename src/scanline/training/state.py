"""All that a resume needs: weights, optimiser, and where the run stands.

There are no generator states to keep: every random draw is a function of (seed, purpose, step), see
`scanline.seeding`, and the learning rate of the step alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.errors import ModelError
from scanline.model.initialisation import initialise
from scanline.model.network import Architecture, Network
from scanline.recipe import Recipe
from scanline.seeding import torch_generator
from scanline.training.step import choose_computation, make_optimizer

BEST = "best/"


@dataclass
class TrainState:
    """A run between two steps.

    step: steps done. unseen: whether what is to be logged and judged after that step has not been yet, or not
    all of it. loss: of that step's batch. best_accuracy, best_step: of the validations so far (-1 and 0: none
    yet). misses: validations since the best one. best_weights: kept only where early stopping asks for them.
    """

    network: Network
    optimizer: torch.optim.Adam
    step: int = 0
    unseen: bool = False
    loss: float = 0.0
    best_accuracy: float = -1.0
    best_step: int = 0
    misses: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def done(self, recipe: Recipe) -> bool:
        """Whether all steps are made or early stopping has decided."""
        patience = recipe.train.patience
        return self.step >= recipe.train.total_steps or (patience > 0 and self.misses >= patience)

    def best(self) -> tuple[float, int, int, dict[str, Tensor]]:
        """What the validations so far have left."""
        return self.best_accuracy, self.best_step, self.misses, self.best_weights

    def restore_best(self, accuracy: float, step: int, misses: int, weights: dict[str, Tensor]) -> None:
        """Back to what `best` gave."""
        self.best_accuracy, self.best_step, self.misses, self.best_weights = accuracy, step, misses, weights

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """Adam's state by weight's name, and the best weights if they are kept."""
        names: dict[Tensor, str] = {weight: name for name, weight in self.network.named_parameters()}
        tensors = {
            f"{names[weight]}/{key}": value
            for weight, values in self.optimizer.state.items()
            for key, value in values.items()
        }
        return tensors | {BEST + name: value for name, value in self.best_weights.items()}

    def load_optimizer_tensors(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `optimizer_tensors`. Raises ModelError naming what does not fit the network."""
        weights = dict(self.network.named_parameters())
        held = self.network.state_dict()
        for full_name, value in tensors.items():
            best = full_name.removeprefix(BEST) if full_name.startswith(BEST) else ""
            name, _, key = full_name.rpartition("/")
            like = held.get(best) if best else weights.get(name)
            if like is None or not (best or key in ("step", "exp_avg", "exp_avg_sq")):
                raise ModelError(f"the optimiser's state {full_name!r} belongs to no weight of this network")
            shape = torch.Size() if key == "step" and not best else like.shape
            if value.shape != shape or value.dtype != torch.float32:
                raise ModelError(
                    f"the optimiser's state {full_name!r} should be float32 {tuple(shape)}, found "
                    f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
                )
            if best:
                self.best_weights[best] = value
                continue
            self.optimizer.state[weights[name]][key] = value
        for name, weight in weights.items():
            kept = self.optimizer.state.get(weight, {})
            if len(kept) not in (0, 3):
                raise ModelError(f"the optimiser's state of {name} lacks a part: it has {', '.join(kept)}")
        if self.best_weights and self.best_weights.keys() != held.keys():
            raise ModelError("the best weights are not those of this network")


def start(
    recipe: Recipe,
    architecture: Architecture,
    shift: NDArray[np.float32] | float,
    scale: NDArray[np.float32] | float,
    device: str,
) -> TrainState:
    """A run before its first step: the weights drawn from the recipe's seed.

    shift, scale: (F,) or one for all features; the network sees (value - shift) / scale.
    """
    with torch.device("meta"):  # shapes alone: modules would fill their weights from torch's global state
        network = Network(architecture)
    network.to_empty(device="cpu")
    model = recipe.model
    generator = torch_generator(recipe.seed, "init")
    initialise(network, model.init, model.head_init, model.forget_bias, generator)
    network.shift.copy_(torch.as_tensor(shift))
    network.scale.copy_(torch.as_tensor(scale))
    network.to(device)
    choose_computation(network, recipe.train)
    return TrainState(network, make_optimizer(network, recipe.train))
