"""Weights of others, fitted to other kernels, channels and sizes; every form of file; nothing loaded by half."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from sightline.core.errors import UserError
from sightline.models import saved_model
from sightline.models.architectures.convnext import ConvNeXt
from sightline.models.architectures.efficientnet import EfficientNet
from sightline.models.architectures.mobilenet_v3 import MobileNetV3
from sightline.models.architectures.resnet import ResNet
from sightline.models.architectures.timm import Timm
from sightline.models.architectures.vit import ViT
from sightline.models.options import PretrainableOption
from sightline.models.pretrained import fit_channels, fit_kernel, read_weights
from tests.models.conftest import pictures
from tests.models.test_networks import make


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# --- fitting a kernel ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), [(7, 3), (16, 4), (16, 1), (4, 3), (3, 7)])
def test_a_fitted_kernel_answers_as_the_old_one_does_to_the_resized_patch(old: int, new: int) -> None:
    torch.manual_seed(0)
    kernel, patches = torch.randn(6, 3, old, old), torch.randn(5, 3, new, new)
    resized = nn.functional.interpolate(patches, size=(old, old), mode="bilinear", antialias=True)
    expected = torch.einsum("nikl,oikl->no", resized, kernel)
    actual = torch.einsum("nikl,oikl->no", patches, fit_kernel(kernel, new))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_a_kernel_of_the_right_size_is_left_alone() -> None:
    kernel = torch.randn(2, 3, 7, 7)
    assert fit_kernel(kernel, 7) is kernel
    assert fit_channels(kernel, 3) is kernel


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_images_of_equal_channels_are_answered_as_before(channels: int) -> None:
    torch.manual_seed(0)
    kernel, grey = torch.randn(4, 3, 3, 3), torch.randn(2, 1, 3, 3)
    fitted = fit_channels(kernel, channels)
    assert fitted.shape == (4, channels, 3, 3)
    if channels in (1, 6):  # each given channel comes equally often
        expected = nn.functional.conv2d(grey.expand(-1, 3, -1, -1), kernel)
        actual = nn.functional.conv2d(grey.expand(-1, channels, -1, -1), fitted)
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


# --- each family from a file -----------------------------------------------------------------------------------------

FAMILIES: dict[str, tuple[PretrainableOption, str]] = {
    "resnet18": (ResNet("resnet18", "{}"), "conv1"),
    "resnet50": (ResNet("resnet50", "{}"), "conv1"),
    "mobilenet_v3_small": (MobileNetV3("mobilenet_v3", "{}", "small"), "features.0.0"),
    "efficientnet_b0": (EfficientNet("efficientnet", "{}", "b0"), "features.0.0"),
    "convnext_tiny": (ConvNeXt("convnext", "{}", "tiny"), "features.0.0"),
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("shape", [(32, 32, 1), (96, 96, 3)])
def test_torchvisions_file_fills_all_but_the_head(name: str, shape: tuple[int, int, int], tmp_path: Path) -> None:
    option, first = FAMILIES[name]
    torch.manual_seed(7)
    given = torchvision.models.get_model(name).state_dict()
    path = tmp_path / "weights.safetensors"
    save_file(given, path)
    option = type(option)(**{**vars(option), "weights": str(path)})
    classifier = make(option, shape)
    built = classifier.network.state_dict()
    same = [key for key in built if built[key].shape == given[key].shape and torch.equal(built[key], given[key])]
    fitted = set(built) - set(same) - {f"{classifier.head_name}.weight", f"{classifier.head_name}.bias"}
    assert fitted == ({f"{first}.weight"} if shape[2] == 1 else set())
    side = built[f"{first}.weight"].shape[-1]
    expected = fit_channels(fit_kernel(given[f"{first}.weight"], side), shape[2])
    assert torch.equal(built[f"{first}.weight"], expected)


def test_a_vision_transformers_patches_and_positions_are_fitted(tmp_path: Path) -> None:
    large = make(ViT("vit", None, "ti", None), (224, 224, 3)).network.state_dict()
    path = tmp_path / "vit.pth"
    torch.save(large, path)
    small = make(ViT("vit", str(path), "ti", None), (32, 32, 1)).network.state_dict()
    assert small["conv_proj.weight"].shape == (192, 1, 4, 4)
    assert small["encoder.pos_embedding"].shape == (1, 65, 192)
    assert torch.equal(small["encoder.pos_embedding"][:, 0], large["encoder.pos_embedding"][:, 0])
    assert torch.equal(
        small["encoder.layers.encoder_layer_3.mlp.0.weight"], large["encoder.layers.encoder_layer_3.mlp.0.weight"]
    )


# --- forms of file ---------------------------------------------------------------------------------------------------


def test_the_weights_are_found_in_every_form_of_file(tmp_path: Path) -> None:
    state = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).state_dict()

    def found(content: object) -> bool:
        torch.save(content, tmp_path / "w.pth")
        plain = read_weights(str(tmp_path / "w.pth"))
        return list(plain) == list(state) and all(torch.equal(plain[key], state[key]) for key in state)

    def prefixed(prefix: str) -> dict[str, torch.Tensor]:
        return {f"{prefix}{key}": value for key, value in state.items()}

    assert found(state)
    assert found({"state_dict": state, "epoch": 3})
    assert found({"model": state, "optimizer": {}})
    assert found({"state_dict": {key: torch.zeros(1) for key in state}, "state_dict_ema": state})
    assert found(prefixed("module."))
    assert found(prefixed("_orig_mod."))
    assert found(prefixed("module._orig_mod."))
    statistics = {"mean": torch.zeros(1), "scale": torch.ones(1)}
    assert found({**statistics, **prefixed("network.")})  # our own model.safetensors
    ours = {f"classifier.{key}": value for key, value in {**statistics, **prefixed("network.")}.items()}
    assert found({"state_dict": ours, "epoch": 3})  # our own checkpoint


def test_a_flipped_bit_is_refused_or_makes_no_difference(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"a": torch.arange(256.0)}, file)
    whole = file.read_bytes()
    refused = 0
    for place in range(0, len(whole), 11):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            assert torch.equal(read_weights(str(file))["a"], torch.arange(256.0)), place
        except UserError:
            refused += 1
    assert refused > 90  # a kibibyte of weights, and what describes them

    place = whole.index(torch.arange(256.0).numpy().tobytes())
    file.write_bytes(whole[:place] + b"\1" + whole[place + 1 :])
    with pytest.raises(UserError, match=r"weights.pth is damaged \(its checksum differs\): download it again$"):
        read_weights(str(file))


@pytest.mark.parametrize("content", [b"", b"no weights", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"^train.model.weights: .*weights.safetensors") as caught:
        read_weights(str(path))
    assert "\n" not in str(caught.value)


def test_a_model_of_ones_own_is_a_start_for_other_classes_and_channels(tmp_path: Path) -> None:
    trained = make("resnet18", (16, 16, 1), 3)
    saved_model.save_model(tmp_path, trained, ResNet("resnet18", None), (16, 16, 1), list("abc"))
    tuned = make(ResNet("resnet18", str(tmp_path / "model.safetensors")), (24, 24, 3), 7, seed=5)
    assert torch.equal(tuned.network.layer4[1].conv2.weight, trained.network.layer4[1].conv2.weight)
    grey = pictures(2, (24, 24, 1))
    with torch.inference_mode():  # a grey picture says the same in one channel as in three
        expected = trained.eval().features(grey)
        torch.testing.assert_close(tuned.eval().features(grey.expand(-1, -1, -1, 3)), expected, rtol=1e-3, atol=1e-4)


def test_fine_tuning_begins_the_same_for_the_same_seed(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "w.pth")
    first, same = (make(ResNet("resnet18", str(tmp_path / "w.pth")), (32, 32, 3), seed=4) for _ in range(2))
    assert saved_model.weights_bytes(first) == saved_model.weights_bytes(same)


def refused(option: PretrainableOption, shape: tuple[int, int, int] = (32, 32, 3)) -> str:
    with pytest.raises(UserError) as caught:
        make(option, shape)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("train.model.weights: ")
    return line


def test_weights_of_a_relative_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "resnet34.pth"
    torch.save(torchvision.models.resnet34().state_dict(), path)  # has all that resnet18 has, and more
    assert refused(ResNet("resnet18", str(path))).startswith(
        f"train.model.weights: {path} does not fit resnet18: it has"
    )
    torch.save(torchvision.models.mobilenet_v3_small().state_dict(), path)
    assert "does not fit mobilenet_v3_large" in refused(MobileNetV3("mobilenet_v3", str(path), "large"))
    assert "does not fit vit_ti_16" in refused(ViT("vit", str(path), "ti", None))


@pytest.mark.parametrize("name", [*FAMILIES, "vit"])
def test_default_weights_offline_are_one_line_with_a_remedy(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    option = ViT("vit", "DEFAULT", "b", None) if name == "vit" else FAMILIES[name][0]
    with torch.device("meta"):  # quick; the download comes before anything is copied
        line = refused(type(option)(**{**vars(option), "weights": "DEFAULT"}))
    assert "could not be downloaded" in line
    assert line.endswith("give the path of a local file, or null")


# --- timm ------------------------------------------------------------------------------------------------------------


def test_a_file_for_timm_fills_all_but_the_head_and_is_fitted(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    import timm

    torch.manual_seed(5)
    given = timm.create_model("resnet10t").state_dict()
    path = tmp_path / "w.safetensors"
    save_file(given, path)
    built = make(Timm("timm", str(path), "resnet10t", {}), (32, 32, 1)).network.state_dict()
    differ = [key for key in built if built[key].shape != given[key].shape or not torch.equal(built[key], given[key])]
    assert differ == ["conv1.0.weight", "fc.weight", "fc.bias"]
    torch.testing.assert_close(built["conv1.0.weight"], given["conv1.0.weight"].sum(1, keepdim=True))


def test_a_file_of_another_network_is_refused_for_timm(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    path = tmp_path / "w.pth"
    torch.save(torchvision.models.mobilenet_v3_small().state_dict(), path)
    assert "does not fit resnet10t: it has no" in refused(Timm("timm", str(path), "resnet10t", {}))
    assert refused(Timm("timm", "nowhere.pth", "resnet10t", {})) == "train.model.weights: no file nowhere.pth"


def test_timms_default_weights_offline_are_one_line_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm")

    def offline(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no route to host\nat all")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", offline)
    line = refused(Timm("timm", "DEFAULT", "resnet10t", {}))
    assert "no route to host" in line
    assert line.endswith("give the path of a local file, or null")
