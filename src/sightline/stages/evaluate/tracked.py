"""Logging of an evaluation to the MLflow run of its model, for the stage and the Python API."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from sightline import tracking
from sightline.datasets.processed_set import ProcessedSet
from sightline.metrics.headline_metrics import headline, sentence
from sightline.stages.evaluate import stage
from sightline.stages.evaluate.results import Evaluation
from sightline.tracking import run_settings


def log_evaluation(
    result: Evaluation, out: Path, config: DictConfig, model_digest: str, data: ProcessedSet
) -> int | None:
    """Adds the headline metrics, settings and files to the model's run.

    Args:
        result: The evaluation.
        out: The folder of its reports.
        config: The complete composed configuration.
        model_digest: SHA-256 of the weights, which identifies the run.
        data: The processed set that was scored.

    Returns:
        How often this test split has been scored; None if unknown.
    """
    tracker = tracking.resume_by_model(model_digest, {})
    tracker.log_metrics({f"test_{name}": value for name, value in headline(result.numbers).items()})
    # As tags, because a run's parameters cannot change and a model may be evaluated more than once.
    settings = tracking.flat_params(config, "evaluate")
    tracker.set_tags(run_settings.distinct(settings))
    tracker.log_text(*run_settings.artifact("evaluate", settings))
    images = f"{len(result.test.ids):,} {result.test.split} images"
    tracker.describe(sentence(headline(result.numbers), images), stage.REPORT)
    times = tracker.count_test(data.split_digest("test"))
    for name in (stage.DETAIL, stage.CALIBRATION, stage.PREDICTIONS, stage.SUSPECTS, stage.REPORT):
        tracker.log_artifact(out / name)
    for folder in (stage.FIGURES, stage.PLOTS):
        tracker.log_artifact(out / folder, folder)
    tracker.announce("evaluate")
    return times
