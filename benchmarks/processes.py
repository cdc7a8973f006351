"""What training in slices and in several processes costs, and what a model of the cost predicts.

    python benchmarks/processes.py [--rounds 5]

Every figure is the median time of a training step: gradient, exchange and update on random sequences. The
processes are pinned to one core each and compute on one thread. All cases run one after the other, round by
round.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

STEPS, WARM = 24, 4


@dataclass(frozen=True)
class Case:
    """A network and a batch."""

    name: str
    hidden: int
    steps: int
    features: int
    batch: int


ROWS_BATCH_256 = Case("rows, batch 256", 128, 28, 28, 256)
LARGE = Case("LSTM 256, T = 100, batch 256", 256, 100, 28, 256)
ROWS = Case("rows, batch 128", 128, 28, 28, 128)
CASES = {case.name: case for case in (ROWS_BATCH_256, LARGE, ROWS)}


def measure(case: Case, slices: int, threads: int) -> dict[str, float]:
    """Return the median seconds of a step, of its exchange, and the number of weights, in this process."""
    from scanline.kernels.waiting import limit_spinning

    limit_spinning()  # as in the commands
    import torch

    torch.set_num_threads(threads)
    from scanline import recipe as recipes
    from scanline.data.loader import DeviceBatch
    from scanline.model.network import Architecture
    from scanline.tasks.classification import Classification
    from scanline.training.distributed.exchange import Exchange
    from scanline.training.distributed.team import DistributedTeam
    from scanline.training.slices import Slices
    from scanline.training.state import initial_state
    from scanline.training.step import begin, make_step, train_step
    from scanline.training.team import Team

    settings = {"train.slices": slices, "train.batch_size": case.batch, "model.hidden_size": case.hidden}
    recipe = recipes.load("rows", settings)
    architecture = Architecture("lstm", case.features, case.hidden, 1, False, 0.0, "between", "last", 10)
    state = initial_state(recipe, architecture, 0.0, 1.0, "cpu")
    (group,) = state.optimizer.param_groups
    team = DistributedTeam(Exchange("cpu", 60.0)) if "RANK" in os.environ else Team()
    draw = torch.Generator().manual_seed(1)
    values = torch.randn(case.batch, case.steps, case.features, generator=draw)
    targets = torch.randint(0, 10, (case.batch,), generator=draw)
    task = Classification(tuple(range(10)))
    parts = Slices(slices, case.batch, team, group["params"]) if slices > 1 else None
    part = slice(None) if parts is None else parts.part
    whole = (case.batch, case.steps, case.features)
    batch = DeviceBatch(values[part].contiguous(), None, targets[part], None, whole)
    spent = []
    add_up = team.add_up

    def timed(sums, count):
        started = time.perf_counter()
        total = add_up(sums, count)
        spent.append(time.perf_counter() - started)
        return total

    team.add_up = timed
    times = []
    for step in range(WARM + STEPS):
        started = time.perf_counter()
        if parts is None:
            train_step(
                state.network, state.optimizer, task, (batch.values, None, batch.targets), recipe.train, step,
                standardized=True,
            )  # fmt: skip
        else:
            begin(state.network)
            loss, gradients = parts.compute(state.network, task, batch, None, True)
            make_step(state.optimizer, loss, gradients, recipe.train, step, threads=1)
        times.append(time.perf_counter() - started)
    team.finish()
    count = sum(weight.numel() for weight in group["params"])
    exchange = statistics.median(spent[WARM:]) if spent else 0.0
    return {"step": statistics.median(times[WARM:]), "exchange": exchange, "weights": count}


def exchange_times(lengths: list[int]) -> dict[str, float]:
    """Return the median seconds of an exchange for vectors of these lengths, in this process."""
    import torch

    torch.set_num_threads(1)
    from scanline.training.distributed.exchange import Exchange
    from scanline.training.distributed.team import DistributedTeam
    from scanline.training.tree import bounds, subtrees

    team = DistributedTeam(Exchange("cpu", 60.0))
    (node,) = subtrees((0, 2), bounds(2, 2, team.rank))
    found = {}
    for length in lengths:
        times = []
        for _ in range(60):
            vector = torch.zeros(length)
            started = time.perf_counter()
            team.add_up({node: vector}, 2)
            times.append(time.perf_counter() - started)
        found[str(length)] = statistics.median(times[10:])
    team.finish()
    return found


def run(processes: int, threads: int, arguments: list[str], pinned: bool) -> dict[str, float]:
    """Run this script in `processes` processes, and return what process 0 has measured."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cores = sorted(os.sched_getaffinity(0))
    started = []
    for rank in range(processes):
        environment = {
            name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")
        }
        environment |= {"OMP_NUM_THREADS": str(threads), "GLOO_SOCKET_IFNAME": "lo"}
        if processes > 1:
            environment |= {"RANK": str(rank), "WORLD_SIZE": str(processes)}
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        command = [sys.executable, __file__, *arguments]
        if pinned:
            command = ["taskset", "-c", str(cores[rank % len(cores)]), *command]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate()[0] for process in started]
    return json.loads(outputs[0])


