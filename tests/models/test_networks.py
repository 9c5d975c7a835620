"""Every network: any size from 8 pixels, any number of channels, published sizes, trainable, stored to the bit."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from sightline.core.errors import UserError, how_to_install
from sightline.models import saved_model
from sightline.models.architectures.convnext import ConvNeXt
from sightline.models.architectures.efficientnet import EfficientNet
from sightline.models.architectures.mobilenet_v3 import MobileNetV3
from sightline.models.architectures.resnet import ResNet
from sightline.models.architectures.resnet9 import ResNet9
from sightline.models.architectures.timm import Timm
from sightline.models.architectures.vit import ViT
from sightline.models.architectures.wide_resnet import WideResNet
from sightline.models.classifier import Classifier, build_classifier
from sightline.models.options import MODELS, ModelOption
from sightline.stages.train.config import TrainConfig
from tests.models.conftest import pictures

CONF = Path("conf/train/model")
SMALLER: dict[str, dict[str, Any]] = {
    "cnn": {"width": 4, "blocks": 2, "hidden": 8},
    "dense": {"hidden": [8], "dropout": 0.1},
    "resnet9": {"width": 4, "pool": "max"},
    "wide_resnet": {"depth": 10, "widen_factor": 1, "dropout": 0.1},
    "vit": {"variant": "ti"},
    "timm": {"model_name": "resnet10t"},
    **{f"efficientnet_lite{n}": {"weights": None} for n in range(3)},
}
"""Settings that keep a network's tests short; without them it is tested as its file has it."""


def option(name: str, **settings: Any) -> ModelOption:
    """Returns a network's option: as its file has it, made smaller, with `settings`."""
    content = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    return MODELS[name](**{**content, **SMALLER.get(name, {}), **settings})


NETWORKS: dict[str, ModelOption] = {name: option(name) for name in MODELS} | {
    "resnet9-mean": option("resnet9", pool="mean"),
    "mobilenet_v3-large": option("mobilenet_v3", variant="large"),
    "efficientnet-v2": option("efficientnet", variant="v2_s"),
    "vit-patch": option("vit", patch_size=5),
    "timm-vit": option("timm", model_name="test_vit", arguments={"patch_size": 4}),
}
BY_TIMM = ("timm", "efficientnet_lite")
NAMES = [name for name in NETWORKS if not name.startswith(BY_TIMM)]
LIGHT = [name for name in NAMES if name not in ("resnet50", "efficientnet-v2", "convnext", "mobilenet_v3-large")]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors this small lose ten times more by being divided between threads than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make(
    option: str | ModelOption, shape: tuple[int, int, int] = (32, 32, 3), num_classes: int = 5, seed: int = 0
) -> Classifier:
    if isinstance(option, str):
        if option.startswith(BY_TIMM):
            pytest.importorskip("timm")
        option = NETWORKS[option]
    torch.manual_seed(seed)
    return build_classifier(option, shape, num_classes, [0.5] * shape[2], [0.25] * shape[2])


def parameters(option: ModelOption, shape: tuple[int, int, int], num_classes: int) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in make(option, shape, num_classes).parameters())


@pytest.mark.parametrize("name", MODELS)
def test_the_file_of_each_option_says_what_its_schema_asks_and_begins_with_a_comment(name: str) -> None:
    text = Path(f"conf/train/model/{name}.yaml").read_text()
    assert text.startswith("# ")
    content = yaml.safe_load(text)
    assert next(iter(content)) == "name"
    assert set(content) == {field.name for field in dataclasses.fields(MODELS[name])}
    made = MODELS[name](**content)  # its range checks hold
    if not name.startswith(BY_TIMM):
        with torch.device("meta"):
            make(made)


# --- shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_any_size_from_8_pixels_and_any_number_of_channels(name: str) -> None:
    others = ((9, 3), (16, 4), (32, 1), (64, 3), (95, 4)) if name in LIGHT else ()
    for size, channels in ((8, 1), (28, 4), (96, 3), (224, 1), *others):
        with torch.device("meta"):  # shapes without numbers
            classifier = make(name, (size, size, channels), 7)
            assert classifier(torch.empty((2, size, size, channels), dtype=torch.uint8)).shape == (2, 7)


