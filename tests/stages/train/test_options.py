"""Every choice of training at work, on a small set."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
import torch

from sightline.models.classifier import build_classifier
from sightline.stages.train import stage
from sightline.stages.train.fit import fit
from sightline.stages.train.lightning_module import ClassifierModule, RunningMean
from sightline.stages.train.mixing import Mixing
from sightline.stages.train.samplers import EpochSampler, balancing_weights
from tests.stages.train.small import processed_set, train_config
from tests.stages.train.test_fit import validate


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return processed_set(tmp_path_factory.mktemp("options") / "processed")


def trained(data, folder, **settings):
    return fit(data, train_config(**settings), folder / "checkpoints")


@pytest.mark.parametrize(
    "settings",
    [
        {"train/optimizer": "lion", "train/schedule": "one_cycle", "train.lr": 0.003},
        {"train/optimizer": "sgd", "train/schedule": "step", "train.lr": 0.1},
        {"train/loss": "focal", "train.class_weights": "effective"},
        {"train/mix": "cutmix", "train.gradient_clip": 1.0},
        {"train/weight_averaging": "swa", "train.accumulate": 2},
        {
            "train/model": "resnet9",
            "train.model.width": 4,
            "train.balanced_sampling": "true",
            "train.class_weights": "inverse",
        },
        {"train/augment": "trivialaugment", "train.augment_on": "batch"},
    ],
    ids=lambda settings: " ".join(str(value) for value in settings.values()),
)
def test_each_choice_trains_and_changes_the_result(data, tmp_path, settings):
    plain = trained(data, tmp_path / "plain", **{"train.max_epochs": 2})
    other = trained(data, tmp_path / "other", **{"train.max_epochs": 2, **settings})
    assert all(np.isfinite(list(row.values())).all() for row in other.history)
    assert other.history != plain.history


@pytest.mark.parametrize(
    "average",
    [
        {"train/weight_averaging": "ema", "train.weight_averaging.decay": 0.9},
        {"train/weight_averaging": "swa", "train.weight_averaging.start": 0.5},
    ],
)
def test_the_model_kept_is_the_average_that_was_validated(data, tmp_path, average):
    settings = {"train.max_epochs": 6, "train.lr": 0.02, "train/schedule": "constant"}
    averaged = trained(data, tmp_path / "averaged", **settings, **average)
    loss, _ = validate(averaged.classifier, data)
    assert loss == pytest.approx(averaged.best["val_loss"], rel=1e-4)
    plain = trained(data, tmp_path / "plain", **settings)
    # The average does not take part in training: the same steps are taken.
    assert [row["train_loss"] for row in averaged.history] == [row["train_loss"] for row in plain.history]
    assert averaged.history[-1]["val_loss"] != plain.history[-1]["val_loss"]


def test_before_averaging_begins_the_weights_themselves_are_validated(data, tmp_path):
    settings = {"train.max_epochs": 5, "train.patience": 1}
    averaged = trained(
        data,
        tmp_path / "averaged",
        **settings,
        **{"train/weight_averaging": "swa", "train.weight_averaging.start": 0.6},
    )
    plain = trained(data, tmp_path / "plain", **{**settings, "train.patience": 5})
    assert len(averaged.history) == 5
    assert averaged.history[:4] == plain.history[:4]  # the average of one epoch is that epoch
    assert averaged.history[4] != plain.history[4]


def test_batches_are_augmented_in_full_precision(data):
    seen = []

    def augment(images, keys):
        seen.append(torch.is_autocast_enabled("cpu"))
        return images.float()

    config = train_config()
    module = ClassifierModule(
        build_like(data, config),
        loss=config.loss.build(None),
        optimizer=config.optimizer,
        schedule=config.schedule,
        seed=0,
        augment=augment,
    )
    images, labels = torch.zeros(4, 8, 8, 1, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)
    with torch.autocast("cpu", torch.bfloat16):
        module.training_step((images, labels, labels), 0)
    assert seen == [False]


def test_a_frozen_backbone_stays_until_it_is_thawed(data, tmp_path):
    config = train_config(**{"train.freeze_epochs": 1, "train.max_epochs": 1})
    start = build_like(data, config)
    fitted = fit(data, config, tmp_path / "one")
    same = {n: torch.equal(p, dict(start.named_parameters())[n]) for n, p in fitted.classifier.named_parameters()}
    head = {name for name in same if name.startswith(f"network.{fitted.classifier.head_name}")}
    assert all(same[name] for name in same if name not in head)
    assert not any(same[name] for name in head)
    thawed = trained(data, tmp_path / "two", **{"train.freeze_epochs": 1, "train.max_epochs": 3})
    moved = {n: not torch.equal(p, dict(start.named_parameters())[n]) for n, p in thawed.classifier.named_parameters()}
    assert all(moved.values())


def build_like(data, config):
    from sightline.core import seeds

    torch.manual_seed(seeds.derive(config.seed, "weights"))
    return build_classifier(config.model, data.shape, len(data.classes), *data.statistics)


def test_overfitting_a_few_batches_learns_them_by_heart(data, tmp_path):
    settings = {"train/debug": "overfit", "train.debug.overfit": 1, "train.max_epochs": 60, "train.lr": 0.03}
    fitted = trained(data, tmp_path, **settings, **{"train.model.dropout": 0, "train.patience": 60})
    assert fitted.best["val_loss"] < 0.2


def test_a_quick_run_is_quick(data, tmp_path):
    fitted = trained(data, tmp_path, **{"train/debug": "fast_dev", "train.max_epochs": 30})
    assert len(fitted.history) == 1


def test_the_profiler_prints_its_table(data, tmp_path, capsys):
    trained(data, tmp_path, **{"train/debug": "profile"})
    assert "run_training_batch" in capsys.readouterr().out


def test_a_last_batch_of_one_goes_with_the_one_before(tmp_path):
    odd = processed_set(tmp_path / "processed", train=33)
    fitted = trained(odd, tmp_path, **{"train.max_epochs": 1})
    assert np.isfinite(fitted.best["train_loss"])


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixing_keeps_each_images_shares_whole(name):
    torch.manual_seed(3)
    images, labels = torch.randint(0, 256, (16, 8, 8, 3), dtype=torch.uint8), torch.arange(16) % 4
    mixed, targets = Mixing(name, 1.0).build(4)(images, labels)
    assert mixed.shape == images.shape
    assert torch.allclose(targets.sum(1), torch.ones(16))
    assert not torch.equal(mixed, images.float())
    own = targets[torch.arange(16), labels]
    assert (own > 0).all()


def test_balanced_draws_every_class_as_often():
    labels = np.array([0] * 900 + [1] * 90 + [2] * 10)
    sampler = EpochSampler(1000, 0, shuffle=True, weights=balancing_weights(labels))
    seen = np.bincount(labels[[position for _, position in sampler]], minlength=3)
    assert (abs(seen - 1000 / 3) < 70).all()
    assert list(sampler) == list(sampler)


def test_an_average_is_weighted_and_begins_anew():
    average = RunningMean()
    average.add(torch.tensor(1.0), 1)
    average.add(torch.tensor(12.0), 3)
    assert average.take() == 3.25
    average.add(torch.tensor(10.0), 5)
    assert average.take(lambda sums: 2 * sums) == 2


def test_abandoned_checkpoints_are_forgotten_after_a_month(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old, new, mine = (stage.CHECKPOINTS / name for name in ("old", "new", "mine"))
    for folder, days in ((old, 40), (new, 10), (mine, 40)):
        folder.mkdir(parents=True)
        (folder / "last.ckpt").write_bytes(b"")
        for path in (folder / "last.ckpt", folder):
            os.utime(path, (time.time() - days * 86400,) * 2)
    stage.forget_abandoned(mine)
    assert [folder.exists() for folder in (old, new, mine)] == [False, True, True]
