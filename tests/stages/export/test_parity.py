from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

from sightline.core.errors import UserError
from sightline.stages.export import parity

TRAINED = np.array([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1]], np.float32)
IDS = ["a", "b", "c"]


def outcome(exported: np.ndarray) -> parity.ParityResult:
    return parity.compare_probabilities(IDS, TRAINED, exported.astype(np.float32))


def test_equal_models_pass() -> None:
    same = outcome(TRAINED)
    assert (same.agreement, same.max_difference) == (1.0, 0.0)
    parity.gate(same, 1e-9, ["x", "y"])


def test_a_difference_within_the_tolerance_passes_and_beyond_it_does_not() -> None:
    near = outcome(TRAINED + np.array([[1e-4, -1e-4], [0, 0], [0, 0]]))
    parity.gate(near, 1e-3, ["x", "y"])
    with pytest.raises(UserError, match=r"another class for 0 of 3 images.*worst: a \('x' -> 'x', 0.0001\)"):
        parity.gate(near, 1e-5, ["x", "y"])


def test_another_class_fails_however_near() -> None:
    tie = parity.compare_probabilities(["a"], np.array([[0.5000001, 0.4999999]]), np.array([[0.4999999, 0.5000001]]))
    assert tie.agreement == 0
    with pytest.raises(UserError, match="another class for 1 of 1"):
        parity.gate(tie, 0.01, ["x", "y"])


def test_not_a_number_fails_and_is_the_worst() -> None:
    exported = TRAINED.copy()
    exported[2] = math.nan
    exported[0] += [-0.1, 0.1]
    broken = outcome(exported)
    assert broken.worst[0].id == "c"
    assert not broken.passes(0.01)


def test_the_worst_come_first_disagreements_before_all() -> None:
    worst = outcome(np.array([[0.49, 0.51], [0.4, 0.6], [0.6, 0.4]])).worst
    assert [w.id for w in worst] == ["a", "c", "b"]


def test_rows_must_match() -> None:
    with pytest.raises(ValueError, match="must be as many"):
        parity.compare_probabilities(["a"], TRAINED, TRAINED)


def test_the_examples_in_the_docstrings() -> None:
    assert doctest.testmod(parity).failed == 0
