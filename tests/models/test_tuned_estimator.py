"""The choice of settings by cross-validation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sightline.models.tuned_estimator import TunedEstimator
from tests.stages.baseline.conftest import configuration


@dataclasses.dataclass
class Threshold:
    """Says class 1 where a feature is above a threshold, more certainly the farther it is."""

    at: float
    sure: float = 1.0

    def decision_function(self, features: np.ndarray) -> np.ndarray:
        return (features[:, 0] - self.at) * self.sure


def tuned(labels: list[int], **changes: object) -> tuple[TunedEstimator, np.ndarray]:
    """Tunes the threshold on one feature that is the class plus noise."""
    noise = np.random.default_rng(0).normal(0, 0.2, len(labels))
    features = (np.array(labels) + noise)[:, None].astype(np.float32)
    grid = [{"at": at} for at in (-3.0, 0.5, 0.51)]
    model = TunedEstimator(lambda *given: Threshold(given[2]["at"]), grid, configuration(**changes), max(labels) + 1)
    model.fit(features, np.array(labels))
    return model, features


def test_the_best_setting_wins_and_the_first_of_equals() -> None:
    model, features = tuned([0, 1] * 50)
    assert model.settings == {"at": 0.5}
    assert model.folds == 3
    assert (model.predict_proba(features).argmax(axis=1) == [0, 1] * 50).mean() > 0.95


def test_certainty_is_scaled_by_the_answers_on_held_out_folds() -> None:
    labels = [0, 1] * 500
    model, features = tuned(labels)
    probabilities = model.predict_proba(features)
    assert model.temperature < 0.5  # such margins deserve more certainty than softmax gives them
    right = (probabilities.argmax(axis=1) == labels).mean()
    assert probabilities.max(axis=1).mean() == pytest.approx(right, abs=0.02)


@pytest.mark.parametrize(
    ("labels", "folds", "notes"),
    [
        ([0, 0, 0, 1, 1], 2, ["tuned on 2 folds, not 3: a class has 2 training images"]),
        ([0, 0, 0, 1, 1, 1, 2], 3, ["1 class(es) with one training image took no part in tuning"]),
        ([0, 1], 0, ["settings are not tuned: fewer than two classes have two training images or more"]),
        ([0, 0, 0, 1], 0, ["settings are not tuned: fewer than two classes have two training images or more"]),
    ],
)
def test_small_classes(labels: list[int], folds: int, notes: list[str]) -> None:
    model, _ = tuned(labels)
    assert model.folds == folds
    assert model.notes == notes
    if not folds:
        assert model.settings == {"at": 0.5}  # the middle of the grid
        assert model.temperature == 1


def test_at_most_so_many_images_take_part() -> None:
    sizes: list[int] = []

    def fit(features: np.ndarray, labels: np.ndarray, settings: object) -> Threshold:
        sizes.append(len(labels))
        return Threshold(0.5)

    model = TunedEstimator(fit, [{"at": 0.5}], configuration(tuning_images=30), 2)
    labels = np.arange(100) % 2
    model.fit(labels[:, None].astype(np.float32), labels)
    assert sizes == [20, 20, 20, 100]
