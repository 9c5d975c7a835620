"""Calibration of the model's probabilities, written by the evaluate stage and stored in the bundle."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core.errors import UserError
from sightline.core.json_fields import field, optional_field, parse_object
from sightline.metrics.calibration import apply_temperature
from sightline.metrics.conformity_scores import CONFORMITY_SCORES, DEFAULT
from sightline.models.view_average import VIEWS

Probabilities = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Calibration:
    """Calibration of probabilities, and the confidence threshold for abstaining.

    Attributes:
        temperature: The divisor of the logits (Guo et al. 2017), fitted on the validation split.
        target_accuracy: The accuracy that the threshold was chosen for, 0 to 1.
        threshold: The confidence (largest calibrated probability) from which the target is met; None if it cannot be.
        coverage: Share of the validation images at or above the threshold, 0 to 1.
        conformity_score: Name of the score of sets (`metrics.conformity_scores`); omitted in files if default.
        tta: Additional views of each image (`models.view_average.VIEWS`) that evaluation and the bundle average over.
    """

    temperature: float
    target_accuracy: float
    threshold: float | None
    coverage: float
    tta: list[str] = dataclasses.field(default_factory=list)
    conformity_score: str = DEFAULT

    def as_json(self) -> dict[str, Any]:
        """Returns the content of the bundle's `calibration.json`, without settings that have their default."""
        usual = {"tta": [], "conformity_score": DEFAULT}
        return {name: value for name, value in vars(self).items() if name not in usual or value != usual[name]}

    def apply(self, probabilities: Probabilities) -> npt.NDArray[np.float64]:
        """Calibrates probabilities [N, K] at temperature 1, in double precision.

        >>> np.round(Calibration(2.0, 0.9, None, 0.0).apply(np.array([[0.9, 0.1]])), 6).tolist()
        [[0.75, 0.25]]
        """
        return apply_temperature(np.asarray(probabilities, np.float64), self.temperature)


def read_calibration(path: Path) -> Calibration:
    """Reads `reports/calibration.json`.

    Raises:
        UserError: If it is missing or invalid.
    """
    try:
        content = parse_object(path.read_bytes())
        calibration = Calibration(
            temperature=field(content, "temperature", float),
            target_accuracy=field(content, "target_accuracy", float),
            threshold=optional_field(content, "threshold", float),
            coverage=field(content, "coverage", float),
            tta=field(content, "tta", list) if "tta" in content else [],
            conformity_score=field(content, "conformity_score", str) if "conformity_score" in content else DEFAULT,
        )
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run the evaluate stage") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): run the evaluate stage again") from None
    if not (calibration.temperature > 0 and math.isfinite(calibration.temperature)):
        raise UserError(
            f"{path}: the temperature {calibration.temperature} is not a positive number: run the evaluate stage"
        )
    if unknown := [view for view in calibration.tta if view not in VIEWS]:
        raise UserError(f"{path}: there is no view called {unknown[0]!r}: run the evaluate stage again")
    if calibration.conformity_score not in CONFORMITY_SCORES:
        name = calibration.conformity_score
        raise UserError(f"{path}: there is no conformity score called {name!r}: run the evaluate stage again")
    return calibration