def main() -> None:
    """Measure all cases, and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", nargs=3, metavar=("CASE", "SLICES", "THREADS"), help=argparse.SUPPRESS)
    parser.add_argument("--exchange", nargs="+", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, slices, threads = options.measure
        print(json.dumps(measure(CASES[name], int(slices), int(threads))))
        return
    if options.exchange:
        print(json.dumps(exchange_times(options.exchange)))
        return
    threads = len(os.sched_getaffinity(0))
    plans = {
        "one slice": (ROWS_BATCH_256, 1, threads, 1, False),
        "4 slices": (ROWS_BATCH_256, 4, threads, 1, False),
        **{f"{case.name}: {k} processes": (case, 2, 1, k, True) for case in (LARGE, ROWS) for k in (1, 2)},
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in plans}
    small, large = 1000, 1_000_000
    lengths = [small, large]
    exchanges: list[dict[str, float]] = []
    for _ in range(options.rounds):
        for name, (case, slices, threads_each, processes, pinned) in plans.items():
            arguments = ["--measure", case.name, str(slices), str(threads_each)]
            found[name].append(run(processes, threads_each, arguments, pinned))
        exchanges.append(run(2, 1, ["--exchange", *map(str, lengths)], True))
    median = {name: statistics.median(each["step"] for each in rounds) for name, rounds in found.items()}
    for name, seconds in median.items():
        print(f"{name}: {seconds * 1e3:.2f} ms a step")
    print(f"4 slices cost {median['4 slices'] / median['one slice']:.3f} of one slice, {ROWS_BATCH_256.name}")
    latency, rate = _model(exchanges, small, large)
    print(f"exchange between two processes: {latency * 1e3:.3f} ms and {rate / 1e9:.2f} GB/s")
    for case in (LARGE, ROWS):
        alone, pair = median[f"{case.name}: 1 processes"], median[f"{case.name}: 2 processes"]
        weights = found[f"{case.name}: 2 processes"][0]["weights"]
        # Half of the vector is sent and received, twice.
        predicted = alone / 2 + latency + 2 * 4 * weights / 2 / rate
        print(
            f"{case.name}: efficiency of two processes {alone / 2 / pair:.3f}; predicted "
            f"{predicted * 1e3:.2f} ms a step, measured {pair * 1e3:.2f} ({predicted / pair - 1:+.1%})"
        )


def _model(exchanges: list[dict[str, float]], small: int, large: int) -> tuple[float, float]:
    """Return the seconds that an exchange takes besides its bytes, and the bytes a second each way."""
    first = statistics.median(each[str(small)] for each in exchanges)
    second = statistics.median(each[str(large)] for each in exchanges)
    rate = 4 * (large - small) / (second - first)
    return first - 4 * small / rate, rate


if __name__ == "__main__":
    main()
