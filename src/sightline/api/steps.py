"""The stages as functions.

Each takes the settings of its section of `params.yaml` as keyword arguments with the same names (`denoise="gaussian",
denoise_options={"sigma": 1.0}`), with the defaults of `conf/` (that of the working directory if it is a project, else
the installed one), and gives exactly the same results as the stage, bit for bit. `params.yaml` itself is not read.

Results are folders `<kind>-<digest>` in a working folder: `folder`, else that of the input, else `./sightline-runs`.
They are written completely or not at all, and never replaced. Caches and the checkpoints of interrupted trainings are
kept in `./.sightline`, like those of the stages. Progress, such as a line per epoch, is logged by `sightline` as INFO.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sightline.api.datasets import ProcessedDataset, RawDataset
from sightline.api.models import HISTORY, ExportedModel, ModelEvaluation, TrainedModel
from sightline.api.place import new_place
from sightline.api.settings import section
from sightline.core import progress
from sightline.core.errors import UserError
from sightline.datasets.data_settings import flat_params
from sightline.datasets.processed_set import UNKNOWN
from sightline.project_setup.recognition import source_knobs

Folder = str | Path | None

_log = logging.getLogger(__name__)


def _report(stage: str, lines: Iterable[str]) -> None:
    """Logs the lines that the stage prints at its end."""
    for line in lines:
        _log.info(f"{stage}: {line}")


def ingest(source: str | os.PathLike[str], *, folder: Folder = None, **knobs: Any) -> RawDataset:
    """Reads and checks labelled images.

    Args:
        source: A folder with one folder per class, an archive of one, a list of images (CSV, Parquet ...), a URL of one
            of these or of a database, or the name of a source ("digits", "idx") with the setting `path` or `url`.
        folder: The working folder.
        knobs: Settings that differ from `conf/ingest/`: `limit=1000`, `labels="names.yaml"`.

    Raises:
        UserError: If the source cannot be read, or its images are not enough to train a classifier.
    """
    from sightline.sources import open_source
    from sightline.stages.ingest import console
    from sightline.stages.ingest.config import IngestConfig
    from sightline.stages.ingest.demands import require_trainable
    from sightline.stages.ingest.stage import ingest
    from sightline.stages.ingest.unknown_ingest import ingest_unknown

    settings, config = section("ingest", IngestConfig, {**source_knobs(source), **knobs})
    with progress.stage("ingest"), new_place(folder, "raw") as place:
        place.path.mkdir()
        summary = ingest(open_source(settings), settings, place.path)
        require_trainable(summary, settings)
        unknown = None
        if settings.unknown is not None:
            (place.path / UNKNOWN).mkdir()
            unknown = ingest_unknown(settings, place.path, place.path / UNKNOWN)
    others = console.unknown_lines(unknown, str(place.path / UNKNOWN)) if unknown else []
    _report("ingest", [*console.summary_lines(summary, str(place.path)), *others])
    return RawDataset(place.path, flat_params(config, "ingest"), tuple(summary["notes"]))


def preprocess(raw: RawDataset, *, folder: Folder = None, **knobs: Any) -> ProcessedDataset:
    """Brings images to one size and divides them into splits.

    Args:
        raw: The images.
        folder: The working folder.
        knobs: Settings that differ from `conf/preprocess/`: `size=64`, `channels=1`, `denoise="gaussian"`.

    Raises:
        UserError: If a requested split would be empty, or nothing is left to train on.
    """
    from sightline.stages.preprocess.cache import FOLDER
    from sightline.stages.preprocess.config import PreprocessConfig
    from sightline.stages.preprocess.console import set_lines
    from sightline.stages.preprocess.division import require_splits
    from sightline.stages.preprocess.stage import preprocess
    from sightline.stages.preprocess.unknown_halves import preprocess_unknown

    settings, config = section("preprocess", PreprocessConfig, knobs)
    with progress.stage("preprocess"), new_place(folder or raw.path.parent, "processed") as place:
        place.path.mkdir()
        summary = preprocess(raw.path, settings, place.path, FOLDER)
        require_splits(summary)
        unknown = None
        if (raw.path / UNKNOWN).is_dir():
            (place.path / UNKNOWN).mkdir()
            unknown = preprocess_unknown(raw.path / UNKNOWN, settings, place.path / UNKNOWN, FOLDER)
    _report("preprocess", [*set_lines(summary, settings, raw.path), *filter(None, [unknown])])
    return ProcessedDataset(place.path, raw, {**raw.settings, **flat_params(config, "preprocess")})


def train(data: ProcessedDataset, *, folder: Folder = None, track: bool = False, **knobs: Any) -> TrainedModel:
    """Trains a network; repeating an interrupted call resumes it.

    Args:
        data: The images.
        folder: The working folder.
        track: Whether to record the training as a run in MLflow, at MLFLOW_TRACKING_URI or in ./mlflow.db.
        knobs: Settings that differ from `conf/train/`: `model="resnet18"`, `lr=0.001`, `max_epochs=10`.

    Raises:
        UserError: If a split is empty, the requested hardware is not available, or the training diverged.
    """
    from sightline.stages.train.config import TrainConfig
    from sightline.stages.train.stage import TrainingRun

    settings, config = section("train", TrainConfig, knobs)
    start = None
    if settings.start_from is not None:
        from sightline.models import start_lookup

        start = start_lookup.find_start(settings.start_from, config.promote.name).digest
    training = TrainingRun(data.path, settings, start)
    with progress.stage("train"), new_place(folder or data.path.parent, "model") as place:
        if track:
            from sightline.stages.train.tracked import train_tracked

            train_tracked(training, place.path, place.path / HISTORY, config, (), data.settings)
        else:
            training.run(place.path, place.path / HISTORY)
    return TrainedModel(place.path)


def evaluate(
    model: TrainedModel, data: ProcessedDataset, *, folder: Folder = None, track: bool = False, **knobs: Any
) -> ModelEvaluation:
    """Scores a model on the test images and writes the report.

    Args:
        model: The model.
        data: The images; slices and robustness are only measured if it has its raw images.
        folder: The working folder.
        track: Whether to add the metrics to the model's run in MLflow.
        knobs: Settings that differ from `conf/evaluate/`: `robustness_images=0`.

    Raises:
        UserError: If there are no test images, or model and data have different classes.
    """
    from sightline.models.inference import Predictor
    from sightline.stages.evaluate import console
    from sightline.stages.evaluate.config import EvaluateConfig
    from sightline.stages.evaluate.explain import explainer
    from sightline.stages.evaluate.novelty_measurement import Embedder
    from sightline.stages.evaluate.stage import evaluate_split

    settings, config = section("evaluate", EvaluateConfig, knobs)
    predictor = Predictor.load(model.path, settings.tta)
    predictor.check_classes(data.classes)
    with progress.stage("evaluate"), new_place(folder or model.path.parent, "evaluation") as place:
        result = evaluate_split(
            predictor,
            data.files,
            config=settings,
            out=place.path,
            history=model.path / HISTORY,
            model_info=predictor.info.to_json(),
            raw=data.raw.path if data.raw else None,
            explainer=explainer(predictor.classifier, data.shape) if settings.explain else None,
            embedder=Embedder.of(predictor),
        )
    times = None
    if track:
        from sightline.stages.evaluate.tracked import log_evaluation

        times = log_evaluation(result, place.path, config, predictor.info.weights_sha256, data.files)
    _report("evaluate", console.evaluation_lines(result, times))
    return ModelEvaluation(place.path, model, data)


def export(evaluation: ModelEvaluation, *, folder: Folder = None, track: bool = False, **knobs: Any) -> ExportedModel:
    """Writes a model as a bundle, after comparing it with the trained network on real images.

    Args:
        evaluation: The model with its scores and its calibration, which become part of the bundle.
        folder: The working folder.
        track: Whether to add the bundle to the model's run in MLflow.
        knobs: Settings that differ from `conf/export/`: `formats=["openvino"]`, `license="Apache-2.0"`.

    Raises:
        UserError: If the bundle's predictions differ from the trained network's, or the raw images are unknown.
    """
    from sightline.stages.export.config import ExportConfig
    from sightline.stages.export.result import export_lines
    from sightline.stages.export.stage import export

    settings, config = section("export", ExportConfig, knobs)
    model, data = evaluation.model, evaluation.data
    if data.raw is None:
        raise UserError("export compares predictions of raw images: give ProcessedDataset its raw=RawDataset(...)")
    with progress.stage("export"), new_place(folder or evaluation.path.parent, "bundle") as place:
        result = export(settings, data.raw.path, data.path, model.path, place.path, evaluation.path)
    if track:
        from sightline.stages.export.tracked import log_export

        log_export(result, place.path, config, model.info.weights_sha256)
    _report("export", export_lines(result))
    return ExportedModel(place.path, tuple(export_lines(result)))
