"""A small project that has been run up to training, with its bundle, for the tests of export, predict and the CLI.

It has real handwritten digits, a real transform, and a convolutional network trained for about a second.
"""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sightline.core import files
from sightline.datasets import processed_set, raw_set
from sightline.imaging import decode
from sightline.imaging.transform.denoise.filters import Median
from sightline.imaging.transform.enhance.contrast import AutoContrast
from sightline.imaging.transform.pipeline import Transform
from sightline.imaging.transform.resize import Stretch
from sightline.imaging.transform.segment import NoSegmentation
from sightline.imaging.transform.step import Nothing
from sightline.stages.export.config import ExportConfig, Int8Config

# The form for prediction is fixed instead of chosen by measurement, so the tests behave the same on every machine.
INT8 = Int8Config(
    enabled=True, default="fp32", min_speedup=1.2, max_accuracy_loss=2.0, min_agreement=0.9, calibration_images=64
)
CONFIG = ExportConfig(
    opset=20, parity_images=120, parity_tolerance=1e-5, int8=INT8, formats=[], abstain=False, license="CC-BY-4.0"
)
CALIBRATION = {"temperature": 1.25, "target_accuracy": 0.95, "threshold": 0.75, "coverage": 0.8}
METRICS = {
    "accuracy": 0.95,
    "accuracy_high": 0.98,
    "accuracy_low": 0.9,
    "f1/class_0": 0.9,
    "f1_macro": 0.94,
    "images": 120,
}
CLASSES = [str(digit) for digit in range(10)]
TEST_ROWS = 120
VALIDATION_ROWS = 150
RATE = 0.1  # false alarm rate of novelty; at 0.05, most classes would have too few validation images


@dataclass(frozen=True)
class Project:
    """Folders as the stages write them, with some images of the test split as files."""

    root: Path
    raw: Path
    processed: Path
    model: Path
    reports: Path
    bundle: Path
    pictures: list[Path]
    labels: list[str]


@functools.cache
def _keep() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="sightline-tests-")


@functools.cache
def make_project() -> Project:
    """Makes the project, once per test run."""
    from sklearn.datasets import load_digits

    from sightline.stages.export.stage import export

    root = Path(_keep().name)
    raw, processed, model, reports = root / "data/raw", root / "data/processed", root / "models", root / "reports"
    for folder in (raw, processed, model, reports, root / "pictures"):
        folder.mkdir(parents=True)
    digits = load_digits()
    pixels = np.round(digits.images[:900] * 255 / 16).astype(np.uint8)[..., None]
    encoded = [decode.encode_png(image) for image in pixels]
    ids = [f"digit-{i:04d}" for i in range(len(encoded))]
    labels = digits.target[: len(encoded)]
    raw_set.write_raw_shards(
        (
            raw_set.RawImage(i, data, str(label), None, None, None, files.sha256(data), "PNG", 8, 8)
            for i, data, label in zip(ids, encoded, labels, strict=True)
        ),
        raw,
    )
    transform = Transform.build(
        size=12,
        channels=1,
        background=[0],
        clean=Nothing("none"),
        denoise=Median("median", kernel_size=3),
        enhance=AutoContrast("autocontrast", cutoff=0.01),
        segment=NoSegmentation("none"),
        resize=Stretch("stretch"),
    )
    prepared = np.stack([transform.decode(data) for data in encoded])
    write_processed(processed, prepared, ids, labels, [files.sha256(data) for data in encoded])
    transform.save(processed / processed_set.TRANSFORM)
    taught = slice(TEST_ROWS + VALIDATION_ROWS, None)
    _train(prepared[taught], labels[taught], model)
    _evaluate(processed, model, reports)
    bundle = model / "bundle"
    export(CONFIG, raw, processed, model, bundle, reports)
    pictures = [root / "pictures" / f"{i}.png" for i in ids[:TEST_ROWS]]
    for path, data in zip(pictures, encoded, strict=False):
        path.write_bytes(data)
    return Project(root, raw, processed, model, reports, bundle, pictures, [str(label) for label in labels[:TEST_ROWS]])


def write_processed(root: Path, prepared: np.ndarray, ids: list[str], labels: np.ndarray, digests: list[str]) -> None:
    np.save(root / "shard-0.npy", prepared)
    rows = [
        {
            "id": ids[i],
            "label": int(labels[i]),
            "split": "test" if i < TEST_ROWS else "val" if i < TEST_ROWS + VALIDATION_ROWS else "train",
            "shard": "shard-0.npy",
            "row": i,
            "origin": ids[i],
            "sha256": digests[i],
        }
        for i in range(len(ids))
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=processed_set.INDEX_SCHEMA), root / processed_set.INDEX)
    raw_set.write_classes(CLASSES, root / raw_set.CLASSES)


def _train(prepared: np.ndarray, labels: np.ndarray, folder: Path) -> None:
    import torch

    from sightline.models import saved_model
    from sightline.models.architectures.cnn import Cnn
    from sightline.models.classifier import build_classifier
    from sightline.models.model_info import TrainingLineage

    option = Cnn("cnn", width=8, blocks=2, hidden=32, dropout=0.1, stem="full")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classifier = build_classifier(option, (12, 12, 1), 10, [0.3], [0.3]).train()
        optimizer = torch.optim.Adam(classifier.parameters(), 0.01)
        x, y = torch.from_numpy(prepared), torch.from_numpy(labels.astype(np.int64))
        for step in range(160):
            rows = torch.arange(step * 64, step * 64 + 64) % len(x)
            loss = torch.nn.functional.cross_entropy(classifier(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    saved_model.save_model(
        folder, classifier.eval(), option, (12, 12, 1), CLASSES, TrainingLineage(profile={"threads": 1})
    )


def _evaluate(processed: Path, model: Path, reports: Path) -> None:
    from sightline.datasets.predictions import save_predictions as write_predictions
    from sightline.models import novelty_detector
    from sightline.models.inference import Predictor
    from sightline.stages.evaluate.novelty_measurement import Embedder, measure_novelty
    from sightline.stages.export.calibration_file import Calibration

    data, predictor = processed_set.ProcessedSet(processed), Predictor.load(model)
    split = data.split("test")
    probabilities = Calibration(**CALIBRATION).apply(predictor(split.images()))
    predicted = probabilities.argmax(axis=1)
    write_predictions(reports / "predictions.parquet", split.ids, split.labels, predicted, probabilities)
    files.write_json(reports / "calibration.json", CALIBRATION)
    files.write_json(reports / "metrics_detail.json", METRICS)
    novelty_detector.save_detector(
        measure_novelty(Embedder.of(predictor), data, RATE, 256, split).fitted, reports / "novelty.npz"
    )


@pytest.fixture(scope="session")
def project() -> Project:
    """The project; tests must not modify it."""
    return make_project()
