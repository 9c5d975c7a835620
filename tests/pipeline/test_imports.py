"""Import cost is part of the design: what the light commands must not load."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pipeline.conftest import Base
from tests.pipeline.project import BIN, Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TRAINING = {"torch", "torchvision", "lightning", "pytorch_lightning", "mlflow", "albumentations"}


def imported(project: Project, *words: str) -> tuple[set[str], str]:
    """Runs Python and returns the top-level modules that it loaded, and what it printed."""
    done = project.check("python", "-X", "importtime", *words)
    pattern = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s+(\w+).*\n", re.MULTILINE)
    modules = set(pattern.findall(done.output))
    assert "os" in modules or "site" in modules, "nothing was seen"
    return modules, re.sub(r"(?m)^import time:.*\n", "", done.output)


@pytest.mark.parametrize("stage", ["watch", "ingest", "preprocess"])
def test_help_of_the_light_stages(base: Base, stage: str):
    modules, output = imported(base.project, "-m", f"pipeline.{stage}", "--help")
    assert "hydra" in modules
    assert not modules & TRAINING
    assert "Knobs" in output


@pytest.mark.parametrize("stage", ["train", "evaluate", "export"])
def test_help_of_the_heavy_stages_answers_at_once_too(base: Base, stage: str):
    modules, _ = imported(base.project, "-m", f"pipeline.{stage}", "--help")
    assert not modules & TRAINING


def test_predict_needs_nothing_of_the_pipeline(base: Base, tmp_path: Path):
    image = tmp_path / "digit.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)).save(image)
    pipeline = TRAINING | {"hydra", "omegaconf", "pyarrow", "sklearn", "dvc", "onnx"}

    modules, _ = imported(base.project, str(BIN / "sightline"), "predict", "--help")
    assert "typer" in modules
    assert not modules & (pipeline | {"onnxruntime"})

    words = ("predict", "models/bundle", str(image), "--output", str(tmp_path / "predicted.csv"))
    modules, _ = imported(base.project, str(BIN / "sightline"), *words)
    assert "onnxruntime" in modules
    assert not modules & pipeline
    with (tmp_path / "predicted.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["label"] in "0123456789"
