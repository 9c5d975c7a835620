"""A training that is cut off anywhere ends like one that never was."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from tests.stages.train.interrupted import train
from tests.stages.train.small import processed_set

KILL_POINTS = int(os.environ.get("SIGHTLINE_KILL_POINTS", "0"))
STEPS = 18  # 96 images in batches of 16, three epochs


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("resume") / "processed"
    processed_set(root)
    return root


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    result, codes = train(data, tmp_path_factory.mktemp("undisturbed"), {})
    assert codes == [0]
    assert len(result["history"]) == 3
    return result


def kill_points() -> list[tuple[tuple[int, ...], int]]:
    """Steps to be killed at, and loader processes: the edges, then random ones, every fourth twice in a row.

    As many as SIGHTLINE_KILL_POINTS says: 5 in CI on the main branch, 25 before a release.
    """
    points = [((0,), 0), ((5,), 0), ((9,), 2), ((11, 12), 0), ((2, 6, 17), 0)]
    random = np.random.default_rng(0)
    for number in range(len(points), KILL_POINTS or 5):
        steps = sorted(random.choice(STEPS, 2 if number % 4 == 0 else 1, replace=False).tolist())
        points.append((tuple(steps), 2 * (number % 2)))
    return points


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "workers"),
    [  # with workers, and three in a row; the others with --full
        pytest.param(*point, marks=() if number in (2, 4) or KILL_POINTS else pytest.mark.full)
        for number, point in enumerate(kill_points())
    ],
)
def test_a_killed_run_ends_with_the_same_weights(data, undisturbed, tmp_path, kills, workers):
    # "never": with workers the images come from them, and not from memory
    result, codes = train(data, tmp_path, {"train.num_workers": workers, "train.cache_in_memory": "never"}, kills)
    assert codes == [-signal.SIGKILL] * len(kills) + [0]
    assert result == undisturbed


@pytest.mark.slow
def test_an_average_over_epochs_comes_back(data, tmp_path):
    config = {"train/weight_averaging": "swa", "train.weight_averaging.start": 0.4, "train.max_epochs": 4}
    calm, _ = train(data, tmp_path / "calm", config)
    cut, codes = train(data, tmp_path / "cut", config, [10, 19], signal.SIGTERM)
    assert codes == [143, 143, 0]
    assert cut == calm


@pytest.mark.slow
def test_averages_mixing_and_augmentation_image_by_image_come_back(data, tmp_path):
    config = {
        "train/weight_averaging": "ema",
        "train.weight_averaging.decay": 0.9,
        "train/mix": "mixup",
        "train/schedule": "one_cycle",
    }
    config |= {"train.augment_on": "albumentations", "train.accumulate": 2, "train.balanced_sampling": "true"}
    calm, _ = train(data, tmp_path / "calm", config)
    cut, codes = train(data, tmp_path / "cut", config, [3, 7], signal.SIGTERM)
    assert codes == [143, 143, 0]
    assert cut == calm


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_within_the_epoch_and_the_run_goes_on_from_there(data, undisturbed, tmp_path, number):
    kills = sorted(np.random.default_rng(number).choice(STEPS - 1, 4, replace=False).tolist())
    result, codes = train(data, tmp_path, {}, kills, number)
    assert codes == [128 + number] * len(kills) + [0]
    assert result == undisturbed


@pytest.mark.slow
def test_a_signal_during_the_last_batch_of_an_epoch_waits_for_its_end(data, undisturbed, tmp_path):
    result, codes = train(data, tmp_path, {}, [5, 11, 17], signal.SIGTERM)
    assert codes == [143, 143, 143, 0]
    assert result == undisturbed


@pytest.mark.slow
def test_early_stopping_is_remembered(data, tmp_path):
    config = {"train.max_epochs": 12, "train.patience": 1, "train.lr": 0.5}
    calm, _ = train(data, tmp_path / "calm", config)
    assert len(calm["history"]) < 12
    last_step = 6 * len(calm["history"]) - 1
    cut, codes = train(data, tmp_path / "cut", config, [last_step, last_step], signal.SIGTERM)
    assert codes[0] == 143
    assert cut == calm
