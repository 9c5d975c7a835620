"""The functions of Python give what the stages give, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sightline
from sightline.config.compose import read_params
from tests.pipeline.conftest import Base


def test_python_gives_what_the_stages_give_bit_for_bit(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = base.project.root
    monkeypatch.chdir(tmp_path)
    params = read_params(project / "params.yaml")
    source = params["ingest"].pop("source")
    raw = sightline.ingest(source, **{k: v for k, v in params["ingest"].items() if v is not None})
    assert same(raw.path, project / "data/raw") > 3
    data = sightline.preprocess(raw, **params["preprocess"])
    assert same(data.path, project / "data/processed") > 3
    model = sightline.train(data, **params["train"])
    for name, written in (("model.safetensors", "models"), ("model.json", "models"), ("history.csv", "reports")):
        assert (model.path / name).read_bytes() == (project / written / name).read_bytes(), name
    evaluation = sightline.evaluate(model, data, **params["evaluate"])
    metrics = json.loads((project / "reports/metrics_detail.json").read_text())
    without = {name: value for name, value in metrics.items() if not name.startswith("mean_corruption_error")}
    assert evaluation.metrics == without  # that one is relative to the baselines'
    for name in ("predictions.parquet", "calibration.json", "suspects.parquet"):
        assert (evaluation.path / name).read_bytes() == (project / "reports" / name).read_bytes(), name
    bundle = sightline.export(evaluation, **params["export"])
    for name in ("model.onnx", "contract.json", "classes.json", "calibration.json"):
        assert (bundle.path / name).read_bytes() == (project / "models/bundle" / name).read_bytes(), name


def same(one: Path, other: Path) -> int:
    """Compares two folders file by file, and returns how many files each has."""

    def content(folder: Path) -> dict[str, Any]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    assert content(one) == content(other)
    return len(content(one))
