from __future__ import annotations

import time

import numpy as np
import pytest

from sightline.stages.export import latency


def test_the_slower_one_is_slower_and_every_call_gets_real_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "ROUNDS", 5)
    images = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2, 1)
    seen: list[np.ndarray] = []

    def slow(batch: np.ndarray) -> None:
        seen.append(batch)
        time.sleep(0.003)

    medians = latency.latencies({"slow": slow, "fast": lambda _: None}, images)
    assert set(medians["slow"]) == set(latency.BATCHES)
    for size in latency.BATCHES:
        assert medians["slow"][size] >= 0.003 > medians["fast"][size]
    assert {len(batch) for batch in seen} == set(latency.BATCHES)
    for batch in seen:
        assert all((image == images[i % 3]).all() for i, image in enumerate(batch))


def test_what_is_measured_is_called_in_turns_and_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "SECONDS", 0.0)
    calls: list[str] = []
    networks = {name: (lambda _, name=name: calls.append(name)) for name in "ab"}
    latency.latencies(networks, np.zeros((1, 2, 2, 1), np.uint8))
    assert calls == list("ab") * (latency.FEWEST + 1) * len(latency.BATCHES)
