"""Thresholds of the forms of a network: pictures of none of the classes have a part in those of 8-bit integers too."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sightline.metrics import conformal
from sightline.stages.export import uncertainty

KNOWN = np.concatenate([np.linspace(0, 1, 95), np.linspace(3, 4, 5)])
UNKNOWN = np.linspace(5, 6, 40)


class Images:
    """As many images as distances, which hold their distances."""

    def __init__(self, distances: Any) -> None:
        self.distances = distances

    def __len__(self) -> int:
        return len(self.distances)

    def images(self, places: Any) -> Any:
        return self.distances[places]

    def split(self, name: str) -> Images:
        assert name == "val"
        return self


def test_pictures_of_none_of_the_classes_set_the_threshold_of_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uncertainty, "open_session", lambda *_: None)
    monkeypatch.setattr(uncertainty, "with_novelty", lambda _plain, _detector, thresholds, _shape: thresholds)

    def nearest(_session: Any, batches: Any, _fitted: Any) -> tuple[np.ndarray, np.ndarray]:
        distances = np.concatenate(list(batches))
        return distances, np.arange(len(distances)) % 2

    monkeypatch.setattr(uncertainty.Uncertainty, "_nearest", staticmethod(nearest))
    fitted: Any = SimpleNamespace(rate=0.05, detector=SimpleNamespace(means=np.zeros((2, 3))))
    found = [
        uncertainty.Uncertainty(fitted, Images(KNOWN), (8, 8, 1), unknown).network("int8", b"")  # type: ignore[arg-type]
        for unknown in (Images(UNKNOWN), None)
    ]
    rows = np.arange(len(KNOWN)) % 2
    for thresholds, unknown in zip(found, ((UNKNOWN, np.arange(40) % 2), None), strict=True):
        expected = conformal.novelty_thresholds(KNOWN, rows, 2, 0.05, unknown).of_class
        assert np.array_equal(thresholds, expected)
    assert (np.array(found[0]) > np.array(found[1])).all()
