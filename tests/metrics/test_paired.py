import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import xlogy
from scipy.stats import binomtest, multinomial

from sightline.metrics.paired import difference, largest_loss, mcnemar


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


def score(only_a, only_b, n, d):
    """The score statistic of the hypothesis that the difference is d, by a search for the most likely shares."""

    def unlikelihood(share_b):
        shares = np.array([share_b + d, share_b, 1 - d - 2 * share_b])
        counts = np.array([only_a, only_b, n - only_a - only_b])
        return -xlogy(counts, shares.clip(1e-300)).sum()

    share_b = minimize_scalar(unlikelihood, bounds=(max(0, -d), (1 - d) / 2), method="bounded").x
    return (only_a - only_b - n * d) / np.sqrt(n * (d + 2 * share_b - d * d))


@pytest.mark.parametrize(("only_a", "only_b", "n"), [(0, 1, 44), (7, 2, 30), (12, 0, 28), (3, 3, 300), (28, 28, 60)])
def test_score_interval(only_a, only_b, n):
    a, b = answers(n - only_a - only_b, only_a, only_b, 0)
    found, low, high = difference(a, b)
    assert found == (only_a - only_b) / n
    assert score(only_a, only_b, n, low) == pytest.approx(1.959964, abs=1e-3)
    assert score(only_a, only_b, n, high) == pytest.approx(-1.959964, abs=1e-3)
    assert difference(b, a) == pytest.approx((-found, -high, -low), abs=1e-12)


def test_models_that_differ_nowhere():
    a, _ = answers(5, 0, 0, 5)
    assert mcnemar(a, a) == 1
    zero, low, high = difference(a, a)
    assert (zero, -low) == (0, high)
    assert high == pytest.approx(largest_loss(10))


def test_difference_and_its_interval():
    rng = np.random.default_rng(0)
    a, b = rng.random(2000) < 0.9, rng.random(2000) < 0.85
    found, low, high = difference(a, b)
    assert found == pytest.approx(a.mean() - b.mean())
    # The textbook's interval of a paired difference of proportions, which is sound for so many images.
    gain = a.astype(float) - b
    half = 1.96 * gain.std() / np.sqrt(len(gain))
    assert (low, high) == pytest.approx((found - half, found + half), abs=0.002)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
@settings(max_examples=200, deadline=None)
def test_the_interval_holds_the_difference_and_grows_with_what_one_gains(both, only_a, only_b, neither):
    a, b = answers(both, only_a, only_b, neither)
    if not len(a):
        return
    found, low, high = difference(a, b)
    assert -1 <= low <= found <= high <= 1
    if neither:
        more = difference(*answers(both, only_a + 1, only_b, neither - 1))
        assert more[1] >= low - 1e-9
        assert more[2] >= high - 1e-9


def test_the_interval_holds_the_truth_as_often_as_it_says():
    # Exact, over all outcomes: n answers, of which the first alone is right on some, the second alone on others.
    for n, shares in ((28, (0.02, 0.01)), (28, (0.3, 0.1)), (60, (0.05, 0.05)), (60, (0.001, 0.2))):
        covered = 0.0
        for only_a in range(n + 1):
            for only_b in range(n + 1 - only_a):
                p = multinomial.pmf([only_a, only_b, n - only_a - only_b], n, [*shares, 1 - sum(shares)])
                if p < 1e-9:
                    continue
                _, low, high = difference(*answers(n - only_a - only_b, only_a, only_b, 0))
                covered += p * (low <= shares[0] - shares[1] <= high)
        assert covered >= 0.93, (n, shares)


def test_answers_of_other_images_are_refused():
    a, b = answers(1, 1, 1, 1)
    for compare in (mcnemar, difference):
        with pytest.raises(ValueError, match="not of the same images"):
            compare(a, b[:2])
    with pytest.raises(ValueError, match="no images to compare"):
        difference(a[:0], b[:0])
