import csv

import numpy as np
import pyarrow.parquet as pq
import sklearn.metrics as sk

from sightline.evaluate import tables
from sightline.metrics import classification


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
    tables.write_classes(tmp_path / "p.csv", classification.class_scores(labels, predicted, 3), ["a", "b", "c"])
    rows = read(tmp_path / "p.csv")
    assert [row["class"] for row in rows] == ["a", "b", "c"]
    assert [float(row["recall"]) for row in rows] == [0.5, 1, 0]
    assert [int(row["support"]) for row in rows] == [2, 1, 0]
    assert (float(rows[2]["recall_low"]), float(rows[2]["recall_high"])) == (0, 1)


def test_roc_lies_on_scikit_learns(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    probabilities = rng.dirichlet(np.ones(4), 300) * 0.6 + 0.4 * np.eye(4)[labels]
    rates = tables.roc(labels, probabilities)
    area = np.trapezoid(rates[1], rates[0])
    expected = sk.roc_auc_score(np.eye(4)[labels].ravel(), probabilities.ravel())
    assert abs(area - expected) < 1e-3
    assert (np.diff(rates[1]) >= 0).all()
    assert (rates[0][0], rates[1][0], rates[0][-1], rates[1][-1]) == (0, 0, 1, 1)


def test_roc_of_perfect_and_of_single_class(tmp_path):
    tables.write_roc(tmp_path / "r.csv", np.array([0, 1]), np.eye(2))
    rows = read(tmp_path / "r.csv")
    assert rows[0] == {"fpr": "0.0", "tpr": "0.0"}
    assert all(float(row["tpr"]) == 1 for row in rows[1:])
    tables.write_roc(tmp_path / "one.csv", np.array([0]), np.ones((1, 1)))
    assert (tmp_path / "one.csv").read_text() == "fpr,tpr\n"


def test_predictions(tmp_path):
    tables.write_predictions(tmp_path / "p.parquet", ["a", "b"], np.array([0, 1]), np.array([0, 0]), np.eye(2)[[0, 0]])
    assert pq.read_table(tmp_path / "p.parquet").to_pylist() == [
        {"id": "a", "label": 0, "predicted": 0, "probabilities": [1, 0]},
        {"id": "b", "label": 1, "predicted": 0, "probabilities": [1, 0]},
    ]
