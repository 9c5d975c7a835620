import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from sightline.metrics.paired import bootstrap_difference, mcnemar


def answers(both, only_a, only_b, neither):
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 20))
@settings(max_examples=100, deadline=None)
def test_mcnemar_is_the_exact_binomial_test(only_a, only_b, both):
    expected = binomtest(only_a, only_a + only_b, 0.5).pvalue if only_a + only_b else 1.0
    a, b = answers(both, only_a, only_b, 3)
    assert mcnemar(a, b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(b, a) == mcnemar(a, b)


def test_mcnemar_of_many_images():
    a, b = answers(900_000, 50_600, 50_000, 0)
    assert mcnemar(a, b) == pytest.approx(binomtest(50_000, 100_600, 0.5).pvalue, rel=1e-6)


def test_models_that_differ_nowhere():
    a, _ = answers(5, 0, 0, 5)
    assert mcnemar(a, a) == 1
    assert bootstrap_difference(np.zeros(10, np.int64), a, a, seed=0) == (0, 0, 0)


def test_difference_and_its_interval():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 2000)
    a, b = rng.random(2000) < 0.9, rng.random(2000) < 0.85
    difference, low, high = bootstrap_difference(labels, a, b, seed=1)
    assert difference == pytest.approx(a.mean() - b.mean())
    # The textbook's interval of a paired difference of proportions, which is sound for so many images.
    gain = a.astype(float) - b
    half = 1.96 * gain.std() / np.sqrt(len(gain))
    assert (low, high) == pytest.approx((difference - half, difference + half), abs=0.002)
    assert bootstrap_difference(labels, a, b, seed=1) == (difference, low, high)
    assert bootstrap_difference(labels, b, a, seed=1)[0] == pytest.approx(-difference)


def test_strata_are_kept():
    # One model is right on all of one class, the other on all of the other: no resample can tell otherwise.
    labels = np.repeat([0, 1], [30, 20])
    assert bootstrap_difference(labels, labels == 0, labels == 1, seed=0) == pytest.approx((0.2, 0.2, 0.2))


def test_answers_of_other_images_are_refused():
    a, b = answers(1, 1, 1, 1)
    with pytest.raises(ValueError, match="not of the same images"):
        mcnemar(a, b[:2])
    with pytest.raises(ValueError, match="3 labels for 4 answers"):
        bootstrap_difference(np.zeros(3, np.int64), a, b, seed=0)
    with pytest.raises(ValueError, match="0 labels"):
        bootstrap_difference(np.zeros(0, np.int64), a[:0], b[:0], seed=0)
