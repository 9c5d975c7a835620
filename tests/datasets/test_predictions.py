"""A classifier's answers as Parquet, there and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from sightline.datasets import predictions


def test_one_row_an_image(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    predictions.save_predictions(path, ["a", "b"], np.array([0, 1]), np.array([0, 0]), np.eye(2)[[0, 0]])
    assert pq.read_table(path).to_pylist() == [
        {"id": "a", "label": 0, "predicted": 0, "probabilities": [1, 0]},
        {"id": "b", "label": 1, "predicted": 0, "probabilities": [1, 0]},
    ]
    found = predictions.load_predictions(path)
    assert found.ids == ["a", "b"]
    assert found.correct.tolist() == [True, False]
    assert found.probabilities.tolist() == [[1, 0], [1, 0]]
    assert found.labels.dtype == found.predicted.dtype == np.int64
