"""Recipes: the probe, fine-tuning from its solution, and what `auto` stands for; of a tiny network."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from sightline.core.errors import ConfigError
from sightline.datasets.processed_set import ProcessedSet
from sightline.models import frozen_features, linear_probe, saved_model
from sightline.models.frozen_features import FrozenFeatures, batches_of
from sightline.models.options import MODELS
from sightline.models.parameter_groups import parameter_groups
from sightline.stages.train import build
from sightline.stages.train.config import TrainConfig
from sightline.stages.train.fit import fit
from sightline.stages.train.probe_fit import fit_probe
from sightline.stages.train.probe_head import ProbeTuning
from sightline.stages.train.recipes import Finetune, Scratch, recipe_of
from sightline.stages.train.stage import TrainingRun, size_hint
from tests.stages.train.small import processed_set, train_config

timm = pytest.importorskip("timm")

TINY = {"train/model": "timm", "train.model.model_name": "test_efficientnet"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a processed set and the weights of a tiny network, of one channel."""
    root = tmp_path_factory.mktemp("recipes")
    processed_set(root / "data", train=60, val=21, size=32)
    torch.manual_seed(1)
    torch.save(timm.create_model("test_efficientnet").state_dict(), root / "weights.pth")
    return root


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_features, "FOLDER", tmp_path / "features")


def config(place: Path, recipe: str, **more: Any) -> TrainConfig:
    return train_config(**TINY, **{"train.model.weights": place / "weights.pth", "train/recipe": recipe, **more})


def test_the_values_of_auto_are_those_of_finetune() -> None:
    auto, finetune = (
        yaml.safe_load(Path(f"conf/train/recipe/{name}.yaml").read_text()) for name in ("auto", "finetune")
    )
    assert {**auto, "name": "finetune"} == finetune


def test_auto_is_scratch_without_weights_and_finetune_with(place: Path) -> None:
    without = train_config()
    assert without.recipe.name == "auto"
    assert isinstance(recipe_of(without.recipe, without.model), Scratch)
    having = config(place, "auto")
    assert isinstance(recipe_of(having.recipe, having.model), Finetune)


@pytest.mark.parametrize("recipe", ["finetune", "probe"])
@pytest.mark.parametrize(
    ("model", "remedy"), [("cnn", "use efficientnet_lite0"), ("resnet18", "set train.model_options.weights")]
)
def test_a_recipe_without_weights_is_one_line(recipe: str, model: str, remedy: str) -> None:
    line = f"^train.recipe: {recipe} needs pretrained weights, {model} has none: {remedy}$"
    with pytest.raises(ConfigError, match=line):
        train_config(**{"train/model": model, "train/recipe": recipe})


def test_a_probe_is_its_own_features_through_its_head_and_the_same_bytes_twice(place: Path, tmp_path: Path) -> None:
    data, settings = ProcessedSet(place / "data"), config(place, "probe")
    began = build.network(data, settings).classifier
    results = [TrainingRun(data.root, settings).run(tmp_path / str(n), tmp_path / f"{n}.csv") for n in range(2)]
    assert results[0].model_digest == results[1].model_digest
    assert results[0].best == results[1].best
    assert results[0].best["epoch"] == 1
    assert results[0].best["val_accuracy"] > 0.45  # by chance a third
    classifier, info = saved_model.load_model(tmp_path / "0")
    assert info.lineage.training["recipe"] == {"name": "probe"}
    states = (c.state_dict() for c in (began, classifier))
    changed = [name for (name, a), b in zip(*(s.items() for s in states), strict=True) if not torch.equal(a, b[1])]
    assert all(name.startswith("network.classifier.") for name in changed)
    val = data.split("val")
    with torch.inference_mode():
        logits = classifier(torch.from_numpy(val.images()))
    assert float((logits.argmax(1).numpy() == val.labels).mean()) == pytest.approx(
        results[0].best["val_accuracy"], 1e-5
    )


