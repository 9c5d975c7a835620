"""Results of an evaluation as plain values, for the report and the tables."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sightline.metrics import base
from sightline.metrics.base import Bools, Floats, Interval, Labels
from sightline.metrics.calibration import Bin
from sightline.metrics.per_class import ClassScore
from sightline.metrics.selective import Abstention, RiskCoverage

if TYPE_CHECKING:
    from sightline.stages.evaluate.baseline_comparison import BaselineComparison
    from sightline.stages.evaluate.novelty_measurement import NoveltyResult
    from sightline.stages.evaluate.set_scores import SetResult


@dataclass(frozen=True)
class SplitPredictions:
    """Predictions on one split.

    Attributes:
        split: "test" or "val".
        ids: [n] sorted; n may be 0 for "val".
        labels: [n] true classes.
        probabilities: [n, K] calibrated probabilities.
        uncalibrated: [n, K] the model's probabilities before calibration.
    """

    split: str
    ids: Sequence[str]
    labels: Labels
    probabilities: Floats
    uncalibrated: Floats

    @functools.cached_property
    def predicted(self) -> Labels:
        """[n] most probable classes."""
        return base.predicted_classes(self.uncalibrated)

    @functools.cached_property
    def correct(self) -> Bools:
        """[n] whether the most probable class is the true one."""
        right: Bools = self.predicted == self.labels
        return right

    @functools.cached_property
    def confidences(self) -> Floats:
        """[n] the calibrated probability of the predicted class."""
        largest: Floats = self.probabilities.max(axis=1)
        return largest


@dataclass(frozen=True)
class Slice:
    """Test images that share a property, and the model's accuracy on them.

    Attributes:
        by: The property, such as "brightness" or the name of a column of the raw images.
        value: The value that they share, human-readable: "0.12 to 0.3", "JPEG".
        images: Number of images.
        correct: Number of correct predictions.
        interval: 95 % Wilson interval of the accuracy.
        p_value: p-value of Fisher's exact test of whether the model is worse here than on the other images, corrected
            for the number of slices (Holm).
        members: [n] which of the test images are in it; None if unknown.
    """

    by: str
    value: str
    images: int
    correct: int
    interval: Interval
    p_value: float
    members: Bools | None = field(default=None, repr=False, compare=False)

    @property
    def accuracy(self) -> float:
        """Fraction of correct predictions."""
        return self.correct / self.images


@dataclass(frozen=True)
class Robustness:
    """Accuracy under corruptions of the raw images.

    Attributes:
        images: Number of test images that were corrupted.
        clean: Accuracy on them without corruption.
        accuracies: By corruption, the accuracies at severities 1 to 5.
        intervals: By corruption, the 95 % interval of the mean of these accuracies.
        error: Mean error rate over corruptions and severities.
        error_interval: 95 % interval of `error`.
        mean_corruption_error: Mean over corruptions of the error relative to the baseline's (1: equally bad); None
            without a comparable baseline.
        mean_corruption_error_interval: Its 95 % interval, which treats the baseline's errors as exact.
        unrelated: Corruptions left out of this mean, since the baseline hardly errs under them.
        note: The reason why there is no mean although there is a baseline; else empty.
    """

    images: int
    clean: float
    accuracies: Mapping[str, Sequence[float]]
    intervals: Mapping[str, Interval]
    error: float
    error_interval: Interval
    mean_corruption_error: float | None
    mean_corruption_error_interval: Interval | None
    unrelated: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Suspect:
    """An image whose label is probably wrong.

    Attributes:
        id: The image's id.
        split: "val" or "test".
        label: Its label, a class index.
        suggested: The class that the model is confident of.
        score: Normalised margin, 0 to 1: the lower, the more suspect.
        position: Its position in its split.
    """

    id: str
    split: str
    label: int
    suggested: int
    score: float
    position: int


@dataclass(frozen=True)
class Evaluation:
    """All results of an evaluation.

    Attributes:
        classes: K class names.
        test: Predictions on the split that is scored, once.
        validation: Predictions on the split that temperature and threshold were chosen on.
        numbers: The content of `metrics_detail.json`.
        scores: The scores of each class.
        counts: [K, K] confusion matrix; rows are true classes.
        temperature: The divisor of the logits; 1 means no calibration.
        target_accuracy: The requested accuracy of images above the threshold.
        abstention: The threshold that reaches this accuracy on the validation split.
        bins: Reliability diagram of the test split after calibration.
        bins_uncalibrated: The same before calibration.
        risk_coverage: Risk-coverage curve of the test split.
        slices: By property, then by value.
        worst: The slice to examine first; None if there are no slices. See `slices.worst`.
        robustness: None if it was not measured.
        novelty: The detector of images that are none of the classes, and its test; None without an embedder.
        sets: Prediction sets, which should contain the true class; None without validation images.
        suspects: Labels that are probably wrong, the most suspect first.
        suspects_note: The reason why there is no list of suspects, if the model is too poor for one; else empty.
        baselines: The methods that the network is compared with, the most accurate first.
    """

    classes: Sequence[str]
    test: SplitPredictions
    validation: SplitPredictions
    numbers: Mapping[str, float]
    scores: Sequence[ClassScore]
    counts: Labels
    temperature: float
    target_accuracy: float
    abstention: Abstention
    bins: Sequence[Bin]
    bins_uncalibrated: Sequence[Bin]
    risk_coverage: RiskCoverage
    slices: Sequence[Slice]
    worst: Slice | None
    robustness: Robustness | None
    novelty: NoveltyResult | None
    sets: SetResult | None
    suspects: Sequence[Suspect]
    suspects_note: str
    baselines: Sequence[BaselineComparison]
