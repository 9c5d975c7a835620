"""Outlier exposure: a network is undecided on the half of the foreign pictures that it is shown, and on the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from sightline.core.errors import ConfigError, UserError
from sightline.datasets.processed_set import INDEX, INDEX_SCHEMA, ProcessedSet
from sightline.stages.train.fit import FitResult, fit
from sightline.stages.train.outlier_exposure import OutlierExposure, undecided_loss
from sightline.stages.watch.fingerprint import WatchedWeights, weights_fingerprint
from tests.stages.train.small import processed_set, train_config


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ProcessedSet:
    root = tmp_path_factory.mktemp("exposure")
    write_unknown(root / "unknown")
    return processed_set(root / "processed")


def write_unknown(root: Path) -> ProcessedSet:
    """Writes pictures that are bright at the top and at the bottom, in two halves."""
    unknown = processed_set(root, train=24, val=24)
    images = np.load(root / "shard-0.npy")
    images[:, 4:, :4] = 255 - images[:, 4:, :4]
    np.save(root / "shard-0.npy", images)
    table = unknown.index.set_column(2, "split", [["val" if place < 24 else "test" for place in range(48)]])
    pq.write_table(table.cast(INDEX_SCHEMA), root / INDEX)
    return ProcessedSet(root)


def confidence(result: FitResult, data: ProcessedSet) -> float:
    unknown = data.unknown
    assert unknown is not None
    with torch.inference_mode():
        logits = result.classifier(torch.from_numpy(unknown.split("test").images()))
    return float(logits.softmax(1).max(1).values.mean())


def test_the_network_is_less_sure_of_what_is_none_of_its_classes(data: ProcessedSet, tmp_path: Path) -> None:
    plain = fit(data, train_config(**{"train.max_epochs": 6}), tmp_path / "plain")
    exposed = fit(data, train_config(**{"train.max_epochs": 6, "train.unknown_weight": 1.0}), tmp_path / "exposed")
    chance = 1 / len(data.classes)
    assert confidence(exposed, data) - chance < 0.7 * (confidence(plain, data) - chance)


def test_pictures_are_a_function_of_seed_and_place(data: ProcessedSet) -> None:
    unknown = data.unknown
    assert unknown is not None
    exposure = OutlierExposure(unknown.split("val"), 0.5, 3)
    images, keys = exposure.batch(8, 1, [2, 0])
    assert (images.shape, len(set(keys.tolist()))) == ((8, 8, 8, 1), 8)
    assert torch.equal(exposure.batch(8, 1, [2, 0])[0], images)
    assert not torch.equal(exposure.batch(8, 1, [2, 1])[0], images)
    assert len(exposure.batch(100, 0, [0, 0])[0]) == 24
    # log(3) where all classes are as likely, more elsewhere
    assert float(undecided_loss(torch.zeros(4, 3))) == pytest.approx(np.log(3))
    assert float(undecided_loss(torch.tensor([[5.0, 0.0, 0.0]]))) > np.log(3)


def test_asked_for_without_pictures_it_is_one_line(tmp_path: Path) -> None:
    config = train_config(**{"train.unknown_weight": 0.5})
    match = r"^train.unknown_weight: 0.5 needs unknown images: set ingest.unknown$"
    with pytest.raises(UserError, match=match):
        fit(processed_set(tmp_path / "processed"), config, tmp_path / "checkpoints")
    watched = WatchedWeights(None, "cnn", unknown_weight=0.5)
    with pytest.raises(UserError, match=match):
        weights_fingerprint(watched, {"source": "digits"})
    assert weights_fingerprint(WatchedWeights(None, "cnn"), {"unknown": {"md5": "1"}})["unknown"] is None
    digests = {str(weights_fingerprint(watched, {"unknown": {"md5": md5}})["unknown"]) for md5 in "12"}
    assert len(digests) == 2
    with pytest.raises(ConfigError, match=r"^train.unknown_weight: needs recipe auto, scratch, finetune, not probe$"):
        train_config(**{"train.unknown_weight": 0.5, "train/recipe": "probe"})
