"""What a server takes on, and for how long it waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds on what clients may ask for; each has an option of `scanline serve` or is here to be changed.

    requests: answered at the same time; more are turned away with 503. batch: sequences computed together;
    wait_ms: how long the first of them waits for the others. deadline_s: from a request's head to its answer.
    body_bytes: of a request, unpacked; held_bytes: of all that are under way. sequences, steps: of a request,
    of a sequence. traced_steps: of all sequences of a request that asks for traces; traced_numbers: in the
    answer to it. pixels: of an uploaded picture. head_bytes: of a request's head. read_s: to receive a head,
    or to take an answer off our hands. connections, streams: open at once. idle_s: how long a connection or a
    stream may say nothing. drain_s: for what is under way when the server ends.
    """

    requests: int = 128
    batch: int = 256
    wait_ms: float = 2.0
    deadline_s: float = 10.0
    body_bytes: int = 8 * 2**20
    held_bytes: int = 64 * 2**20
    sequences: int = 256
    steps: int = 10_000
    traced_steps: int = 1_000
    traced_numbers: int = 4_000_000
    pixels: int = 16_000_000
    head_bytes: int = 32 * 2**10
    read_s: float = 10.0
    connections: int = 1_024
    streams: int = 64
    idle_s: float = 60.0
    drain_s: float = 30.0
