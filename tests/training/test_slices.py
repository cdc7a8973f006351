"""Batches in slices: the same bits however many threads compute them."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from scanline import recipe
from scanline.data.dataset import Dataset
from scanline.data.loader import DeviceBatch, Loader
from scanline.data.memory import MemorySource
from scanline.data.order import BatchOrder
from scanline.data.splits import balanced
from scanline.data.transforms.augmentation import PictureShift
from scanline.data.transforms.scaler import Scaler
from scanline.data.transforms.views import View
from scanline.errors import ScanlineError
from scanline.kernels.library import load
from scanline.kernels.openmp import keep_to_one_thread, on_one_thread
from scanline.model.gradients import loss_and_gradients
from scanline.model.network import Architecture, Network
from scanline.tasks.classification import Classification
from scanline.training.slices import SIGNALS, Slices, signal_of
from scanline.training.state import initial_state
from scanline.training.team import Team
from scanline.training.trainer import Trainer
from scanline.training.tree import add_subtrees, bounds
from tests.conftest import make_sequences

TASK = Classification((0, 1, 2))
N, T, F = 13, 6, 3
DROPOUT = {"model.dropout": 0.2, "model.dropout_on": "every"}
needs_library = pytest.mark.skipif(load() is None, reason="the native library was not built")


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    """Compute on one, two and three threads in turn."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def network_of(
    cell="lstm", hidden=8, layers=2, bidirectional=True, dropout=0.3, precision="float32", readout="max"
):
    torch.manual_seed(4)
    network = Network(Architecture(cell, F, hidden, layers, bidirectional, dropout, "every", readout, 3))
    network.recurrent.precision = precision
    return network.train()


