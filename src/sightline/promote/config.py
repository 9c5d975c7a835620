"""Configuration of promotion; see `conf/promote/default.yaml` for the values and what they do."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.config.schema import require


@dataclass
class PromoteConfig:
    """The section `promote` of the configuration.

    Attributes:
        name: The registered model in MLflow.
        min_accuracy: Accuracy on the test split below which nothing is promoted, 0 to 1.
        min_class_recall: The same for the recall of every class in the test split.
        margin: Tolerated loss of accuracy compared with the champion, 0 to 1: the lower bound of the 95 % interval of
            the difference must not be below `-margin`.
        max_ece: Maximum expected calibration error, 0 to 1.
        min_parity_images: Minimum number of images in the parity check, or all test and validation images if there are
            fewer.
        max_rejected: Maximum fraction of the inputs that ingestion may have rejected, 0 to 1.
        max_lost: Maximum fraction of its images that a class, or the test split, may have lost since the revision that
            `--against` names, 0 to 1.
    """

    name: str
    min_accuracy: float
    min_class_recall: float
    margin: float
    max_ece: float
    min_parity_images: int
    max_rejected: float
    max_lost: float

    def __post_init__(self) -> None:
        forbidden = sorted(set("/:@\\") & set(self.name))
        require(bool(self.name.strip()) and not forbidden, f"name: {self.name!r} must not be empty or hold /, : or @")
        for field in ("min_accuracy", "min_class_recall", "margin", "max_ece", "max_rejected", "max_lost"):
            value = getattr(self, field)
            require(0 <= value <= 1, f"{field}: must be 0 to 1, not {value}")
        require(self.min_parity_images > 0, f"min_parity_images: must be positive, not {self.min_parity_images}")
