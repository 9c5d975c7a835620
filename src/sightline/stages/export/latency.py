"""Latency of networks: medians of alternating calls, so that disturbances affect all candidates alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sightline.datasets.processed_set import Images

Network = Callable[[Images], Any]
"""Maps images [N, H, W, C] to probabilities."""

BATCHES = (1, 32)
"""Batch sizes to measure: one image, as in a server's request, and many, as for a folder of images."""

ROUNDS, FEWEST = 100, 9
SECONDS = 3.0


def latencies(networks: Mapping[str, Network], images: Images) -> dict[str, dict[int, float]]:
    """Measures networks on real images.

    Args:
        networks: The networks to measure, by name.
        images: [N, H, W, C] uint8; repeated if a batch needs more.

    Returns:
        By network and batch size, the median time of a call in seconds.
    """
    medians: dict[str, dict[int, float]] = {name: {} for name in networks}
    for size in BATCHES:
        batch = np.resize(images, (size, *images.shape[1:]))
        for name, times in _rounds(networks, batch).items():
            medians[name][size] = statistics.median(times)
    return medians


def _rounds(networks: Mapping[str, Network], batch: Images) -> dict[str, list[float]]:
    """Calls each network in turn for `ROUNDS` rounds, or until `SECONDS` have passed and at least `FEWEST` are done."""
    times: dict[str, list[float]] = {name: [] for name in networks}
    for network in networks.values():  # the first call allocates
        network(batch)
    begun = time.perf_counter()
    for done in range(ROUNDS):
        if done >= FEWEST and time.perf_counter() - begun > SECONDS:
            break
        for name, network in networks.items():
            start = time.perf_counter()
            network(batch)
            times[name].append(time.perf_counter() - start)
    return times
