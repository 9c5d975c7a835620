import io
import warnings

import matplotlib
import numpy as np
import pytest
from PIL import Image

from sightline.errors import UserError
from sightline.evaluate import plots, style
from sightline.metrics import base, classification


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a glyph that the font lacks, a layout that does not fit
        yield


def case(num_classes, n=200):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, num_classes, n)
    predicted = np.where(rng.random(n) < 0.2, rng.integers(0, num_classes, n), labels)
    return labels, predicted


@pytest.fixture
def names(hostile):
    return lambda num_classes: sorted((hostile + [f"class {i}" for i in range(num_classes)])[:num_classes])


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("num_classes", [2, 11, 40, 130])
def test_any_classes_can_be_drawn(num_classes, names):
    theme = style.DARK
    labels, predicted = case(num_classes)
    classes = names(num_classes)
    counts = base.confusion(labels, predicted, num_classes)
    scores = classification.class_scores(labels, predicted, num_classes)
    for png in (plots.confusion(counts, classes, theme, rates=True), plots.per_class(scores, classes, theme)):
        image = pixels(png)
        assert image.shape[0] > 150
        assert image.shape[1] > 150
        # Nothing touches the border: no name is cut off.
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert (border == border[0]).all()


def test_same_bytes_whatever_the_users_settings(monkeypatch, history):
    labels, predicted = case(5)
    counts, scores = base.confusion(labels, predicted, 5), classification.class_scores(labels, predicted, 5)
    table = plots.read_history(history)

    def draw():
        return [
            plots.confusion(counts, list("abcde"), style.LIGHT),
            plots.per_class(scores, list("abcde"), style.LIGHT),
            plots.learning_curve(table, "loss", style.LIGHT),
        ]

    before = draw()
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 30)
    monkeypatch.setitem(matplotlib.rcParams, "axes.grid", True)
    assert draw() == before
    assert matplotlib.rcParams["font.size"] == 30
    assert b"Software" not in b"".join(before)


def test_names_that_the_font_lacks_become_indices():
    assert style.shown_all(["cat", "日本", "", "a\nb", "x" * 99]) == ["cat", "#1", "#2", "a b", "x" * 21 + "…"]


def test_history(history, tmp_path):
    table = plots.read_history(history)
    assert plots.quantities(table) == ["loss", "accuracy"]
    assert np.isnan(table["val_loss"][2])
    for bad in ("", "epoch,train_loss\n", "step,train_loss\n1,2\n", "epoch,train_loss\n1,high\n", "epoch,a\n1\n"):
        path = tmp_path / "bad.csv"
        path.write_text(bad)
        with pytest.raises(UserError, match="run the train stage again"):
            plots.read_history(path)


@pytest.mark.parametrize("values", [[0.5], [np.nan, np.nan], [np.inf, 1.0]])
def test_odd_histories_can_be_drawn(values):
    history = {"epoch": np.arange(len(values), dtype=float), "train_loss": np.array(values)}
    assert plots.learning_curve(history, "loss", style.DARK)


def test_worst_errors_are_most_certain_first_then_by_id():
    labels, predicted = np.array([0, 0, 0, 1]), np.array([1, 0, 1, 0])
    probabilities = np.array([[0.3, 0.7], [0.9, 0.1], [0.3, 0.7], [0.8, 0.2]])
    errors = plots.worst_errors(["b", "c", "a", "d"], labels, predicted, probabilities, 10)
    assert [(e.id, e.position, e.label, e.predicted) for e in errors] == [
        ("d", 3, 1, 0),
        ("a", 2, 0, 1),
        ("b", 0, 0, 1),
    ]
    assert (errors[0].probability, errors[0].probability_of_true) == (0.8, 0.2)
    assert plots.worst_errors(["b", "c", "a", "d"], labels, predicted, probabilities, 1) == errors[:1]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n", [1, 8])
def test_gallery(channels, n, names):
    errors = [plots.Error(i, str(i), 0, 4, 0.5, 0.1) for i in range(n)]
    images = np.zeros((n, 8, 8, channels), np.uint8)
    assert plots.gallery(errors, images, names(11), style.LIGHT)
    assert plots.gallery([], images[:0], names(11), style.LIGHT) is None
