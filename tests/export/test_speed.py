from __future__ import annotations

import time

import numpy as np
import pytest

from sightline.export import speed


def test_the_slower_one_is_slower_and_every_call_gets_real_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "ROUNDS", 5)
    images = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2, 1)
    seen: list[np.ndarray] = []

    def slow(batch: np.ndarray) -> None:
        seen.append(batch)
        time.sleep(0.003)

    found = speed.latencies({"slow": slow, "fast": lambda _: None}, images)
    assert set(found["slow"]) == set(speed.BATCHES)
    for size in speed.BATCHES:
        assert found["slow"][size] >= 0.003 > found["fast"][size]
    assert {len(batch) for batch in seen} == set(speed.BATCHES)
    for batch in seen:
        assert all((image == images[i % 3]).all() for i, image in enumerate(batch))


def test_what_is_measured_is_called_in_turns_and_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "SECONDS", 0.0)
    calls: list[str] = []
    networks = {name: (lambda _, name=name: calls.append(name)) for name in "ab"}
    speed.latencies(networks, np.zeros((1, 2, 2, 1), np.uint8))
    assert calls == list("ab") * (speed.FEWEST + 1) * len(speed.BATCHES)
