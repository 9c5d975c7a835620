import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from sightline.core import files
from sightline.core.errors import UserError
from sightline.stages.evaluate.stage import evaluate_split

FILES = {
    "metrics_detail.json",
    "calibration.json",
    "predictions.parquet",
    "novelty.npz",
    "suspects.parquet",
    "report.html",
    "plots/confusion.csv",
    "plots/per_class.csv",
    "plots/roc.csv",
    "plots/roc_per_class.csv",
    "plots/precision_recall.csv",
    "plots/precision_recall_per_class.csv",
    "plots/reliability.csv",
    "plots/reliability_uncalibrated.csv",
    "plots/risk_coverage.csv",
    "plots/slices.csv",
    "plots/robustness.csv",
    "figures/confusion_counts.png",
    "figures/confusion_rates.png",
    "figures/per_class.png",
    "figures/training_loss.png",
    "figures/training_accuracy.png",
    "figures/errors.png",
    "figures/precision_recall.png",
    "figures/reliability.png",
    "figures/risk_coverage.png",
    "figures/roc.png",
    "figures/typical.png",
    "figures/uncertain.png",
}


def written(root):
    return {p.relative_to(root).as_posix(): files.sha256_file(p) for p in root.rglob("*") if p.is_file()}


def test_everything_is_written_and_the_same_every_time(make_set, model, config, history, tmp_path):
    data = make_set(["a", "b", "c"])
    digests = []
    for batch_size in (256, 7):
        settings = dataclasses.replace(config, batch_size=batch_size)
        out = tmp_path / f"reports{batch_size}"
        numbers = evaluate_split(
            model(3), data, config=settings, out=out, history=history, model_info={"best_epoch": {"val_loss": 0.123456}}
        ).numbers
        assert json.loads((out / "metrics_detail.json").read_text()) == numbers
        digests.append(written(out))
    assert set(digests[0]) == FILES
    assert digests[0] == digests[1]
    table = pq.read_table(out / "predictions.parquet")
    assert table["id"].to_pylist() == sorted(table["id"].to_pylist())
    assert len(table) == numbers["images"] == 36
    right = np.mean([row["label"] == row["predicted"] for row in table.to_pylist()])
    assert numbers["accuracy"] == pytest.approx(right, abs=1e-6)


def test_files_of_others_and_old_ones(make_set, model, config, tmp_path):
    data = make_set(["a", "b"])
    out = tmp_path / "reports"
    (out / "plots").mkdir(parents=True)
    (out / "plots" / "stale.csv").write_text("old")
    (out / "baseline.json").write_text("another stage's")
    evaluate_split(model(2, errors=False), data, config=config, out=out)
    assert not (out / "plots" / "stale.csv").exists()
    assert (out / "baseline.json").exists()
    assert not (out / "figures" / "errors.png").exists()
    assert not list(out.rglob("*.tmp"))


def test_empty_split(make_set, model, config, tmp_path):
    data = make_set(["a", "b"], absent_from_test=(0, 1))
    with pytest.raises(UserError, match=r"'test' .* has no image"):
        evaluate_split(model(2), data, config=config, out=tmp_path / "reports")
    assert not (tmp_path / "reports").exists()


def test_one_image_and_absent_classes(make_set, model, config, tmp_path):
    data = make_set(["a", "b", "c"], per_split=1, channels=1, absent_from_test=(0, 2))
    numbers = evaluate_split(model(3, errors=False), data, config=config, out=tmp_path / "reports").numbers
    assert numbers["accuracy"] == numbers["f1_macro"] == 1
    assert "have no test image" in (tmp_path / "reports" / "report.html").read_text()


def test_one_class(make_set, config, tmp_path):
    data = make_set(["a"], per_split=3)
    found = evaluate_split(lambda x: np.ones((len(x), 1)), data, config=config, out=tmp_path / "reports")
    assert found.numbers["accuracy"] == 1
    assert "roc_auc_macro" not in found.numbers
    assert found.suspects == []


@pytest.mark.parametrize("wrong", [np.zeros((1, 2)), np.full((1, 3), np.nan), np.full((1, 4), 0.25)])
def test_a_model_that_gives_no_probabilities(make_set, config, tmp_path, wrong):
    data = make_set(["a", "b", "c"])
    with pytest.raises(ValueError, match=r"classes|probabilities"):
        evaluate_split(lambda x: np.repeat(wrong, len(x), 0), data, config=config, out=tmp_path / "reports")
    assert not (tmp_path / "reports").exists()


def test_imports_no_torch_lightning_or_mlflow():
    code = "import sys, sightline.stages.evaluate.stage; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    loaded = set(out.stdout.split())
    assert not loaded & {"torch", "lightning", "pytorch_lightning", "mlflow", "matplotlib.pyplot", "hydra"}
    code = "import sys, sightline.stages.evaluate.config; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert not set(out.stdout.split()) & {"numpy", "sklearn", "matplotlib", "hydra"}
