"""The bench counts operations, compares implementations and formats its results. Times are not checked."""

from __future__ import annotations

import dataclasses
import importlib
import json
from dataclasses import replace

import numpy as np
import pytest

from scanline import cells
from scanline.errors import DataError, ScanlineError
from scanline.kernels import library
from scanline_bench import runner
from scanline_bench.implementations import scanline_model, torch_layers, torch_stream
from scanline_bench.peers import Peer, peers_for, precisions_of
from scanline_bench.report import limit_text, markdown
from scanline_bench.results import BenchResult, Limit, Measurement, WorkloadResult, from_json
from scanline_bench.runner import run_workload
from scanline_bench.worker import limits
from scanline_bench.workloads import GATES, WORKLOADS, Workload
from tests.thorough import THOROUGH

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


def test_products_follow_the_cell_and_both_directions_count():
    lstm = Workload("", "", "train", N=1, T=1, F=3, H=5)
    for cell, gates in (("gru", 3), ("rnn", 1)):
        assert replace(lstm, cell=cell).operations() == lstm.operations() * gates / 4
    both = replace(lstm, bidirectional=True)
    assert both.operations() == 2 * lstm.operations()
    # A second layer reads both directions of the first: 40 columns x (forward 15 + through 15 + weights 15).
    assert replace(both, layers=2).operations() == both.operations() + 2 * 40 * 3 * 15


@pytest.mark.parametrize("cell", GATES)
def test_the_bench_counts_the_gates_of_the_cells(cell):
    assert GATES[cell] == len(cells.get(cell).gates)


def test_a_whole_training_counts_all_its_sequences_and_a_stream_one_step():
    rows = next(each for each in WORKLOADS if each.name == "training")
    assert rows.operations() == 100_000 * 12_615_680
    assert rows.training_steps == 6250
    stream = next(each for each in WORKLOADS if each.name == "stream")
    assert stream.operations() == 2 * 512 * 156


def test_the_recurrent_weights_are_loaded_at_every_step_and_the_others_once():
    workload = Workload("", "", "latency", N=1, T=28, F=28, H=128)
    assert workload.loaded_bytes("float32") == 4 * 512 * (28 * 128 + 28)
    assert workload.loaded_bytes("bfloat16") == 2 * 512 * (28 * 128 + 28)
    assert replace(workload, kind="stream").loaded_bytes("float32") == 4 * 512 * 156
    assert workload.weight_bytes("float32") == 4 * 512 * 156
    assert replace(workload, cell="gru", bidirectional=True).weight_bytes("float32") == 2 * 4 * 384 * 156


def test_of_different_lengths_real_steps_count():
    workload = next(workload for workload in WORKLOADS if workload.lengths)
    assert workload.operations() == pytest.approx(2 * workload.make_lengths().sum() * 512 * (144 + 128 + 144))
    assert 1 <= workload.make_lengths().min() < workload.make_lengths().max() == 100


