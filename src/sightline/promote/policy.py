"""Promotion policy: whether a candidate may replace the champion, a pure function of the evidence on both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sightline.metrics import paired
from sightline.metrics.base import Bools, Labels
from sightline.promote.config import PromoteConfig


@dataclass(frozen=True)
class Evidence:
    """The numbers about a bundle that a decision rests on.

    Attributes:
        test_set: Stands for the test images and their true classes: equal only if these are.
        classes: Class names in order of index.
        labels: [n] true classes, n >= 1, in order of the images' ids.
        correct: [n] whether the bundle's model was right.
        ece: Expected calibration error of its probabilities, 0 to 1.
        parity_images: On how many images it was compared with the trained model.
        parity_available: How many there were for that; None where the bundle does not tell.
        parity_agreement: Share of these on which both name the same class, 0 to 1.
    """

    test_set: str
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
    def recalls(self) -> dict[str, float]:
        """Recall of each class that the test set has, by name."""
        return {self.classes[c]: float(self.correct[self.labels == c].mean()) for c in np.unique(self.labels)}


@dataclass(frozen=True)
class Decision:
    """The decision about a candidate.

    Attributes:
        reasons: Reasons against the candidate, one sentence each; none if it is to be promoted.
        facts: The numbers that were compared.
    """

    reasons: tuple[str, ...]
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the candidate."""
        return not self.reasons

    def with_reasons(self, more: Sequence[str]) -> Decision:
        """Returns the decision with more reasons against the candidate."""
        return Decision((*self.reasons, *more), self.facts)

    def lines(self) -> list[str]:
        """Returns the reasons, and the numbers, as text."""
        facts = "  ".join(f"{fact} {value:.4f}" for fact, value in self.facts.items())
        return [*(f"- {reason}" for reason in self.reasons), *([facts] if facts else [])]


def decide(candidate: Evidence, champion: Evidence | None, policy: PromoteConfig) -> Decision:
    """Decides whether a candidate is good enough, and not worse than the champion, if there is one.

    The comparison is paired (both have answered the same images) and asks for non-inferiority: the 95 % interval of
    the difference of accuracies must exclude a loss of more than the margin. McNemar's p-value is given beside it,
    and decides nothing: two models that are both bad are also not significantly different.

    Args:
        candidate: What is known of the candidate.
        champion: What is known of the champion; None if there is none.
        policy: What is asked of a candidate.

    Returns:
        The decision; all that speaks against the candidate, not only the first.
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
    # Not more than there are: a small set is no fault of the bundle.
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
    """Returns what speaks against the candidate beside the champion, and adds to the facts."""
    if candidate.test_set != champion.test_set:
        why = "the champion was scored on another test set, so the two cannot be compared"
        return [f"{why}: evaluate and promote the champion's model on this one, or use --force"]
    difference, low, high = paired.difference(candidate.correct, champion.correct)
    facts |= {
        "champion_accuracy": champion.accuracy,
        "difference": difference,
        "difference_low": low,
        "difference_high": high,
        "mcnemar_p": paired.mcnemar(candidate.correct, champion.correct),
    }
    if low >= -policy.margin:
        return []
    difference_text = f"accuracy minus the champion's is {difference:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}"
    reason = f"{difference_text}: a loss of more than promote.margin, {policy.margin:g}, is not excluded"
    images, least = len(candidate.labels), paired.largest_loss(len(candidate.labels))
    if least > policy.margin:
        reason += (
            f"; equal answers to {images} test images exclude no loss below {least:.3f}: promote a better candidate, "
            "test on more images, raise promote.margin, or use --force"
        )
    return [reason]
