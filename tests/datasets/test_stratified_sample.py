"""The share of each class in a stratified sample, and what a draw depends on."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sightline.datasets.stratified_sample import stratified_sample


@given(st.lists(st.integers(0, 5), min_size=1, max_size=80), st.integers(6, 90))
def test_a_draw_gives_each_class_its_share(labels: list[int], limit: int) -> None:
    given_labels = np.array(labels)
    rows = stratified_sample(given_labels, limit, 0, "a")
    assert len(rows) == min(limit, len(labels))
    assert (np.diff(rows) > 0).all()
    drawn = np.bincount(given_labels[rows], minlength=6)
    for label, count in enumerate(np.bincount(given_labels, minlength=6)):
        assert abs(drawn[label] - count * len(rows) / len(labels)) <= 6
        assert (drawn[label] > 0) == (count > 0)


def test_draws_differ_by_seed_and_purpose() -> None:
    labels = np.zeros(1000, np.int64)
    draws = [stratified_sample(labels, 100, *which).tolist() for which in ((0, "a"), (0, "a"), (1, "a"), (0, "b"))]
    assert draws[0] == draws[1]
    assert draws[2] != draws[0] != draws[3]
