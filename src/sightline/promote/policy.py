"""Promotion policy: whether a candidate may replace the champion, as a pure function of the evidence on both."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sightline.core import files
from sightline.metrics import paired
from sightline.metrics.base import Bools, Labels
from sightline.promote.config import PromoteConfig

SIGNIFICANT = 0.05
LEAST_COMMON = 0.5
"""Minimum fraction of the champion's test images that the candidate must also have been tested on."""
FORCE = 'sightline promote --force --reason "..."'
MOST_NAMED = 3


@dataclass(frozen=True)
class Evidence:
    """The numbers about a bundle that a decision is based on.

    Attributes:
        ids: The test images' ids, sorted, n >= 1.
        classes: Class names in order of index.
        labels: [n] true classes.
        correct: [n] whether the bundle's model was correct.
        ece: Expected calibration error of its probabilities, 0 to 1.
        parity_images: Number of images in the parity check with the trained model.
        parity_available: Number of images available for it; None if the bundle does not record it.
        parity_agreement: Fraction of the compared images on which both predict the same class, 0 to 1.
    """

    ids: list[str]
    classes: list[str]
    labels: Labels
    correct: Bools
    ece: float
    parity_images: int
    parity_available: int | None
    parity_agreement: float

    @property
    def accuracy(self) -> float:
        """Accuracy on the test set."""
        return float(self.correct.mean())

    @property
    def test_set(self) -> str:
        """A digest of the test images' ids and true class names."""
        digest = hashlib.sha256()
        for row in zip(self.ids, self.names, strict=True):
            digest.update(files.canonical_json(row).encode())
        return digest.hexdigest()

    @property
    def names(self) -> list[str]:
        """The name of each image's true class."""
        return [self.classes[label] for label in self.labels]

    @property
    def recalls(self) -> dict[str, float]:
        """Recall of each class in the test set, by name."""
        return {self.classes[c]: float(self.correct[self.labels == c].mean()) for c in np.unique(self.labels)}


