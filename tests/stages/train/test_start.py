"""Training that starts from a model: rows of the head by class name, new ones at zero; what is recorded and refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from sightline.core import files
from sightline.core.errors import ConfigError, UserError
from sightline.datasets.processed_set import INDEX, TRANSFORM, ProcessedSet
from sightline.datasets.raw_set import CLASSES, write_classes
from sightline.models import saved_model, start_lookup, start_model
from sightline.models.model_info import ModelInfo
from sightline.stages.train.build import network
from sightline.stages.train.stage import TrainingRun
from sightline.stages.watch import fingerprint
from sightline.stages.watch.fingerprint import WatchedWeights, weights_fingerprint
from tests.stages.train.small import processed_set, train_config

OLD = ["crow", "jay", "wren"]
GROWN = ["crow", "jay", "owl", "wren"]  # the new one comes before an old one, which has another index from now on
LONG = {"train.max_epochs": 8, "train.lr": 0.02, "train/augment": "none"}
INDEX_OF = np.array([0, 1, 3, 2], np.int32)  # of the squares' places, of which the fourth is the owl's


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[ProcessedSet, ProcessedSet]:
    """The set of three classes, and that of four."""
    root = tmp_path_factory.mktemp("sets")
    made = []
    for name, classes in (("old", OLD), ("grown", GROWN)):
        data = processed_set(root / name, classes=len(classes), size=10)
        files.write_json(data.transform, {"size": 10, "statistics": {"mean": [0.3], "std": [0.1 * len(classes)]}})
        write_classes(classes, root / name / CLASSES)
        if classes is GROWN:
            table, place = data.index, data.index.schema.get_field_index("label")
            labels = pa.array(INDEX_OF[table["label"].to_numpy()])
            pq.write_table(table.set_column(place, table.schema.field("label"), labels), root / name / INDEX)
        made.append(ProcessedSet(root / name))
    return made[0], made[1]


@pytest.fixture(scope="module")
def champion(sets: tuple[ProcessedSet, ProcessedSet], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the three classes."""
    folder = tmp_path_factory.mktemp("champion")
    TrainingRun(sets[0].root, train_config(**LONG)).run(folder, folder / "history.csv")
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").symlink_to(Path(__file__).parents[3] / "conf")
    monkeypatch.chdir(tmp_path)


def found(champion: Path) -> str:
    """Returns the digest of the model, which is kept from now on."""
    return start_lookup.find_start(str(champion), "sightline").digest


def test_old_rows_are_kept_by_name_and_new_ones_are_zero(
    sets: tuple[ProcessedSet, ProcessedSet], champion: Path
) -> None:
    folder = start_model.require_start(found(champion)).folder
    module = network(sets[1], train_config(**LONG, **{"train.start_from": folder}))
    old = saved_model.load_model(champion)[0]
    images = torch.from_numpy(sets[1].split("val").images())
    with torch.inference_mode():
        logits, before = module.classifier.eval()(images), old(images)
    torch.testing.assert_close(logits[:, [0, 1, 3]], before)  # whatever the new set's statistics
    assert not logits[:, 2].any()


def test_it_is_recorded_and_learns_what_is_new(
    sets: tuple[ProcessedSet, ProcessedSet], champion: Path, tmp_path: Path
) -> None:
    config = train_config(**LONG, **{"train.start_from": champion})
    run = TrainingRun(sets[1].root, config, found(champion))
    trained = run.run(tmp_path / "new", tmp_path / "history.csv")
    lineage = ModelInfo.read(tmp_path / "new" / "model.json").lineage
    digest = ModelInfo.read(champion / "model.json").weights_sha256
    assert lineage.start == trained.start == {"model_sha256": digest, "kept": OLD, "new": ["owl"]}
    assert lineage.training["start_from"] == str(champion)
    assert run.checkpoints != TrainingRun(sets[1].root, dataclasses.replace(config, start_from=None)).checkpoints
    assert trained.best["val_accuracy"] > 0.5  # of 4 classes


def test_watch_pins_it_until_the_images_change(
    sets: tuple[ProcessedSet, ProcessedSet], champion: Path, tmp_path: Path
) -> None:
    config = train_config(**{**LONG, "train.start_from": champion, "train.max_epochs": 1})
    first = found(champion)
    TrainingRun(sets[1].root, config, first).run(tmp_path / "next", tmp_path / "history.csv")
    architecture = dataclasses.asdict(config.model)
    watched = WatchedWeights(None, "cnn", start_from=str(champion), architecture=architecture)
    files.write_json(fingerprint.SOURCE, {"images": 1})
    files.write_json(fingerprint.WEIGHTS, weights_fingerprint(watched, {"images": 1}))
    assert json.loads(fingerprint.WEIGHTS.read_text())["start"] == first
    # What came of it becomes the champion: no reason to train again, until the images are others.
    promoted = dataclasses.replace(watched, start_from=str(tmp_path / "next"))
    assert weights_fingerprint(promoted, {"images": 1})["start"] == first
    assert weights_fingerprint(promoted, {"images": 2})["start"] == found(tmp_path / "next") != first


def test_a_setting_that_an_older_model_lacks_is_no_other_network_where_it_makes_no_difference(champion: Path) -> None:
    info = ModelInfo.read(champion / "model.json")
    ours = train_config(**LONG).model
    old = {key: value for key, value in info.architecture.items() if key != "stem"}
    start_model.StartModel("0" * 64, champion, dataclasses.replace(info, architecture=old)).check(
        dataclasses.asdict(ours)
    )
    large = dataclasses.replace(info, architecture=old, shape=(64, 64, 1))
    with pytest.raises(UserError, match=r"has another network \(stem 'full', not 'half'\): use its settings"):
        start_model.StartModel("0" * 64, champion, large).check(dataclasses.asdict(ours))


def test_what_does_not_fit_is_one_line(sets: tuple[ProcessedSet, ProcessedSet], champion: Path, tmp_path: Path) -> None:
    digest = found(champion)
    with pytest.raises(UserError, match=r"^train.start_from: that model has another network \(width 4, not 8\): use"):
        TrainingRun(
            sets[1].root, train_config(**{**LONG, "train.start_from": "champion", "train.model.width": 8}), digest
        )
    other = shutil.copytree(sets[1].root, tmp_path / "other")
    files.write_json(other / TRANSFORM, {"size": 11, "statistics": {}})
    with pytest.raises(
        UserError, match=r"was trained on images that were preprocessed differently \(size 10, not 11\): use"
    ):
        TrainingRun(other, train_config(**LONG, **{"train.start_from": "champion"}), digest)
    with pytest.raises(UserError, match=r"^train.start_from: nowhere is neither champion nor the folder of a model"):
        found(Path("nowhere"))
    with pytest.raises(UserError, match="dvc repro watch puts it there"):
        TrainingRun(sets[1].root, train_config(**LONG, **{"train.start_from": "champion"}), "0" * 64)


def test_a_damaged_copy_is_made_anew(champion: Path) -> None:
    digest = found(champion)
    weights = start_model.FOLDER / digest / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert start_model.kept(digest) is None
    assert found(champion) == digest
    assert start_model.kept(digest)


def test_a_probe_starts_from_no_model() -> None:
    with pytest.raises(ConfigError, match=r"^train.start_from: needs recipe auto, scratch, finetune, not probe$"):
        train_config(**{"train.start_from": "champion", "train/recipe": "probe"})
