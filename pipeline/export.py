"""export: the model -> models/bundle/ (ONNX, contract, class map, card), proven equal before it is written."""

from __future__ import annotations

from pathlib import Path

from sightline import files
from sightline.config import Context, stage_main
from sightline.export.config import ExportConfig

RAW = Path("data/raw")
DATA = Path("data/processed")
MODEL = Path("models")
METRICS = Path("reports/metrics.json")
OUTPUT = Path("models/bundle")


def run(config: ExportConfig, context: Context) -> None:
    """Writes the bundle, if it proves equal to the trained model."""
    from sightline import tracking
    from sightline.export.stage import export

    root, out = context.root, context.output / OUTPUT
    parity = export(config, root / RAW, root / DATA, root / MODEL, out, root / METRICS)
    largest = parity.max_difference
    print(f"export: {out} equals the trained model on {parity.images} images (largest difference {largest:.1e})")
    tracker = tracking.resume_by_model(files.sha256_file(root / MODEL / "model.safetensors"), {})
    tracker.log_metrics({"parity_images": parity.images, "parity_max_difference": largest})
    tracker.log_artifact(out, "bundle")


if __name__ == "__main__":
    stage_main("export", ExportConfig, run)