@pytest.mark.parametrize("name", NAMES)
def test_images_that_are_not_square(name: str) -> None:
    with torch.device("meta"):
        assert make(name, (20, 37, 2)).eval()(torch.empty((1, 20, 37, 2), dtype=torch.uint8)).shape == (1, 5)


@pytest.mark.parametrize("name", ["timm", "timm-vit", "efficientnet_lite0"])
@pytest.mark.parametrize("size", [8, 28, 32])
def test_timms_networks_take_size_and_channels(name: str, size: int) -> None:
    classifier = make(name, (size, size, 2), 7)
    assert classifier.training
    assert all(module.training for module in classifier.modules())
    assert classifier(pictures(2, (size, size, 2))).shape == (2, 7)


def test_one_real_pass_at_224_pixels() -> None:
    with torch.inference_mode():
        assert torch.isfinite(make("resnet18", (224, 224, 3)).eval()(pictures(1, (224, 224, 3)))).all()


def last_map(name: str, size: int) -> int:
    """Returns height and width of the last map before the pooling."""
    seen: list[torch.Size] = []
    with torch.device("meta"):
        classifier = make(name, (size, size, 3))
        for module in classifier.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda _m, _i, out: seen.append(out.shape))
        classifier.eval()(torch.empty((1, size, size, 3), dtype=torch.uint8))
    return min(shape[-1] for shape in seen if shape[-1] > 1)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v3", "efficientnet", "convnext"])
def test_small_images_are_reduced_8_times_large_ones_32_times(name: str) -> None:
    assert last_map(name, 32) == 4
    assert last_map(name, 64) == 8
    assert last_map(name, 96) == 3
    assert last_map(name, 224) == 7


@pytest.mark.parametrize(
    ("size", "patch", "count"), [(224, 16, 196), (96, 12, 64), (28, 4, 49), (32, 4, 64), (8, 1, 64)]
)
def test_patches_fit_the_image(size: int, patch: int, count: int) -> None:
    with torch.device("meta"):
        network = make("vit", (size, size, 1)).network
    assert network.conv_proj.kernel_size == (patch, patch)
    assert network.encoder.pos_embedding.shape[1] == count + 1


def test_padding_is_the_mean_pixel() -> None:
    classifier = make("vit-patch", (8, 7, 1)).eval()  # two patches of 5 a side
    nn.init.normal_(classifier.head.weight)
    mean = round(0.5 * 255)
    classifier.mean.fill_(mean)
    padded = torch.full((1, 10, 10, 1), mean, dtype=torch.uint8)
    padded[:, :8, :7] = pictures(1, (8, 7, 1))
    with torch.inference_mode():
        torch.testing.assert_close(classifier(padded[:, :8, :7]), classifier(padded), rtol=1e-4, atol=1e-5)


# --- published sizes -------------------------------------------------------------------------------------------------

CIFAR, IMAGENET = (32, 32, 3), (224, 224, 3)


