"""The default pipeline at its full size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.pipeline import project as projects

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]


def test_the_default_parameters_recognise_digits(tmp_path: Path):
    project = projects.make(tmp_path / "project", {})
    project.check("dvc", "repro", timeout=550)
    metrics = json.loads(project.read("reports/metrics_detail.json"))
    assert metrics["accuracy"] >= 0.985
    assert metrics["images"] >= 300
    (run,) = project.runs()
    assert "system/cpu_utilization_percentage" in run.data.metrics  # a training of less than two seconds has none
    shutil.rmtree(tmp_path)
