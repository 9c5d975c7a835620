import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from sightline.metrics import suspects


def test_worked_by_hand():
    labels = np.array([0, 0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.9, 0.1]])
    assert suspects.thresholds(labels, probabilities) == pytest.approx([0.6, 0.4])
    assert suspects.confident_classes(labels, probabilities).tolist() == [0, 0, 1, 1, 0]
    assert suspects.suspected(labels, probabilities).tolist() == [False, False, True, False, True]
    assert suspects.margins(labels, probabilities) == pytest.approx([0.9, 0.8, 0.1, 0.7, 0.1])


def test_absent_classes_and_single_ones():
    labels = np.array([0, 0])
    probabilities = np.array([[0.5, 0.1, 0.4], [0.3, 0.1, 0.6]])
    # No image is labelled 2: nothing says what confident means there.
    assert suspects.suspected(labels, probabilities).tolist() == [False, False]
    assert suspects.confident_classes(labels, probabilities).tolist() == [0, -1]
    assert suspects.margins(np.array([0]), np.array([[1.0]])) == pytest.approx([1.0])


@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_ranges(n, k, seed):
    rng = np.random.default_rng(seed)
    labels, probabilities = rng.integers(0, k, n), rng.dirichlet(np.ones(k), n)
    margins = suspects.margins(labels, probabilities)
    assert ((margins >= 0) & (margins <= 1)).all()
    off = suspects.suspected(labels, probabilities)
    confident = suspects.confident_classes(labels, probabilities)
    assert (labels[off] != confident[off]).all()


def planted(labels, share, seed):
    rng = np.random.default_rng(seed)
    flipped = np.zeros(len(labels), bool)
    flipped[rng.choice(len(labels), int(share * len(labels)), replace=False)] = True
    return np.where(flipped, (labels + rng.integers(1, 10, len(labels))) % 10, labels), flipped


def test_planted_flips_are_found():
    # The model is trained on the wrong labels, too, and predicts each image out of sample.
    bunch = load_digits()
    labels, flipped = planted(bunch.target, 0.1, 0)
    net = LogisticRegression(C=0.1, max_iter=200)
    probabilities = cross_val_predict(net, bunch.data / 16, labels, cv=4, method="predict_proba")
    assert roc_auc_score(flipped, -suspects.margins(labels, probabilities)) >= 0.97
    found = suspects.suspected(labels, probabilities)
    assert flipped[found].mean() > 0.85
    assert found[flipped].mean() > 0.6


def test_who_may_doubt_labels():
    labels = np.arange(60) % 6
    right = np.full((60, 6), 0.02) + 0.88 * np.eye(6)[labels]
    assert suspects.poor(labels, right) == ""  # no doubt, no reason to say anything
    doubted = np.where(np.arange(60) < 6, (labels + 1) % 6, labels)
    assert suspects.suspected(doubted, right).sum() == 6
    assert suspects.poor(doubted, right) == ""
    # Better than chance beyond doubt, and still no judge: it contradicts two labels of three.
    contradicted = np.where(np.arange(60) < 40, (labels + 1) % 6, labels)
    assert "contradicts more labels" in suspects.poor(contradicted, right)
    # Nearly every label is one class: to name it always is right as often.
    most = np.where(np.arange(60) < 57, 0, 1)
    always = np.full((60, 6), 0.02) + 0.88 * np.eye(6)[np.zeros(60, int)]
    always[57] = always[57][[1, 0, 2, 3, 4, 5]]
    always[0] = always[57]
    assert "always predicting one class, right on 57 (p = 0.65)" in suspects.poor(most, always)
