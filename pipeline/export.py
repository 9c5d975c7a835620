"""export: the model -> models/bundle/ (networks, transform, class map, card), if it passes the parity check."""

from __future__ import annotations

import sys
from pathlib import Path

from sightline.config.stage_runner import Context, stage_main
from sightline.core import files, progress
from sightline.core.package_imports import loading
from sightline.stages.export.config import ExportConfig

RAW = Path("data/raw")
DATA = Path("data/processed")
MODEL = Path("models")
REPORTS = Path("reports")
OUTPUT = Path("models/bundle")


def run(config: ExportConfig, context: Context) -> None:
    """Writes the bundle, if it passes the parity check."""
    with loading("PyTorch"):
        from sightline.reporting import closing_lines
        from sightline.stages.export.result import export_lines
        from sightline.stages.export.stage import export
        from sightline.stages.export.tracked import log_export

    root, out = context.root, context.output / OUTPUT
    outcome = export(config, root / RAW, root / DATA, root / MODEL, out, root / REPORTS)
    for line in export_lines(outcome):
        progress.write_line(f"export: {line}", sys.stdout)
    progress.step("adding the bundle to MLflow")
    log_export(outcome, out, context.config, files.sha256_file(root / MODEL / "model.safetensors"))
    for line in closing_lines.of_stage("export"):
        progress.write_line(line, sys.stdout)


if __name__ == "__main__":
    stage_main("export", ExportConfig, run)
