"""The networks behind their normalisation: shapes, formula, one image or many."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sightline.models.architectures.cnn import Cnn
from sightline.models.architectures.dense import Dense
from sightline.models.architectures.resnet import ResNet
from sightline.models.classifier import Classifier, build_classifier
from sightline.models.inference import Predictor
from sightline.models.options import ModelOption
from tests.models.conftest import MEAN, OPTIONS, STD, make, pictures


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(["cnn", "dense", "linear"]),
    height=st.integers(1, 33),
    width=st.integers(1, 33),
    channels=st.sampled_from([1, 2, 3, 4]),
    num_classes=st.integers(2, 12),
    count=st.integers(1, 3),
)
def test_any_size_and_channels_become_logits(
    name: str, height: int, width: int, channels: int, num_classes: int, count: int
) -> None:
    shape = (height, width, channels)
    statistics = [0.5] * channels
    classifier = build_classifier(OPTIONS[name], shape, num_classes, statistics, statistics).eval()
    logits = classifier(pictures(count, shape))
    assert logits.shape == (count, num_classes)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()


@settings(deadline=None, max_examples=20)
@given(
    width=st.integers(1, 6),
    blocks=st.integers(1, 6),
    size=st.integers(1, 40),
    stem=st.sampled_from(["full", "half"]),
)
def test_a_cnn_of_any_depth_takes_images_smaller_than_its_pooling(
    width: int, blocks: int, size: int, stem: str
) -> None:
    option = Cnn("cnn", width=width, blocks=blocks, hidden=4, dropout=0.0, stem=stem)
    assert build_classifier(option, (size, size, 1), 3, [0.5], [0.5]).eval()(pictures(2, (size, size, 1))).shape == (
        2,
        3,
    )


def test_a_cnns_parameters_do_not_depend_on_the_images_size() -> None:
    small, large = (make("cnn", (size, size, 3)).state_dict() for size in (8, 64))
    assert {k: v.shape for k, v in small.items()} == {k: v.shape for k, v in large.items()}


@pytest.mark.parametrize(("size", "blocks"), [((1, 40), 2), ((8, 8), 2), ((16, 16), 2), ((28, 28), 3), ((64, 80), 4)])
def test_a_cnn_is_as_deep_as_the_image_is_large(size: tuple[int, int], blocks: int) -> None:
    found, expected = (
        build_classifier(Cnn("cnn", 4, of, 8, 0.0, "full"), (*size, 1), 3, [0.5], [0.5]).state_dict()
        for of in (None, blocks)
    )
    assert {key: value.shape for key, value in found.items()} == {key: value.shape for key, value in expected.items()}


@pytest.mark.parametrize(
    ("size", "stem", "sides"),
    [
        ((47, 80), "auto", [47, 47, 24, 24, 12, 12, 6, 6]),
        ((48, 80), "auto", [24, 24, 12, 12, 6, 6, 3, 3]),
        ((64, 64), "full", [64, 64, 32, 32, 16, 16, 8, 8]),
        ((16, 16), "half", [8, 8, 4, 4]),
    ],
)
def test_a_cnn_halves_large_images_at_once(size: tuple[int, int], stem: str, sides: list[int]) -> None:
    option = Cnn("cnn", 4, None, 8, 0.0, stem)
    classifier = build_classifier(option, (*size, 1), 3, [0.5], [0.5]).eval()
    heights: list[int] = []
    for module in classifier.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, __, out: heights.append(out.shape[2]))
    classifier(pictures(1, (*size, 1)))
    assert heights == sides


@pytest.mark.parametrize("name", OPTIONS)
def test_a_batch_of_one_equals_a_batch_of_many(name: str) -> None:
    classifier = make(name).eval()
    images = pictures(9)
    with torch.inference_mode():
        together = classifier(images)
        alone = torch.cat([classifier(image[None]) for image in images])
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_order_of_a_batch_does_not_matter(name: str) -> None:
    classifier = make(name).eval()
    images = pictures(6)
    with torch.inference_mode():
        torch.testing.assert_close(classifier(images.flip(0)).flip(0), classifier(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_parameter_learns(name: str) -> None:
    """A gradient reaches each weight: no layer is left out of the path."""
    classifier = make(name, (24, 24, 3)).train()
    nn.functional.cross_entropy(classifier(pictures(4, (24, 24, 3))), torch.tensor([0, 1, 2, 3])).backward()
    for parameter_name, parameter in classifier.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@settings(deadline=None, max_examples=50)
@given(
    mean=st.lists(st.floats(0, 1), min_size=1, max_size=4),
    std=st.lists(st.just(0.0) | st.floats(0.001, 0.5), min_size=4, max_size=4),
)
def test_normalisation_is_the_formula(mean: list[float], std: list[float]) -> None:
    channels = len(mean)
    seen = Classifier(nn.Identity(), mean, std[:channels])(pictures(2, (3, 5, channels)))
    assert seen.shape == (2, channels, 3, 5)
    for channel in range(channels):
        pixels = pictures(2, (3, 5, channels))[..., channel].double() / 255
        expected = (pixels - mean[channel]) / (std[channel] or 1.0)
        torch.testing.assert_close(seen[:, channel].double(), expected, rtol=1e-4, atol=1e-4)


def test_pixels_of_known_statistics_come_out_standardised() -> None:
    images = pictures(500)
    pixels = images.double().flatten(0, 2) / 255
    seen = Classifier(nn.Identity(), pixels.mean(0).tolist(), pixels.std(0, correction=0).tolist())(images)
    torch.testing.assert_close(seen.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(seen.std((0, 2, 3), correction=0), torch.ones(3), rtol=0, atol=1e-4)


def test_the_statistics_are_part_of_the_state_but_not_learned() -> None:
    classifier = make("cnn")
    assert {"mean", "scale"} <= set(classifier.state_dict())
    assert not {"mean", "scale"} & {name for name, _ in classifier.named_parameters()}
    assert classifier.mean.flatten().tolist() == pytest.approx([m * 255 for m in MEAN])
    assert classifier.scale.flatten().tolist() == pytest.approx([1 / (s * 255) for s in STD])


def test_dropout_acts_in_training_alone() -> None:
    option = Dense("dense", hidden=[64], dropout=0.5)
    classifier = build_classifier(option, (4, 4, 1), 3, [0.5], [0.5])
    images = pictures(4, (4, 4, 1))
    assert not torch.equal(classifier.train()(images), classifier(images))
    assert torch.equal(classifier.eval()(images), classifier(images))


def test_equal_seeds_equal_weights() -> None:
    for name in OPTIONS:
        one, same, other = (
            make(name, seed=1).state_dict(),
            make(name, seed=1).state_dict(),
            make(name, seed=2).state_dict(),
        )
        assert all(torch.equal(one[key], same[key]) for key in one)
        assert not all(torch.equal(one[key], other[key]) for key in one)


def test_a_network_is_one_class_whose_head_is_its_last_linear_layer() -> None:
    @dataclass
    class Tiny(ModelOption):
        width: int

        def build(self, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
            height, width, channels = shape
            first = nn.Linear(height * width * channels, self.width)
            return nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(self.width, num_classes), nn.Identity())

    classifier = build_classifier(Tiny("tiny", width=3), (8, 8, 1), 2, [0.5], [0.5])
    assert classifier.head_name == "3"
    assert classifier.features(pictures(4, (8, 8, 1))).shape == (4, 3)


@pytest.mark.parametrize(
    ("schema", "values", "message"),
    [
        (Cnn, {"width": 0, "blocks": 1, "hidden": 1, "dropout": 0.0, "stem": "full"}, "width: must be positive, not 0"),
        (Cnn, {"width": 1, "blocks": 7, "hidden": 1, "dropout": 0.0, "stem": "full"}, "blocks: must be 1 to 6, not 7"),
        (Cnn, {"width": 1, "blocks": 0, "hidden": 1, "dropout": 0.0, "stem": "full"}, "blocks: must be 1 to 6, not 0"),
        (
            Cnn,
            {"width": 1, "blocks": 1, "hidden": -1, "dropout": 0.0, "stem": "full"},
            "hidden: must be positive, not -1",
        ),
        (Cnn, {"width": 1, "blocks": 1, "hidden": 1, "dropout": 1.0, "stem": "full"}, "dropout: must be in"),
        (
            Cnn,
            {"width": 1, "blocks": 1, "hidden": 1, "dropout": 0.0, "stem": "no"},
            "stem: 'no' is not one of auto, full",
        ),
        (Dense, {"hidden": [3, 0], "dropout": 0.0}, "hidden: units must be positive"),
        (Dense, {"hidden": [3], "dropout": -0.1}, "dropout: must be in"),
    ],
)
def test_options_out_of_range_are_refused(schema: type[ModelOption], values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        schema(name="x", **values)


def test_probabilities_sum_to_one_whatever_the_logits() -> None:
    class Constant(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[1e4, 0.0, -1e4], [3.0, 3.0, 3.0]])[: len(images)]

    predict = Predictor(Classifier(Constant(), [0.5], [0.5]), {"classes": ["a", "b", "c"]})
    probabilities = predict(pictures(2, (2, 2, 1)).numpy())
    assert probabilities.dtype == "float64"
    assert probabilities.tolist() == [[1.0, 0.0, 0.0], pytest.approx([1 / 3] * 3)]


# --- ResNet-18 -----------------------------------------------------------------------------------------------------


def network(size: int, channels: int = 3) -> nn.Module:
    return build_classifier(
        ResNet("resnet18", None), (size, size, channels), 4, [0.5] * channels, [0.5] * channels
    ).network


def test_resnet_has_a_small_stem_below_96_pixels() -> None:
    small, large, grey = network(95), network(96), network(96, channels=1)
    assert (small.conv1.kernel_size, small.conv1.stride) == ((3, 3), (1, 1))
    assert isinstance(small.maxpool, nn.Identity)
    for full in (large, grey):
        assert (full.conv1.kernel_size, full.conv1.stride) == ((7, 7), (2, 2))
        assert isinstance(full.maxpool, nn.MaxPool2d)
    assert (small.conv1.in_channels, large.conv1.in_channels, grey.conv1.in_channels) == (3, 3, 1)


@pytest.mark.parametrize("shape", [(8, 8, 1), (17, 8, 3), (33, 40, 3), (96, 96, 1), (100, 97, 3)])
def test_resnet_takes_any_size(shape: tuple[int, int, int]) -> None:
    channels = shape[2]
    classifier = build_classifier(ResNet("resnet18", None), shape, 7, [0.5] * channels, [0.5] * channels).eval()
    with torch.inference_mode():
        assert classifier(pictures(1, shape)).shape == (1, 7)
