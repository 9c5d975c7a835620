"""A sweep's job in the process that trains it, whoever started that: a warm process of this machine, SLURM, Ray.

It is called in the process's main thread, since training sets signal handlers.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sightline.config.compose import typed
from sightline.core import terminal_log
from sightline.core.errors import PrunedError
from sightline.sweep.job import JobOutcome, JobTask

PROCESSED = Path("data/processed")


def run_job(task: JobTask) -> JobOutcome:
    """Trains a job, in the folder of its data.

    Args:
        task: The job.
    """
    with _printing_to(task.log):
        try:
            os.chdir(task.slot)
            if task.runs is not None:
                os.environ["MLFLOW_TRACKING_URI"] = task.runs
            return _train(task)
        except PrunedError:
            return JobOutcome("pruned")
        except (KeyboardInterrupt, SystemExit):
            return JobOutcome("stopped")
        except Exception as error:
            import traceback

            traceback.print_exc()
            return JobOutcome.failed(error)


def _train(task: JobTask) -> JobOutcome:
    # Imported here since it takes seconds, and a missing folder should fail at once.
    from sightline.datasets import data_settings
    from sightline.stages.train.config import TrainConfig
    from sightline.stages.train.stage import TrainingRun
    from sightline.stages.train.tracked import train_tracked

    start = time.monotonic()
    config = task.job.config
    training = TrainingRun(PROCESSED, typed(TrainConfig, config.train, "train"), task.job.weights.get("start"))
    made_with = data_settings.load_settings(Path(), training.data.digest)
    models, history = task.output / "models", task.output / "reports" / "history.csv"
    report = _reporter(task, config.train.max_epochs)
    trained = train_tracked(training, models, history, config, task.job.words, made_with, task.tags, report)
    result = {name: float(value) for name, value in trained.best.items()}
    result["megabytes"] = (models / "model.safetensors").stat().st_size / 1e6
    result["seconds"] = round(time.monotonic() - start, 3)
    result["validation_images"] = float(trained.counts["val"])
    _answer(task, result)
    return JobOutcome("complete", result)


def _answer(task: JobTask, result: dict[str, float]) -> None:
    """Writes the model's predictions on the validation images, for comparing jobs, and measures the latency."""
    import numpy as np

    from sightline.datasets import predictions
    from sightline.datasets.processed_set import ProcessedSet
    from sightline.models.inference import Predictor

    data = ProcessedSet(PROCESSED)
    split, predictor = data.split("val"), Predictor.load(task.output / "models")
    parts = [predictor(split.images(slice(start, start + 256))) for start in range(0, len(split), 256)]
    probabilities = np.concatenate(parts)
    task.answers.parent.mkdir(parents=True, exist_ok=True)
    predictions.save_predictions(
        task.answers, split.ids, split.labels, probabilities.argmax(1), probabilities, data.classes
    )
    if task.measure_latency:
        one = split.images(slice(0, 1))
        times = []
        for _ in range(50):
            begun = time.perf_counter()
            predictor(one)
            times.append(time.perf_counter() - begun)
        result["latency_ms"] = float(np.median(times[10:]) * 1e3)


def _reporter(task: JobTask, epochs: int) -> Callable[[Mapping[str, float], int], None] | None:
    """Returns a function that reports an epoch's metrics and may raise PrunedError; None without a pruner."""
    if task.trial is None:
        return None
    import optuna

    from sightline.sweep.study import pruner_named
    from sightline.sweep.study_storage import open_storage, study_location

    place, name, number, pruner, metric = task.trial
    study = optuna.load_study(
        study_name=name, storage=open_storage(place or study_location()), pruner=pruner_named(pruner, epochs)
    )
    trial = optuna.Trial(study, study.trials[number]._trial_id)

    def report(values: Mapping[str, float], epoch: int) -> None:
        trial.report(values[metric], epoch)
        if trial.should_prune():
            raise PrunedError(f"pruned after epoch {epoch + 1}")

    return report


@contextlib.contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    """Redirects all output to a file, including that of libraries and child processes."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    terminal_log.configure()
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in zip((1, 2), kept, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