def test_fine_tuning_begins_at_the_probe_and_is_the_same_twice(place: Path, tmp_path: Path) -> None:
    data = ProcessedSet(place / "data")
    probe = fit_probe(data, config(place, "probe"))
    settings = config(place, "auto", **{"train.recipe.lr_mult": 1e-9, "train.recipe.frozen_statistics": True})
    fitted = fit(data, settings, tmp_path / "a")
    assert fitted.best["val_loss"] == pytest.approx(probe.best["val_loss"], rel=1e-3)
    once, again = (fit(data, config(place, "auto"), tmp_path / name).classifier.state_dict() for name in "bc")
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert any(not torch.equal(once[name], value) for name, value in probe.classifier.state_dict().items())


def test_each_block_learns_at_a_share_of_the_one_above(place: Path) -> None:
    data = ProcessedSet(place / "data")
    classifier = build.network(data, config(place, "auto")).classifier
    groups = parameter_groups(classifier, 0.1, backbone_lr_mult=0.5, layer_decay=0.8)
    assert sum(len(group["params"]) for group in groups) == len(list(classifier.parameters()))
    rates = sorted({group["lr"] for group in groups}, reverse=True)
    assert rates[:3] == pytest.approx([0.1, 0.1 * 0.5 * 0.8, 0.1 * 0.5 * 0.8**2])
    by_name = {group["name"]: group["lr"] for group in groups}
    assert by_name["network.conv_stem"] == min(rates)


def test_two_classes_unseen_ones_and_a_single_one() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(40, 5)).astype(np.float32)
    labels = (features[:, 0] > 0).astype(np.int64) * 2
    for truth in (labels, np.full(40, 1)):
        found = linear_probe.solve(features, truth, 4, ProbeTuning(seed=0))
        answers = (features @ found.weight.T + found.bias).argmax(axis=1)
        assert (answers == truth).mean() > 0.9


def test_features_are_computed_once_an_image_whatever_its_company(place: Path, tmp_path: Path) -> None:
    data = ProcessedSet(place / "data")
    classifier = build.network(data, config(place, "probe")).classifier
    images = data.split("train").images()
    first = FrozenFeatures(classifier)
    some = first(batches_of(images[20:]), 40)
    assert first.computed == 40
    second = FrozenFeatures(classifier)
    everything = second(batches_of(images[::-1]), 60)[::-1]
    assert second.computed == 20
    np.testing.assert_array_equal(everything[20:], some)
    np.testing.assert_array_equal(FrozenFeatures(classifier)(batches_of(images), 60), everything)
    (path,) = (tmp_path / "features").iterdir()
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)  # damaged: computed anew
    third = FrozenFeatures(classifier)
    np.testing.assert_array_equal(third(batches_of(images), 60), everything)
    assert third.computed == 60
    with torch.no_grad():
        classifier.network.conv_stem.weight.add_(1e-3)
    assert FrozenFeatures(classifier)._rows == {}


def test_batch_norms_keep_their_statistics_and_their_weights_learn(place: Path, tmp_path: Path) -> None:
    data = ProcessedSet(place / "data")
    frozen = {"train.recipe.frozen_statistics": True, "train.recipe.lr_mult": 1.0, "train.recipe.ema_decay": "null"}
    settings = config(place, "auto", **{**frozen, "train.max_epochs": 1})
    before = build.network(data, settings).classifier.state_dict()
    before = {name: value.clone() for name, value in before.items()}
    after = fit(data, settings, tmp_path / "a").classifier.state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.endswith(("running_mean", "running_var"))} <= kept
    assert "network.bn1.weight" not in kept


def test_small_images_are_hinted_at() -> None:
    lite = MODELS["efficientnet_lite0"]("efficientnet_lite0", "package", 0.0, 0.0)  # type: ignore[call-arg]
    line = "the weights of efficientnet_lite0 come from images of 224 px, these have 64"
    assert size_hint(lite, 64) == f"{line}: a larger preprocess.size often helps"
    assert size_hint(lite, 224) is None
    assert size_hint(dataclasses.replace(lite, weights=None), 64) is None
    assert size_hint(MODELS["resnet18"]("resnet18", "DEFAULT"), 100) is not None  # type: ignore[call-arg]
    assert size_hint(MODELS["timm"]("timm", "DEFAULT", "resnet10t", {}), 100) is not None  # type: ignore[call-arg]


def test_the_settings_are_parameters_of_the_run(place: Path) -> None:
    assert dataclasses.asdict(config(place, "auto"))["recipe"]["layer_decay"] == 0.9
