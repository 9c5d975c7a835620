"""Head and backbone apart: groups that cover every parameter once, freezing that really freezes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from sightline.models.classifier import Classifier
from sightline.models.parameter_groups import freeze, parameter_groups
from tests.models.conftest import pictures
from tests.models.test_networks import NETWORKS, make

SHAPE = (12, 12, 1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("factor", "decay_all"), [(1.0, True), (0.1, True), (1.0, False), (0.1, False)])
def test_each_parameter_is_in_exactly_one_group(name: str, factor: float, decay_all: bool) -> None:
    with torch.device("meta"):
        classifier = make("timm" if name == "timm-vit" else name, (16, 16, 3))
    groups = parameter_groups(classifier, 0.5, factor, 0.01, decay_all)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(map(id, classifier.parameters()))
    assert len(grouped) == len(set(grouped))
    head = {id(parameter) for parameter in classifier.head.parameters()}
    for group in groups:
        of_head = [id(parameter) in head for parameter in group["params"]]
        if factor == 1:
            assert group["lr"] == 0.5
        else:
            assert group["lr"] == (0.5 if all(of_head) else 0.05)
            assert all(of_head) or not any(of_head)
        assert group["weight_decay"] == (0.0 if group["name"].endswith("no_decay") else 0.01)
    assert len(groups) == len({group["name"] for group in groups})
    if decay_all:
        assert len(groups) == (1 if factor == 1 else 2)


@pytest.mark.parametrize("name", ["convnext", "vit", "efficientnet"])
def test_norms_biases_tokens_positions_and_scales_go_without_decay(name: str) -> None:
    with torch.device("meta"):
        classifier = make(name, (16, 16, 3))
    names = {id(parameter): key for key, parameter in classifier.named_parameters()}
    groups = {g["name"]: [names[id(p)] for p in g["params"]] for g in parameter_groups(classifier, 1, 0.1, 0.01, False)}
    matrices = {
        f"{path}.{key}"
        for path, module in classifier.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d | nn.MultiheadAttention)
        for key in ("weight", "in_proj_weight")
        if getattr(module, key, None) is not None
    }
    assert {*groups["backbone"], *groups["head"]} == matrices
    free = groups["backbone_no_decay"]
    for part in {"convnext": ("layer_scale", "bias"), "vit": ("class_token", "pos_embedding")}.get(name, ("bias",)):
        assert any(part in key for key in free)


def test_groups_come_in_the_same_order_and_suit_every_optimiser() -> None:
    first, second = (parameter_groups(make("wide_resnet", SHAPE), 0.1, 0.5, 1e-4, False) for _ in range(2))
    assert [g["name"] for g in first] == [g["name"] for g in second]
    assert [[p.shape for p in g["params"]] for g in first] == [[p.shape for p in g["params"]] for g in second]
    for optimizer in (torch.optim.SGD(first, lr=1, momentum=0.9), torch.optim.AdamW(second, lr=1)):
        assert {group["lr"] for group in optimizer.param_groups} == {0.1, 0.05}


def step(classifier: Classifier, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(classifier(pictures(8, SHAPE)), torch.arange(8) % 5).backward()
    optimizer.step()


@pytest.mark.parametrize("name", ["cnn", "dense", "resnet9", "wide_resnet", "resnet18", "mobilenet_v3", "vit"])
def test_a_frozen_backbone_keeps_every_bit_and_thaws(name: str) -> None:
    classifier = make(name, SHAPE)
    # Decay and momentum as well: they move a parameter that has a gradient of zero.
    optimizer = torch.optim.AdamW(parameter_groups(classifier, 0.01, 0.5, weight_decay=0.1))
    with torch.no_grad():
        classifier(pictures(8, SHAPE, seed=1))
    freeze(classifier)
    start = {key: value.clone() for key, value in classifier.state_dict().items()}
    head = f"network.{classifier.head_name}."
    for _ in range(2):
        classifier.eval()
        classifier.train()  # as Lightning does between epochs
        step(classifier, optimizer)
    now = classifier.state_dict()
    assert all(torch.equal(now[key], start[key]) for key in start if not key.startswith(head))
    assert not torch.equal(now[f"{head}weight"], start[f"{head}weight"])

    freeze(classifier, frozen=False)
    assert all(parameter.requires_grad for parameter in classifier.parameters())
    assert all(module.training for module in classifier.modules())
    for _ in range(2):  # a head that began at zero passes no gradient on in its first step
        step(classifier, optimizer)
    now = classifier.state_dict()
    moved = [key for key in start if not torch.equal(now[key], start[key])]
    assert {key for key, _ in classifier.named_parameters()} <= {*moved, *zero_bias_gradients(classifier)}
    if name not in ("dense", "vit"):
        assert any(key.endswith("running_mean") for key in moved)


def zero_bias_gradients(classifier: Classifier) -> set[str]:
    """Returns the parameters that a step may leave where they are: those whose gradient happens to be zero."""
    return {key for key, p in classifier.named_parameters() if p.grad is not None and not p.grad.any()}


def test_freezing_leaves_dropout_and_the_mode_alone() -> None:
    classifier = make("wide_resnet", SHAPE)
    freeze(classifier)
    norms = [module for module in classifier.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    assert all(module.training for module in classifier.modules() if isinstance(module, nn.Dropout))
    classifier.eval()
    freeze(classifier, frozen=False)
    assert not any(module.training for module in classifier.modules())


def test_a_frozen_backbone_computes_no_gradients() -> None:
    classifier = make("resnet9", SHAPE)
    freeze(classifier)
    classifier(pictures(4, SHAPE)).sum().backward()
    assert [key for key, parameter in classifier.named_parameters() if parameter.grad is not None] == [
        "network.head.weight"
    ]
    assert not classifier.features(pictures(4, SHAPE)).requires_grad
