"""A time budget: what fits, and what it changes."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline.core.errors import UserError
from sightline.project_setup.budget import LEAST_EPOCHS, Pace, Workload, budget_lines, seconds, within_budget
from sightline.project_setup.choice import Choice

PACE = Pace(start=5, preparing=0.01, training=100, side=64)
CHOSEN = {"train.max_epochs": Choice(50, ""), "train.recipe": Choice("scratch", ""), "preprocess.size": Choice(64, "")}


def changes(minutes: float, pace: Pace = PACE, training: int = 650) -> dict[str, object]:
    work = Workload(1000, training, 0)
    return {key: choice.value for key, choice in within_budget(CHOSEN, pace, work, 60 * minutes).items()}


def test_what_fits_is_left_alone_and_what_does_not_gets_fewer_epochs_then_smaller_pictures() -> None:
    assert changes(20) == {}
    assert changes(5) == {"train.max_epochs": 40, "train.patience": 40}  # 300 s, less 30 and 10, of 6.5 s each
    assert changes(2.5) == {"preprocess.size": 48, "train.max_epochs": 30, "train.patience": 30}
    with pytest.raises(UserError, match=r"too little on this machine: --budget \d+m"):
        changes(0.7)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.floats(1, 300), st.floats(1, 5000), st.integers(20, 100_000), st.integers(0, 9000))
def test_the_expected_time_is_within_the_budget_and_not_far_below_it_where_epochs_were_cut(
    minutes: float, speed: float, training: int, validating: int
) -> None:
    work = Workload(1000, training, validating)
    pace = Pace(5, 0.001, speed, 64)
    try:
        found = within_budget(CHOSEN, pace, work, 60 * minutes)
    except UserError as error:
        minutes = float(str(error).rpartition(" ")[2].rstrip("m"))
        found = within_budget(CHOSEN, pace, work, 60 * minutes)
    chosen = {**CHOSEN, **found}
    epochs, side = int(chosen["train.max_epochs"].value), int(chosen["preprocess.size"].value)
    assert LEAST_EPOCHS <= epochs <= 50
    expected = pace.expected(work, epochs, side)
    assert expected <= minutes * 60 * 1.000001
    assert epochs == 50 or expected + pace.epoch(work, side) > minutes * 60, "one epoch more would not fit"
    (line,) = budget_lines(chosen, pace, work, 60 * minutes)
    assert f"expected to take {expected / 60:.1f} min of {minutes:g}" in line


def test_a_pace_of_so_many_images_a_second_gives_the_time_that_it_takes() -> None:
    """1,000 images are prepared at 100 a second, 650 trained on and 150 looked at in each of 10 epochs."""
    assert PACE.expected(Workload(1000, 650, 150), 10, 64) == pytest.approx(6 * 5 + 10 + 10 * 7)
    assert PACE.expected(Workload(1000, 650, 150), 10, 32) == pytest.approx(6 * 5 + 10 + 10 * 7 / 4)


def test_a_probe_is_held_against_the_budget_too() -> None:
    probe = {**CHOSEN, "train.recipe": Choice("probe", "")}
    assert within_budget(probe, PACE, Workload(1000, 650, 150), 60) == {}
    with pytest.raises(UserError, match="too little"):
        within_budget(probe, PACE, Workload(100_000, 65_000, 15_000), 60)


def test_other_programs_are_told_of() -> None:
    busy = dataclasses.replace(PACE, others=0.63)
    assert "other programs have 63% of this machine" in budget_lines(CHOSEN, busy, Workload(1000, 650, 150), 600)[1]


def test_a_budget_is_a_time() -> None:
    assert seconds("90s") == 90
    for text in ("10", "m", "0m", "-5m", "ten minutes"):
        with pytest.raises(UserError, match="--budget 10m, 90s or 1h"):
            seconds(text)
