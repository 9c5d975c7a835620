"""A scikit-learn estimator with settings chosen by cross-validation and scores calibrated to probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sightline.core.progress import Progress
from sightline.datasets.stratified_sample import stratified_sample
from sightline.metrics.base import Floats, Labels
from sightline.metrics.calibration import fit_temperature, log_probabilities

Features = npt.NDArray[np.float32]
Settings = Mapping[str, float]
Fit = Callable[[Features, Labels, Settings], Any]
"""Features [n, d], labels [n] of at least two classes, settings -> a fitted estimator."""


class TuningConfig(Protocol):
    """Settings of the cross-validation, such as the section `baseline` of the configuration."""

    @property
    def folds(self) -> int:
        """Folds of the cross-validation."""

    @property
    def tuning_images(self) -> int:
        """Maximum number of images in the cross-validation."""

    @property
    def seed(self) -> int:
        """Seed of the folds."""


class TunedEstimator:
    """Chooses settings by stratified cross-validation, then fits on all images.

    The settings with the most correct predictions on the held-out folds win; ties go to the first. Scores (decision
    values or log probabilities) become probabilities by softmax(scores / T), where T maximises the likelihood of the
    held-out labels. This is Platt scaling (1999) with the single parameter of Guo et al. (2017), which does not change
    the most probable class.

    If a class has fewer images than there are folds, fewer folds are used; classes with a single image are left out of
    the cross-validation.

    Args:
        fit: Returns a fitted estimator.
        grid: The settings to choose from, the most conservative first.
        config: Settings of the cross-validation.
        num_classes: Number of classes of the whole set; a class without training images gets probability 0.

    Attributes:
        settings: The chosen settings; the middle of the grid if cross-validation was not possible.
        temperature: T; 1 in that case.
        folds: Number of folds; 0 in that case.
        images: Number of training images.
        estimator: The fitted estimator; None if all training images have the same class.
        notes: Differences from the configuration, one line each.
    """

    def __init__(self, fit: Fit, grid: Sequence[Settings], config: TuningConfig, num_classes: int) -> None:
        self._fit, self._grid, self._config, self._num_classes = fit, grid, config, num_classes
        self.settings = grid[len(grid) // 2]
        self.temperature = 1.0
        self.folds = 0
        self.images = 0
        self.notes: list[str] = []
        self.estimator: Any = None
        self._classes = np.zeros(0, np.int64)

    def fit(self, features: Features, labels: Labels) -> None:
        """Fits the estimator to features [n, d] and class indices [n]."""
        self._classes, encoded = np.unique(labels, return_inverse=True)
        self.images, self.estimator = len(labels), None  # discard an earlier fit
        if len(self._classes) == 1:
            self.notes.append("all training images belong to one class, which is always predicted")
            return
        rows, self.folds = self._rows_and_folds(encoded.astype(np.int64))
        with Progress("fitting", len(self._grid) * self.folds + 1, "fits") as fits:
            if self.folds:
                self._choose(features, encoded.astype(np.int64), rows, fits)
            self.estimator = self._fit(features, encoded, self.settings)

    def predict_proba(self, features: Features) -> Floats:
        """Returns probabilities [n, num_classes]."""
        found = np.zeros((len(features), self._num_classes))
        scores = np.zeros((len(features), 1)) if self.estimator is None else _scores(self.estimator, features)
        scaled = (scores - scores.max(axis=1, keepdims=True)) / self.temperature
        weights = np.exp(scaled)
        found[:, self._classes] = weights / weights.sum(axis=1, keepdims=True)
        return found

    def parameters(self) -> dict[str, Any]:
        """Returns the chosen settings and the numbers of images and folds."""
        chosen = {**self.settings, "temperature": round(self.temperature, 6)} if self.estimator is not None else {}
        return {"images": self.images, "folds": self.folds, **chosen}

    def arrays(self, *names: str) -> Iterator[npt.NDArray[Any]]:
        """Yields the estimator's attributes of these names: arrays, or lists of arrays."""
        for name in names if self.estimator is not None else ():
            value = getattr(self.estimator, name)
            yield from value if isinstance(value, list) else [value]

    def _choose(self, features: Features, labels: Labels, rows: npt.NDArray[np.intp], fits: Progress) -> None:
        from sklearn.model_selection import StratifiedKFold

        classes, truth = np.unique(labels[rows], return_inverse=True)
        splitter = StratifiedKFold(self.folds, shuffle=True, random_state=self._config.seed)
        folds = list(splitter.split(rows, truth))
        most = -1
        for settings in self._grid:
            scores = np.zeros((len(rows), len(classes)))
            for fitted, held_out in folds:
                estimator = self._fit(features[rows[fitted]], truth[fitted], settings)
                scores[held_out] = _scores(estimator, features[rows[held_out]])
                fits.advance(1)
            right = int((scores.argmax(axis=1) == truth).sum())
            if right > most:
                most, self.settings, self.temperature = right, settings, fit_temperature(truth, scores)

    def _rows_and_folds(self, labels: Labels) -> tuple[npt.NDArray[np.intp], int]:
        """Returns the rows used in the cross-validation, and the number of folds; 0 if it is not possible."""
        rows = stratified_sample(labels, self._config.tuning_images, self._config.seed, "tuning")
        counts = np.bincount(labels[rows])
        single = int((counts == 1).sum())
        rows = rows[counts[labels[rows]] > 1]
        several = counts[counts > 1]
        if len(several) < 2:
            self.notes.append("settings are not tuned: fewer than two classes have two training images or more")
            return rows, 0
        if single:
            self.notes.append(f"{single} class(es) with one training image took no part in tuning")
        folds = min(self._config.folds, int(several.min()))
        if folds < self._config.folds:
            self.notes.append(f"tuned on {folds} folds, not {self._config.folds}: a class has {folds} training images")
        return rows, folds


def _scores(estimator: Any, features: Features) -> Floats:
    """Returns an estimator's scores [n, K]: softmax of them, at some temperature, gives probabilities."""
    if not hasattr(estimator, "decision_function"):
        return log_probabilities(np.asarray(estimator.predict_proba(features), np.float64))
    scores = np.asarray(estimator.decision_function(features), np.float64)
    if scores.ndim == 1:  # two classes: the second relative to the first
        scores = np.column_stack([-scores / 2, scores / 2])
    return scores
