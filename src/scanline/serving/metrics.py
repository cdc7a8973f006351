"""What Prometheus is told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "scanline_requests", "Requests answered.", ("route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "scanline_request_seconds",
            "From a request's head to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch = Histogram(
            "scanline_batch_requests", "Requests computed together.", buckets=_SIZES, registry=registry
        )
        self.compute = Histogram(
            "scanline_compute_seconds", "To compute a batch.", buckets=_SECONDS, registry=registry
        )
        self.under_way = Gauge(
            "scanline_requests_under_way", "Requests for answers, let in and not answered.", registry=registry
        )
        self.turned_away = Counter(
            "scanline_turned_away",
            "Requests answered with 503 as too many were under way.",
            registry=registry,
        )
        self.open_streams = 0
        streams = Gauge("scanline_streams", "Streams that are open.", registry=registry)
        streams.set_function(lambda: self.open_streams)
        self.model = Gauge("scanline_model_info", "The model.", ("name", "digest"), registry=registry)

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """While entered, one stream more is open."""
        self.open_streams += 1
        try:
            yield
        finally:
            self.open_streams -= 1

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self.registry)
