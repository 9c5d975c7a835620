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
    monkeypatch.setattr(uncertainty, "with_novelty", lambda _plain, _detector, threshold, _shape: threshold)
    distances = staticmethod(lambda _session, batches, _fitted: np.concatenate(list(batches)))
    monkeypatch.setattr(uncertainty.Uncertainty, "_distances", distances)
    fitted: Any = SimpleNamespace(rate=0.05, threshold=1.0, detector=None)
    found = [
        uncertainty.Uncertainty(fitted, Images(KNOWN), (8, 8, 1), unknown).network("int8", b"")  # type: ignore[arg-type]
        for unknown in (Images(UNKNOWN), None)
    ]
    assert found == [conformal.novelty_threshold(KNOWN, 0.05, each)[0] for each in (UNKNOWN, None)]
    assert found[0] > found[1]