@pytest.mark.parametrize(
    ("option", "shape", "classes", "count"),
    [
        (ResNet9("resnet9", 64, "max", 0.125), CIFAR, 10, 6_573_120),  # counted by hand from Page's description
        (WideResNet("wide_resnet", 28, 10, 0.0), CIFAR, 10, 36_479_194),  # paper: 36.5 M
        (WideResNet("wide_resnet", 40, 4, 0.0), CIFAR, 10, 8_949_210),  # 8.9 M
        (WideResNet("wide_resnet", 16, 8, 0.0), CIFAR, 10, 10_961_370),  # 11.0 M
        (ResNet("resnet18", None), IMAGENET, 1000, 11_689_512),
        (ResNet("resnet50", None), IMAGENET, 1000, 25_557_032),
        (MobileNetV3("mobilenet_v3", None, "small"), IMAGENET, 1000, 2_542_856),
        (MobileNetV3("mobilenet_v3", None, "large"), IMAGENET, 1000, 5_483_032),
        (EfficientNet("efficientnet", None, "b0"), IMAGENET, 1000, 5_288_548),
        (EfficientNet("efficientnet", None, "b1"), IMAGENET, 1000, 7_794_184),
        (EfficientNet("efficientnet", None, "v2_s"), IMAGENET, 1000, 21_458_488),
        (ConvNeXt("convnext", None, "tiny"), IMAGENET, 1000, 28_589_128),
        (ConvNeXt("convnext", None, "base"), IMAGENET, 1000, 88_591_464),
        (ViT("vit", None, "ti", None), IMAGENET, 1000, 5_717_416),  # DeiT-Ti
        (ViT("vit", None, "s", None), IMAGENET, 1000, 22_050_664),  # DeiT-S
        (ViT("vit", None, "b", None), IMAGENET, 1000, 86_567_656),
        (ViT("vit", None, "l", None), IMAGENET, 1000, 304_326_632),
    ],
    ids=lambda value: "-".join(map(str, dataclasses.astuple(value))) if isinstance(value, ModelOption) else "",
)
def test_as_many_parameters_as_published(
    option: ModelOption, shape: tuple[int, int, int], classes: int, count: int
) -> None:
    assert parameters(option, shape, classes) == count


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_moves_every_parameter(name: str) -> None:
    shape = (16, 16, 1)
    classifier = make(name, shape)
    images, labels = pictures(4, shape), torch.arange(4)
    before = {key: value.detach().clone() for key, value in classifier.named_parameters()}
    loss = nn.functional.cross_entropy(classifier(images), labels)
    loss.backward()
    assert torch.isfinite(loss)
    # Every parameter takes part; where a head begins at zero, what is before it gets no gradient in the first step.
    assert all(parameter.grad is not None for parameter in classifier.parameters())
    torch.optim.SGD(classifier.parameters(), lr=1.0).step()
    assert any(not torch.equal(value, before[key]) for key, value in classifier.named_parameters())


def operations(output: torch.Tensor) -> set[str]:
    """Returns the names of the operations whose backward passes a gradient goes through."""
    names, queue, known = set(), [output.grad_fn], set()
    while queue:
        node = queue.pop()
        if node is not None and node not in known:
            known.add(node)
            names.add(type(node).__name__)
            queue += [following for following, _ in node.next_functions]
    return names


UNSTEADY = (
    "Adaptive",
    "AvgPool3D",
    "MaxPool3D",
    "FractionalMaxPool",
    "Upsample",
    "Pad1D",
    "ReflectionPad",
    "Replication",
)
"""Operations whose backward pass is not deterministic on CUDA, as `torch.use_deterministic_algorithms` lists them."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [28, 96])
def test_no_operation_whose_gradient_differs_from_run_to_run_on_cuda(name: str, size: int) -> None:
    with torch.device("meta"):
        output = make(name, (size, size, 3))(torch.empty((2, size, size, 3), dtype=torch.uint8))
    found = operations(output)
    assert found
    assert not [operation for operation in found if any(part in operation for part in UNSTEADY)]


@pytest.mark.parametrize("name", LIGHT)
def test_a_seed_gives_the_same_weights_and_another_seed_others(name: str) -> None:
    first, same, other = (make(name, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", ["resnet9", "resnet9-mean", "wide_resnet"])
def test_two_classes_are_told_apart_after_a_few_steps(name: str) -> None:
    """Statistics of batch norm included: what evaluation mode says is what was learnt."""
    shape = (12, 12, 1)
    classifier = make(name, shape, 2, seed=3)
    images, labels = pictures(32, shape), torch.arange(32) % 2
    images[labels == 1, :6] //= 2  # the upper half is darker
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(classifier(images), labels).backward()
        optimizer.step()
    with torch.inference_mode():
        assert (classifier.eval()(images).argmax(1) == labels).float().mean() >= 0.95


# --- embeddings and storage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*LIGHT, "timm", "timm-vit"])
def test_the_head_makes_logits_of_the_features_and_a_stored_model_gives_the_same_bits(
    name: str, tmp_path: Path
) -> None:
    shape = (12, 12, 2)
    classifier = make(name, shape)
    with torch.no_grad():
        nn.init.normal_(classifier.head.weight)  # some begin at zero
        classifier(pictures(8, shape))  # running statistics that are not the first ones
    classifier.eval()
    images = pictures(3, shape, seed=1)
    option = NETWORKS[name]
    initialised = dataclasses.replace(option, weights="gone.pth") if hasattr(option, "weights") else option
    saved_model.save_model(tmp_path, classifier, initialised, shape, list("abcde"))
    rng = torch.get_rng_state()
    loaded, _ = saved_model.load_model(tmp_path)
    assert torch.equal(rng, torch.get_rng_state())
    assert saved_model.weights_bytes(loaded) == saved_model.weights_bytes(classifier)
    with torch.inference_mode():
        features, logits = classifier.features(images), classifier(images)
        assert features.dtype == torch.float32
        assert features.shape == (3, classifier.head.in_features)
        scale = getattr(option, "scale", 1)
        torch.testing.assert_close(classifier.head(features) * scale, logits, rtol=1e-4, atol=1e-5)
        assert torch.equal(loaded.features(images), features)
        assert torch.equal(loaded(images), logits)


def test_a_head_without_a_name_is_said() -> None:
    with pytest.raises(ValueError, match="without naming"):
        _ = Classifier(nn.Identity(), [0.5], [0.5]).head


def test_no_network_of_ours_imports_torchvision_or_timm() -> None:
    script = """