def test_every_implementation_is_given_the_same_numbers():
    workload = replace(TINY, cell="gru", bidirectional=True, layers=2)
    first, second = workload.make_weights(), workload.make_weights()
    assert np.array_equal(first.head, second.head)
    assert [len(directions) for directions in first.layers] == [2, 2]
    assert first.layers[1][0].weight_ih.shape == (24, 16)
    for layers, again in zip(first.layers, second.layers, strict=True):
        for one, other in zip(layers, again, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert np.array_equal(TINY.make_data()[0], TINY.make_data()[0])


@pytest.mark.parametrize("changes", [
    {}, {"lengths": True}, {"cell": "gru"}, {"cell": "gru", "lengths": True}, {"cell": "rnn"},
    {"bidirectional": True, "layers": 2},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_scanline_and_torch_have_the_same_loss_at_every_step(precision, changes):
    workload = replace(TINY, N=20, T=9, **changes)
    losses = {}
    for reference in peers_for(workload, precision, 2):
        if reference.module == "torch_layers":
            implementation = torch_layers.make(workload, precision, reference.variant)
            losses[reference.name] = []
            for _ in range(5):
                implementation.step()
                losses[reference.name].append(implementation.result())
    assert len(losses) == (3 if workload.lengths else 2)
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
    assert [len(name) for name in implementation.logits] == [3, 3, 3, 1]


@pytest.mark.parametrize("cell", GATES)
def test_models_and_onnx_predict_the_same_as_the_layers(cell):
    workload = replace(TINY, N=7, kind="infer", cell=cell, bidirectional=True)
    results = {}
    for reference in peers_for(workload, "float32", 1):
        if reference.name == "scanline predictor" and library.load() is None:
            continue
        if reference.module in ("torch_layers", "scanline_model", "onnx_graph") and reference.installed():
            module = importlib.import_module(f"scanline_bench.implementations.{reference.module}")
            implementation = module.make(workload, "float32", reference.variant)
            implementation.step()
            results[reference.name] = implementation.result()
    ours = {"scanline", "scanline model"} | ({"scanline predictor"} if library.load() else set())
    assert ours | {"torch"} <= results.keys()
    for result in results.values():
        assert result == pytest.approx(results["scanline"], abs=1e-4)


@pytest.mark.parametrize("cell", GATES)
def test_jax_computes_the_same_losses(cell):
    pytest.importorskip("jax")
    pytest.importorskip("optax")
    from scanline_bench.implementations import jax_scan

    workload = replace(TINY, cell=cell, bidirectional=cell == "lstm", lengths=cell == "gru")
    ours, theirs = torch_layers.make(workload, "float32", "scanline"), jax_scan.make(workload, "float32", "")
    for _ in range(3):
        ours.step()
        theirs.step()
        assert theirs.result() == pytest.approx(ours.result(), rel=1e-4)


@pytest.mark.parametrize("cell", GATES)
def test_a_stream_predicts_the_same_in_every_implementation(cell):
    workload = Workload("", "", "stream", N=1, T=3, F=2, H=8, cell=cell)
    changed = [module.make(workload, "float32", "1") for module in (scanline_model, torch_stream)]
    if Peer("", "", needs=("onnx", "onnxruntime")).installed():
        from scanline_bench.implementations import onnx_graph

        changed.append(onnx_graph.make(workload, "float32", "1"))
    seen = set()
    for _ in range(5):  # the sequence starts again, the states go on
        for each in changed:
            each.step()
        assert [each.result() for each in changed] == pytest.approx(
            [changed[0].result()] * len(changed), abs=1e-5
        )
        seen.add(round(changed[0].result(), 9))
    assert len(seen) == 5


def test_a_whole_training_ends_with_the_loss_of_torchs_own_loop():
    workload = Workload("", "", "training", N=40, T=5, F=2, H=8, samples=100_000).shortened()
    assert workload.training_steps == 30
    ours = scanline_model.make(workload, "float32", "")
    theirs = torch_layers.make(workload, "float32", "torch")
    for _ in range(2):  # each starts from the initial weights
        ours.step()
        theirs.step()
        assert ours.result() == pytest.approx(theirs.result(), rel=1e-5)
    first = torch_layers.make(replace(workload, samples=16), "float32", "torch")
    first.step()
    assert ours.result() != pytest.approx(first.result(), rel=1e-3)


def only_torch(workload, precision, threads):
    return [
        reference
        for reference in peers_for(workload, precision, threads)
        if reference.module == "torch_layers"
    ]


def test_ratios_name_every_way_of_predicting():
    def measured(name, milliseconds):
        return Measurement(name, milliseconds, (1.0, 9.0), 3, 1.0, None, 1.0, 1.0, (0.0,))

    ways = [measured("scanline", 4.0), measured("scanline predictor", 1.0), measured("scanline model", 2.0)]
    row = WorkloadResult("w", "a", "latency", "float32", 1.0, (), (*ways, measured("p", 3.0)), "p", 0.75)
    assert row.ratios() == "0.75 (predictor: 3.00, model: 1.50)"


def test_a_benchmark_has_every_number_and_its_page_and_names_an_implementation_that_fails(monkeypatch):
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
    assert "2 cores, 1 thread\n" in page
    if library.load() is not None:
        (limit,) = row.limits
        assert limit.name == "multiply-adds"
        assert limit_text(limit) in page
        assert limit.bound_ms == pytest.approx(TINY.operations() / limit.rate / 1e6, rel=0.01)
        assert 0 < ours.share < 1
        assert ours.share == pytest.approx(limit.bound_ms / ours.median_ms, abs=0.001)
    assert from_json(json.dumps(dataclasses.asdict(result)), "r.json") == result


def miniature(workload: Workload) -> Workload:
    return replace(workload, N=min(workload.N, 6), T=5, F=3, H=8, samples=min(workload.samples, 640))


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_every_implementation_that_is_installed_computes_every_workload_in_miniature(workload):
    small = miniature(workload)
    expected: list[float] = []
    for peer in peers_for(small, "float32", 1):
        # Those with an environment need a process of their own, as in the test below.
        if not peer.installed() or peer.environment:
            continue
        module = importlib.import_module(f"scanline_bench.implementations.{peer.module}")
        implementation = module.make(small.shortened(), "float32", peer.variant)
        results = []
        for _ in range(3):
            implementation.step()
            results.append(implementation.result())
        expected = expected or results
        assert runner.difference(small, results, expected) <= runner.TOLERANCE["float32"], peer.name
    assert len(expected) == 3


# One of each kind; the others differ in sizes, cells and directions.
KINDS = list({each.kind: each for each in reversed(WORKLOADS)}.values())


@pytest.mark.campaign
@pytest.mark.parametrize("workload", WORKLOADS if THOROUGH else KINDS, ids=lambda workload: workload.name)
def test_every_implementation_that_is_installed_runs_every_workload_in_miniature(workload, monkeypatch):
    monkeypatch.setattr(runner, "TURN_SECONDS", 0.01)
    small = miniature(workload)
    row = run_workload(small, "float32", 1, 1, pytest.fail)
    expected = [peer.name for peer in peers_for(small, "float32", 1) if peer.installed()]
    assert [each.name for each in row.implementations] == expected


@pytest.mark.campaign
def test_implementations_that_do_not_compute_the_same_are_not_timed(monkeypatch):
    monkeypatch.setattr(runner, "peers_for", only_torch)
    monkeypatch.setattr(runner, "TOLERANCE", {"float32": -1.0})  # nothing is near enough
    with pytest.raises(ScanlineError, match="torch does not compute what Scanline computes on tiny"):
        run_workload(TINY, "float32", 1, 1, silent)


def test_the_limit_of_one_sequence_is_loading_its_weights():
    workload = Workload("", "", "latency", N=1, T=28, F=28, H=128)
    rounds = [{"multiply-adds": rate, "loads": 2 * rate} for rate in (3e11, 1e11, 2e11)]
    loads, adds = runner.limits_of(workload, "float32", rounds)
    assert (loads.name, loads.rate, adds.name, adds.rate) == ("loads", 400.0, "multiply-adds", 200.0)
    assert loads.bound_ms == pytest.approx(workload.loaded_bytes("float32") / 400e6)
    assert [each.name for each in runner.limits_of(TINY, "float32", rounds)] == ["multiply-adds"]
    assert runner.limits_of(TINY, "float32", [{"multiply-adds": None, "loads": None}]) == ()


def test_large_numbers_have_no_exponent():
    limit = Limit("multiply-adds", 236.4, 1261.568, 5336.58)
    assert (
        limit_text(limit) == "1,262 GFLOP at the measured 236.4 GFLOP/s of multiply-adds: at least 5,337 ms"
    )


@pytest.mark.skipif(library.load() is None, reason="no native library")
def test_the_limits_are_measured_with_the_threads_of_the_run():
    one, two = (limits(TINY, "float32", threads) for threads in (1, 2))
    assert one.keys() == two.keys() == {"multiply-adds", "loads"}
    assert all(value > 1e8 for value in (*one.values(), *two.values()))


@pytest.mark.parametrize(("content", "message"), [
    ("no", "got no JSON"),
    ("[]", "got None"),
    ('{"schema": 1}', "r.json: expected schema 2 of `scanline bench --json`, got 1; measure again"),
    ('{"schema": 2}', "r.json: command: Field required"),
])  # fmt: skip
def test_other_results_are_refused(content, message):
    with pytest.raises(DataError, match=message):
        from_json(content, "r.json")


def test_losses_are_compared_relatively_and_logits_by_their_number():
    assert runner.difference(TINY, [2.0, 1.5], [2.0, 1.6]) == pytest.approx(0.05)
    infer = replace(TINY, kind="infer")
    assert runner.difference(infer, [0.3], [0.1]) == pytest.approx(0.2 / 40)


def test_only_installed_implementations_are_compared():
    assert Peer("none", "x", needs=("no_such_package",)).installed() is False
    assert Peer("torch", "x", needs=("torch",)).installed() is True


def test_the_command_knows_its_workloads(scanline):
    code, _, err = scanline("bench", "row")
    assert code == 2
    assert "unknown workload 'row': expected one of rows, rows-1024" in err
    assert "did you mean 'rows'?" in err


def test_the_help_names_every_workload(scanline):
    _, out, _ = scanline("bench", "--help")
    assert {workload.name for workload in WORKLOADS} <= set(out.split())
    assert len({workload.name for workload in WORKLOADS}) == len(WORKLOADS)


def test_saved_results_are_shown_again(scanline, tmp_path):
    saved = tmp_path / "r.json"
    result = BenchResult("scanline bench", 1, "P", 2, "L", "3", {}, {}, ())
    saved.write_text(json.dumps(dataclasses.asdict(result)))
    code, out, _ = scanline("bench", "--from", str(saved), "--json", "--markdown", str(tmp_path / "r.md"))
    assert code == 0
    assert from_json(out, "out") == result
    assert (tmp_path / "r.md").read_text() == markdown(result)
    code, _, err = scanline("bench", "rows", "--from", str(saved))
    assert code == 2
    assert "--from measures nothing: leave out rows" in err
    saved.write_text('{"schema": 1}')
    code, _, err = scanline("bench", "--from", str(saved))
    assert code == 3
    assert "expected schema 2" in err


def test_models_and_streams_predict_in_float32():
    stream = next(each for each in WORKLOADS if each.name == "stream")
    assert precisions_of(stream) == ("float32",)
    names = {each.name for each in peers_for(replace(TINY, kind="infer"), "bfloat16", 1)}
    assert names.isdisjoint({"scanline model", "scanline predictor"})
