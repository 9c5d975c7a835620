import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.metrics import base, classification, intervals

SAFE = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. :/")


@st.composite
def scored(draw):
    """Labels and probabilities: absent classes, one image, two classes and ties all occur."""
    n, k = draw(st.integers(1, 30)), draw(st.integers(2, 6))
    labels = np.array(draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n)), np.int64)
    weights = draw(st.lists(st.lists(st.integers(0, 4), min_size=k, max_size=k), min_size=n, max_size=n))
    raw = np.array(weights, float)
    raw[raw.sum(axis=1) == 0] = 1
    return labels, raw / raw.sum(axis=1, keepdims=True)


def one_hot(labels, k):
    return np.eye(k)[labels]


def test_worked_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 2])
    probabilities = np.array(
        [
            [0.7, 0.2, 0.1],  # 0 right
            [0.6, 0.3, 0.1],  # 0 right
            [0.2, 0.5, 0.3],  # 0 taken for 1, third place
            [0.1, 0.8, 0.1],  # 1 right
            [0.5, 0.4, 0.1],  # 1 taken for 0, second place
            [0.1, 0.3, 0.6],  # 2 right
        ]
    )
    numbers = classification.evaluate(labels, probabilities)
    # Columns: 0 named 3 times, 2 right; 1 named twice, once right; 2 once, right.
    expected = {
        "images": 6,
        "errors": 2,
        "accuracy": 4 / 6,
        "precision/class_0": 2 / 3,
        "recall/class_0": 2 / 3,
        "f1/class_0": 2 / 3,
        "precision/class_1": 1 / 2,
        "recall/class_1": 1 / 2,
        "f1/class_1": 1 / 2,
        "f1/class_2": 1,
        "precision_macro": (2 / 3 + 1 / 2 + 1) / 3,
        "recall_macro": (2 / 3 + 1 / 2 + 1) / 3,
        "f1_macro": (2 / 3 + 1 / 2 + 1) / 3,
        "recall_weighted": (3 * 2 / 3 + 2 * 1 / 2 + 1) / 6,
        "balanced_accuracy": (2 / 3 + 1 / 2 + 1) / 3,
        "top_2_accuracy": 5 / 6,
        "log_loss": -np.log([0.7, 0.6, 0.2, 0.8, 0.4, 0.6]).mean(),
    }
    for name, value in expected.items():
        assert numbers[name] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (9, 10, 0.5958, 0.9821),  # https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval, computed
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),  # Newcombe (1998), table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_published(hits, trials, low, high):
    assert intervals.wilson(hits, trials) == pytest.approx((low, high), abs=5e-5)


@given(scored())
@settings(max_examples=150, deadline=None)
def test_equal_to_scikit_learn(case):
    labels, probabilities = case
    k = probabilities.shape[1]
    numbers = classification.evaluate(labels, probabilities)
    predicted = probabilities.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # predictions of absent classes
        expected = {
            "accuracy": sk.accuracy_score(labels, predicted),
            "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
            "log_loss": sk.log_loss(labels, probabilities, labels=range(k)),
        }
    for average in ("macro", "weighted"):
        kwargs = {"average": average, "zero_division": 0}
        expected |= {
            f"precision_{average}": sk.precision_score(labels, predicted, **kwargs),
            f"recall_{average}": sk.recall_score(labels, predicted, **kwargs),
            f"f1_{average}": sk.f1_score(labels, predicted, **kwargs),
        }
    recalls = sk.recall_score(labels, predicted, labels=range(k), average=None, zero_division=0)
    expected |= {f"recall/class_{i}": value for i, value in enumerate(recalls)}
    for name, value in expected.items():
        assert numbers[name] == pytest.approx(value, abs=1e-6), name
    assert set("".join(numbers)) <= SAFE
    assert all(isinstance(value, int | float) and np.isfinite(value) for value in numbers.values())


@given(scored(), st.integers(2, 5))
@settings(max_examples=100, deadline=None)
def test_top_k(case, k):
    labels, probabilities = case
    num_classes = probabilities.shape[1]
    numbers = classification.evaluate(labels, probabilities, top_k=k)
    names = [name for name in numbers if name.startswith("top_")]
    if num_classes == 2:
        assert names == []
        return
    k = min(k, num_classes - 1)
    assert names == [f"top_{k}_accuracy", f"top_{k}_accuracy_low", f"top_{k}_accuracy_high"]
    # Rank by descending probability, then by index: a stable sort.
    ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    assert numbers[names[0]] == pytest.approx((ranked == labels[:, None]).any(axis=1).mean(), abs=1e-6)
    assert numbers[names[0]] >= numbers["accuracy"]
    untied = probabilities + np.linspace(0, 1e-4, num_classes) * np.arange(1, len(labels) + 1)[:, None] / len(labels)
    untied /= untied.sum(axis=1, keepdims=True)
    assert classification.top_k_accuracy(labels, untied, k) == pytest.approx(
        sk.top_k_accuracy_score(labels, untied, k=k, labels=range(num_classes))
    )


@given(scored())
@settings(max_examples=50, deadline=None)
def test_perfect_prediction_is_one_whatever_classes_are_absent(case):
    labels, probabilities = case
    numbers = classification.evaluate(labels, one_hot(labels, probabilities.shape[1]), per_class_limit=0)
    for name, value in numbers.items():
        if name not in ("images", "errors", "log_loss") and not name.endswith("_low"):
            assert value == 1, name
    assert numbers["log_loss"] == numbers["errors"] == 0


@given(scored(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_order_of_rows_does_not_matter(case, random):
    labels, probabilities = case
    order = list(range(len(labels)))
    random.shuffle(order)
    assert classification.evaluate(labels, probabilities) == classification.evaluate(
        labels[order], probabilities[order]
    )


@given(scored())
@settings(max_examples=50, deadline=None)
def test_intervals_hold_their_value(case):
    labels, probabilities = case
    numbers = classification.evaluate(labels, probabilities)
    assert 0 <= numbers["accuracy_low"] <= numbers["accuracy"] <= numbers["accuracy_high"] <= 1
    for score in classification.class_scores(labels, base.predictions(probabilities), probabilities.shape[1]):
        if score.support:
            assert score.recall_interval[0] <= score.recall <= score.recall_interval[1]


def test_single_class_and_single_image():
    numbers = classification.evaluate(np.array([0]), np.array([[1.0]]))
    assert numbers["accuracy"] == numbers["f1_macro"] == 1
    assert not any(name.startswith("top_") for name in numbers)


def test_per_class_values_up_to_the_limit():
    labels = np.arange(3)
    assert "f1/class_2" in classification.evaluate(labels, one_hot(labels, 3), per_class_limit=3)
    assert "f1/class_2" not in classification.evaluate(labels, one_hot(labels, 3), per_class_limit=2)


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0], [[0.5, 0.5], [0.5, 0.5]], "1 labels need"),
        ([], np.zeros((0, 2)), "nothing to score"),
        ([2], [[0.5, 0.5]], "labels must be in"),
        ([-1], [[0.5, 0.5]], "labels must be in"),
        ([0], [[2.0, -1.0]], "sum to 1"),
        ([0], [[3.0, 1.0]], "sum to 1"),
        ([0], [[np.nan, 1.0]], "sum to 1"),
    ],
)
def test_refuses_what_is_no_probability(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        classification.evaluate(np.array(labels, np.int64), np.array(probabilities, float))


def test_confusion_rows_are_true_classes():
    counts = base.confusion(np.array([0, 0, 1]), np.array([0, 2, 1]), 4)
    assert counts.tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
