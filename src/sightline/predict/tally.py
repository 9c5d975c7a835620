"""The count of predictions by their outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sightline.core.rejection import RejectionReason
from sightline.predict.prediction import NONE_OF_THESE, Prediction


@dataclass
class Tally:
    """Counts predictions as they pass, for the closing line and the exit code."""

    predicted: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    abstained: int = 0
    none_of_these: int = 0

    def count(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Passes `predictions` on, counting them."""
        for prediction in predictions:
            if prediction.error:
                self.errors[prediction.error] += 1
            elif prediction.none_of_these:
                self.none_of_these += 1
            elif prediction.abstained:
                self.abstained += 1
            else:
                self.predicted += 1
            yield prediction

    @property
    def failed(self) -> int:
        """The number of inputs without a prediction."""
        return self.errors.total()

    def is_failure(self, strict: bool = False) -> bool:
        """Returns whether the run failed: no input got a prediction, or some inputs could not be listed.

        Args:
            strict: Whether a single failed input counts as a failure.
        """
        none_left = self.failed and not self.predicted + self.abstained + self.none_of_these
        return bool(none_left or self.errors[RejectionReason.INCOMPLETE_ARCHIVE] or (strict and self.failed))

    def __str__(self) -> str:
        """One human-readable line.

        >>> str(Tally(1200, Counter(missing=1)))
        '1,201 inputs: 1,200 predicted, 1 failed (missing: 1)'
        """
        total = self.predicted + self.abstained + self.none_of_these + self.failed
        line = f"{total:,} input{'' if total == 1 else 's'}: {self.predicted:,} predicted"
        if self.abstained:
            line += f", {self.abstained:,} abstained"
        if self.none_of_these:
            line += f", {self.none_of_these:,} {NONE_OF_THESE}"
        if self.errors:
            reasons = ", ".join(f"{reason}: {count:,}" for reason, count in sorted(self.errors.items()))
            line += f", {self.failed:,} failed ({reasons})"
        return line
