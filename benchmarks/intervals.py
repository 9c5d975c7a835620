"""Coverage of the 95 % intervals, by simulation.

    python benchmarks/intervals.py --sets 400

The simulated models have a known true accuracy: normal noise on the logits, and an offset of the true class's logit
that yields the accuracy. There are 3 or 10 classes and 28 to 500 test images, either balanced or with class k having
a share proportional to 1/k (at least two images). For each setting, test sets are drawn and scored as in the evaluate
stage. A metric's coverage is the share of test sets whose interval contains the metric's value on about 100,000 images.
The nominal coverage is 0.95; the target is at least 0.93, up to the simulation error for this number of sets.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections import defaultdict
from collections.abc import Callable

import numpy as np

from sightline.metrics import classification, paired
from sightline.metrics.base import Floats, Labels

WANTED = 0.93
ACCURACIES = (0.5, 0.8, 0.95, 0.99, 0.999)
IMAGES = (28, 100, 500)
CLASSES = (3, 10)
SHOWN = (
    *("accuracy", "balanced_accuracy", "f1_macro", "precision_macro", "f1_weighted", "specificity_macro"),
    *("matthews_corrcoef", "cohen_kappa", "roc_auc_macro", "log_loss", "brier", "aurc"),
)


def class_sizes(images: int, classes: int, even: bool) -> Labels:
    """Returns the number of test images of each class, [classes]."""
    weights = np.ones(classes) if even else 1 / np.arange(1, classes + 1)
    return np.maximum(2, np.round(images * weights / weights.sum())).astype(np.int64)


def answers(sizes: Labels, lead: float, rng: np.random.Generator) -> tuple[Labels, Floats]:
    """Draws a test set: labels [n] and probabilities [n, classes]."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    logits = rng.normal(size=(len(labels), len(sizes)))
    logits[np.arange(len(labels)), labels] += lead
    weights = np.exp(1.5 * (logits - logits.max(axis=1, keepdims=True)))
    return labels, weights / weights.sum(axis=1, keepdims=True)


def lead_for(accuracy: float, classes: int) -> float:
    """Returns the offset of the true class's logit that yields an accuracy."""
    noise = np.random.default_rng(0).normal(size=(200_000, classes))
    needed = noise[:, 1:].max(axis=1) - noise[:, 0]
    return float(np.quantile(needed, accuracy))


def coverage(
    sizes: Labels, lead: float, sets: int, resamples: int, seed: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Returns each metric's share of sets whose interval contains the true value, and its mean interval width."""
    rng = np.random.default_rng(seed)
    often = math.ceil(100_000 / sizes.sum())
    truth = classification.classification_metrics(*answers(sizes * often, lead, rng), resamples=0, per_class_limit=0)
    held: dict[str, list[bool]] = defaultdict(list)
    widths: dict[str, list[float]] = defaultdict(list)
    for _ in range(sets):
        found = classification.classification_metrics(
            *answers(sizes, lead, rng), resamples=resamples, per_class_limit=0
        )
        for name in SHOWN:
            low, high = found[f"{name}_low"], found[f"{name}_high"]
            held[name].append(low <= truth[name] <= high)
            widths[name].append(high - low)
    return {n: float(np.mean(h)) for n, h in held.items()}, {n: float(np.mean(w)) for n, w in widths.items()}


def paired_coverage(images: int, only_a: float, only_b: float, sets: int, rng: np.random.Generator) -> float:
    """Returns the coverage of the interval of an accuracy difference.

    Args:
        images: Number of test images.
        only_a: Probability that the first model alone is right.
        only_b: Probability that the second model alone is right.
        sets: Number of test sets to draw.
        rng: Random generator.
    """
    held = 0
    for drawn in rng.multinomial(images, [only_a, only_b, 1 - only_a - only_b], size=sets):
        first, second = np.repeat([True, False, True], drawn), np.repeat([False, True, True], drawn)
        _, low, high = paired.difference(first, second)
        held += low <= only_a - only_b <= high
    return held / sets


def table(head: list[str], rows: list[list[str]], say: Callable[[str], None] = print) -> None:
    """Prints a Markdown table."""
    for row in (head, ["---"] * len(head), *rows):
        say(f"| {' | '.join(row)} |")


def main() -> None:
    """Prints the coverage of each metric: the mean over all settings, the lowest one, and its setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=400, help="number of test sets per setting")
    parser.add_argument("--resamples", type=int, default=200)
    given = parser.parse_args()
    found: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for classes, accuracy in itertools.product(CLASSES, ACCURACIES):
        lead = lead_for(accuracy, classes)
        for images, even in itertools.product(IMAGES, (True, False)):
            sizes = class_sizes(images, classes, even)
            held, _ = coverage(sizes, lead, given.sets, given.resamples, seed=classes * images)
            where = f"{classes} classes, {images} images{'' if even else ', uneven'}, accuracy {accuracy:g}"
            for name, share in held.items():
                found[name].append((share, where))
    rng = np.random.default_rng(0)
    for images, only_a, only_b in itertools.product((28, 100, 500), (0.0, 0.01, 0.1, 0.3), (0.0, 0.01, 0.1, 0.3)):
        share = paired_coverage(images, only_a, only_b, given.sets, rng)
        found["difference (paired)"].append((share, f"{images} images, {only_a:g} and {only_b:g} right alone"))
    error = math.sqrt(WANTED * (1 - WANTED) / given.sets)
    table(
        ["metric", "coverage, mean", "lowest", "where"],
        [[n, f"{np.mean([c for c, _ in each]):.3f}", f"{min(each)[0]:.3f}", min(each)[1]] for n, each in found.items()],
    )
    low = sum(share < WANTED - 2.5 * error for each in found.values() for share, _ in each)
    print(f"{low} of {sum(map(len, found.values()))} below {WANTED} by more than chance ({given.sets} sets each)")


if __name__ == "__main__":
    main()
