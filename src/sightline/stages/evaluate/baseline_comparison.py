"""Paired comparison of the network with each baseline on the same test images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sightline.core.errors import UserError
from sightline.core.json_fields import field, parse_object
from sightline.datasets import predictions
from sightline.metrics import paired
from sightline.metrics.base import Bools, Interval
from sightline.stages.evaluate.results import SplitPredictions


@dataclass(frozen=True)
class BaselineComparison:
    """A baseline method compared with the network.

    Attributes:
        name: The method's name.
        title: Its description.
        accuracy: Its fraction of correct predictions.
        interval: 95 % interval of the accuracy.
        f1: F1 score, averaged over classes.
        bytes: Size of the fitted parameters.
        difference: The network's accuracy minus this method's.
        difference_interval: Its paired 95 % interval (Tango's score interval).
        p: McNemar's exact two-sided p-value.
    """

    name: str
    title: str
    accuracy: float
    interval: Interval
    f1: float
    bytes: int
    difference: float
    difference_interval: Interval
    p: float

    @property
    def beats(self) -> bool:
        """Whether it is significantly better than the network: the interval of the difference is below 0."""
        return self.difference_interval[1] < 0


def read_comparisons(path: Path, answers: SplitPredictions) -> list[BaselineComparison]:
    """Reads the results of the baseline stage and compares them with the network's predictions.

    Args:
        path: `baselines.json`, in the same folder as each method's `<method>.parquet`.
        answers: The network's predictions for the same images.

    Returns:
        The methods, the most accurate first.

    Raises:
        UserError: If a file is damaged, or describes other images.
    """
    try:
        methods = field(parse_object(path.read_bytes()), "methods", dict)
        found = [_against(name, stored, _correct(path, name, answers), answers) for name, stored in methods.items()]
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{path} is damaged ({error}): run the baseline stage again") from None
    return sorted(found, key=lambda baseline: (-baseline.accuracy, baseline.name))


@dataclass(frozen=True)
class LearningCurve:
    """The accuracy of a baseline method by the number of labelled images.

    Attributes:
        title: Description of the method.
        images: Number of validation images that it is scored on.
        per_class: [m] numbers of training images per class, ascending; the last entry stands for all images.
        accuracies: [m] the accuracies of all draws for each number.
        gain: Gain in accuracy of all images over half of them, and its 95 % interval: (gain, low, high).
    """

    title: str
    images: int
    per_class: list[int]
    accuracies: list[list[float]]
    gain: tuple[float, float, float]

    @property
    def rises(self) -> bool:
        """Whether doubling the number of images improved the accuracy significantly."""
        return self.gain[1] > 0


def read_learning_curve(path: Path | None) -> LearningCurve | None:
    """Reads the learning curve from `baselines.json`; None if there is none.

    Raises:
        UserError: If the file is damaged.
    """
    if path is None or not path.is_file():
        return None
    try:
        content = parse_object(path.read_bytes()).get("learning_curve")
        if content is None:
            return None
        points, doubling = field(content, "points", list), field(content, "doubling", dict)
        return LearningCurve(
            title=field(content, "title", str),
            images=field(content, "images", int),
            per_class=[field(point, "per_class", int) for point in points],
            accuracies=[field(point, "accuracy", list) for point in points],
            gain=(field(doubling, "gain", float), field(doubling, "low", float), field(doubling, "high", float)),
        )
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): run the baseline stage again") from None


def _correct(path: Path, name: str, answers: SplitPredictions) -> Bools:
    stored = predictions.load_predictions(path.with_name(f"{name}.parquet"))
    if stored.ids != list(answers.ids) or not np.array_equal(stored.labels, answers.labels):
        raise UserError(f"{path.parent} describes other {answers.split} images: run the baseline stage again")
    return stored.correct


def _against(name: str, stored: Mapping[str, Any], correct: Bools, answers: SplitPredictions) -> BaselineComparison:
    difference, low, high = paired.difference(answers.correct, correct)
    return BaselineComparison(
        name=name,
        title=field(stored, "title", str),
        accuracy=field(stored, "accuracy", float),
        interval=(field(stored, "accuracy_low", float), field(stored, "accuracy_high", float)),
        f1=field(stored, "f1_macro", float),
        bytes=field(stored, "bytes", int),
        difference=difference,
        difference_interval=(low, high),
        p=paired.mcnemar(answers.correct, correct),
    )
