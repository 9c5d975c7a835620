import numpy as np
import pytest
from sklearn.metrics import auc, roc_auc_score

from sightline.metrics.curves import GRID, curves


def test_curves_of_each_class():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    raw = rng.random((400, 4)) + np.eye(4)[labels]
    found = curves(labels, raw)
    assert list(found.roc) == list(found.precision) == [0, 1, 2]  # class 3 has no image
    for label, rates in found.roc.items():
        assert auc(found.false_rates, rates) == pytest.approx(roc_auc_score(labels == label, raw[:, label]), abs=5e-3)
        assert rates[0] == 0
        assert rates[-1] == 1
    np.testing.assert_allclose(found.mean_precision, np.mean(list(found.precision.values()), axis=0))
    assert all(len(y) == len(GRID) for y in found.precision.values())


def test_a_class_that_all_images_have_ranks_above_nothing():
    found = curves(np.zeros(3, np.int64), np.ones((3, 1)))
    assert found.roc == {}
    assert found.precision[0].tolist() == [1] * len(GRID)
