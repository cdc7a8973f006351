"""The training loop: its events, and that observing them changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from scanline import recipe
from scanline.data.dataset import Dataset
from scanline.data.transforms.views import View
from scanline.model.network import Architecture
from scanline.tasks import Score
from scanline.tasks.classification import Classification
from scanline.training.events import Evaluated, Logged, Stepped
from scanline.training.state import initial_state
from scanline.training.trainer import Trainer
from tests.conftest import make_sequences

DATA = Dataset(
    "made up",
    {
        "train": make_sequences(24, seed=1),
        "validation": make_sequences(9, seed=2),
        "test": make_sequences(9, seed=3),
    },
)
TASK = Classification.fit(DATA.train, DATA.name)


def begin(**changes):
    changes = {"samples": 0, "steps": 12, "batch_size": 8, "validate_every": 4, "log_every": 3, **changes}
    plan = recipe.load("rows", {f"train.{key}": value for key, value in changes.items()})
    architecture = Architecture("lstm", 3, 4, 1, False, 0.0, "between", "last", 2)
    return initial_state(plan, architecture, 0.0, 1.0, "cpu"), plan


def digest(state) -> list[float]:
    return torch.cat([weight.detach().flatten() for weight in state.network.parameters()]).tolist()


def test_events_come_when_due_and_each_step_ends_with_stepped():
    state, plan = begin(test_every=6)
    result = [
        (event.step, getattr(event, "split", type(event).__name__))
        for event in Trainer(state, plan, DATA, TASK).events()
    ]
    assert result[:4] == [(1, "Stepped"), (2, "Stepped"), (3, "Logged"), (3, "Stepped")]
    assert [step for step, what in result if what == "validation"] == [4, 8, 12]
    assert [step for step, what in result if what == "test"] == [6, 12]
    assert result[-1] == (12, "Stepped")


def test_without_an_interval_validation_comes_once_at_the_end():
    state, plan = begin(validate_every=0)
    assert [r.step for r in Trainer(state, plan, DATA, TASK).events() if isinstance(r, Evaluated)] == [12]


def test_evaluations_and_log_lines_change_no_weights():
    busy, plan = begin(log_every=1, validate_every=1, test_every=1)
    list(Trainer(busy, plan, DATA, TASK).events())
    quiet, plan = begin(log_every=0, validate_every=0)
    list(Trainer(quiet, plan, DATA, TASK).events())
    assert digest(busy) == digest(quiet)


def test_another_seed_gives_other_weights():
    one, plan = begin()
    two, other = begin()
    list(Trainer(one, plan, DATA, TASK).events())
    other = other.model_copy(update={"seed": 1})
    list(Trainer(two, other, DATA, TASK).events())
    assert digest(one) != digest(two)


def test_log_lines_have_the_form_of_the_tutorials():
    line = Logged(10, 1280, Score(1.751291, 0.429688, 128), 1e-3).line()
    assert line == "step: 10 / loss: 1.751291 / acc: 0.42969"


def test_early_stopping_counts_validations_without_a_better_one_and_keeps_the_best_weights():
    state, plan = begin(steps=400, validate_every=1, patience=3, log_every=0)
    seen = [event for event in Trainer(state, plan, DATA, TASK).events() if isinstance(event, Evaluated)]
    accuracies = [event.score.value for event in seen]
    best = accuracies.index(max(accuracies))
    assert len(accuracies) == best + 1 + 3 < 400
    assert (state.best.step, state.best.bad_evaluations) == (best + 1, 3)
    assert state.best.weights.keys() == state.network.state_dict().keys()


def test_the_caller_may_stop_between_steps():
    state, plan = begin()
    for event in Trainer(state, plan, DATA, TASK).events():
        if isinstance(event, Stepped) and event.step == 5:
            break
    assert state.step == 5


def test_samples_count_repetitions():
    state, plan = begin()
    *_, last = Trainer(state, plan, DATA, TASK).events()
    assert last.samples == pytest.approx(12 * 8)


def losses_of_one_sequence(**changes) -> set[float]:
    """What six steps on a single sequence, too small to change the weights, say of it."""
    one = replace(DATA.with_splits(train=DATA.train.take(slice(0, 1))), view=View("rows", 5, 3))
    settings = {"train.samples": 0, "train.steps": 6, "train.batch_size": 1, "train.learning_rate": 1e-12}
    plan = recipe.load("rows", {"train.shift": 0, "model.layers": 2} | settings | changes)
    model = plan.model
    architecture = Architecture("lstm", 3, 4, 2, False, model.dropout, model.dropout_on, "last", 2)
    events = Trainer(initial_state(plan, architecture, 0.0, 1.0, "cpu"), plan, one, TASK).events()
    return {round(event.loss, 6) for event in events if isinstance(event, Stepped)}


def test_without_dropout_and_shift_the_loss_of_a_sequence_is_constant():
    assert len(losses_of_one_sequence()) == 1


def test_dropout_differs_at_every_step():
    assert len(losses_of_one_sequence(**{"model.dropout": 0.5})) > 2


def test_shifts_differ_at_every_step():
    assert len(losses_of_one_sequence(**{"train.shift": 1})) > 2
