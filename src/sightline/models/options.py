"""Model options: the settings in `conf/train/model/<name>.yaml` and `model.json`, and the code that builds the network.

Each network is one class in a module of `sightline.models.architectures`, with its fields, their ranges, its
documentation and `build`. Only its methods import PyTorch, so that a configuration can be checked without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Self

from sightline.config.schema import Option, Registry, require
from sightline.models import packaged_weights

if TYPE_CHECKING:
    from torch import nn


@dataclass
class ModelOption(Option):
    """Base of every network's option.

    Attributes:
        EARLIER: Values of settings for models that were saved before these settings existed.
    """

    EARLIER: ClassVar[Mapping[str, object]] = MappingProxyType({})

    def build(self, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        """Builds the network, which maps float32 images [N, C, H, W] to logits [N, num_classes].

        Args:
            shape: (height, width, channels) of the images.
            num_classes: Number of logits.
        """
        raise NotImplementedError(f"{type(self).__name__} has no build()")

    def fitted_to(self, height: int, width: int) -> Self:  # noqa: ARG002  # of options that depend on it
        """Returns the option with concrete values for the settings that depend on the image size.

        Options that are equivalent for images of this size then compare equal.
        """
        return self

    def head(self, network: nn.Module) -> str:
        """Returns the name of the network's head, which maps embeddings to logits: its last linear layer."""
        from torch import nn

        names: list[str] = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
        if not names:
            raise ValueError(f"{type(self).__name__}: its network has no linear layer; override head()")
        return names[-1]


@dataclass
class PretrainableOption(ModelOption):
    """Base of the networks that have pretrained weights.

    Attributes:
        weights: "DEFAULT" for the ImageNet weights of the library that has the network, "package" for those of an
            installed package (see `packaged_weights`), a path to a local file (`.safetensors`, or a state dict saved
            with `torch.save`), or null for random weights.
    """

    weights: str | None

    def __post_init__(self) -> None:
        require(self.weights != "", "weights: must be DEFAULT, a path or null, not empty")
        has_package = self.weights != packaged_weights.PACKAGE or self.name in packaged_weights.DISTRIBUTIONS
        require(has_package, f"weights: package: only {', '.join(packaged_weights.DISTRIBUTIONS)} have one")

    def input_side(self) -> int | None:
        """Returns the side in pixels of the images that the library's weights were trained on; None if unknown."""
        return None


@dataclass
class TorchvisionOption(PretrainableOption):
    """Base of torchvision's networks: `architecture` names one, and `create` adapts it to the images."""

    @property
    def architecture(self) -> str:
        """Torchvision's name of the network."""
        return self.name

    def create(self, shape: tuple[int, int, int], num_classes: int) -> tuple[nn.Module, str]:
        """Creates the network with random weights; returns it and the name of its first convolution."""
        raise NotImplementedError(f"{type(self).__name__} has no create()")

    def input_side(self) -> int | None:
        import torchvision

        return int(torchvision.models.get_model_weights(self.architecture).DEFAULT.transforms().crop_size[0])

    def build(self, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        network, first = self.create(shape, num_classes)
        if self.weights is not None:
            from sightline.models import torchvision_networks

            torchvision_networks.load_weights(network, self.architecture, first, self.head(network), self.weights)
        return network


MODELS: Registry[ModelOption] = Registry("train/model", modules="sightline.models.architectures.*")
