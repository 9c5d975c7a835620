"""A choice of a setting with its reason, and the situation in which a rule makes one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sightline.project_setup.machine import Machine
from sightline.project_setup.set_fingerprint import Fingerprint
from sightline.project_setup.transfer import NETWORK

TINY = 32
"""Shorter side, in pixels, up to which images keep their size."""


@dataclass(frozen=True)
class Doubt:
    """An alternative value that might be better than a choice, which a search can determine.

    Attributes:
        other: The other value.
        reason: The reason why it might be better.
        slower: Whether training takes longer with it, so that it is no alternative within a budget.
    """

    other: Any
    reason: str
    slower: bool = False


@dataclass(frozen=True)
class Choice:
    """A value of a setting and its reason; if it is doubtful, also the alternative."""

    value: Any
    reason: str
    doubt: Doubt | None = None


@dataclass(frozen=True)
class Situation:
    """The input of a rule.

    Attributes:
        images: The fingerprint of the images.
        machine: The machine that they are trained on.
        chosen: The choices of the rules before, by key.
    """

    images: Fingerprint
    machine: Machine
    chosen: dict[str, Choice] = field(default_factory=dict)

    def value(self, key: str) -> Any:
        """Returns the value chosen by an earlier rule."""
        return self.chosen[key].value

    @property
    def training(self) -> int:
        """Images that training will have, about."""
        return max(1, self._undivided - self._drawn("val") - self._drawn("test"))

    @property
    def validating(self) -> int:
        """Images that validation will have, about."""
        return self.images.splits.get("val", 0) or self._drawn("val")

    @property
    def testing(self) -> int:
        """Images that the test will have, about."""
        return self.images.splits.get("test", 0) or self._drawn("test")

    @property
    def _undivided(self) -> int:
        """Images that the source leaves to be trained on, or to be drawn from."""
        return self.images.images - self.images.splits.get("val", 0) - self.images.splits.get("test", 0)

    def _drawn(self, split: str) -> int:
        """Images that are drawn for a split that the source does not give."""
        share = 0.0 if split in self.images.splits else float(self.value(f"preprocess.{split}_fraction"))
        return round(self._undivided * share)

    @property
    def pretrained(self) -> bool:
        """Whether pretrained weights were chosen."""
        return bool(self.value("train.model") == NETWORK)

    @property
    def few_tiny(self) -> bool:
        """Whether there are few images, and ones so tiny that they are enlarged: a short training is enough."""
        return self.images.side < TINY // 2 and self.training < 5000
