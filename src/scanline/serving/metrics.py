"""Metrics for Prometheus."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The metrics of one server, in a separate registry."""

    def __init__(self) -> None:
        # The global registry would refuse a second server in the same process, and export metrics of other
        # libraries.
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "scanline_requests", "Requests answered.", ("route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "scanline_request_seconds",
            "Time from a request's head to the end of its response.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch = Histogram(
            "scanline_batch_requests", "Requests computed together.", buckets=_SIZES, registry=registry
        )
        self.compute = Histogram(
            "scanline_compute_seconds", "Time to compute a batch.", buckets=_SECONDS, registry=registry
        )
        self.in_flight = Gauge(
            "scanline_requests_under_way",
            "Requests for predictions admitted and not answered yet.",
            registry=registry,
        )
        self.rejected = Counter(
            "scanline_turned_away",
            "Requests answered with 503 because too many were in flight.",
            registry=registry,
        )
        # A plain integer: the limit on streams is checked against it, and a gauge has no public read
        # access.
        self.open_streams = 0
        streams = Gauge("scanline_streams", "Open streams.", registry=registry)
        streams.set_function(lambda: self.open_streams)
        self.model = Gauge("scanline_model_info", "The model.", ("name", "digest"), registry=registry)

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """Count one more open stream while the context is entered."""
        self.open_streams += 1
        try:
            yield
        finally:
            self.open_streams -= 1

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)
