"""A time budget: what fits, and what it changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.core.errors import UserError
from sightline.project_setup.budget import LEAST_EPOCHS, STARTS, Pace, fitted, seconds
from sightline.project_setup.rules import Choice

PACE = Pace(start=5, preparing=0.01, training=100, side=64)
CHOSEN = {"train.max_epochs": Choice(50, ""), "train.recipe": Choice("scratch", ""), "preprocess.size": Choice(64, "")}


def changes(minutes: float, pace: Pace = PACE, training: int = 650) -> dict[str, object]:
    return {key: choice.value for key, choice in fitted(CHOSEN, pace, 1000, training, 60 * minutes).items()}


def test_what_fits_is_left_alone_and_what_does_not_gets_fewer_epochs_then_smaller_pictures() -> None:
    assert changes(20) == {}
    assert changes(5) == {"train.max_epochs": 40, "train.patience": 40}  # 300 s, less 30 and 10, of 6.5 s each
    assert changes(2.5) == {"preprocess.size": 48, "train.max_epochs": 30, "train.patience": 30}
    with pytest.raises(UserError, match=r"too little on this machine: --budget \d+m"):
        changes(0.7)


@given(st.floats(1, 300), st.floats(1, 5000), st.integers(20, 100_000))
def test_what_is_chosen_ends_within_the_budget_and_the_remedy_is_enough(
    minutes: float, speed: float, training: int
) -> None:
    pace = Pace(5, 0.001, speed, 64)
    try:
        found = changes(minutes, pace, training)
    except UserError as error:
        found = changes(float(str(error).rpartition(" ")[2].rstrip("m")), pace, training)
        minutes = float(str(error).rpartition(" ")[2].rstrip("m"))
    epochs, side = found.get("train.max_epochs", 50), found.get("preprocess.size", 64)
    assert LEAST_EPOCHS <= epochs <= 50  # type: ignore[operator]
    total = STARTS * 5 + 1 + epochs * training / speed * (side / 64) ** 2  # type: ignore[operator]
    assert total <= minutes * 60 * 1.000001


def test_a_budget_is_a_time() -> None:
    assert seconds("90s") == 90
    for text in ("10", "m", "0m", "-5m", "ten minutes"):
        with pytest.raises(UserError, match="--budget 10m, 90s or 1h"):
            seconds(text)
