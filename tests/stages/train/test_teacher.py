"""Knowledge distillation: targets of labels and a bundle's probabilities; which bundles are refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from sightline.core import files
from sightline.core.errors import ConfigError, UserError
from sightline.datasets.processed_set import INDEX, ProcessedSet
from sightline.models import saved_model
from sightline.predict.bundle import Bundle
from sightline.predict.teacher import soft_targets
from sightline.stages.train.stage import TrainingRun
from sightline.stages.watch.fingerprint import WatchedWeights, watch_weights
from tests.exported import Project
from tests.stages.train.small import train_config


@pytest.fixture
def data(exported: Project, tmp_path: Path) -> ProcessedSet:
    """The teacher's own set, of which half the test images are for validation, and 200 for training."""
    root = tmp_path / "processed"
    shutil.copytree(exported.processed, root)
    table = pq.read_table(root / INDEX)
    splits = ["val" if row < 60 else split for row, split in enumerate(table["split"].to_pylist())]
    table = table.set_column(table.schema.get_field_index("split"), table.schema.field("split"), pa.array(splits))
    pq.write_table(table.slice(0, 320), root / INDEX)
    content = json.loads((root / "contract.json").read_text())
    files.write_json(root / "contract.json", {**content, "statistics": {"mean": [0.31], "std": [0.35]}})
    return ProcessedSet(root)


def test_targets_are_labels_and_the_teachers_probabilities(exported: Project, data: ProcessedSet) -> None:
    split = data.split("train")
    found = soft_targets(str(exported.bundle), 0.25, data, 1)
    expected = Bundle.load(exported.bundle, "fp32", 1).probabilities(split.images(slice(0, 64)))
    np.testing.assert_allclose(found[:64], 0.75 * np.eye(10)[split.labels[:64]] + 0.25 * expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_a_student_is_the_same_twice_and_another_than_without(
    exported: Project,
    data: ProcessedSet,
    tmp_path: Path,
) -> None:
    config = train_config(**{"train.teacher": exported.bundle, "train.max_epochs": 1})
    runs = [TrainingRun(data.root, each) for each in (config, config, dataclasses.replace(config, teacher=None))]
    digests = [run.run(tmp_path / str(n), tmp_path / f"{n}.csv").model_digest for n, run in enumerate(runs)]
    assert digests[0] == digests[1] != digests[2]
    lineage = saved_model.load_model(tmp_path / "0")[1].lineage
    assert lineage.teacher_sha256 == files.sha256_file(exported.bundle / "manifest.json")
    assert runs[0].checkpoints != runs[2].checkpoints
    with torch.inference_mode():
        saved_model.load_model(tmp_path / "0")[0](torch.from_numpy(data.split("val").images()))


def test_watch_digests_the_teacher(exported: Project, tmp_path: Path) -> None:
    watch_weights(WatchedWeights(None, "cnn", str(exported.bundle)), tmp_path / "weights.json")
    digest = json.loads((tmp_path / "weights.json").read_text())["teacher"]
    assert digest == files.sha256_file(exported.bundle / "manifest.json")
    with pytest.raises(UserError, match=r"^train.teacher: nowhere is not a bundle: it has no manifest.json$"):
        watch_weights(WatchedWeights(None, "cnn", "nowhere"), tmp_path / "weights.json")


def test_a_teacher_of_other_pictures_is_one_line(exported: Project, data: ProcessedSet) -> None:
    content = json.loads(data.transform.read_text())
    files.write_json(data.transform, {**content, "size": 13})
    with pytest.raises(UserError, match=r"^train.teacher: .* preprocesses images differently \(size\)"):
        soft_targets(str(exported.bundle), 0.5, data, 1)
    data.classes[0] = "zero"
    with pytest.raises(UserError, match=r"^train.teacher: .* has other classes: 0, 1, .* not zero, 1"):
        soft_targets(str(exported.bundle), 0.5, data, 1)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"train.teacher": "t", "train/mix": "mixup"}, "^train.teacher: needs mix none, not mixup$"),
        ({"train.teacher_share": 0}, r"^train.teacher_share: must be in \(0, 1\], not 0.0$"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        train_config(**settings)
