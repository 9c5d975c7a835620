"""A training run tracked in MLflow, for the stage and the Python API."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig

from sightline import tracking
from sightline.core.errors import PrunedError
from sightline.datasets import predictions
from sightline.stages.train.checkpointing import LogMetrics
from sightline.stages.train.stage import TrainingResult, TrainingRun

VALIDATION = "val_predictions.parquet"
"""The run's file of predictions on the validation split, which is used to compare runs."""


def train_tracked(
    training: TrainingRun,
    model: Path,
    history: Path,
    config: DictConfig,
    overrides: Sequence[str],
    made_with: Mapping[str, str],
    tags: Mapping[str, str] | None = None,
    report: LogMetrics | None = None,
) -> TrainingResult:
    """Trains as `TrainingRun.run` does, and logs the run to MLflow.

    Args:
        training: The training run.
        model: Folder for the model.
        history: File for the epochs' metrics.
        config: The complete composed configuration.
        overrides: The overrides on this run's command line, which name it in a sweep.
        made_with: The settings that the dataset was made with, as flat parameters.
        tags: Further tags of the run, also set on a resumed run, which may now belong to another sweep.
        report: Called with an epoch's metrics after they are logged; may end the training by raising `PrunedError`.
    """
    tracker = tracking.start_training(config, overrides, training.checkpoints / "mlflow_run", made_with)
    status = "FAILED"

    def log(metrics: Mapping[str, float], epoch: int) -> None:
        tracker.log_epoch(metrics, epoch)
        if report is not None:
            report(metrics, epoch)

    try:
        if tags:
            tracker.set_tags(tags)
        tracker.start_system_metrics()
        trained = training.run(model, history, log)
        initial = {f"{tracking.INITIAL_TAG}.{name}": value for name, value in (trained.initial or {}).items()}
        if trained.start:
            initial[tracking.START_TAG] = trained.start["model_sha256"]
        tracker.set_tags({tracking.MODEL_TAG: trained.model_digest, tracking.DATA_TAG: trained.data_digest, **initial})
        data = training.data.root
        source = made_with.get("ingest.source.name", data.name)
        tracker.log_dataset(source, data, trained.data_digest, trained.counts, "training")
        tracker.log_metrics({f"best_{name}": trained.best[name] for name in ("epoch", "val_loss", "val_accuracy")})
        tracker.log_artifact(model / "model.safetensors", "model")
        tracker.log_artifact(model / "model.json", "model")
        tracker.log_artifact(history)
        with tempfile.TemporaryDirectory() as temporary:
            answers = trained.validation
            path = Path(temporary) / VALIDATION
            predictions.save_predictions(
                path, answers.ids, answers.labels, answers.predicted, answers.probabilities, answers.classes
            )
            tracker.log_artifact(path)
        best = f"loss {trained.best['val_loss']:.4f}, accuracy {trained.best['val_accuracy']:.4f}"
        tracker.describe(
            f"Best epoch, {trained.best['epoch']:.0f}: {best} on {trained.counts['val']:,} validation images."
        )
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    except PrunedError:
        status = "KILLED"
        tracker.set_tags({"sightline.pruned": "true"})
        raise
    finally:
        tracker.finish(status)
    if not tags:  # for its jobs, a sweep announces its own link
        tracker.announce("train")
    return trained
