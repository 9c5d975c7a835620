"""Comparison of the network with each baseline on the same test images, paired."""

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
    """One method beside the network.

    Attributes:
        name: The method's.
        title: Its description.
        accuracy: Fraction of correct predictions.
        interval: Its 95 % interval.
        f1: Mean over classes.
        bytes: Of the numbers that it predicts with.
        difference: The network's accuracy minus this one's.
        difference_interval: Its 95 % interval, paired (Tango's score interval).
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
        """Whether it is better than the network beyond chance: the interval of the difference is below 0."""
        return self.difference_interval[1] < 0


def read_comparisons(path: Path, answers: SplitPredictions) -> list[BaselineComparison]:
    """Reads the results of the baseline stage and compares them with the network's predictions.

    Args:
        path: `baselines.json`; beside it stands `<method>.parquet` of each method.
        answers: The network's, on the same images.

    Returns:
        The methods, the most accurate first.

    Raises:
        UserError: If a file is damaged, or tells of other images.
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
        title: The method, in words.
        images: Validation images that it is scored on.
        per_class: [m] images a class, rising, the last is all.
        accuracies: Of each, the accuracy of every draw.
        gain: The gain of all images over half of them, with its 95 % interval.
    """

    title: str
    images: int
    per_class: list[int]
    accuracies: list[list[float]]
    gain: tuple[float, float, float]

    @property
    def rises(self) -> bool:
        """Whether twice as many images gave more accuracy, beyond chance."""
        return self.gain[1] > 0


def read_learning_curve(path: Path | None) -> LearningCurve | None:
    """Reads the learning curve that `baselines.json` holds; None where it has none.

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
