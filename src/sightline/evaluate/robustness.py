"""Robustness: how accurate is the model on worse pictures?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from sightline import corruptions, seeds
from sightline.contract.contract import Contract
from sightline.errors import UserError
from sightline.evaluate.config import EvaluateConfig
from sightline.evaluate.raw import ANY_SIZE, raw_images
from sightline.evaluate.results import Robustness
from sightline.images import Pixels
from sightline.metrics import bootstrap
from sightline.metrics.base import Bools, Floats, Labels
from sightline.metrics.classification import proportion
from sightline.reasons import Rejected
from sightline.shards import Images, ProcessedSet, Split

_BATCH = 16
"""Raw images at a time: each becomes 51 prepared ones."""


def measure(
    predict: Callable[[Images], Floats],
    data: ProcessedSet,
    split: Split,
    raw: Path,
    config: EvaluateConfig,
    baselines: Path | None = None,
) -> Robustness:
    """Corrupts raw images of a split, prepares them as always, and counts right answers.

    Args:
        predict: The model: images [n, height, width, channels] uint8 -> probabilities [n, K].
        data: The processed set, whose contract prepares the images.
        split: Its rows to take images from, evenly spaced, since ids often sort by class.
        raw: Folder written by the ingest stage.
        config: The section `evaluate`: how many images, the seed.
        baselines: What the baseline stage wrote; need not be there.

    Raises:
        UserError: If images are missing, or the baselines' file is damaged.
    """
    count = min(config.robustness_images, len(split))
    chosen = np.linspace(0, len(split) - 1, count).round().astype(int)
    labels = {split.ids[at]: int(split.labels[at]) for at in chosen}
    contract = Contract.load(data.contract)
    found: dict[str, Bools] = {}
    batch: dict[str, Pixels] = {}
    for image in raw_images(raw, labels):
        batch[image.id] = corruptions.shrink(contract.open(image.data, ANY_SIZE))
        if len(batch) == _BATCH or len(found) + len(batch) == count:
            found |= _answers(predict, contract, batch, labels, config)
            batch = {}
    correct = np.stack([found[identity] for identity in labels])
    errors = _baseline_errors(baselines) if baselines is not None and baselines.is_file() else {}
    shape = (count, len(corruptions.NAMES), corruptions.SEVERITIES)
    return summarize(np.array(list(labels.values())), correct[:, 0], correct[:, 1:].reshape(shape), errors, config)


def _answers(
    predict: Callable[[Images], Floats],
    contract: Contract,
    batch: Mapping[str, Pixels],
    labels: Mapping[str, int],
    config: EvaluateConfig,
) -> dict[str, Bools]:
    """Returns for each image whether the model is right on it, and on each corrupted form of it, [51].

    What the preprocessing refuses once it is corrupted (as blank) is not recognised.
    """
    prepared: list[Images] = []
    places: list[tuple[str, int]] = []
    for identity, pixels in batch.items():
        for column, variant in enumerate(_variants(pixels, identity, config.seed)):
            try:
                prepared.append(contract(variant))
            except Rejected:
                continue
            places.append((identity, column))
    correct = {identity: np.zeros(1 + len(corruptions.NAMES) * corruptions.SEVERITIES, np.bool_) for identity in batch}
    for start in range(0, len(prepared), config.batch_size):
        here = slice(start, start + config.batch_size)
        said = predict(np.stack(prepared[here])).argmax(axis=1)
        for (identity, column), answer in zip(places[here], said, strict=True):
            correct[identity][column] = answer == labels[identity]
    return correct


def _variants(pixels: Pixels, identity: str, seed: int) -> Iterator[Pixels]:
    """Yields the image itself, then its corrupted forms."""
    yield pixels
    for name in corruptions.NAMES:
        drawn = seeds.derive(seed, "corruption", name, identity)
        for severity in range(1, corruptions.SEVERITIES + 1):
            yield corruptions.corrupt(pixels, name, severity, drawn)


def _baseline_errors(path: Path) -> dict[str, list[float]]:
    """Returns the error rates of the reference baseline, by corruption; empty where it was not measured."""
    try:
        errors = dict(json.loads(path.read_bytes()).get("corruption_errors") or {})
        return {name: [float(error) for error in errors[name]] for name in corruptions.NAMES if name in errors}
    except (ValueError, TypeError, AttributeError):
        raise UserError(f"{path} is damaged: run the baseline stage again") from None


def summarize(
    labels: Labels, clean: Bools, correct: Bools, baseline: Mapping[str, Sequence[float]], config: EvaluateConfig
) -> Robustness:
    """Returns what right answers under corruption amount to.

    The corruption error of a corruption is the sum of the error rates over severities, relative to the baseline's sum;
    the mean corruption error is its mean over corruptions (Hendrycks and Dietterich (2019), section 4; there in
    percent, of AlexNet). A corruption under which the baseline makes no error has none.

    Args:
        labels: [n] true classes.
        clean: [n] right answers without corruption.
        correct: [n, corruptions, severities] right answers.
        baseline: Error rates of the reference by corruption.
        config: The seed and the number of the bootstrap's resamples.
    """
    names = corruptions.NAMES
    sums = {name: sum(baseline[name]) for name in names if name in baseline and sum(baseline[name]) > 0}
    of_image = {"error": 1 - correct.mean(axis=(1, 2))}
    of_image |= {name: correct[:, i].mean(axis=1) for i, name in enumerate(names)}
    relative = {name: float((~correct[:, names.index(name)]).mean(axis=0).sum() / sums[name]) for name in sums}
    if sums:
        each = [(~correct[:, names.index(name)]).sum(axis=1) / sums[name] for name in sums]
        of_image["relative"] = np.mean(each, axis=0)
    order = np.argsort(labels, kind="stable")
    drawn = bootstrap.resample_means(
        labels[order], {name: value[order] for name, value in of_image.items()}, config.seed, config.resamples
    )
    means = {name: float(value.mean()) for name, value in of_image.items()}
    intervals = {name: bootstrap.percentile_interval(means[name], drawn[name]) for name in means}
    return Robustness(
        images=len(labels),
        clean=float(clean.mean()),
        accuracies={name: correct[:, i].mean(axis=0).tolist() for i, name in enumerate(names)},
        intervals={name: intervals[name] for name in names},
        error=means["error"],
        error_interval=intervals["error"],
        relative=relative,
        mean_corruption_error=means.get("relative"),
        mean_corruption_error_interval=intervals.get("relative"),
    )


def numbers(found: Robustness) -> dict[str, float]:
    """Returns what goes into `metrics.json`."""
    said: dict[str, float] = {"robustness_images": found.images}
    said |= proportion("robustness_clean_accuracy", round(found.clean * found.images), found.images)
    said |= {"corruption_error": found.error}
    said |= dict(zip(("corruption_error_low", "corruption_error_high"), found.error_interval, strict=True))
    if found.mean_corruption_error is not None and found.mean_corruption_error_interval is not None:
        low, high = found.mean_corruption_error_interval
        said["mean_corruption_error"] = found.mean_corruption_error
        said |= {"mean_corruption_error_low": low, "mean_corruption_error_high": high}
    for name, accuracies in found.accuracies.items():
        low, high = found.intervals[name]
        said |= {f"accuracy_under/{name}{end}": value for end, value in (("_low", low), ("_high", high))}
        said[f"accuracy_under/{name}"] = float(np.mean(accuracies))
    return said