import sys
from sightline.models.options import MODELS
assert MODELS and "torch" not in sys.modules
from sightline.models.classifier import build_classifier
settings = {"cnn": (4, 1, 4, 0.0, "full"), "dense": ([4], 0.0), "resnet9": (4, "max", 1.0), "wide_resnet": (10, 1, 0.0)}
for name, values in settings.items():
    build_classifier(MODELS[name](name, *values), (8, 8, 1), 2, [0.5], [0.5])
assert not {"torchvision", "timm", "pytorch_lightning"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


# --- configuration ---------------------------------------------------------------------------------------------------

BAD = {
    "resnet9": {"width": [0, -1, 2000], "pool": ["avg"], "scale": [0.0, -1.0]},
    "wide_resnet": {"depth": [4, 17, 0], "widen_factor": [0], "dropout": [1.0, -0.1]},
    "mobilenet_v3": {"variant": ["tiny"], "weights": [""]},
    "efficientnet": {"variant": ["b8"], "weights": [""]},
    "convnext": {"variant": ["huge"], "weights": [""]},
    "vit": {"variant": ["h"], "patch_size": [0], "weights": [""]},
    "timm": {
        "model_name": ["hf-hub:timm/resnet18", "local-dir:/tmp/x", "a/b"],
        "arguments": [{"checkpoint_path": "x"}, {"pretrained": True}, {"pretrained_cfg": {}}, {"num_classes": 3}],
    },
}


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [(name, key, value) for name, keys in BAD.items() for key, values in keys.items() for value in values],
)
def test_a_value_out_of_range_is_refused_by_its_name(name: str, key: str, value: object) -> None:
    content = {**yaml.safe_load(Path(f"conf/train/model/{name}.yaml").read_text()), key: value}
    with pytest.raises(ValueError, match=f"^{key}: "):
        MODELS[name](**content)


def test_a_small_transformer_has_no_weights_to_download() -> None:
    with pytest.raises(ValueError, match="sizes ti and s have none"):
        ViT("vit", "DEFAULT", "ti", None)


@pytest.mark.parametrize("name", MODELS)
def test_each_option_composes(name: str) -> None:
    from sightline.config.compose import compose, typed

    overrides = [f"train/model={name}"]
    if name == "timm":
        overrides.append("++train.model.arguments.drop_path_rate=0.1")
    config = typed(TrainConfig, compose(overrides)["train"], "train")
    assert type(config.model) is MODELS[name]
    assert getattr(config.model, "arguments", {"drop_path_rate": 0.1}) == {"drop_path_rate": 0.1}


# --- timm ------------------------------------------------------------------------------------------------------------


def refused(option: Timm, shape: tuple[int, int, int] = (32, 32, 3)) -> str:
    with pytest.raises(UserError) as caught:
        make(option, shape)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    assert refused(Timm("timm", None, "resnet18", {})).endswith(how_to_install("timm"))


def test_what_timm_does_not_have_or_cannot_build_is_one_line() -> None:
    pytest.importorskip("timm")
    assert "did you mean" in refused(Timm("timm", None, "resnet10", {}))
    assert "no 'zzz'" in refused(Timm("timm", None, "zzz", {}))
    assert "resnet10t.nowhere" in refused(Timm("timm", None, "resnet10t.nowhere", {}))
    assert "widht" in refused(Timm("timm", None, "resnet10t", {"widht": 3}))
    assert "divisible by patch size" in refused(Timm("timm", None, "test_vit", {}), (28, 28, 1))
