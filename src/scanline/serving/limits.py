"""Bounds on what a server accepts and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass

# A body that is too large is read and dropped up to this many times the limit, so that the client sees the
# response.
LINGER = 8


@dataclass(frozen=True)
class Limits:
    """Bounds on what clients may ask for. Each has an option of `scanline serve` or is to be changed here.

    Attributes:
        requests: Requests for predictions in flight; more are rejected with 503.
        batch: Sequences computed together.
        wait_ms: How long the first request of a batch waits for others, in milliseconds.
        deadline_s: From a request's head to its response, in seconds.
        body_bytes: Size of a request's body, unpacked.
        held_bytes: Size of the bodies of all requests in flight.
        sequences: Sequences in a request.
        steps: Steps in a sequence.
        traced_steps: Steps in all sequences of a request that asks for traces.
        traced_numbers: Numbers in the response to it.
        pixels: Pixels in an uploaded image.
        head_bytes: Size of a request's head.
        read_s: Seconds to receive a head, or for a client to accept a response.
        connections: Open connections.
        streams: Open streams.
        idle_s: Seconds for which a connection or a stream may send nothing.
        drain_s: Seconds for requests in flight when the server shuts down.
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
