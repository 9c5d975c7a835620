"""The schema of the export stage's section of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.config.schema import require, require_one_of
from sightline.stages.export.formats import FORMATS


@dataclass
class Int8Config:
    """Settings of the int8 network, which is quantised to 8-bit integers.

    Attributes:
        enabled: Whether to make one.
        default: The form that predicts by default: "fp32", "int8", or "auto", which chooses by speed.
        min_speedup: Factor by which int8 must be faster than fp32 on this machine for "auto" to choose it.
        max_accuracy_loss: Maximum loss of accuracy relative to fp32, in percentage points.
        min_agreement: Minimum share of images, 0 to 1, for which it must predict the same class as fp32.
        calibration_images: Maximum number of training images from which activation ranges are determined.
    """

    enabled: bool
    default: str
    min_speedup: float
    max_accuracy_loss: float
    min_agreement: float
    calibration_images: int

    def __post_init__(self) -> None:
        require_one_of("int8.default", self.default, ("auto", "fp32", "int8"))
        require(self.enabled or self.default != "int8", "int8.default: is int8, and int8.enabled is false")
        require(1 <= self.min_speedup <= 100, f"int8.min_speedup: must be 1 to 100, not {self.min_speedup}")
        loss = self.max_accuracy_loss
        require(0 <= loss <= 100, f"int8.max_accuracy_loss: must be 0 to 100 percentage points, not {loss}")
        require(0 <= self.min_agreement <= 1, f"int8.min_agreement: must be 0 to 1, not {self.min_agreement}")
        require(
            self.calibration_images > 0, f"int8.calibration_images: must be positive, not {self.calibration_images}"
        )


@dataclass
class ExportConfig:
    """Settings of the export stage.

    Attributes:
        opset: ONNX operator set, 18 to 23 (torch's exporter starts at 18).
        parity_images: Number of images for comparing the bundle with the trained model: test images, plus
            validation images if there are too few.
        parity_tolerance: Maximum difference allowed between the two in any probability.
        int8: Settings of the int8 network.
        formats: Further formats of the network, from `FORMATS`.
        abstain: Whether the bundle abstains by default.
        license: The model's licence for its card: an SPDX identifier, or "unspecified".
    """

    opset: int
    parity_images: int
    parity_tolerance: float
    int8: Int8Config
    formats: list[str]
    abstain: bool
    license: str

    def __post_init__(self) -> None:
        require(18 <= self.opset <= 23, f"opset: must be 18 to 23, not {self.opset}")
        require(self.parity_images > 0, f"parity_images: must be positive, not {self.parity_images}")
        require(
            0 < self.parity_tolerance <= 0.01, f"parity_tolerance: must be in (0, 0.01], not {self.parity_tolerance}"
        )
        for form in self.formats:
            require_one_of("formats", form, tuple(FORMATS))
        require(bool(self.license.strip()), "license: must not be empty; write 'unspecified' where there is none")
