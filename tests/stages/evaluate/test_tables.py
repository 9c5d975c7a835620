import csv

import numpy as np
import pytest
import sklearn.metrics as sk

from sightline.metrics import classification, curves
from sightline.stages.evaluate import curve_tables, tables


def read(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_confusion_keeps_any_name(tmp_path):
    names = ["a,b", 'say "hi"', "two\nlines"]
    tables.write_confusion(tmp_path / "c.csv", np.array([0, 1, 2]), np.array([0, 2, 1]), names)
    rows = read(tmp_path / "c.csv")
    assert [(row["actual"], row["predicted"]) for row in rows] == [
        (names[0], names[0]),
        (names[1], names[2]),
        (names[2], names[1]),
    ]
    assert b"\r" not in (tmp_path / "c.csv").read_bytes()


def test_per_class(tmp_path):
    labels, predicted = np.array([0, 0, 1]), np.array([0, 1, 1])
    tables.write_class_table(tmp_path / "p.csv", classification.class_scores(labels, predicted, 3), ["a", "b", "c"])
    rows = read(tmp_path / "p.csv")
    assert [row["class"] for row in rows] == ["a", "b", "c"]
    assert [float(row["recall"]) for row in rows] == [0.5, 1, 0]
    assert [int(row["support"]) for row in rows] == [2, 1, 0]
    assert (float(rows[2]["recall_low"]), float(rows[2]["recall_high"])) == (0, 1)


def scored(n=300):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, n)
    return labels, rng.dirichlet(np.ones(4), n) * 0.6 + 0.4 * np.eye(4)[labels]


def test_roc_lies_on_scikit_learns():
    labels, probabilities = scored()
    rates = curves.roc(*curves.decisions(labels, probabilities))
    area = np.trapezoid(rates[1], rates[0])
    expected = sk.roc_auc_score(np.eye(4)[labels].ravel(), probabilities.ravel())
    assert abs(area - expected) < 1e-3
    assert (np.diff(rates[1]) >= 0).all()
    assert (rates[0][0], rates[1][0], rates[0][-1], rates[1][-1]) == (0, 0, 1, 1)


def test_precision_is_that_of_the_fewest_images_that_reach_the_recall():
    labels, probabilities = scored(40)
    positive, scores = curves.decisions(labels, probabilities)
    for recall, precision in zip(*curves.precision_recall(positive, scores), strict=True):
        best = max(t for t in scores if positive[scores >= t].sum() >= recall * positive.sum() - 1e-9)
        assert precision == pytest.approx(positive[scores >= best].mean())


def test_curves_of_perfect_and_of_single_class(tmp_path):
    curve_tables.write_curves(tmp_path, np.array([0, 1]), np.eye(2), ["a", "b"], 20)
    rows = read(tmp_path / "roc.csv")
    assert rows[0] == {"fpr": "0.0", "tpr": "0.0"}
    assert all(float(row["tpr"]) == 1 for row in rows[1:])
    assert {row["precision"] for row in read(tmp_path / "precision_recall.csv")} == {"1.0"}
    assert {row["class"] for row in read(tmp_path / "roc_per_class.csv")} == {"a", "b"}
    curve_tables.write_curves(tmp_path, np.array([0]), np.ones((1, 1)), ["a"], 20)
    assert (tmp_path / "roc.csv").read_text() == "fpr,tpr\n"
    assert (tmp_path / "precision_recall_per_class.csv").read_text() == "class,index,recall,precision\n"
