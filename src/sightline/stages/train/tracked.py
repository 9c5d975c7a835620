"""A training as a run of MLflow's, for the stage and for Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig

from sightline import tracking
from sightline.stages.train.stage import TrainingResult, TrainingRun


def train_tracked(
    training: TrainingRun,
    model: Path,
    history: Path,
    config: DictConfig,
    overrides: Sequence[str],
    made_with: Mapping[str, str],
) -> TrainingResult:
    """Trains as `TrainingRun.run` does, and tells MLflow.

    Args:
        training: The training.
        model: Folder for the model.
        history: File for the epochs' metrics.
        config: The whole composed configuration.
        overrides: What this run sets, which names it in a sweep.
        made_with: The settings that the data were made with, as flat parameters.
    """
    tracker = tracking.start_training(config, overrides, training.checkpoints / "mlflow_run", made_with)
    status = "FAILED"
    try:
        tracker.start_system_metrics()
        trained = training.run(model, history, tracker.log_epoch)
        initial = {f"{tracking.INITIAL_TAG}.{name}": value for name, value in (trained.initial or {}).items()}
        tracker.set_tags({tracking.MODEL_TAG: trained.model_digest, tracking.DATA_TAG: trained.data_digest, **initial})
        data = training.data.root
        source = made_with.get("ingest.source.name", data.name)
        tracker.log_dataset(source, data, trained.data_digest, trained.counts, "training")
        tracker.log_metrics({f"best_{name}": trained.best[name] for name in ("epoch", "val_loss", "val_accuracy")})
        tracker.log_artifact(model / "model.safetensors", "model")
        tracker.log_artifact(model / "model.json", "model")
        tracker.log_artifact(history)
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        tracker.finish(status)
    return trained
