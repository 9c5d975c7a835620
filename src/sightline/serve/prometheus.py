"""Prometheus metrics of the server. All sets of label values are bounded, and clients cannot add to them."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

from sightline.predict.bundle import Bundle
from sightline.serve.running_drift import RunningDrift

__all__ = ["CONTENT_TYPE", "ServerMetrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class ServerMetrics:
    """The metrics of one server.

    Args:
        bundle: The model, named in `sightline_model_info`.
        waiting: Returns the number of images in the queue.
    """

    def __init__(self, bundle: Bundle, waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        r = self._registry
        self.requests = Counter("sightline_requests", "Requests answered.", ["path", "status"], registry=r)
        self.seconds = Histogram(
            "sightline_request_seconds",
            "Time from a request's headers to its response.",
            ["path"],
            buckets=_SECONDS,
            registry=r,
        )
        self.images = Counter("sightline_images", "Images by outcome.", ["outcome"], registry=r)
        self.batch = Histogram(
            "sightline_batch_images",
            "Images per run of the network.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=r,
        )
        Gauge("sightline_waiting_images", "Images waiting for the network.", registry=r).set_function(waiting)
        self.drift = RunningDrift(bundle)
        r.register(self.drift)
        about = {"model": bundle.digest, "form": bundle.model}
        Gauge("sightline_model_info", "The model that is served.", list(about), registry=r).labels(**about).set(1)

    def text(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
