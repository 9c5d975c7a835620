"""Settings of the evaluate stage, which are explained in `conf/evaluate/default.yaml`."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.config.schema import require, require_one_of
from sightline.metrics.conformity_scores import CONFORMITY_SCORES


@dataclass
class EvaluateConfig:
    """The section `evaluate` of the configuration."""

    batch_size: int
    title: str | None
    tta: list[str]
    top_k: int
    per_class_limit: int
    gallery: int
    explain: bool
    seed: int
    resamples: int
    target_accuracy: float
    novelty: float
    conformity_score: str
    slices: list[str]
    slice_min_images: int
    robustness_images: int

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ValueError: If a value is outside its range, naming the field.
        """
        require(self.batch_size >= 1, f"batch_size: must be at least 1, not {self.batch_size}")
        for view in self.tta:
            require_one_of("tta", view, ("mirror", "crops"))
        require(len(set(self.tta)) == len(self.tta), f"tta: {', '.join(self.tta)}: each may be listed only once")
        require(self.top_k >= 2, f"top_k: {self.top_k} is below 2 (top-1 is `accuracy`)")
        require(self.per_class_limit >= 0, f"per_class_limit: {self.per_class_limit} is negative")
        require(0 <= self.gallery <= 200, f"gallery: {self.gallery} is not between 0 and 200")
        require(self.seed >= 0, f"seed: {self.seed} is negative")
        require(self.resamples >= 100, f"resamples: {self.resamples} is below 100, too few for an interval")
        require(0 < self.target_accuracy <= 1, f"target_accuracy: {self.target_accuracy} is not in 0..1")
        require(0 < self.novelty <= 0.5, f"novelty: {self.novelty} is not above 0 and at most 0.5")
        require_one_of("conformity_score", self.conformity_score, tuple(CONFORMITY_SCORES))
        require(self.slice_min_images >= 1, f"slice_min_images: must be at least 1, not {self.slice_min_images}")
        require(self.robustness_images >= 0, f"robustness_images: {self.robustness_images} is negative")
