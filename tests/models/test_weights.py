"""Weights that a network begins with: a local file, torchvision's own, and everything that is neither."""

from __future__ import annotations

import os
import pickle
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from sightline.core.errors import UserError
from sightline.models.architectures.resnet import ResNet
from sightline.models.classifier import build_classifier


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """A weights file as torchvision's users have it."""
    torch.manual_seed(3)
    state = resnet18(weights=None).state_dict()
    path = tmp_path_factory.mktemp("weights") / "resnet18-größe.pth"
    torch.save(state, path)
    return path, state


def resnet18_of(weights: str | None, size: int = 32, channels: int = 3) -> nn.Module:
    statistics = [0.5] * channels
    return build_classifier(ResNet("resnet18", weights), (size, size, channels), 10, statistics, statistics).network


@pytest.mark.parametrize(("size", "channels"), [(224, 3), (224, 1), (32, 3), (32, 1)])
def test_a_local_file_fills_every_layer_but_the_head(
    pretrained: tuple[Path, dict[str, torch.Tensor]], size: int, channels: int
) -> None:
    path, state = pretrained
    torch.manual_seed(0)
    built = resnet18_of(str(path), size, channels).state_dict()
    assert set(built) == set(state)
    for name, tensor in built.items():
        if name.startswith("fc."):
            assert tensor.shape[0] == 10
        elif name != "conv1.weight" or tensor.shape == state[name].shape:
            assert torch.equal(tensor, state[name]), name


def test_without_weights_the_network_is_the_seeds(pretrained: tuple[Path, dict[str, torch.Tensor]]) -> None:
    torch.manual_seed(0)
    built = resnet18_of(None, 224).state_dict()
    assert not torch.equal(built["layer1.0.conv1.weight"], pretrained[1]["layer1.0.conv1.weight"])


def refused(weights: str) -> str:
    """Returns the one line that a weights file is refused with."""
    with pytest.raises(UserError) as caught:
        resnet18_of(weights)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("train.model.weights: ")
    return line


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refused("no/such/file.pth") == "train.model.weights: no file no/such/file.pth"
    assert refused(str(tmp_path)) == f"train.model.weights: no file {tmp_path}"
    assert refused("default") == "train.model.weights: no file default"


@pytest.mark.parametrize(
    "content", [b"", b"no weights", b"PK\x03\x04", b"\x80\x02}q\x00.", pickle.dumps([1, 2], protocol=2)]
)
def test_what_is_no_weights_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    assert str(path) in refused(str(path))


def test_a_truncated_file_is_refused(tmp_path: Path, pretrained: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(pretrained[0].read_bytes()[:-1000])
    assert "is not a weights file" in refused(str(path))


@pytest.mark.parametrize(
    "content", [nn.Linear(2, 2).state_dict(), {"conv1.weight": torch.zeros(1)}, {}, torch.zeros(3), {"epoch": 3}]
)
def test_weights_of_another_network_are_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    assert str(path) in refused(str(path))


class Exploit:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_code_in_a_weights_file_is_not_run(tmp_path: Path, form: str) -> None:
    path, owned = tmp_path / "weights.pth", tmp_path / "owned"
    if form == "torch":
        torch.save({"fc.weight": Exploit(owned)}, path)
    else:
        path.write_bytes(pickle.dumps(Exploit(owned), protocol=2))
    assert str(path) in refused(str(path))
    assert not owned.exists()


def test_default_weights_without_a_network_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # where nothing is downloaded yet
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers the environment of its first use
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with socket.socket() as taken:  # bound but not listening: connections to it are refused at once
        taken.bind(("127.0.0.1", 0))
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{taken.getsockname()[1]}")
        line = refused("DEFAULT")
    monkeypatch.setattr(urllib.request, "_opener", None)
    assert line.startswith("train.model.weights: DEFAULT could not be downloaded")
    assert "local file" in line
