"""The schema of the export stage's section of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.schema import require


@dataclass
class ExportConfig:
    """What the export stage is asked to do.

    Attributes:
        opset: ONNX operator set, 18 to 23 (torch's exporter starts at 18).
        parity_images: Largest number of test images that the bundle is compared with the trained model on.
        parity_tolerance: Largest difference allowed between the two in any probability.
        license: The model's licence, as its card states it: an SPDX identifier, or "unspecified".
    """

    opset: int
    parity_images: int
    parity_tolerance: float
    license: str

    def __post_init__(self) -> None:
        require(18 <= self.opset <= 23, f"opset: must be 18 to 23, is {self.opset}")
        require(self.parity_images > 0, f"parity_images: must be positive, is {self.parity_images}")
        require(
            0 < self.parity_tolerance <= 0.01, f"parity_tolerance: must be in (0, 0.01], is {self.parity_tolerance}"
        )
        require(bool(self.license.strip()), "license: must not be empty; write 'unspecified' where there is none")
