"""The learning curve of a method: its accuracy by number of labelled images, and whether more would still help.

It is scored on the validation split; the test split is used only once, for the methods fitted on all images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core.seeds import derive
from sightline.datasets.processed_set import Images, Split
from sightline.metrics import paired
from sightline.metrics.base import DIGITS, Bools, Labels, predicted_classes
from sightline.stages.baseline.config import BaselineConfig
from sightline.stages.baseline.method import METHODS, BaselineMethod

DRAWS = 3
"""Number of random draws for each number of images, over which the accuracy is averaged."""


def learning_curve(images: Images, labels: Labels, validation: Split, config: BaselineConfig, classes: int) -> Any:
    """Fits `config.learning_curve` on 5, 10, 20, 50 ... images of each class, and on all.

    Args:
        images: The training images [n, h, w, c] uint8, without augmented copies.
        labels: [n] classes of the images.
        validation: The split that every fit is scored on, with at least one image.
        config: The section `baseline` of the configuration.
        classes: Number of classes.

    Returns:
        JSON values: `method`, `title`, `split`, number of `images` scored; `points`, each with the number of images
        `per_class` (all of a class that has fewer), the total number of `images` and the `accuracy` of each draw, the
        last point for all images; and `doubling`: the gain in accuracy of all images over half of them, with its 95 %
        interval, on the same validation images.
    """
    name = str(config.learning_curve)
    method = METHODS[name](config, classes)
    pictures, truth = validation.images(), validation.labels
    most = int(np.bincount(labels).max())
    everything = _correct(method, images, labels, pictures, truth)  # first, so that pixel statistics are of all images
    points = []
    for count in counts_below(most):
        draws = [_draw(labels, count, config.seed, draw) for draw in range(DRAWS)]
        found = [_correct(method, images[rows], labels[rows], pictures, truth).mean() for rows in draws]
        points.append(_point(count, len(draws[0]), found))
    points.append(_point(most, len(labels), [everything.mean()]))
    half = _draw(labels, max(1, most // 2), config.seed, 0)
    gain, low, high = paired.difference(everything, _correct(method, images[half], labels[half], pictures, truth))
    doubling = {"gain": round(gain, DIGITS), "low": round(low, DIGITS), "high": round(high, DIGITS)}
    scored = {"split": "val", "images": len(truth)}
    return {"method": name, "title": method.title, **scored, "points": points, "doubling": doubling}


def counts_below(most: int) -> list[int]:
    """Returns 5, 10, 20, 50, 100 ... below `most`.

    >>> counts_below(140)
    [5, 10, 20, 50, 100]
    """
    steps = (first * 10**power for power in range(9) for first in (1, 2, 5))
    return [count for count in steps if 5 <= count < most]


def _draw(labels: Labels, count: int, seed: int, draw: int) -> npt.NDArray[np.intp]:
    """Returns the positions of `count` images of each class; smaller draws are subsets of larger ones."""
    random = np.random.default_rng(derive(seed, "learning curve", draw))
    order = random.permutation(len(labels))
    return np.sort(np.concatenate([order[labels[order] == label][:count] for label in np.unique(labels)]))


def _correct(method: BaselineMethod, images: Images, labels: Labels, pictures: Images, truth: Labels) -> Bools:
    method.fit(images, labels)
    return np.asarray(predicted_classes(method.predict_proba(pictures)) == truth)


def _point(per_class: int, images: int, accuracies: list[Any]) -> dict[str, Any]:
    rounded = [round(float(accuracy), DIGITS) for accuracy in accuracies]
    return {"per_class": per_class, "images": images, "accuracy": rounded}