def batch_of(n=N, has_lengths=True, has_weights=True, steps=T):
    draw = torch.Generator().manual_seed(n)
    values = torch.randn(n, steps, F, generator=draw)
    lengths = torch.randint(1, steps, (n,), generator=draw) if has_lengths else None
    if lengths is not None:
        lengths[n // 2] = steps
    targets = torch.randint(0, 3, (n,), generator=draw)
    weights = torch.rand(n, generator=draw) + 0.5 if has_weights else None
    return DeviceBatch(values, lengths, targets, weights, (n, steps, F))


def trained(network):
    return [weight for weight in network.parameters() if weight.requires_grad]


def compute(network, batch, count, team=None):
    """Return the loss and the gradients of a batch in `count` slices, as one vector."""
    slices = Slices(count, len(batch.targets), team or Team(), trained(network))
    draws = torch.Generator().manual_seed(9) if network.recurrent.dropout else None
    loss, gradients = slices.compute(network, TASK, batch, draws, False)
    return torch.cat([loss.reshape(1), *(gradient.flatten() for gradient in gradients.values())])


def compute_whole(network, batch):
    """Return the same without slices."""
    draws = torch.Generator().manual_seed(9) if network.recurrent.dropout else None
    loss, gradients = loss_and_gradients(
        network, TASK, (batch.values, batch.lengths, batch.targets), batch.weights, draws
    )
    parts = [gradients[weight].flatten() for weight in trained(network)]
    return torch.cat([loss.reshape(1), *parts])


class Share(Team):
    """Takes part as one of several processes, and keeps the sums instead of exchanging them."""

    def __init__(self, rank, size, number=None):
        super().__init__()
        self.rank, self.size, self.sums = rank, size, {}
        self.received = lambda: number

    def add_up(self, sums, slices):
        """Keep the sums; what is returned is not used."""
        self.sums = dict(sums)
        return next(iter(sums.values())).clone()


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("count", [2, 4, 13])
def test_the_gradient_of_slices_is_that_of_the_batch(cell, bidirectional, count):
    network, batch = network_of(cell, bidirectional=bidirectional), batch_of()
    torch.testing.assert_close(
        compute(network, batch, count), compute_whole(network, batch), rtol=1e-5, atol=1e-6
    )


def test_the_gradient_of_slices_without_dropout_lengths_and_weights_is_that_of_the_batch():
    network, batch = network_of(dropout=0.0), batch_of(has_lengths=False, has_weights=False)
    torch.testing.assert_close(
        compute(network, batch, 4), compute_whole(network, batch), rtol=1e-5, atol=1e-6
    )


@needs_library
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_bits_do_not_depend_on_the_threads(cell, precision, dropout, threads):
    network, batch = network_of(cell, 40, dropout=dropout, precision=precision), batch_of(37)
    found = compute(network, batch, 4)
    torch.set_num_threads(1)
    assert torch.equal(found, compute(network, batch, 4))


def test_the_bits_do_not_depend_on_the_threads_with_torch(threads):
    network, batch = network_of(hidden=40), batch_of(64)
    network.recurrent.backend = "torch"
    found = compute(network, batch, 4)
    torch.set_num_threads(1)
    assert torch.equal(found, compute(network, batch, 4))


def part_of(batch, part):
    """Return what a process reads of a batch: sequences of one length have no lengths."""
    values, lengths = batch.values[part], None
    if batch.lengths is not None:
        lengths = batch.lengths[part]
        values = values[:, : int(lengths.max())].contiguous()
        lengths = None if int(lengths.min()) == values.shape[1] else lengths
    weights = None if batch.weights is None else batch.weights[part]
    return DeviceBatch(values, lengths, batch.targets[part], weights, batch.whole)


def shared(network, batch, count, size):
    """Return the sum of the slices' vectors, computed by `size` processes."""
    sums = {}
    for rank in range(size):
        team = Share(rank, size)
        slices = Slices(count, len(batch.targets), team, trained(network))
        draws = torch.Generator().manual_seed(9) if network.recurrent.dropout else None
        slices.compute(network, TASK, part_of(batch, slices.part), draws, False)
        sums |= team.sums
    return add_subtrees((0, count), sums)


@pytest.mark.parametrize("size", [2, 3, 4, 7])
@pytest.mark.parametrize("has_lengths", [False, True])
def test_processes_that_share_the_slices_add_to_the_bits_of_one(size, has_lengths):
    network, batch = network_of(), batch_of(has_lengths=has_lengths)
    assert torch.equal(shared(network, batch, 7, size), shared(network, batch, 7, 1))


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("readout", ["last", "last-step", "mean"])
def test_sequences_of_one_length_have_the_same_bits_in_a_process_of_their_own(
    readout, dropout, cell, backend
):
    network = network_of(cell, 33, bidirectional=False, dropout=dropout, readout=readout)
    network.recurrent.backend = backend
    # Four processes read no lengths in the first slice and the last two; one process reads them in all.
    lengths = torch.tensor([30, 30, 30, 40, 10, 20, 25, 25, 25, 25, 25, 25])
    batch = replace(batch_of(12, steps=40), lengths=lengths)
    expected = shared(network, batch, 4, 1)
    for size in (2, 4):
        assert torch.equal(shared(network, batch, 4, size), expected)


def test_the_sequences_of_a_process_are_those_of_its_slices():
    weights = trained(network_of())
    parts = [Slices(4, 10, Share(rank, 3), weights).part for rank in range(3)]
    # Slices of 2, 3, 2 and 3 sequences; the processes have 1, 1 and 2 of them.
    assert parts == [slice(0, 2), slice(2, 5), slice(5, 10)]


def test_a_weight_without_gradient_adds_zeros():
    network = network_of(layers=2, dropout=0.0)
    frozen = network.recurrent.weights(0, 0)[0].requires_grad_(False)
    assert frozen not in set(trained(network))
    batch = batch_of()
    torch.testing.assert_close(
        compute(network, batch, 3), compute_whole(network, batch), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_travels_with_the_gradients(number):
    network, batch = network_of(), batch_of()
    team = Share(0, 1, number)
    compute(network, batch, 4, team)
    assert signal_of(team.sums[0, 4]) == number
    assert type(signal_of(team.sums[0, 4])) is int


def test_without_a_signal_none_travels():
    network, team = network_of(), Share(0, 1)
    compute(network, batch_of(), 4, team)
    assert signal_of(team.sums[0, 4]) is None


def test_signals_are_read_from_the_end_of_the_vector():
    flags = torch.zeros(len(SIGNALS))
    assert signal_of(torch.cat([torch.tensor([5.0]), flags])) is None
    for index, number in enumerate(SIGNALS):
        # Added up, a signal that several processes have received has their number.
        assert signal_of(torch.cat([torch.tensor([5.0]), 3 * torch.eye(len(SIGNALS))[index]])) == number
    assert signal_of(torch.ones(1 + len(SIGNALS))) == SIGNALS[0]


def run_of(device_threads, changes, source=None, view=None):
    """Return the weights and the optimizer's tensors of a short training."""
    train = source or make_sequences(24, 6, 6, 3, seed=1)
    data = Dataset("made up", {"train": train}, view=view)
    settings = {"samples": 0, "steps": 6, "batch_size": 10, "log_every": 0, "slices": 4} | changes
    changes = {f"train.{key}": value for key, value in settings.items()} | DROPOUT
    plan = recipe.load("rows", changes)
    architecture = Architecture("gru", 6, 20, 2, True, 0.2, "every", "mean", 3)
    before = torch.get_num_threads()
    torch.set_num_threads(device_threads)
    try:
        state = initial_state(plan, architecture, 0.0, 1.0, "cpu")
        losses = [event.loss for event in Trainer(state, plan, data, TASK).events()]
    finally:
        torch.set_num_threads(before)
    weights = [weight.detach() for weight in state.network.parameters()]
    moments = [state.optimizer.state[weight]["exp_avg_sq"] for weight in trained(state.network)]
    return losses, torch.cat([each.flatten() for each in (*weights, *moments)])


def series(n=24):
    draw = np.random.default_rng(5)
    lengths = draw.integers(1, 9, n)
    values = draw.normal(size=(lengths.sum(), 6)).astype(np.float32)
    source = MemorySource(values, lengths, np.arange(n) % 3, (0, 1, 2), "made up")
    return replace(source, weights=balanced(source))


@pytest.mark.parametrize(
    ("changes", "source", "view"),
    [
        ({}, None, None),
        ({"noise": 0.3}, series(), None),
        ({"noise": 0.3, "bucket": 2, "clip_norm": 0.1}, series(), None),
        ({"shift": 2}, None, View("rows", 6, 6)),
        ({"batch_size": 40}, series(7), None),  # a batch that has each sequence several times
    ],
    ids=["plain", "noise", "buckets", "shift", "small"],
)
def test_a_training_in_slices_has_the_same_bits_on_any_number_of_threads(changes, source, view):
    losses, tensors = run_of(1, changes, source, view)
    assert len(set(losses)) == 6
    for threads in (2, 3):
        assert run_of(threads, changes, source, view)[0] == losses
        assert torch.equal(run_of(threads, changes, source, view)[1], tensors)


def test_the_first_weights_do_not_depend_on_the_threads(threads):
    plan = recipe.load("rows", {"train.slices": 4, "model.init": "orthogonal"})
    architecture = Architecture("lstm", 28, 256, 1, False, 0.0, "every", "last", 10)
    found = initial_state(plan, architecture, 0.0, 1.0, "cpu").network.state_dict()
    torch.set_num_threads(1)
    expected = initial_state(plan, architecture, 0.0, 1.0, "cpu").network.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("changes", [{"noise": 0.3}, {"noise": 0.3, "bucket": 2}], ids=str)
def test_slices_change_a_training_by_rounding_only(changes):
    whole, tensors = run_of(1, changes | {"slices": 1}, series())
    losses, found = run_of(1, changes, series())
    assert losses == pytest.approx(whole, rel=1e-4)
    assert losses != whole
    torch.testing.assert_close(found, tensors, rtol=1e-3, atol=1e-4)


def test_one_slice_is_computed_as_a_whole_batch(monkeypatch):
    monkeypatch.setattr(Slices, "__init__", lambda *_: pytest.fail("slices are made"))
    run_of(1, {"slices": 1})


def pictures(weights=None):
    draw = np.random.default_rng(2)
    values = draw.integers(0, 256, (20, 6, 6)).astype(np.uint8)
    source = MemorySource.from_array(values, np.arange(20) % 3, (0, 1, 2), "made up")
    return source if weights is None else replace(source, weights=weights)


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("name", ["series", "rows", "columns", "shifted rows", "shifted columns"])
def test_parts_of_a_batch_have_the_values_of_the_whole(name, scaled, count):
    source, shift = series(20), None
    if name != "series":
        *_, order = name.split()
        view = View(order, 6, 6)
        source = view.see(pictures(np.linspace(1, 2, 20, dtype=np.float32)))
        shift = PictureShift(view, 2, seed=3) if name.startswith("shifted") else None
    scaler = Scaler(np.full(6, 0.5, np.float32), np.full(6, 3, np.float32)) if scaled else None

    def loader():
        return Loader(source, BatchOrder(20, 15, 0), scaler, shift)

    for step in (0, 3):
        whole = loader().batch(step)
        assert whole.whole == tuple(whole.values.shape)
        for index in range(count):
            here = slice(*bounds(15, count, index))
            part = loader().batch(step, here)
            assert part.whole == whole.whole
            steps = part.values.shape[1]
            assert torch.equal(part.values, whole.values[here, :steps])
            assert torch.equal(part.targets, whole.targets[here])
            assert torch.equal(part.weights, whole.weights[here])
            if whole.lengths is not None:
                expected = whole.lengths[here]
                assert steps == int(expected.max())
                found = torch.full_like(expected, steps) if part.lengths is None else part.lengths
                assert torch.equal(found, expected)


def test_parts_of_shifted_pictures_move_as_they_do_in_the_whole_batch():
    source, indices = pictures(), np.arange(3, 18)
    shift = PictureShift(View("rows", 6, 6), 3, seed=1)
    whole = shift.gather(source, indices, 5)
    for index in range(4):
        here = slice(*bounds(15, 4, index))
        assert np.array_equal(shift.gather(source, indices, 5, here), whole[here])


def test_more_slices_than_sequences_in_a_batch_are_refused_in_one_line():
    with pytest.raises(ScanlineError, match=r"train\.slices must be at most train\.batch_size") as caught:
        recipe.load("rows", {"train.batch_size": 8, "train.slices": 9})
    assert "(8), got 9" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [0, -1, 4097, 2.0, "2"])
def test_a_number_of_slices_outside_the_range_is_refused(value):
    with pytest.raises(ScanlineError, match=r"train\.slices"):
        recipe.load("rows", {"train.slices": value})


def test_a_recipe_without_the_number_of_slices_has_one():
    text = recipe.load("rows", {}).to_toml()
    old = "".join(line for line in text.splitlines(True) if not line.startswith("slices"))
    assert old != text
    assert recipe.parse(old, "an old recipe").train.slices == 1


def test_a_thread_that_keeps_to_one_thread_does_not_affect_others():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen = []

        def look():
            keep_to_one_thread()
            seen.append(torch.get_num_threads())

        thread = threading.Thread(target=look)
        thread.start()
        thread.join(30)
        others = []
        other = threading.Thread(target=lambda: others.append(torch.get_num_threads()))
        other.start()
        other.join(30)
        assert seen == [1]
        assert others == [2]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_is_computed_on_one_thread_has_the_bits_of_one_thread():
    left, right = (torch.randn(300, 300, generator=torch.Generator().manual_seed(k)) for k in range(2))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    expected = left @ right
    try:
        torch.set_num_threads(3)
        assert torch.equal(on_one_thread(lambda: left @ right), expected)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_an_error_on_one_thread_reaches_the_caller():
    with pytest.raises(KeyError):
        on_one_thread(lambda: {}[1])
