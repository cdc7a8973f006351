"""Learning rates and single steps."""

from __future__ import annotations

import math

import pytest
import torch

from scanline import recipe
from scanline.model.network import Architecture, Network
from scanline.tasks.classification import Classification
from scanline.training.schedule import learning_rate
from scanline.training.step import Diverged, make_optimizer, train_step

TASK = Classification((0, 1))


def settings(**changes):
    changes = {"samples": 0, "steps": 100, **changes}
    return recipe.load("rows", {f"train.{key}": value for key, value in changes.items()}).train


def test_one_cycle_rises_to_its_peak_and_falls_to_zero():
    one_cycle = settings(schedule="one-cycle", warmup=0.2, learning_rate=0.25)
    rates = [learning_rate(one_cycle, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[10] == pytest.approx(0.13)  # half way up: the middle of 0.01 and 0.25
    assert rates[20] == pytest.approx(0.25)
    assert rates[60] == pytest.approx(0.125)  # half way down
    assert rates[100] == pytest.approx(0)
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)


def test_a_cycle_without_warm_up_starts_at_its_peak():
    assert learning_rate(settings(schedule="one-cycle", warmup=0.0, learning_rate=0.1), 0) == 0.1


def test_a_constant_rate_is_constant():
    constant = settings(schedule="constant", learning_rate=0.1)
    assert {learning_rate(constant, step) for step in range(100)} == {0.1}


def network() -> Network:
    torch.manual_seed(0)
    return Network(Architecture("lstm", 3, 4, 1, False, 0.0, "between", "last", 2))


def batch(scale: float = 1.0):
    return torch.randn(6, 5, 3, generator=torch.Generator().manual_seed(0)) * scale, None, torch.arange(6) % 2


def weights(classifier: Network) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in classifier.parameters()])


def test_steps_lower_the_loss():
    classifier, plan = network(), settings(schedule="constant", learning_rate=0.01)
    optimizer = make_optimizer(classifier, plan)
    losses = [train_step(classifier, optimizer, TASK, batch(), plan, step) for step in range(60)]
    assert losses[0] == pytest.approx(math.log(2), abs=0.2)
    assert losses[-1] < losses[0] / 2


def test_the_first_step_of_tensorflows_adam_computed_by_hand():
    """With m = 0.1 g and v = 0.001 g^2 the step is rate * g / (|g| + epsilon / sqrt(0.001))."""
    classifier, plan = (
        network(),
        settings(optimizer="tf1-adam", schedule="constant", learning_rate=0.5, clip_norm=0.0),
    )
    before = classifier.head.bias.detach().clone()
    train_step(classifier, make_optimizer(classifier, plan), TASK, batch(), plan, 0)
    gradient = classifier.head.bias.grad
    expected = before - 0.5 * gradient / (gradient.abs() + 1e-8 / math.sqrt(0.001))
    torch.testing.assert_close(classifier.head.bias.detach(), expected)


def test_a_gradient_above_the_limit_is_scaled_to_it():
    classifier, plan = network(), settings(clip_norm=1e-3)
    train_step(classifier, make_optimizer(classifier, plan), TASK, batch(), plan, 0)
    gradients = [weight.grad.flatten() for weight in classifier.parameters() if weight.grad is not None]
    assert torch.cat(gradients).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_a_loss_of_nan_stops_before_the_weights_change():
    classifier, plan = network(), settings()
    before = weights(classifier)
    values, lengths, labels = batch()
    values[2, 1, 0] = math.nan
    with pytest.raises(
        Diverged, match=r"stopped at step 8: the loss became nan; try a train\.learning_rate below"
    ):
        train_step(classifier, make_optimizer(classifier, plan), TASK, (values, lengths, labels), plan, 7)
    assert torch.equal(weights(classifier), before)


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change():
    classifier, plan = network(), settings()
    with torch.no_grad():  # the loss is about 1e25, the square of a gradient above float32's largest number
        classifier.head.weight[0], classifier.head.weight[1:] = 1e25, -1e25
    before = weights(classifier)
    with pytest.raises(Diverged, match="stopped at step 1: the gradient's norm became"):
        train_step(classifier, make_optimizer(classifier, plan), TASK, batch(), plan, 0)
    assert torch.equal(weights(classifier), before)
