"""Logging of a bundle to the MLflow run of its model, for the stage and the Python API."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from sightline import tracking
from sightline.core import files
from sightline.stages.export.result import ExportResult, measurements, run_metrics
from sightline.tracking import run_settings


def log_export(result: ExportResult, out: Path, config: DictConfig, model_digest: str) -> None:
    """Adds measurements, settings and the bundle in `out` to the run of the model with these weights (SHA-256)."""
    tracker = tracking.resume_by_model(model_digest, {})
    tracker.log_metrics(run_metrics(result))
    tracker.log_text("measurements.json", files.canonical_json(measurements(result)))
    settings = tracking.flat_params(config, "export")
    tracker.set_tags(run_settings.distinct(settings))  # as tags, because a model may be exported again
    tracker.log_text(*run_settings.artifact("export", settings))
    tracker.log_artifact(out, "bundle")
    tracker.announce("export")
