"""Trials before a training: a learning rate, a batch size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.core.errors import UserError
from sightline.datasets.processed_set import ProcessedSet
from sightline.stages.train import tuner
from tests.stages.train.small import processed_set, train_config


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ProcessedSet:
    return processed_set(tmp_path_factory.mktemp("find") / "processed")


def test_the_bias_of_the_finders_average_is_taken_out() -> None:
    """Of a loss that stays, the average is that loss from the first step on."""
    average, smoothed = 0.0, []
    for step in range(1, 60):  # as Lightning computes it
        average = tuner.SMOOTHING * average + (1 - tuner.SMOOTHING) * 2.5
        smoothed.append(average / (1 - tuner.SMOOTHING ** (step + 1)))
    assert smoothed[0] < 1.3
    np.testing.assert_allclose(tuner.unbiased(smoothed), 2.5)


def test_the_suggestion_is_where_the_loss_falls_fastest() -> None:
    rates = np.logspace(-6, 0, 100).tolist()
    losses = 1 + 1 / (1 + np.exp((np.arange(100) - 60) / 4)) + np.maximum(0, np.arange(100) - 85)
    suggestion = tuner.suggested(rates, losses)
    assert suggestion == pytest.approx(rates[60], rel=0.15)


@pytest.mark.parametrize("losses", [np.linspace(1, 9, 50), np.full(50, 2.0)])
def test_a_loss_that_never_falls_suggests_nothing(losses: np.ndarray) -> None:
    assert tuner.suggested(np.logspace(-6, 0, 50).tolist(), losses) is None


@pytest.mark.slow
def test_a_range_test_on_real_steps_and_its_picture(data: ProcessedSet, tmp_path: Path) -> None:
    curve = tuner.learning_rates(data, train_config(**{"train/augment": "none"}), steps=60)
    assert len(curve.rates) == len(curve.losses)
    assert curve.rates == sorted(curve.rates)
    assert curve.rates[0] < 1e-4 < 1e-1 < curve.rates[-1]
    assert curve.suggestion is None or curve.rates[0] < curve.suggestion < curve.rates[-1]
    assert curve.losses[0] == pytest.approx(np.log(3), rel=0.5)  # three classes: that of a guess
    tuner.draw(curve, tmp_path / "lr.png")
    with Image.open(tmp_path / "lr.png") as picture:
        assert picture.width > 600


@pytest.mark.slow
def test_batch_sizes_double_up_to_the_training_split(data: ProcessedSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner, "SECONDS_EACH", 0.1)
    trials = list(tuner.batch_sizes(data, train_config(), smallest=16))
    assert [trial.batch_size for trial in trials] == [16, 32, 64]
    assert all(trial.images_per_second > 0 for trial in trials)


def test_the_smallest_of_the_fast_sizes_is_best() -> None:
    trials = [tuner.BatchTrial(size, speed, 0) for size, speed in ((8, 50), (16, 97), (32, 100), (64, 96))]
    assert tuner.best_batch_size(trials) == 16


def test_trials_run_on_one_device(data: ProcessedSet) -> None:
    config = train_config(**{"train/trainer": "ddp", "train.trainer.accelerator": "cpu", "train.trainer.devices": 2})
    with pytest.raises(UserError, match=r"^train\.trainer: trials run on one device"):
        tuner.learning_rates(data, config, 20)
