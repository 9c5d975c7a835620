"""The quick start, run from a wheel in an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.wheel import installed

__all__ = ["installed"]

NOTEBOOK = ROOT / "notebooks/quickstart.ipynb"


def test_the_wheel_holds_the_configuration(installed: Path) -> None:
    def files(root: Path) -> dict[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.yaml")}

    assert files(installed / "sightline/conf") == files(ROOT / "conf")


@pytest.mark.slow
@pytest.mark.full
def test_the_notebook_runs_from_the_wheel_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed), "MPLBACKEND": "agg"}
    command = [sys.executable, str(ROOT / "tests/api/run_notebook.py"), str(NOTEBOOK)]
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=540
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0] == f"package {installed / 'sightline'}"
    shown = "\n".join(line for line in lines if line.startswith("html"))
    for kind in ("RawDataset", "ProcessedDataset", "TrainedModel", "ModelEvaluation", "Explanation", "ExportedModel"):
        assert kind in shown, ran.stdout
    accuracy = re.search(r"accuracy (0\.\d+) ", shown)
    assert accuracy is not None
    assert float(accuracy[1]) > 0.9
    assert re.fullmatch(r"digits-\d{4} is \d: predicted \d with probability [01]\.\d{3}", lines[-1])
    assert {path.name for path in tmp_path.iterdir()} == {"sightline-runs", ".sightline"}


def test_the_notebook_in_git_has_no_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
