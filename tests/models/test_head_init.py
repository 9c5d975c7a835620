"""The first loss of every network is that of no knowledge, ln K; weights without statistics are no start."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from sightline.core.errors import UserError
from sightline.models.architectures.efficientnet_lite import EfficientNetLite
from sightline.models.architectures.timm import Timm
from sightline.models.architectures.vit import ViT
from sightline.models.classifier import Classifier, build_classifier
from sightline.models.head_init import init_head
from sightline.models.options import ModelOption, PretrainableOption, TorchvisionOption
from tests.models.conftest import pictures
from tests.models.test_networks import NETWORKS, make

SHAPES = [((32, 32, 3), 6), ((16, 16, 1), 10)]
WIDE = {  # of timm's, those that start the head by the number of classes
    "timm-lite0": Timm("timm", None, "tf_efficientnet_lite0", {}),
    "timm-mobilenet": Timm("timm", None, "mobilenetv3_small_050", {}),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def first_loss(option: ModelOption, shape: tuple[int, int, int], classes: int) -> float:
    """Returns the loss of the first batch, normalised by its own pixels, as a training's are."""
    images, labels = pictures(32, shape), torch.arange(32) % classes
    pixels = images.float() / 255
    torch.manual_seed(0)
    mean, std = [float(pixels.mean())] * shape[2], [float(pixels.std())] * shape[2]
    classifier = build_classifier(option, shape, classes, mean, std)
    with torch.no_grad():
        return float(nn.functional.cross_entropy(classifier.train()(images), labels))


@pytest.mark.parametrize("name", [*NETWORKS, *WIDE])
@pytest.mark.parametrize(("shape", "classes"), SHAPES)
def test_the_first_loss_of_random_weights_is_about_ln_k(name: str, shape: tuple[int, int, int], classes: int) -> None:
    if name.startswith("timm"):
        pytest.importorskip("timm")
    assert first_loss({**NETWORKS, **WIDE}[name], shape, classes) == pytest.approx(math.log(classes), abs=0.25)


def of_a_library(option: PretrainableOption, path: Path) -> PretrainableOption:
    """Saves weights of a network for a thousand classes, and returns the option that begins with them."""
    if isinstance(option, Timm):
        timm = pytest.importorskip("timm")
        torch.save(timm.create_model(option.model_name).state_dict(), path)
    elif isinstance(option, ViT):
        torch.save(make(option, (224, 224, 3), 1000).network.state_dict(), path)
    else:
        assert isinstance(option, TorchvisionOption)
        torch.save(torchvision.models.get_model(option.architecture).state_dict(), path)
    return type(option)(**{**vars(option), "weights": str(path)})


PRETRAINABLE = ["resnet18", "resnet50", "mobilenet_v3", "efficientnet", "convnext", "vit", "timm", "timm-lite0"]


@pytest.mark.parametrize("name", PRETRAINABLE)
def test_the_first_loss_on_weights_of_others_is_ln_k(name: str, tmp_path: Path) -> None:
    option = {**NETWORKS, **WIDE}[name]
    assert isinstance(option, PretrainableOption)
    option = of_a_library(option, tmp_path / "weights.pth")
    assert first_loss(option, (32, 32, 3), 6) == pytest.approx(math.log(6), abs=1e-5)


def test_every_pretrainable_kind_is_among_them() -> None:
    kinds = {type(option) for option in NETWORKS.values() if isinstance(option, PretrainableOption)}
    # EfficientNet-Lite is timm-lite0 with weights of its own, which no file of the test can stand in for.
    assert {type({**NETWORKS, **WIDE}[name]) for name in PRETRAINABLE} == kinds - {EfficientNetLite}


def test_a_head_at_zero_learns_from_the_first_step() -> None:
    classifier: Classifier = make("resnet18", (16, 16, 1), 3)
    init_head(classifier.head, pretrained=True)
    loss = nn.functional.cross_entropy(classifier.train()(pictures(6, (16, 16, 1))), torch.arange(6) % 3)
    loss.backward()
    gradient = next(iter(classifier.head.parameters())).grad
    assert gradient is not None
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3", "convnext", "timm"])
def test_a_head_that_is_narrow_enough_stays_as_its_library_made_it(name: str) -> None:
    head = make(name).head
    before = [parameter.clone() for parameter in head.parameters()]
    init_head(head, pretrained=False)
    assert all(torch.equal(old, new) for old, new in zip(before, head.parameters(), strict=True))


@pytest.mark.parametrize("name", ["resnet18", "timm"])
def test_weights_without_batch_norm_statistics_are_refused(name: str, tmp_path: Path) -> None:
    option = NETWORKS[name]
    assert isinstance(option, PretrainableOption)
    option = of_a_library(option, tmp_path / "w.pth")
    whole = torch.load(tmp_path / "w.pth", weights_only=True)
    torch.save({key: value for key, value in whole.items() if "running_" not in key}, tmp_path / "w.pth")
    with pytest.raises(UserError) as caught:
        make(option)
    line = str(caught.value)
    assert "\n" not in line
    assert "running_mean, a batch norm's statistic: save the whole state_dict()" in line
