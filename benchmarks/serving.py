"""The server under load, compared with a plain FastAPI server: throughput, latency, overload, recovery.

    python benchmarks/serving.py RUN

RUN is a run on MNIST. The load comes from a separate process over loopback; every response is compared with
offline prediction (`scanline serve`: the same bytes; the plain server: the same class). The servers take
turns; figures are medians over the rounds. Under overload, requests are sent at four times the peak rate,
whether responses arrive or not, as long as one of 512 connections is free; no client respects Retry-After:
"again" is the 503 of a client that was rejected just before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np

import scanline
from scanline.data import catalogue as catalog
from scanline.serving.responses import Responder

ROUNDS, SECONDS, PICTURES = 3, 4.0, 500
CONCURRENCIES = (1, 8, 64)
PORT = 8471
OURS = "scanline serve"
FIGURES = (
    "per_s",
    "of_peak",
    "p50_ms",
    "p99_ms",
    "turned_away_per_s",
    "turned_away_p50_ms",
    "again_p50_ms",
    "wrong",
)


class Connection(asyncio.Protocol):
    """One kept-alive connection with at most one request in flight."""

    def __init__(self, load: Load) -> None:
        self.load, self.buffer, self.index, self.sent = load, b"", 0, 0.0
        self.patient = True  # its last request was not rejected

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.load.idle.append(self)
        self.load.connected += 1

    def connection_lost(self, error) -> None:
        self.load.lost += 1

    def send(self, index: int, due: float) -> None:
        self.index, self.sent = index, due
        self.transport.write(self.load.requests[index])

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        place = self.buffer.find(b"content-length: ", 0, head)
        size = int(self.buffer[place + 16 : self.buffer.index(b"\r", place)])
        if len(self.buffer) < head + 4 + size:
            return
        response, self.buffer = self.buffer, b""
        self.load.responded(self, response[9:12], response[head + 4 :])


class Load:
    """Requests to one server; `open_rate` per second, or as fast as responses arrive."""

    def __init__(self, requests, expected, exact, connections, seconds, open_rate=None) -> None:
        self.requests, self.expected, self.exact = requests, expected, exact
        self.connections, self.seconds, self.rate = connections, seconds, open_rate
        self.idle, self.turn, self.connected, self.lost = deque(), 0, 0, 0
        self.delays, self.statuses, self.wrong = [], Counter(), 0
        self.turned_away, self.turned_away_again = [], []
        self.moments = []

    def next(self) -> int:
        self.turn = (self.turn + 1) % len(self.requests)
        return self.turn

    def responded(self, connection, status, body) -> None:
        now = time.perf_counter()
        self.statuses[status] += 1
        if status == b"200":
            correct = self.expected[connection.index]
            if (body != correct) if self.exact else (correct not in body):
                self.wrong += 1
            self.delays.append(now - connection.sent)
            self.moments.append(now)
        else:
            (self.turned_away if connection.patient else self.turned_away_again).append(now - connection.sent)
        connection.patient = status == b"200"
        if self.rate is None and now < self.end:
            connection.send(self.next(), now)
        else:
            self.idle.append(connection)

    async def run(self) -> dict:
        loop = asyncio.get_running_loop()
        for _ in range(self.connections):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", PORT)
        begin = time.perf_counter()
        self.end = begin + self.seconds
        sent = held_back = 0
        if self.rate is None:
            for connection in list(self.idle):
                connection.send(self.next(), time.perf_counter())
            self.idle.clear()
            await asyncio.sleep(self.seconds)
        else:
            while (now := time.perf_counter()) < self.end:
                due = int((now - begin) * self.rate)
                while sent < due and self.idle:
                    self.idle.popleft().send(self.next(), now)
                    sent += 1
                held_back, sent = held_back + due - sent, due  # as if those clients had given up
                await asyncio.sleep(0.001)
        took = time.perf_counter() - begin
        await asyncio.sleep(0.3)
        if others := set(self.statuses) - {b"200", b"503"}:
            raise RuntimeError(f"expected responses with status 200 or 503, got {others}")
        delays = np.array(self.delays or [np.nan]) * 1e3
        away, again = (
            np.array(each or [np.nan]) * 1e3 for each in (self.turned_away, self.turned_away_again)
        )
        return {
            "per_s": sum(moment <= begin + took for moment in self.moments) / took,
            "p50_ms": float(np.percentile(delays, 50)),
            "p99_ms": float(np.percentile(delays, 99)),
            "turned_away_per_s": self.statuses[b"503"] / took,
            "turned_away_p50_ms": float(np.percentile(away, 50)),
            "turned_away_p99_ms": float(np.percentile(away, 99)),
            "again_p50_ms": float(np.percentile(again, 50)),
            "statuses": {key.decode(): n for key, n in self.statuses.items()},
            "wrong": self.wrong,
            "lost": self.lost,
            "offered_per_s": sent / took if self.rate else None,
            "held_back_per_s": held_back / took if self.rate else None,
        }


def work(arguments) -> dict:
    """Run the load, in its own process."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Load(*arguments).run())


