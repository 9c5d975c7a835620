"""`sightline init`, as a user gives it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from tests.wheel import installed

__all__ = ["installed"]


def draw(folder: Path, classes: tuple[str, ...] = ("disc", "square"), each: int = 20, side: int = 24) -> Path:
    """Writes small colour pictures of discs and squares, a folder per class."""
    random = np.random.default_rng(0)
    for number, label in enumerate(classes):
        (folder / label).mkdir(parents=True)
        for index in range(each):
            picture = random.integers(0, 60, (side, side, 3)).astype(np.uint8)
            x, y = random.integers(side // 3, side - side // 3, 2).tolist()
            color = random.integers(120, 255, 3).tolist()
            if number % 2:
                cv2.rectangle(picture, (x - 6, y - 6), (x + 6, y + 6), color, -1)
            else:
                cv2.circle(picture, (x, y), 7, color, -1)
            cv2.imwrite(str(folder / label / f"IMG_{index:03}.png"), picture)
    return folder


def environment(**changes: str) -> dict[str, str]:
    who = {f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "SIGHTLINE_", "GIT_"))}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**kept, **who, "PATH": path, "OMP_WAIT_POLICY": "PASSIVE", "GIT_CONFIG_GLOBAL": os.devnull, **changes}


@pytest.mark.slow
def test_two_commands_from_an_installed_wheel_make_a_model(installed: Path, tmp_path: Path) -> None:
    pictures, project = draw(tmp_path / "pictures"), tmp_path / "shapes"
    installation = environment(PYTHONPATH=str(installed))
    command = [sys.executable, "-c", "from sightline.cli import main; main()", "init", str(project)]
    words = ["--images", str(pictures), "train.max_epochs=1", "baseline.methods=[majority]", "evaluate.explain=false"]
    made = subprocess.run(
        [*command, *words], env=installation, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines()[-1].endswith(f"cd {project} && dvc repro")
    assert not (project / "conf").exists()
    assert yaml.safe_load((project / "params.yaml").read_text())["ingest"] == {
        "source": "folder",
        "path": str(pictures),
        "limit": None,
    }
    git = ["git", "-C", str(project), "status", "--porcelain"]
    assert subprocess.run(git, env=installation, capture_output=True, text=True, check=True).stdout == ""

    ran = subprocess.run(["dvc", "repro"], cwd=project, env=installation, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert json.loads((project / "reports/metrics.json").read_text())["images"] > 0
    assert (project / "models/bundle/manifest.json").is_file()
    assert (project / "mlflow.db").is_file()
    again = subprocess.run(["dvc", "repro"], cwd=project, env=installation, capture_output=True, text=True, check=True)
    assert "Stage 'train' didn't change, skipping" in again.stdout

    # Another version of the installed defaults is another code: what reads them runs anew, and nothing else.
    site = tmp_path / "site"
    shutil.copytree(installed, site)
    with (site / "sightline/conf/export/default.yaml").open("a") as stream:
        stream.write("# changed\n")
    newer = {**installation, "PYTHONPATH": str(site)}
    status = subprocess.run(["dvc", "repro"], cwd=project, env=newer, capture_output=True, text=True, check=True)
    assert [line for line in status.stdout.splitlines() if line.startswith("Running")] == [
        "Running stage 'watch':",
        "Running stage 'export':",
    ]
