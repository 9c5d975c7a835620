"""Two-sample tests: as SciPy's, calibrated, and corrected as they should be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sightline.drift.two_sample import class_shift, holm, kolmogorov_smirnov


@pytest.mark.parametrize(("n", "m", "shift"), [(30, 40, 0.0), (200, 100, 0.3), (1000, 1000, 0.05), (500, 20, 1.0)])
def test_kolmogorov_smirnov_is_scipys(n: int, m: int, shift: float) -> None:
    rng = np.random.default_rng(n + m)
    a, b = rng.normal(size=n), rng.normal(shift, size=m)
    statistic, p = kolmogorov_smirnov(a, b)
    expected = stats.ks_2samp(a, b, method="exact")
    assert statistic == pytest.approx(expected.statistic)
    assert p == pytest.approx(expected.pvalue, abs=0.02)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.lists(st.floats(-5, 5), min_size=1, max_size=30))
def test_it_is_symmetric_and_depends_on_the_order_of_values_alone(a: list[float], b: list[float]) -> None:
    x, y = np.array(a), np.array(b)
    statistic, p = kolmogorov_smirnov(x, y)
    assert 0 <= statistic <= 1
    assert 0 <= p <= 1
    assert kolmogorov_smirnov(y, x) == pytest.approx((statistic, p))
    assert kolmogorov_smirnov(x * 2, y * 2) == pytest.approx((statistic, p))
    assert kolmogorov_smirnov(x, x) == (0, 1)


def test_classes() -> None:
    rng = np.random.default_rng(0)
    same = [class_shift(rng.integers(0, 5, 80), rng.integers(0, 5, 50), 5)[1] for _ in range(200)]
    assert 1 <= sum(p < 0.05 for p in same) <= 20  # of 200, of which 10 are expected
    distance, p = class_shift(np.repeat(0, 50), np.repeat(1, 50), 3)
    assert distance == 1
    assert p < 0.001


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(c >= p for c, p in zip(corrected, p_values, strict=True))
    assert min(corrected) == pytest.approx(min(1, len(p_values) * min(p_values)))
    assert [c for _, c in sorted(zip(p_values, corrected, strict=True))] == sorted(corrected)
