import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from sightline.metrics import calibration as c


def drawn(n=4000, k=5, sharpness=1.0, seed=0):
    """Logits, and labels drawn from the distribution softmax(logits / sharpness)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * 2
    true = np.exp(log_softmax(logits / sharpness, axis=1))
    return (true.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1), logits


def loss(labels, logits, temperature):
    return -log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean()


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.5])
def test_temperature_is_recovered_and_the_minimum(sharpness):
    labels, logits = drawn(sharpness=sharpness)
    found = c.fit_temperature(labels, logits)
    assert found == pytest.approx(sharpness, rel=0.1)
    best = minimize_scalar(lambda t: loss(labels, logits, t), bounds=(0.05, 20), method="bounded")
    assert found == pytest.approx(best.x, rel=1e-3)
    assert loss(labels, logits, found) <= best.fun + 1e-12


def test_temperature_equals_scikit_learns():
    # The maximum likelihood of softmax(logits / T) as scikit-learn's CalibratedClassifierCV fits it, since 1.8.
    base = pytest.importorskip("sklearn.calibration")
    if not hasattr(base, "_TemperatureScaling"):
        pytest.skip("scikit-learn before 1.8")
    labels, logits = drawn(n=500, sharpness=1.7)
    inverse = base._TemperatureScaling().fit(logits, labels).beta_
    assert c.fit_temperature(labels, logits) == pytest.approx(1 / inverse, rel=1e-5)


def test_only_differences_of_logits_matter():
    labels, logits = drawn(n=200, sharpness=1.5)
    shifted = logits + np.arange(200)[:, None]
    assert c.fit_temperature(labels, shifted) == pytest.approx(c.fit_temperature(labels, logits), rel=1e-9)
    probabilities = np.exp(log_softmax(logits, axis=1))
    assert c.fit_temperature(labels, c.log_probabilities(probabilities)) == pytest.approx(
        c.fit_temperature(labels, logits), rel=1e-9
    )


@pytest.mark.parametrize(
    ("labels", "logits", "expected"),
    [
        ([], np.zeros((0, 3)), 1.0),
        ([0, 1], [[3.0, 0.0], [0.0, 3.0]], 1.0),  # all right: no certainty is too much
        ([0, 1], [[0.0, 0.0], [0.0, 0.0]], 1.0),  # says nothing
        ([0], [[1.0]], 1.0),  # one class
        ([1, 0], [[3.0, 0.0], [0.0, 3.0]], c.MAX_TEMPERATURE),  # all wrong
    ],
)
def test_temperature_where_there_is_no_minimum(labels, logits, expected):
    assert c.fit_temperature(np.array(labels, np.int64), np.array(logits, float)) == expected


def test_a_temperature_needs_the_support_of_its_images():
    labels, logits = drawn(n=2000, sharpness=1.5)
    found = c.fit_temperature(labels, logits)
    assert c.is_supported(labels, logits, found)
    assert not c.is_supported(labels, logits, 1.0)
    assert not c.is_supported(labels[:0], logits[:0], 1.0)
    # Of well calibrated models, one in twenty is changed.
    changed = 0
    for seed in range(200):
        labels, logits = drawn(n=300, seed=seed)
        changed += c.is_supported(labels, logits, c.fit_temperature(labels, logits))
    assert 2 <= changed <= 20


@given(st.floats(0.05, 20), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_temperature_changes_no_ranking(temperature, seed):
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(4), 20)
    scaled = c.apply_temperature(probabilities, temperature)
    assert np.allclose(scaled.sum(axis=1), 1)
    assert (scaled.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert np.allclose(c.apply_temperature(scaled, 1 / temperature), probabilities, atol=1e-6)


def test_certain_rows_stay_distributions():
    certain = np.eye(3)
    assert np.allclose(c.apply_temperature(certain, 2.0), certain)
    assert c.apply_temperature(certain, 1.0) is certain


def naive_ece(confidences, correct, bins):
    order = sorted(range(len(confidences)), key=lambda i: confidences[i])
    parts = np.array_split(order, min(bins, len(order)))
    return sum(len(p) * abs(confidences[p].mean() - correct[p].mean()) for p in parts) / len(order)


@given(st.integers(1, 200), st.integers(1, 20), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_ece_is_the_definition(n, bins, seed):
    rng = np.random.default_rng(seed)
    confidences, correct = rng.random(n), rng.random(n) < 0.7
    assert c.ece(confidences, correct, bins) == pytest.approx(naive_ece(confidences, correct, bins), abs=1e-9)


@given(st.lists(st.tuples(st.sampled_from([0.5, 0.7, 1.0]), st.booleans()), min_size=1, max_size=40), st.randoms())
@settings(max_examples=60, deadline=None)
def test_ties_have_no_order(rows, random):
    def value():
        confidences, correct = (np.array(column) for column in zip(*rows, strict=True))
        return c.ece(confidences, correct, 4)

    before = value()
    random.shuffle(rows)
    assert value() == pytest.approx(before, abs=1e-9)


def test_bins_hold_equally_many_and_all():
    labels, logits = drawn(n=1007)
    probabilities = np.exp(log_softmax(logits, axis=1))
    correct = probabilities.argmax(axis=1) == labels
    bins = c.reliability(probabilities.max(axis=1), correct)
    assert len(bins) == c.BINS
    assert {b.count for b in bins} <= {67, 68}
    assert sum(b.count * b.accuracy for b in bins) == pytest.approx(correct.sum())
    assert all(b.interval[0] <= b.accuracy <= b.interval[1] for b in bins)
    assert len(c.reliability(np.array([0.6]), np.array([True]))) == 1


def test_calibration_lowers_the_error_of_an_overconfident_model():
    labels, logits = drawn(sharpness=3.0)
    other_labels, other_logits = drawn(sharpness=3.0, seed=1)
    raw = np.exp(log_softmax(other_logits, axis=1))
    calibrated = c.apply_temperature(raw, c.fit_temperature(labels, logits))
    correct = raw.argmax(axis=1) == other_labels
    assert c.ece(raw.max(axis=1), correct) > 0.2
    assert c.ece(calibrated.max(axis=1), correct) < 0.03