def server(command, environment) -> subprocess.Popen:
    """Start a server and wait until it responds."""
    process = subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.DEVNULL)
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/openapi.json", timeout=1).read()
            return process
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{command} does not respond")


@dataclass(frozen=True)
class Expected:
    """Requests, the responses of `scanline serve`, and the labels that the plain servers must give."""

    requests: list[bytes]
    bodies: list[bytes]
    labels: list[bytes]


def prepare(run: str) -> Expected:
    """Make the requests, and the responses by offline prediction, one picture at a time."""
    pictures = catalog.load("mnist").test.values[:PICTURES].reshape(-1, 28, 28)
    model = scanline.load(run)
    responder = Responder(model, scanline.__version__)
    probabilities = np.concatenate([model.predict_proba(picture[None]) for picture in pictures])
    start = b'{"schema":1,"model":"%s","predictions":[' % responder.digest.encode()
    bodies = [start + row.encode() + b"]}" for row in responder.predictions(probabilities)]
    labels = [b'"label":%d,' % label for label in model.predict(pictures)]
    requests = []
    for picture in pictures:
        body = json.dumps({"inputs": [picture.tolist()]}, separators=(",", ":")).encode()
        head = f"POST /v1/predict HTTP/1.1\r\nhost: 127.0.0.1:{PORT}\r\ncontent-type: application/json\r\n"
        requests.append(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
    return Expected(requests, bodies, labels)


def server_commands(run: str) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Return the command and environment of each server by name."""
    plain = [sys.executable, "-m", "uvicorn", "benchmarks.serving_plain:app", "--port", str(PORT)]
    own = [sys.executable, "-m", "scanline", "serve", run, "--port", str(PORT), "--no-gallery"]
    return {
        OURS: (own, {}),
        "FastAPI, torch.nn.LSTM": ([*plain, "--no-access-log"], {"RUN": run}),
        "the same, tuned": ([*plain, "--no-access-log"], {"RUN": run, "PLAIN": "async", "THREADS": "1"}),
    }


Measure = Callable[..., dict]


def measure_server(measure: Measure, seconds: float, ours: bool) -> Iterator[tuple[str, dict]]:
    """Yield (load, figures) of the server that runs; overload and recovery only for `scanline serve`."""
    measure(8, 1.0)  # warm-up
    row: dict = {}
    for connections in CONCURRENCIES:
        row = measure(connections, seconds)
        yield f"{connections} at a time", row
    if not ours:
        return
    peak = row["per_s"]
    over = measure(512, seconds, 4 * peak)
    yield "4 x overload", over | {"of_peak": over["per_s"] / peak}
    for second in ("first", "second"):
        row = measure(64, 1.0)
        yield f"{second} second after", row | {"of_peak": row["per_s"] / peak}


def print_table(results: dict[tuple[str, str], list[dict]]) -> None:
    """Print the medians over the rounds as a Markdown table."""
    print("| server | load | " + " | ".join(FIGURES) + " |\n|" + "---|" * (len(FIGURES) + 2))
    for (name, load), rounds in results.items():
        cells = [_cell([each.get(figure) for each in rounds]) for figure in FIGURES]
        print(f"| {name} | {load} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--only", help="Measure only servers with this in their name.")
    options = parser.parse_args()

    expected = prepare(options.run)
    commands = server_commands(options.run)
    if options.only:
        commands = {name: each for name, each in commands.items() if options.only in name}
    pool = get_context("spawn").Pool(1)

    def measure(ours: bool, connections: int, seconds: float, rate: float | None = None) -> dict:
        responses = expected.bodies if ours else expected.labels
        return pool.apply(work, ((expected.requests, responses, ours, connections, seconds, rate),))

    results: dict[tuple[str, str], list[dict]] = {}
    for _ in range(options.rounds):
        for name, (command, environment) in commands.items():
            process = server(command, environment)
            ours = name == OURS
            for load, row in measure_server(partial(measure, ours), options.seconds, ours):
                results.setdefault((name, load), []).append(row)
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    print_table(results)


def _cell(values: list[float | None]) -> str:
    numbers = [value for value in values if value is not None and value == value]
    if not numbers:
        return ""
    median = statistics.median(numbers)
    return f"{median:,.0f}" if median >= 100 or median == 0 else f"{median:.2f}"


if __name__ == "__main__":
    main()
