"""The bench: what it counts, that contestants compute the same, and what it shows. No clock is looked at."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from scanline.errors import ScanlineError
from scanline_bench import runner
from scanline_bench.contestants import torch_peers
from scanline_bench.report import markdown
from scanline_bench.runner import peers_for, run_work
from scanline_bench.works import WORKS, Work

TINY = Work("tiny", "a tiny one", "train", N=4, T=3, F=2, H=8)


def silent(_: str) -> None:
    pass


def test_a_training_step_over_an_image_is_12_6_million_operations():
    rows = WORKS[0]
    # 28 steps x 2 x 512 gates x (156 forward + 128 through the recurrence + 156 for the weights)
    assert rows.operations() / rows.N == 28 * 2 * 512 * (156 + 128 + 156) == 12_615_680


def test_layers_pass_gradients_on_and_inference_has_none():
    stacked = Work("", "", "train", N=1, T=1, F=3, H=5, layers=2)
    first, second = 20 * (8 + 5 + 8), 20 * (10 + 10 + 10)
    assert stacked.operations() == 2 * (first + second)
    assert replace(stacked, kind="infer").operations() == 2 * 20 * (8 + 10)


def test_of_different_lengths_real_steps_count():
    work = next(work for work in WORKS if work.lengths)
    assert work.operations() == pytest.approx(2 * work.make_lengths().sum() * 512 * (144 + 128 + 144))
    assert 1 <= work.make_lengths().min() < work.make_lengths().max() == 100


def test_every_contestant_is_given_the_same_numbers():
    for first, second in zip(TINY.make_weights(), TINY.make_weights(), strict=True):
        assert np.array_equal(first, second)
    assert np.array_equal(TINY.make_data()[0], TINY.make_data()[0])


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_scanline_and_torch_lose_the_same_step_by_step(precision, lengths):
    work = replace(TINY, N=20, T=9, lengths=lengths)
    losses = {}
    for peer in peers_for(work, precision, 2):
        if peer.module == "torch_peers":
            contestant = torch_peers.make(work, precision, peer.variant)
            losses[peer.name] = []
            for _ in range(5):
                contestant.step()
                losses[peer.name].append(contestant.result())
    assert len(losses) == (3 if lengths else 2)
    for theirs in losses.values():
        assert losses["scanline"] == pytest.approx(theirs, rel=runner.SAME[precision])
    assert losses["scanline"][4] < losses["scanline"][0]


def test_answers_do_not_depend_on_the_batch_size():
    work = replace(TINY, N=10, kind="infer")
    contestant = torch_peers.make(work, "float32", "scanline")
    contestant.step()
    whole = contestant.result()
    contestant.use_batch(3)
    contestant.step()
    assert contestant.result() == pytest.approx(whole, rel=1e-5)
    assert [len(part) for part in contestant.logits] == [3, 3, 3, 1]


def only_torch(work, precision, threads):
    return [peer for peer in peers_for(work, precision, threads) if peer.module == "torch_peers"]


def test_a_run_has_every_figure_and_its_page(monkeypatch):
    monkeypatch.setattr(runner, "peers_for", only_torch)
    row = run_work(TINY, "float32", 1, 2, silent)
    assert [each["name"] for each in row["contestants"]] == ["scanline", "torch"]
    assert row["fastest_peer"] == "torch"
    ours, theirs = row["contestants"]
    assert row["ratio"] == pytest.approx(theirs["median_ms"] / ours["median_ms"], abs=0.006)
    assert ours["quartiles_ms"][0] <= ours["median_ms"] <= ours["quartiles_ms"][1]
    assert ours["results"] == pytest.approx(theirs["results"], rel=1e-3)
    assert ours["peak_mb"] > ours["above_imports_mb"] > 0
    machine = {
        "processor": "P",
        "cores": 2,
        "platform": "L",
        "python": "3",
        "native": {"kernels": {"float32": "k"}},
    }
    result = {"command": "c", "threads": 1, "machine": machine, "versions": {"torch": "2"}, "works": [row]}
    page = markdown(json.loads(json.dumps(result)))
    assert "| a tiny one | float32 |" in page
    assert f"(torch) | {row['ratio']:.2f} |" in page


def test_contestants_that_do_not_compute_the_same_are_not_timed(monkeypatch):
    monkeypatch.setattr(runner, "peers_for", only_torch)
    monkeypatch.setattr(runner, "SAME", {"float32": -1.0})  # nothing is near enough
    with pytest.raises(ScanlineError, match="torch does not compute what Scanline does on tiny"):
        run_work(TINY, "float32", 1, 1, silent)


def test_losses_are_compared_relatively_and_logits_by_their_number():
    assert runner.difference(TINY, [2.0, 1.5], [2.0, 1.6]) == pytest.approx(0.05)
    infer = replace(TINY, kind="infer")
    assert runner.difference(infer, [0.3], [0.1]) == pytest.approx(0.2 / 40)


def test_a_contestant_that_fails_says_why(monkeypatch):
    broken = [*only_torch(TINY, "float32", 1), runner.Peer("none", "no_such_module")]
    monkeypatch.setattr(runner, "peers_for", lambda *_: broken)
    lines = []
    row = run_work(TINY, "float32", 1, 1, lines.append)
    assert len(row["contestants"]) == 2
    assert lines == [
        "tiny, float32: without none: ModuleNotFoundError: "
        "No module named 'scanline_bench.contestants.no_such_module'"
    ]


def test_only_peers_that_are_installed_take_part():
    assert runner.Peer("none", "x", needs=("no_such_package",)).installed() is False
    assert runner.Peer("torch", "x", needs=("torch",)).installed() is True


def test_the_command_knows_its_works(scanline):
    code, _, err = scanline("bench", "row")
    assert code == 2
    assert "unknown work 'row': expected one of rows, rows-1024" in err
    assert "did you mean 'rows'?" in err
