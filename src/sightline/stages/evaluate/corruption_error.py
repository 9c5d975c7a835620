"""Robustness: accuracy under corruptions, and the corruption error relative to a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sightline.core.errors import UserError
from sightline.core.json_fields import numbers, optional_field, parse_object
from sightline.datasets.processed_set import ProcessedSet, Split
from sightline.imaging import corruptions
from sightline.metrics.base import Bools
from sightline.metrics.classification import proportion
from sightline.metrics.intervals import mean
from sightline.models.robustness import Predict, evaluate_corruptions
from sightline.stages.evaluate.config import EvaluateConfig
from sightline.stages.evaluate.results import Robustness

ENOUGH, SHARE = 10, 0.02
"""Number and share of the baseline's errors under a corruption, below which a ratio to them is meaningless."""
OTHER = (
    "the baseline was measured on other corrupted images: give baseline and evaluate the same robustness_images and "
    "seed"
)
FEW = f"the baseline is wrong on less than {SHARE:.0%} of the images under every corruption"


def measure_robustness(
    predict: Predict,
    data: ProcessedSet,
    split: Split,
    raw: Path,
    config: EvaluateConfig,
    baselines: Path | None = None,
) -> Robustness:
    """Corrupts raw images of a split, preprocesses them, and counts correct predictions.

    Args:
        predict: The model: images [n, height, width, channels] uint8 -> probabilities [n, K].
        data: The processed set, whose transform prepares the images.
        split: The split to take images from.
        raw: Folder written by the ingest stage.
        config: The section `evaluate`, with the number of images and the seed.
        baselines: The baseline stage's `baselines.json`; may be missing.

    Raises:
        UserError: If images are missing, or the baselines' file is damaged.
    """
    found = evaluate_corruptions(
        predict,
        data,
        split,
        raw,
        images=config.robustness_images,
        seed=config.seed,
        batch_size=config.batch_size,
    )
    errors, sample = _baseline_errors(baselines) if baselines is not None and baselines.is_file() else ({}, None)
    comparable = sample == found.sample
    note = OTHER if errors and not comparable else ""
    return summarize(found.clean, found.correct, errors if comparable else {}, note)


def _baseline_errors(path: Path) -> tuple[dict[str, list[float]], Any]:
    """Returns the error rates of the reference baseline by corruption, and the identifier of their sample.

    They are {} and None if the baseline was not measured.
    """
    try:
        content = parse_object(path.read_bytes())
        errors = optional_field({"corruption_errors": None, **content}, "corruption_errors", dict) or {}
        measured = [name for name in corruptions.NAMES if name in errors]
        return {name: numbers(errors, name) for name in measured}, content.get("corruption_sample")
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): run the baseline stage again") from None


def summarize(
    clean: Bools,
    correct: Bools,
    baseline: Mapping[str, Sequence[float]],
    note: str = "",
) -> Robustness:
    """Summarises correct predictions under corruption.

    The corruption error of a corruption is the sum of the error rates over severities, relative to the baseline's sum;
    the mean corruption error is the mean over corruptions (Hendrycks and Dietterich (2019), section 4; there in percent
    and relative to AlexNet). Corruptions under which the baseline makes fewer than `ENOUGH` errors, or errs on less
    than the share `SHARE`, are left out, because the ratio to so few errors is meaningless.

    Args:
        clean: [n] whether each prediction is correct without corruption.
        correct: [n, corruptions, severities] whether each prediction is correct.
        baseline: By corruption, the reference's error rate at each severity.
        note: The reason why `baseline` is empty, if it could have been measured.
    """
    names = corruptions.NAMES
    known = {name: sum(baseline[name]) for name in names if name in baseline}
    least = max(ENOUGH, SHARE * len(clean) * corruptions.SEVERITIES)
    sums = {name: total for name, total in known.items() if round(total * len(clean)) >= least}
    unrelated = tuple(name for name in known if name not in sums)
    of_image = {"error": 1 - correct.mean(axis=(1, 2))}
    of_image |= {name: correct[:, i].mean(axis=1) for i, name in enumerate(names)}
    bounds = dict.fromkeys(of_image, (0.0, 1.0))
    if sums:
        each = [(~correct[:, names.index(name)]).sum(axis=1) / sums[name] for name in sums]
        of_image["relative"] = np.mean(each, axis=0)
        bounds["relative"] = (0.0, float(np.mean([corruptions.SEVERITIES / total for total in sums.values()])))
    means = {name: float(value.mean()) for name, value in of_image.items()}
    intervals = {name: mean(of_image[name], bounds[name]) for name in of_image}
    return Robustness(
        images=len(clean),
        clean=float(clean.mean()),
        accuracies={name: correct[:, i].mean(axis=0).tolist() for i, name in enumerate(names)},
        intervals={name: intervals[name] for name in names},
        error=means["error"],
        error_interval=intervals["error"],
        mean_corruption_error=means.get("relative"),
        mean_corruption_error_interval=intervals.get("relative"),
        unrelated=unrelated,
        note=note if sums or not unrelated else FEW,
    )


def robustness_numbers(found: Robustness) -> dict[str, float]:
    """Returns the entries for `metrics_detail.json`."""
    numbers: dict[str, float] = {"robustness_images": found.images}
    numbers |= proportion("robustness_clean_accuracy", round(found.clean * found.images), found.images)
    numbers |= {"corruption_error": found.error}
    numbers |= dict(zip(("corruption_error_low", "corruption_error_high"), found.error_interval, strict=True))
    if found.mean_corruption_error is not None and found.mean_corruption_error_interval is not None:
        low, high = found.mean_corruption_error_interval
        numbers["mean_corruption_error"] = found.mean_corruption_error
        numbers["mean_corruption_error_corruptions"] = len(found.accuracies) - len(found.unrelated)
        numbers |= {"mean_corruption_error_low": low, "mean_corruption_error_high": high}
    for name, accuracies in found.accuracies.items():
        low, high = found.intervals[name]
        numbers |= {f"accuracy_under/{name}{end}": value for end, value in (("_low", low), ("_high", high))}
        numbers[f"accuracy_under/{name}"] = float(np.mean(accuracies))
    return numbers
