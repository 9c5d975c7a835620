import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.metrics.selective import choose_threshold, risk_coverage

CONFIDENCES = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
CORRECT = np.array([True, True, False, True, False])

rows = st.lists(st.tuples(st.sampled_from([0.4, 0.5, 0.7, 0.9, 1.0]), st.booleans()), min_size=1, max_size=40)


def test_curve_by_hand():
    curve = risk_coverage(CONFIDENCES, CORRECT)
    assert curve.coverage.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert curve.risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 4, 2 / 5])
    assert curve.area == pytest.approx((1 / 3 + 1 / 4 + 2 / 5) / 5)


def test_ties_are_a_random_choice():
    curve = risk_coverage(np.array([0.9, 0.9]), np.array([True, False]))
    assert curve.risk.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("wanted", "threshold", "coverage", "accuracy"),
    [
        (0.5, 0.0, 1.0, 0.6),  # reached without abstaining
        (0.75, 0.55, 0.8, 0.75),
        (0.9, 0.75, 0.4, 1.0),
        (1.0, 0.75, 0.4, 1.0),
    ],
)
def test_threshold_by_hand(wanted, threshold, coverage, accuracy):
    chosen = choose_threshold(CONFIDENCES, CORRECT, wanted)
    assert (chosen.threshold, chosen.coverage, chosen.accuracy) == pytest.approx((threshold, coverage, accuracy))


def test_no_threshold():
    assert choose_threshold(CONFIDENCES, ~CORRECT, 0.9).threshold is None
    assert choose_threshold(CONFIDENCES[:0], CORRECT[:0], 0.9).threshold is None


@given(rows, st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_threshold_keeps_its_word_and_answers_the_most(rows, wanted):
    confidences, correct = (np.array(column) for column in zip(*rows, strict=True))
    chosen = choose_threshold(confidences, correct, wanted)
    possible = [
        (confidences >= t).mean() for t in set(confidences) if correct[confidences >= t].mean() >= wanted - 1e-12
    ]
    if chosen.threshold is None:
        assert possible == []
        return
    answered = confidences >= chosen.threshold
    assert correct[answered].mean() == pytest.approx(chosen.accuracy)
    assert chosen.accuracy >= wanted - 1e-9
    assert answered.mean() == pytest.approx(chosen.coverage) == pytest.approx(max(possible))
