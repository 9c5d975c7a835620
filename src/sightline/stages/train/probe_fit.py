"""Fitting by linear probe: the head is solved for without epochs or steps, and the pretrained backbone is unchanged."""

from __future__ import annotations

import logging

import numpy as np
import torch

from sightline.datasets.processed_set import ProcessedSet
from sightline.models.frozen_features import FrozenFeatures
from sightline.stages.train import hardware
from sightline.stages.train.build import check_splits, device, network
from sightline.stages.train.checkpointing import HISTORY, LogMetrics
from sightline.stages.train.config import TrainConfig
from sightline.stages.train.fit import FitResult, predict_validation
from sightline.stages.train.probe_head import split_features, start_head

_log = logging.getLogger(__name__)


def fit_probe(data: ProcessedSet, config: TrainConfig, log: LogMetrics | None = None) -> FitResult:
    """Returns the network with the probe's solution as its head.

    Its history has one row. The losses are plain cross-entropy; that of the training split excludes augmented copies.

    Args:
        data: The processed set.
        config: The train section.
        log: Called with the metrics and the number 0.

    Raises:
        UserError: If a split is empty, or the configured hardware is not available.
    """
    hardware.prepare(config.trainer, config.threads)
    check_splits(data, config.batch_size, 1)
    classifier = network(data, config).classifier
    place = device(config.trainer)
    start_head(classifier, data, config, place)
    classifier.eval()
    head = classifier.head
    frozen = FrozenFeatures(classifier, place)
    row = {"epoch": 0.0, "lr": 0.0}
    for name, rows in (("train", data.originals("train")), ("val", np.arange(len(data.split("val"))))):
        labels = torch.from_numpy(data.split(name).labels[rows])
        with torch.inference_mode():
            logits = head(torch.from_numpy(split_features(frozen, data.split(name), rows))).double()
        row[f"{name}_loss"] = float(torch.nn.functional.cross_entropy(logits, labels))
        row[f"{name}_accuracy"] = float((logits.argmax(1) == labels).double().mean())
    row = {name: row[name] for name in HISTORY}
    if log is not None:
        log({name: row[name] for name in HISTORY[1:]}, 0)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else str(place)
    profile = hardware.numeric_profile(config.trainer, config.threads, str(place), "32-true") | {"device": name}
    validation = predict_validation(classifier, data, config.batch_size, place)
    return FitResult(classifier.cpu().eval(), [row], row, profile, validation)
