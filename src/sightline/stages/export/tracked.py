"""A bundle in the run of MLflow's that its model has, for the stage and for Python."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from sightline import tracking
from sightline.stages.export.result import ExportResult, metrics


def log_export(result: ExportResult, out: Path, config: DictConfig, model_digest: str) -> None:
    """Adds measurements, settings and the bundle in `out` to the run of the model with these weights (SHA-256)."""
    tracker = tracking.resume_by_model(model_digest, {})
    tracker.log_metrics(metrics(result))
    tracker.set_tags(tracking.flat_params(config, "export"))  # tags, as evaluation's: a model may be exported again
    tracker.log_artifact(out, "bundle")
