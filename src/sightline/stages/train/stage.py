"""The train stage: trains a model on a processed set and writes it to disk."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightline.core import files, progress
from sightline.core.code_digest import CodeDigests
from sightline.datasets.predictions import Predictions
from sightline.datasets.processed_set import ProcessedSet
from sightline.datasets.raw_set import SPLITS
from sightline.models import saved_model, start_model, weights_origin
from sightline.models.model_info import TrainingLineage, preparation
from sightline.models.options import ModelOption, PretrainableOption
from sightline.models.packaged_weights import PACKAGE
from sightline.predict.teacher import bundle_digest
from sightline.stages.train.checkpointing import HISTORY, LogMetrics, write_history
from sightline.stages.train.config import TrainConfig
from sightline.stages.train.fit import fit, join
from sightline.stages.train.probe_fit import fit_probe
from sightline.stages.train.recipes import Probe

_log = logging.getLogger(__name__)

CHECKPOINTS = files.STATE / "checkpoints"
DAYS_KEPT = 30


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training run.

    Attributes:
        model_digest: SHA-256 of the weights.
        data_digest: SHA-256 of the processed set.
        counts: Number of images per split, and of `classes`.
        best: The best epoch's metrics.
        validation: Predictions of the best epoch's weights for the validation images.
        initial: SHA-256 and licence of the file of initial weights; None without.
        start: The model that training started from, as `model.json` records it; empty without.
    """

    model_digest: str
    data_digest: str
    counts: Mapping[str, int]
    best: Mapping[str, float]
    validation: Predictions
    initial: Mapping[str, str] | None = None
    start: Mapping[str, Any] = field(default_factory=dict)


class TrainingRun:
    """A training run: its inputs, its identity and its folder of checkpoints.

    Args:
        data: Folder written by the preprocess stage.
        config: The train section.
        start: Digest of the model to start from, which `watch` has resolved and stored; None if `config.start_from` is.

    Attributes:
        initial, start: See `TrainingResult`.
        teacher: Digest of the bundle that the network learns from; "" without.
        checkpoints: Folder for the checkpoints of this run only, named by a digest of configuration, data and code. It
            is not one of the stage's outputs, which DVC removes before a stage runs.
    """

    def __init__(self, data: Path, config: TrainConfig, start: str | None = None) -> None:
        self.data = ProcessedSet(data)
        self.config = config
        self.start: dict[str, Any] = {}
        self._settings = {k: v for k, v in dataclasses.asdict(config).items() if k != "num_workers"}
        code = [CodeDigests().digest(__name__)]
        self.initial = weights_origin.of_weights(getattr(config.model, "weights", None), config.model.name)
        if self.initial:
            code.append(self.initial["sha256"])  # the configuration has only their location
        self.teacher = bundle_digest(config.teacher) if config.teacher is not None else ""
        if self.teacher:
            code.append(self.teacher)
        if config.start_from is not None:
            found = start_model.require_start(start)
            found.check(dataclasses.asdict(config.model), preparation(self.data.transform))
            self.start = found.record(self.data.classes)
            self.config = dataclasses.replace(config, start_from=str(found.folder))
            code.append(found.digest)
        if config.unknown_weight and (unknown := self.data.unknown):
            code.append(unknown.digest)
        identity = {**self._settings, "data": self.data.digest, "code": code}
        self.checkpoints = CHECKPOINTS / files.sha256(files.canonical_json(identity).encode())[:16]

    def run(self, model: Path, history: Path, log: LogMetrics | None = None) -> TrainingResult:
        """Trains and writes the model; resumes an interrupted run with the same identity.

        Args:
            model: Folder for `model.safetensors` and `model.json`.
            history: File for the epochs' metrics (CSV).
            log: Called with every epoch's metrics and its number.
        """
        data, config = self.data, self.config
        counts = {split: len(data.split(split)) for split in SPLITS}
        progress.step("")
        _log.info(f"train: {config.model.name}, {counts['train']} images of {len(data.classes)} classes")
        if self.start:
            new = ", ".join(self.start["new"][:10]) + (", ..." if len(self.start["new"]) > 10 else "")
            origin = f"starts from the model {self.start['model_sha256'][:8]}"
            _log.info(f"train: {origin}: {len(self.start['kept'])} classes that it knows, new: {new or 'none'}")
        if hint := size_hint(config.model, max(data.shape[:2])):
            _log.info(f"train: {hint}")
        # Two processes with the same run would overwrite each other's checkpoints: the stage's lock does not cover the
        # jobs of a sweep, which share the project's checkpoints.
        forget_abandoned(self.checkpoints)
        with files.lock(f"train-{self.checkpoints.name}", CHECKPOINTS):
            if isinstance(config.recipe, Probe):
                fitted = fit_probe(data, config, log)
            else:
                fitted = fit(data, config, self.checkpoints, log)
            write_history(fitted.history, history)
            best = {name: float(f"{fitted.best[name]:.6g}") for name in HISTORY[1:]}
            best = {"epoch": int(fitted.best["epoch"]) + 1, **best}
            lineage = TrainingLineage(
                data_sha256=data.digest,
                transform_sha256=files.sha256_file(data.transform),
                preparation=preparation(data.transform),
                start=self.start,
                initial_weights=self.initial,
                teacher_sha256=self.teacher,
                training={name: value for name, value in self._settings.items() if name != "model"},
                best_epoch=best,
                profile=fitted.profile,
            )
            digest = saved_model.save_model(model, fitted.classifier, config.model, data.shape, data.classes, lineage)
            if self.checkpoints.is_dir():  # a probe has none
                shutil.rmtree(self.checkpoints)
        metrics = "  ".join(f"{name} {fitted.best[name]:.4g}" for name in HISTORY[1:] if name != "lr")
        _log.info(f"train: best epoch {best['epoch']}: {metrics}")
        counts["classes"] = len(data.classes)
        return TrainingResult(digest, data.digest, counts, best, fitted.validation, self.initial, self.start)

    def join(self) -> None:
        """Takes part in the run as one of the processes other than the first."""
        if not isinstance(self.config.recipe, Probe):  # one process solves for it
            join(self.data, self.config, self.checkpoints)


def size_hint(option: ModelOption, side: int) -> str | None:
    """Returns a hint if the images are smaller than those that the pretrained weights were trained on; else None."""
    if not isinstance(option, PretrainableOption) or option.weights not in ("DEFAULT", PACKAGE):
        return None
    own = option.input_side()
    if own is None or side >= own:
        return None
    line = f"the weights of {option.name} come from images of {own} px, these have {side}"
    return f"{line}: a larger preprocess.size often helps"


def forget_abandoned(mine: Path) -> None:
    """Removes the checkpoints of other runs that have not been resumed for `DAYS_KEPT` days."""
    for folder in CHECKPOINTS.glob("*/") if CHECKPOINTS.is_dir() else ():
        last_used = max((path.stat().st_mtime for path in folder.rglob("*")), default=folder.stat().st_mtime)
        if folder.name != mine.name and time.time() - last_used > DAYS_KEPT * 86400:
            with contextlib.suppress(files.LockedError), files.lock(f"train-{folder.name}", CHECKPOINTS):
                shutil.rmtree(folder)
