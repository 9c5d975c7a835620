"""Verdicts on the differences of metrics: chance is called chance, and a real difference is called one."""

from __future__ import annotations

import numpy as np
import pytest

from sightline.changes.dataset_diff import DatasetState, LabelledImage
from sightline.changes.metric_diff import changes, paired_change
from sightline.datasets.predictions import Predictions
from sightline.metrics.intervals import wilson


def metrics(hits: int, n: int) -> dict[str, float]:
    low, high = wilson(hits, n)
    return {"accuracy": hits / n, "accuracy_low": low, "accuracy_high": high}


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [((2, 15), (7, 24), "cannot be told apart"), ((700, 1000), (800, 1000), "better"), ((90, 100), (60, 100), "worse")],
)
def test_unpaired(before: tuple[int, int], after: tuple[int, int], verdict: str) -> None:
    change = changes(metrics(*before), metrics(*after))[0]
    assert change.verdict == verdict
    assert change.interval
    assert change.interval[0] < change.after - change.before < change.interval[1]


def test_false_alarms_are_rare_and_a_loss_is_worse_for_a_metric_of_which_less_is_better() -> None:
    rng = np.random.default_rng(0)
    pairs = [(metrics(int(a), 300), metrics(int(b), 300)) for a, b in rng.binomial(300, 0.9, (400, 2))]
    alarms = sum(changes(a, b)[0].verdict != "cannot be told apart" for a, b in pairs)
    assert alarms <= 32  # 5 % of 400, and three standard deviations
    before = {"log_loss": 0.2, "log_loss_low": 0.19, "log_loss_high": 0.21}
    after = {"log_loss": 0.4, "log_loss_low": 0.38, "log_loss_high": 0.42}
    assert changes(before, after)[0].verdict == "worse"
    assert changes({"accuracy": 0.5}, {"accuracy": 0.6})[0].verdict == "no interval"


def answers(correct: list[bool], names: list[str]) -> Predictions:
    predicted = np.array([0 if right else 1 for right in correct])
    return Predictions(names, np.zeros(len(names), np.int64), predicted, np.full((len(names), 2), 0.5))


def test_paired_only_on_images_that_both_have_unchanged() -> None:
    names = [f"{i}" for i in range(40)]
    images = {name: LabelledImage("a", "test", name) for name in names}
    old = DatasetState(images)
    new = DatasetState({**images, "0": LabelledImage("a", "test", "other"), "1": LabelledImage("b", "test", "1")})
    before, after = answers([False] * 40, names), answers([True] * 40, names)
    change = paired_change(before, after, old, new)
    assert change
    assert (change.images, change.to_right, change.to_wrong) == (38, sorted(names[2:]), [])
    assert (change.verdict, change.same_split) == ("better", False)
    same = paired_change(before, after, old, old)
    assert same
    assert same.same_split
    assert paired_change(before, before, old, old).verdict == "cannot be told apart"  # type: ignore[union-attr]
    assert paired_change(before, answers([True], ["new"]), old, DatasetState({})) is None
