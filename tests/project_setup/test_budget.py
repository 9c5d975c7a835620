"""A time budget: what fits, and what it changes."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline.core.errors import UserError
from sightline.project_setup.budget import BASELINES, budget_lines, effort_of, seconds, within_budget
from sightline.project_setup.choice import Choice
from sightline.project_setup.pace import Effort, Lighter, Pace, Workload

PACE = Pace(start=5, preparing=0.01, training=100, side=64)
CHOSEN = {
    "train.max_epochs": Choice(50, ""),
    "train.recipe": Choice("scratch", ""),
    "train.model_options": Choice({"width": 16}, ""),
    "preprocess.size": Choice(64, ""),
}
NARROW = Lighter("train.model_options", {"width": 8}, training=250)


def changes(minutes: float, pace: Pace = PACE, training: int = 650) -> dict[str, object]:
    work = Workload(1000, training, 0)
    return {key: choice.value for key, choice in within_budget(CHOSEN, pace, work, 60 * minutes).items()}


def test_what_fits_is_left_alone_and_what_does_not_gets_fewer_epochs_smaller_images_a_lighter_network() -> None:
    assert changes(20) == {}
    assert changes(5) == {"train.max_epochs": 39}  # 300 s, less 32.5 and 10 and 2.2 of looking, of 6.5 s each
    assert changes(2.5) == {"preprocess.size": 48, "train.max_epochs": 29}
    with pytest.raises(UserError, match=r"too little on this machine: --budget \d+m"):
        changes(0.7)
    fast = dataclasses.replace(PACE, lighter=NARROW)
    assert changes(5, fast) == changes(5), "where half of the epochs fit, the network stays"
    assert changes(1.2, fast) == {
        "preprocess.size": 32,
        "train.model_options": {"width": 8},
        "train.max_epochs": 45,
    }


def test_where_all_layers_are_too_slow_the_pretrained_ones_stay_as_they_are() -> None:
    fine = {**CHOSEN, "train.recipe": Choice("finetune", "")}
    pace = dataclasses.replace(PACE, training=5, lighter=Lighter("train.recipe", "probe", 15, 1))
    found = within_budget(fine, pace, Workload(1000, 650, 150), 120)
    assert {key: choice.value for key, choice in found.items()} == {"preprocess.size": 32, "train.recipe": "probe"}
    assert effort_of({**fine, **found}, pace, Workload(1000, 650, 150)).epochs == 1


def test_many_images_need_few_epochs_and_baselines_take_a_fifth_at_most() -> None:
    pace = dataclasses.replace(PACE, training=1000, lighter=None, baselines=0.01)
    work = Workload(60_000, 50_000, 0, batch_size=128)
    assert work.least_epochs == 3
    assert Workload(1000, 650, 0).least_epochs == 5
    found = within_budget(CHOSEN, pace, work, 1800)
    assert found["baseline.train_images"].value == 36_000
    assert effort_of({**CHOSEN, **found}, pace, work).fitted * pace.baselines <= BASELINES * 1800
    assert "baseline.train_images" not in within_budget(CHOSEN, pace, work, 3000)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.floats(1, 300),
    st.floats(1, 5000),
    st.integers(20, 100_000),
    st.integers(0, 9000),
    st.integers(0, 9000),
    st.floats(0, 0.05),
    st.booleans(),
)
def test_the_expected_time_is_within_the_budget_and_not_far_below_it_where_epochs_were_cut(
    minutes: float, speed: float, training: int, validating: int, testing: int, baselines: float, slim: bool
) -> None:
    work = Workload(1000, training, validating, testing)
    lighter = dataclasses.replace(NARROW, training=2 * speed) if slim else None
    pace = Pace(5, 0.001, speed, 64, lighter, baselines)
    try:
        found = within_budget(CHOSEN, pace, work, 60 * minutes)
    except UserError as error:
        minutes = float(str(error).rpartition(" ")[2].rstrip("m"))
        found = within_budget(CHOSEN, pace, work, 60 * minutes)
    chosen = {**CHOSEN, **found}
    effort = effort_of(chosen, pace, work)
    assert work.least_epochs <= effort.epochs <= 50
    expected = pace.expected(work, effort)
    assert expected <= minutes * 60 * 1.000001
    one_more = pace.epoch(work, effort.side, effort.lighter)
    assert effort.epochs == 50 or expected + one_more > minutes * 60, "one epoch more would not fit"
    (line,) = budget_lines(chosen, pace, work, 60 * minutes)
    assert f"expected to take {expected / 60:.1f} min of {minutes:.4g}" in line


def test_a_pace_of_so_many_images_a_second_gives_the_time_that_it_takes() -> None:
    """1,000 images are prepared at 100 a second; 650 trained on and 150 looked at in each of 10 epochs."""
    looks = (650 + 150 + 150 + 12 * 150) / 300  # to train on an image takes as long as to look at it three times
    work = Workload(1000, 650, 150)
    assert PACE.expected(work, Effort(10, 64)) == pytest.approx(6.5 * 5 + 10 + 10 * 7 + looks)
    assert PACE.expected(work, Effort(10, 32)) == pytest.approx(6.5 * 5 + 10 + (10 * 7 + looks) / 4)
    tested = PACE.expected(dataclasses.replace(work, testing=50), Effort(10, 64))
    assert tested == pytest.approx(6.5 * 5 + 10 + 10 * 7 + looks + (14 * 50 + 2 * 10_000) / 300)


def test_a_probe_is_held_against_the_budget_too() -> None:
    probe = {**CHOSEN, "train.recipe": Choice("probe", "")}
    assert within_budget(probe, PACE, Workload(1000, 650, 150), 75) == {}
    with pytest.raises(UserError, match="too little"):
        within_budget(probe, PACE, Workload(100_000, 65_000, 15_000), 60)


def test_other_programs_are_told_of() -> None:
    busy = dataclasses.replace(PACE, others=0.63)
    assert "other programs use 63% of this machine" in budget_lines(CHOSEN, busy, Workload(1000, 650, 150), 600)[1]


def test_a_budget_is_a_time() -> None:
    assert seconds("90s") == 90
    for text in ("10", "m", "0m", "-5m", "ten minutes"):
        with pytest.raises(UserError, match="--budget 10m, 90s or 1h"):
            seconds(text)
