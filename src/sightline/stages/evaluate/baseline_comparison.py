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
        title: What it is, in words.
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


def _correct(path: Path, name: str, answers: SplitPredictions) -> Bools:
    stored = predictions.read(path.with_name(f"{name}.parquet"))
    if stored.ids != list(answers.ids) or not np.array_equal(stored.labels, answers.labels):
        raise UserError(f"{path.parent} tells of other {answers.split} images: run the baseline stage again")
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
