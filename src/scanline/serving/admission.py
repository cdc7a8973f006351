"""Limit on the requests in flight, and rejection of excess requests."""

from __future__ import annotations

from scanline.serving.metrics import Metrics
from scanline.serving.problems import Problem

RETRY_AFTER_S = 1
_REJECTED_PER_S = 500


class Admission:
    """Counts the requests in flight and rejects excess requests.

    What is bounded is everything that was admitted and not answered yet, not only what waits to be computed:
    in a burst, requests queue up in reading and writing. Used from the event loop's thread only.

    Attributes:
        capacity: How many requests may be in flight.
        in_flight: How many are.
        ending: Whether the server is shutting down and admits no more.
    """

    def __init__(self, capacity: int, metrics: Metrics) -> None:
        self.capacity, self.in_flight, self.ending = capacity, 0, False
        self._metrics, self._next_read = metrics, 0.0
        # Read when metrics are scraped; setting the gauge on every request would take its lock each time.
        metrics.in_flight.set_function(lambda: self.in_flight)

    @property
    def full(self) -> bool:
        """Whether the next request is rejected."""
        return self.in_flight >= self.capacity

    def enter(self) -> None:
        """Admit a request.

        Raises:
            Problem: `overloaded` or `ending`.
        """
        if self.ending:
            raise ending()
        if self.full:
            raise overloaded(self.capacity)
        self.in_flight += 1

    def leave(self) -> None:
        """Record that an admitted request was answered or given up."""
        self.in_flight -= 1

    def reject(self, now: float) -> float:
        """Count a rejected request.

        Args:
            now: The event loop's time in seconds.

        Returns:
            For how long not to read from its client, in seconds: at most the time that `Retry-After` names,
            and such that clients which come back too early take a bounded part of the server's time, as only
            `_REJECTED_PER_S` of them are read from.
        """
        self._metrics.rejected.inc()
        # A leaky bucket: each rejected client is assigned the next free slot of 1 / _REJECTED_PER_S
        # seconds.
        self._next_read = max(self._next_read, now) + 1 / _REJECTED_PER_S
        return min(self._next_read - now, RETRY_AFTER_S)


def overloaded(capacity: int) -> Problem:
    """Return the problem of a request that comes while `capacity` requests are in flight."""
    detail = f"{capacity} requests are in flight, which is the limit"
    return Problem("overloaded", detail, headers=(("retry-after", str(RETRY_AFTER_S)),))


def ending() -> Problem:
    """Return the problem of a request that comes while the server shuts down."""
    return Problem("ending", "the server is shutting down and accepts no more requests")
