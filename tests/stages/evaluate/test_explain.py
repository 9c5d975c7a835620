import numpy as np
import pytest
import torch

from sightline.models.architectures.cnn import Cnn
from sightline.models.architectures.dense import Dense
from sightline.models.architectures.mobilenet_v3 import MobileNetV3
from sightline.models.architectures.resnet9 import ResNet9
from sightline.models.architectures.vit import ViT
from sightline.models.architectures.wide_resnet import WideResNet
from sightline.models.classifier import build_classifier
from sightline.stages.evaluate.explain import explainer, last_convolution

NETWORKS = {
    "cnn": (Cnn("cnn", 4, 2, 8, 0.2, "full"), "features.10"),
    "resnet9": (ResNet9("resnet9", 2, "max", 0.5), "blocks.8.blocks.1.0"),
    "wide_resnet": (WideResNet("wide_resnet", 10, 1, 0.0), "blocks.2.conv2"),
    "mobilenet_v3": (MobileNetV3("mobilenet_v3", None, "small"), "features.12.0"),
    "dense": (Dense("dense", [8], 0.0), None),
    "vit": (ViT("vit", None, "ti", 16), None),
}
SHAPE = (32, 28, 3)


def classifier(option):
    torch.manual_seed(0)
    return build_classifier(option, SHAPE, 5, [0.5] * 3, [0.25] * 3).eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_any_network_is_explained_the_same_every_time(name):
    option, layer = NETWORKS[name]
    model = classifier(option)
    found = last_convolution(model, SHAPE)
    assert (found and found[0]) == layer
    images = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), np.uint8)
    made = explainer(model, SHAPE)
    assert made.method == ("Grad-CAM" if layer else "Occlusion")
    maps = made.maps(images, np.array([0, 1, 4]))
    assert maps.shape == (3, 32, 28)
    assert ((maps >= 0) & (maps <= 1)).all()
    np.testing.assert_array_equal(maps, made.maps(images, np.array([0, 1, 4])))
    assert made.maps(images[:0], np.zeros(0, np.int64)).shape == (0, 32, 28)


@pytest.mark.parametrize(("stem", "layer"), [("full", "features.24"), ("half", "features.17")])
def test_a_map_that_is_too_coarse_is_taken_from_an_earlier_layer(stem, layer):
    torch.manual_seed(0)
    shape = (64, 64, 1)
    model = build_classifier(Cnn("cnn", 4, 4, 8, 0.2, stem), shape, 5, [0.5], [0.25]).eval()
    found = last_convolution(model, shape)
    assert (found and found[0]) == layer
    size = []
    found[1].register_forward_hook(lambda _module, _inputs, output: size.append(tuple(output.shape[2:])))
    model(torch.zeros((1, *shape), dtype=torch.uint8))
    assert size == [(8, 8)]


class OnePlace(torch.nn.Module):
    """Says class 1 as far as the upper left corner is bright, by a convolution or without."""

    def __init__(self, convolves):
        super().__init__()
        self.look = torch.nn.Conv2d(1, 1, 1, bias=False) if convolves else torch.nn.Identity()
        if convolves:
            torch.nn.init.ones_(self.look.weight)

    def forward(self, pixels):
        corner = self.look(pixels)[:, :, :4, :4].mean(dim=(1, 2, 3))
        return torch.stack([-corner, corner], dim=1)


@pytest.mark.parametrize("convolves", [True, False])
def test_the_map_points_where_the_network_looks(convolves):
    from sightline.models.classifier import Classifier

    model = Classifier(OnePlace(convolves), [0.0], [1.0]).eval()
    image = np.full((1, 16, 16, 1), 20, np.uint8)
    image[:, :4, :4] = 255
    made = explainer(model, (16, 16, 1))
    assert made.method == ("Grad-CAM" if convolves else "Occlusion")
    heat = made.maps(image, np.array([1]))[0]
    assert heat.max() == 1
    assert heat[:4, :4].mean() > 0.5
    assert heat[8:, 8:].max() < 0.2
    against = made.maps(image, np.array([0]))[0]
    assert against.max() == 0  # nothing speaks for the other class
