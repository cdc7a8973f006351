"""Teams of real processes: what they exchange, and that differences are noticed."""

from __future__ import annotations

import os

import numpy as np
import torch

from scanline.data.memory import MemorySource
from scanline.errors import ScanlineError
from scanline.model.network import Architecture, Network
from scanline.model.predictor import Abandoned, Predictor
from scanline.training.slices import SIGNALS
from scanline.training.tree import add_leaves, bounds, subtrees
from tests.conftest import make_sequences
from tests.training.distributed.processes import call_together


def together(folder, function, size):
    """Return what `function(team)` prints in each process."""
    ended = call_together(folder, [(_call, (function,))] * size)
    assert [each.code for each in ended] == [0] * size, ended
    return [each.text for each in ended]


def _call(function):
    from scanline.training.distributed.exchange import Exchange
    from scanline.training.distributed.team import DistributedTeam

    team = DistributedTeam(Exchange("cpu", 60.0))
    function(team)
    team.finish()


def network_of():
    torch.manual_seed(4)
    return Network(Architecture("lstm", 3, 5, 1, False, 0.0, "between", "mean", 2))


def vectors(slices):
    """Return vectors of a length that no number of processes divides."""
    return list(torch.randn(slices, 101, generator=torch.Generator().manual_seed(slices)).exp())


def _add(team):
    for slices in (4, 5, 7):
        own = bounds(slices, team.size, team.rank)
        leaves = iter(vectors(slices)[slice(*own)])
        sums = {node: add_leaves(node, leaves) for node in subtrees((0, slices), own)}
        found = team.add_up(sums, slices)
        print(torch.equal(found, add_leaves((0, slices), iter(vectors(slices)))))


def test_gradients_are_added_to_the_bits_of_one_process(tmp_path):
    # Of four processes: with three, every tree adds their sums in turn.
    assert together(tmp_path, _add, 4) == ["True\n" * 3] * 4


def _predict(team):
    network = network_of()
    for count in (1, 2, 3, 7):
        source = make_sequences(count)
        found = team.outputs(Predictor(network), source)
        print(np.array_equal(found, Predictor(network).outputs(source)))
    draw = np.random.default_rng(0)
    lengths = np.array([4, 1, 9, 2, 5])
    values = draw.normal(size=(lengths.sum(), 3)).astype(np.float32)
    ragged = MemorySource(values, lengths, np.zeros(5, np.int64), (0, 1), "made up")
    print(np.array_equal(team.outputs(Predictor(network), ragged), Predictor(network).outputs(ragged)))


def test_predictions_are_those_of_one_process_also_for_fewer_sequences_than_processes(tmp_path):
    assert together(tmp_path, _predict, 3) == ["True\n" * 5] * 3


def _abandon(team):
    try:
        team.outputs(Predictor(network_of()), make_sequences(9), lambda: team.rank == 1)
    except Abandoned:
        print("abandoned")


def test_predictions_that_one_process_abandons_are_abandoned_in_all(tmp_path):
    assert together(tmp_path, _abandon, 3) == ["abandoned\n"] * 3


def _differ(team):
    network = network_of()
    team.check_weights(network, 6)
    if team.rank == 1:
        with torch.no_grad():
            network.head.bias[0] += 1e-7
    try:
        team.check_weights(network, 7)
    except ScanlineError as error:
        print(error)


def test_different_weights_are_an_error_in_all_processes(tmp_path):
    printed = together(tmp_path, _differ, 3)
    assert printed == printed[:1] * 3
    assert printed[0].startswith("after step 7 the weights of process 1 differ from those of process 0: ")
    assert "--allow-mixed" in printed[0]


def _differ_and_share(team):
    team.mixed, team.writer = True, 2
    network = network_of()
    with torch.no_grad():
        for weight in network.parameters():
            weight += team.rank
    team.check_weights(network, 7)
    expected = network_of()
    print(
        all(
            torch.equal(own, other + 2)
            for own, other in zip(network.parameters(), expected.parameters(), strict=True)
        )
    )


def test_accepted_differences_are_replaced_by_the_weights_of_the_writer(tmp_path):
    assert together(tmp_path, _differ_and_share, 3) == ["True\n"] * 3


def _receive(team):
    team.received = lambda: 2 if team.rank == 0 else None
    print(team.signal)
    team.add_up({(rank, rank + 1): _with_flags(team) for rank in [team.rank]}, team.size)
    print(team.signal)


def _with_flags(team):
    return torch.tensor([1.0, 2.0, *(float(number == team.received()) for number in SIGNALS)])


def test_a_process_alone_stops_at_a_signal_without_an_exchange(tmp_path):
    assert together(tmp_path, _receive, 1) == ["2\n2\n"]


def test_several_processes_stop_at_a_signal_once_all_know_of_it(tmp_path):
    assert together(tmp_path, _receive, 3) == ["None\n2\n"] * 3


def _send(team):
    contents = [b"", b"a", b"bcd" * 1000]
    print(team.exchange.gather_bytes(contents[team.rank], 60) == contents)
    print(team.exchange.gather_bytes(b"", 60) == [b"", b"", b""])
    print(team.exchange.broadcast_bytes(contents[team.rank], 2, 60) == contents[2])
    print(team.exchange.broadcast_bytes(contents[team.rank], 0, 60) == b"")


def test_bytes_of_any_length_are_gathered_and_broadcast(tmp_path):
    assert together(tmp_path, _send, 3) == ["True\n" * 4] * 3


def _lose(team):
    from scanline.training.distributed.exchange import LostConnection

    if team.rank == 1:
        os._exit(0)
    try:
        team.exchange.gather_bytes(b"", 60)
    except LostConnection as error:
        os.write(1, str(error).encode())
    os._exit(0)


def test_a_process_that_is_gone_is_noticed_by_all_others(tmp_path):
    first, _, third = together(tmp_path, _lose, 3)
    for printed in (first, third):
        assert "lost the connection to another process" in printed


def test_a_process_that_does_not_answer_is_lost_after_the_timeout(tmp_path):
    # Process 1 waits for the end of process 0; that is no answer.
    first, second = together(tmp_path, _answer_late, 2)
    assert "another process has not answered for 1 s" in first
    assert second == "ended"


def _answer_late(team):
    from scanline.training.distributed.exchange import LostConnection

    if team.rank == 0:
        try:
            team.exchange.broadcast_bytes(b"", 1, 1.0)
        except LostConnection as error:
            os.write(1, str(error).encode())
        os._exit(0)
    team.exchange.wait_for_end(60.0)
    os.write(1, b"ended")
    os._exit(0)
