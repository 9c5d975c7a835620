"""train: data/processed -> models/model.safetensors, models/model.json, reports/history.csv, and an MLflow run."""

from __future__ import annotations

from pathlib import Path

from sightline import ranks
from sightline.script import Context, stage_main
from sightline.train.config import TrainConfig

DATA = Path("data/processed")
MODEL = Path("models")
HISTORY = Path("reports/history.csv")


def run(config: TrainConfig, context: Context) -> float:
    """Trains, writes the model, and returns the best epoch's validation metric: what a sweep optimises."""
    # Here, since these take ten seconds to import: --help and a bad configuration answer at once.
    from sightline import tracking
    from sightline.train.stage import Training

    training = Training(context.root / DATA, config)
    if ranks.rank() > 0:  # started by torchrun or srun beside the first, which writes and reports
        return training.join()
    tracker = tracking.start_training(context.config, context.overrides, training.checkpoints / "mlflow_run")
    status = "FAILED"
    try:
        tracker.start_system_metrics()
        trained = training.run(context.output / MODEL, context.output / HISTORY, tracker.log_epoch)
        tracker.set_tags({tracking.MODEL_TAG: trained.model_digest, tracking.DATA_TAG: trained.data_digest})
        tracker.log_dataset(context.config.ingest.source.name, DATA, trained.data_digest, trained.counts, "training")
        tracker.log_metrics({f"best_{name}": value for name, value in trained.best.items()})
        tracker.log_artifact(context.output / MODEL / "model.safetensors", "model")
        tracker.log_artifact(context.output / MODEL / "model.json", "model")
        tracker.log_artifact(context.output / HISTORY)
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        tracker.finish(status)
    return trained.best[config.monitor]


if __name__ == "__main__":
    stage_main("train", TrainConfig, run, sweep_callback="sightline.tracking.SweepRun")
