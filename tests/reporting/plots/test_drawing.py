import io
import warnings

import matplotlib
import numpy as np
import pytest
from PIL import Image

from sightline.metrics import base, calibration, classification, selective
from sightline.metrics.curves import GRID, curves
from sightline.reporting.plots import bars, confusion_matrix, curve_plots, robustness_table, style
from sightline.reporting.plots.bars import IntervalBar
from sightline.reporting.plots.gallery import Tile, draw_gallery

SIZES = [1, 2, 11, 100]


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a glyph that the font lacks, a layout that does not fit
        yield


def case(num_classes, n=200):
    """Labels, in which the last of many classes is absent, and probabilities that are mostly right."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, max(num_classes - 1, 1), n)
    raw = rng.random((n, num_classes)) + 3 * np.eye(num_classes)[labels] * (rng.random((n, 1)) < 0.8)
    return labels, raw / raw.sum(axis=1, keepdims=True)


def drawings(num_classes, classes, theme):
    """Every picture, by name."""
    labels, probabilities = case(num_classes)
    predicted = base.predicted_classes(probabilities)
    confidences, correct = probabilities.max(axis=1), predicted == labels
    counts = base.confusion(labels, predicted, num_classes)
    found = curves(labels, probabilities)
    curve = selective.risk_coverage(confidences, correct)
    bins = calibration.reliability(confidences, correct)
    rows = [IntervalBar(name, 0.5 + i / 500, 0.4, 0.9, i == 0) for i, name in enumerate(classes)]
    tiles = [
        Tile(np.full((8, 6, 3), i, np.uint8), style.class_label(c, i), "below", i % 2 == 0)
        for i, c in enumerate(classes)
    ]
    few = classes[:12]
    drawn = {
        "confusion": confusion_matrix.draw_confusion(counts, classes, theme),
        "rates": confusion_matrix.draw_confusion(counts, classes, theme, rates=True),
        "per_class": bars.draw_per_class(classification.class_scores(labels, predicted, num_classes), classes, theme),
        "intervals": bars.draw_intervals(rows[: len(few)], "Accuracy", theme),
        "reliability": curve_plots.draw_reliability(bins, theme, bins[:3]),
        "risk_coverage": curve_plots.draw_risk_coverage(curve.coverage, curve.risk, theme, (0.5, 0.1)),
        "precision_recall": curve_plots.draw_precision_recall(
            [(GRID, y) for y in found.precision.values()], (GRID, found.mean_precision), theme
        ),
        "robustness": robustness_table.draw_robustness(
            classes[:12], np.linspace(0, 1, 5 * len(classes[:12])).reshape(-1, 5), 0.9, theme
        ),
        "gallery": draw_gallery(tiles, "A title", theme),
    }
    if found.roc:
        rates = found.false_rates
        drawn["roc"] = curve_plots.draw_roc([(rates, y) for y in found.roc.values()], (rates, found.mean_roc), theme)
    return drawn


@pytest.fixture
def names(hostile):
    return lambda num_classes: sorted((hostile + [f"class {i}" for i in range(num_classes)])[:num_classes])


@pytest.mark.parametrize("num_classes", SIZES)
def test_any_classes_can_be_drawn_and_nothing_is_cut_off(num_classes, names):
    drawn = drawings(num_classes, names(num_classes), style.DARK)
    assert ("roc" in drawn) == (num_classes > 2)  # of one class, and of one that all images have, there is none
    for name, png in drawn.items():
        image = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        assert min(image.shape[:2]) > 100, name
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert (border == border[0]).all(), name


def test_same_bytes_whatever_the_users_settings(monkeypatch, history):
    def draw():
        curve = curve_plots.draw_learning_curve(
            {"epoch": np.arange(2.0), "train_loss": np.array([1, 0.5])}, "loss", style.LIGHT
        )
        return {**drawings(5, list("abcde"), style.LIGHT), "learning": curve}

    before = draw()
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 30)
    monkeypatch.setitem(matplotlib.rcParams, "axes.grid", True)
    assert draw() == before
    assert matplotlib.rcParams["font.size"] == 30
    assert b"Software" not in b"".join(before.values())


def test_names_that_the_font_lacks_become_indices():
    assert style.shown_all(["cat", "日本", "", "a\nb", "x" * 99]) == ["cat", "#1", "#2", "a b", "x" * 21 + "…"]


@pytest.mark.parametrize("values", [[0.5], [np.nan, np.nan], [np.inf, 1.0]])
def test_odd_histories_can_be_drawn(values):
    history = {"epoch": np.arange(len(values), dtype=float), "train_loss": np.array(values)}
    assert curve_plots.draw_learning_curve(history, "loss", style.DARK)


def test_one_image_can_be_drawn():
    bins = calibration.reliability(np.array([1.0]), np.array([True]))
    assert curve_plots.draw_reliability(bins, style.LIGHT)
    assert curve_plots.draw_risk_coverage(np.array([1.0]), np.array([0.0]), style.LIGHT)


def test_no_tiles_no_gallery():
    assert draw_gallery([], "A title", style.LIGHT) is None
