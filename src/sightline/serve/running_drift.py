"""Running drift: statistics of a server's recent images compared with the bundle's reference, for /metrics.

No images are stored, nor anything from which they could be reconstructed: only seven numbers and the answer for each.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sightline.core.rejection import RejectionError
from sightline.drift.image_statistics import pixel_statistics
from sightline.drift.reference import Reference
from sightline.drift.sample_comparison import FEWEST, IncomingImages, compare_samples, reference_of
from sightline.imaging import decode
from sightline.predict.bundle import Bundle
from sightline.predict.inference_model import Answer

KEPT = 1000
"""Number of most recently measured images that are included."""
EVERY = 8
"""One in this many images is measured, since it must be decoded again for that."""


class RunningDrift(Collector):
    """The statistics of one server; without a reference in the bundle it measures nothing.

    Args:
        bundle: The model that is served.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._reference = None if bundle.reference is None else reference_of(bundle)
        self._num_classes = len(bundle.classes)
        self._rows: deque[tuple[npt.NDArray[np.float32], Answer]] = deque(maxlen=KEPT)
        self._lock = threading.Lock()
        self._count = 0

    def observe(self, data: bytes, answer: Answer) -> None:
        """Measures or skips an image; may be called from any thread.

        Args:
            data: The encoded file.
            answer: The network's answer.
        """
        if self._reference is None:
            return
        with self._lock:
            self._count += 1
            if self._count % EVERY != 1:
                return
        try:
            pixels = pixel_statistics(decode.decode(data))
        except RejectionError:  # the bundle's limits are others than decoding's own
            return
        row = np.append(pixels, answer.probabilities.max())
        with self._lock:
            self._rows.append((row, answer))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yields the gauges, when Prometheus asks."""
        with self._lock:
            rows = list(self._rows)
        yield GaugeMetricFamily("sightline_drift_images", "Images in the last test for drift.", len(rows))
        if self._reference is None or len(rows) < FEWEST:
            return
        classes = np.array([answer.probabilities.argmax() for _, answer in rows], np.int64)
        scores = [answer.novelty for _, answer in rows if answer.novelty is not None]
        novelty = np.array(scores, np.float32) if scores else None
        seen = Reference(np.stack([row for row, _ in rows]), classes, novelty)
        size = GaugeMetricFamily(
            "sightline_drift_size", "Difference to the model's test, 0 to 1, by statistic.", labels=["statistic"]
        )
        p = GaugeMetricFamily(
            "sightline_drift_p", "P-value of that difference, corrected for the number of tests.", labels=["statistic"]
        )
        for statistic in compare_samples(self._reference, IncomingImages([], seen, 0), self._num_classes).statistics:
            size.add_metric([statistic.name], statistic.size)
            p.add_metric([statistic.name], statistic.p)
        yield size
        yield p