@dataclass(frozen=True)
class Decision:
    """The decision about a candidate.

    Attributes:
        reasons: Reasons against the candidate, one sentence each; empty if it may be promoted.
        facts: The numbers that were compared.
    """

    reasons: tuple[str, ...]
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether there are no reasons against the candidate."""
        return not self.reasons

    def with_reasons(self, more: Sequence[str]) -> Decision:
        """Returns the decision with further reasons against the candidate."""
        return Decision((*self.reasons, *more), self.facts)

    def lines(self) -> list[str]:
        """Returns the reasons and the numbers as text."""
        facts = "  ".join(
            f"{fact} {value:.4f}" if isinstance(value, float) else f"{fact} {value:,}"
            for fact, value in self.facts.items()
        )
        return [*(f"- {reason}" for reason in self.reasons), *([facts] if facts else [])]


def decide(candidate: Evidence, champion: Evidence | None, policy: PromoteConfig) -> Decision:
    """Decides whether a candidate is good enough, and not worse than the champion, if there is one.

    The comparison is paired (on images that both were tested on) and requires non-inferiority: the 95 % interval of
    the difference of accuracies must exclude a loss of more than the margin. McNemar's p-value for the whole test set
    is reported but does not decide, because the lack of a significant difference does not show that the candidate is
    no worse. For a single class, which often has too few images to exclude a loss, McNemar's test does decide.

    Args:
        candidate: The evidence on the candidate.
        champion: The evidence on the champion; None if there is none.
        policy: The requirements on a candidate.

    Returns:
        The decision, with all reasons against the candidate.
    """
    recalls = candidate.recalls
    worst = min(recalls, key=lambda name: recalls[name])
    facts = {"accuracy": candidate.accuracy, "min_class_recall": recalls[worst], "ece": candidate.ece}
    reasons = []
    # Each comparison is written so that NaN fails.
    if not candidate.accuracy >= policy.min_accuracy:
        reasons.append(f"accuracy {candidate.accuracy:.4f} is below promote.min_accuracy, {policy.min_accuracy:g}")
    if not recalls[worst] >= policy.min_class_recall:
        reasons.append(
            f"recall {recalls[worst]:.4f} of class {worst!r} is below promote.min_class_recall, "
            f"{policy.min_class_recall:g}"
        )
    if not candidate.ece <= policy.max_ece:
        reasons.append(f"calibration error {candidate.ece:.4f} is above promote.max_ece, {policy.max_ece:g}")
    if candidate.parity_agreement != 1:
        reasons.append(
            f"the bundle agrees with the trained model on {100 * candidate.parity_agreement:.2f} % of images"
        )
    # No more than are available: a small dataset is not a fault of the bundle.
    there = candidate.parity_available
    wanted = policy.min_parity_images if there is None else min(policy.min_parity_images, there)
    if candidate.parity_images < wanted:
        of = "" if there is None else f" of {there}"
        reasons.append(
            f"the parity check compared {candidate.parity_images}{of} images, promote.min_parity_images is "
            f"{policy.min_parity_images}: raise export.parity_images, export and promote again"
        )
    if champion is not None:
        reasons += _compare(candidate, champion, policy, facts)
    return Decision(tuple(reasons), facts)


def _compare(candidate: Evidence, champion: Evidence, policy: PromoteConfig, facts: dict[str, float]) -> list[str]:
    """Returns the reasons against the candidate from a comparison with the champion, and adds to `facts`.

    They are compared on the images that both test splits contain with the same class: neither was trained on these.
    """
    new = [name for name in candidate.classes if name not in champion.classes]
    if gone := [name for name in champion.classes if name not in candidate.classes]:
        more = f" and {len(gone) - 1} more of the champion's classes" if len(gone) > 1 else ", which the champion knows"
        return [f"the candidate does not know {gone[0]!r}{more}: if that is intended, {FORCE}"]
    place = {row: n for n, row in enumerate(zip(candidate.ids, candidate.names, strict=True))}
    rows = list(zip(champion.ids, champion.names, strict=True))
    common = [n for n, row in enumerate(rows) if row in place]
    if len(common) < LEAST_COMMON * len(rows):
        shared = (
            f"of the {len(rows):,} test images that the champion was scored on, this test split has {len(common):,}"
        )
        return [f"{shared}, too few to compare the two: {FORCE}"]
    ours, theirs = candidate.correct[[place[rows[n]] for n in common]], champion.correct[common]
    difference, low, high = paired.difference(ours, theirs)
    facts |= {
        "champion_accuracy": float(theirs.mean()),
        "difference": difference,
        "difference_low": low,
        "difference_high": high,
        "mcnemar_p": paired.mcnemar(ours, theirs),
    }
    if new:
        facts |= {"new_classes": len(new), "images_of_old_classes": len(common)}
    elif len(common) < max(len(rows), len(place)):
        facts["common_images"] = len(common)
    reasons = _worse_classes(champion.classes, champion.labels[common], ours, theirs)
    if low >= -policy.margin:
        return reasons
    scope = ""
    if new:
        scope = f" on the {len(common):,} images of its {len(champion.classes):,} classes"
    elif "common_images" in facts:
        scope = f" on the {len(common):,} images that both test splits have"
    difference_text = (
        f"accuracy minus the champion's{scope} is {difference:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}"
    )
    reason = f"{difference_text}: a loss of more than promote.margin, {policy.margin:g}, is not excluded"
    least = paired.largest_loss(len(common))
    if least > policy.margin:
        reason += (
            f"; identical predictions on {len(common)} test images exclude no loss below {least:.3f}: promote a "
            f"better candidate, test on more images, raise promote.margin, or {FORCE}"
        )
    return [reason, *reasons]


def _worse_classes(classes: Sequence[str], labels: Labels, ours: Bools, theirs: Bools) -> list[str]:
    """Returns a reason that names the classes whose recall is significantly below the champion's; empty if none is.

    McNemar's test for each of the K classes, at 0.05 / K (Bonferroni): with many classes, some are worse by chance.

    Args:
        classes: The champion's K classes.
        labels: [n] true classes of the images that both were tested on, indices into `classes`.
        ours: [n] whether the candidate was correct.
        theirs: [n] whether the champion was correct.
    """
    worse = []
    for label in np.unique(labels):
        of_class = labels == label
        now, before = ours[of_class], theirs[of_class]
        p = paired.mcnemar(now, before)
        if now.sum() < before.sum() and p < SIGNIFICANT / len(classes):
            recalls = f"{classes[label]!r} {before.mean():.4f} -> {now.mean():.4f}"
            worse.append(f"{recalls} on {of_class.sum():,} images (McNemar's p {p:.1e})")
    if not worse:
        return []
    more = f" and {len(worse) - MOST_NAMED} more" if len(worse) > MOST_NAMED else ""
    named = ", ".join(worse[:MOST_NAMED])
    return [f"recall of {len(worse)} class{'es' * (len(worse) > 1)} fell beyond chance: {named}{more}"]
