"""The bench counts operations, compares implementations and formats its results. Times are not checked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scanline.errors import ScanlineError
from scanline_bench import runner
from scanline_bench.implementations import torch_layers
from scanline_bench.peers import Peer, peers_for
from scanline_bench.report import markdown
from scanline_bench.results import BenchResult
from scanline_bench.runner import run_workload
from scanline_bench.workloads import WORKLOADS, Workload

TINY = Workload("tiny", "a tiny one", "train", N=4, T=3, F=2, H=8)


def silent(_: str) -> None:
    pass


def test_a_training_step_over_an_image_is_12_6_million_operations():
    rows = WORKLOADS[0]
    # 28 steps x 2 x 512 gates x (156 forward + 128 through the recurrence + 156 for the weights)
    assert rows.operations() / rows.N == 28 * 2 * 512 * (156 + 128 + 156) == 12_615_680


def test_layers_pass_gradients_on_and_inference_has_none():
    stacked = Workload("", "", "train", N=1, T=1, F=3, H=5, layers=2)
    first, second = 20 * (8 + 5 + 8), 20 * (10 + 10 + 10)
    assert stacked.operations() == 2 * (first + second)
    assert replace(stacked, kind="infer").operations() == 2 * 20 * (8 + 10)


def test_of_different_lengths_real_steps_count():
    workload = next(workload for workload in WORKLOADS if workload.lengths)
    assert workload.operations() == pytest.approx(2 * workload.make_lengths().sum() * 512 * (144 + 128 + 144))
    assert 1 <= workload.make_lengths().min() < workload.make_lengths().max() == 100


def test_every_implementation_is_given_the_same_numbers():
    for first, second in zip(TINY.make_weights(), TINY.make_weights(), strict=True):
        assert np.array_equal(first, second)
    assert np.array_equal(TINY.make_data()[0], TINY.make_data()[0])


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_scanline_and_torch_have_the_same_loss_at_every_step(precision, lengths):
    workload = replace(TINY, N=20, T=9, lengths=lengths)
    losses = {}
    for peer in peers_for(workload, precision, 2):
        if peer.module == "torch_layers":
            implementation = torch_layers.make(workload, precision, peer.variant)
            losses[peer.name] = []
            for _ in range(5):
                implementation.step()
                losses[peer.name].append(implementation.result())
    assert len(losses) == (3 if lengths else 2)
    for theirs in losses.values():
        assert losses["scanline"] == pytest.approx(theirs, rel=runner.TOLERANCE[precision])
    assert losses["scanline"][4] < losses["scanline"][0]


def test_predictions_do_not_depend_on_the_batch_size():
    workload = replace(TINY, N=10, kind="infer")
    implementation = torch_layers.make(workload, "float32", "scanline")
    implementation.step()
    whole = implementation.result()
    implementation.use_batch(3)
    implementation.step()
    assert implementation.result() == pytest.approx(whole, rel=1e-5)
    assert [len(part) for part in implementation.logits] == [3, 3, 3, 1]


def only_torch(workload, precision, threads):
    return [peer for peer in peers_for(workload, precision, threads) if peer.module == "torch_layers"]


def test_a_run_has_every_figure_and_its_page_and_names_a_peer_that_fails(monkeypatch):
    peers = [*only_torch(TINY, "float32", 1), Peer("none", "no_such_module")]
    monkeypatch.setattr(runner, "peers_for", lambda *_: peers)
    lines = []
    row = run_workload(TINY, "float32", 1, 2, lines.append)
    assert lines == [
        "tiny, float32: without none: ModuleNotFoundError: "
        "No module named 'scanline_bench.implementations.no_such_module'"
    ]
    assert [each.name for each in row.implementations] == ["scanline", "torch"]
    assert row.fastest_peer == "torch"
    ours, theirs = row.implementations
    assert row.ratio == pytest.approx(theirs.median_ms / ours.median_ms, abs=0.006)
    assert ours.quartiles_ms[0] <= ours.median_ms <= ours.quartiles_ms[1]
    assert ours.results == pytest.approx(theirs.results, rel=1e-3)
    assert ours.peak_mb > ours.above_imports_mb > 0
    result = BenchResult("c", 1, "P", 2, "L", "3", {"torch": "2"}, {"float32": "k"}, (row,))
    page = markdown(result)
    assert "| a tiny one | float32 |" in page
    assert f"(torch) | {row.ratio:.2f} |" in page


@pytest.mark.campaign
def test_implementations_that_do_not_compute_the_same_are_not_timed(monkeypatch):
    monkeypatch.setattr(runner, "peers_for", only_torch)
    monkeypatch.setattr(runner, "TOLERANCE", {"float32": -1.0})  # nothing is near enough
    with pytest.raises(ScanlineError, match="torch does not compute what Scanline computes on tiny"):
        run_workload(TINY, "float32", 1, 1, silent)


def test_losses_are_compared_relatively_and_logits_by_their_number():
    assert runner.difference(TINY, [2.0, 1.5], [2.0, 1.6]) == pytest.approx(0.05)
    infer = replace(TINY, kind="infer")
    assert runner.difference(infer, [0.3], [0.1]) == pytest.approx(0.2 / 40)


def test_only_peers_that_are_installed_take_part():
    assert Peer("none", "x", needs=("no_such_package",)).installed() is False
    assert Peer("torch", "x", needs=("torch",)).installed() is True


def test_the_command_knows_its_workloads(scanline):
    code, _, err = scanline("bench", "row")
    assert code == 2
    assert "unknown workload 'row': expected one of rows, rows-1024" in err
    assert "did you mean 'rows'?" in err
