"""DVC's experiments in a copy of the project: `--temp` and `--queue`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pipeline import project as projects
from tests.pipeline.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose source is a folder in it that nobody tracks, ingested."""
    folder = tmp_path_factory.mktemp("experiments")
    project = projects.make(folder / "project", {"ingest__source": "folder", "ingest__path": "data/mine"})
    rng = np.random.default_rng(0)
    for number in range(20):
        place = project.root / "data" / "mine" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(place / f"{number}.png")
    project.append(".gitignore", "/data/mine/")
    project.repro("ingest")
    project.commit("ingested")
    yield project
    shutil.rmtree(folder)


def test_an_experiment_in_a_copy_sees_the_source_as_the_project_does(pictures: Project) -> None:
    done = pictures.check("dvc", "exp", "run", "--temp", "ingest", "-S", "train.lr=0.5")
    assert done.ran == ["watch"]
    done = pictures.check("dvc", "exp", "run", "--temp", "ingest", "-S", "ingest.limit=10")
    assert done.ran == ["watch", "ingest"]
    assert "10 images" in done.output


@pytest.mark.full
def test_a_queued_experiment_runs_the_code_that_it_records(pictures: Project) -> None:
    code = "src/sightline/stages/ingest/console.py"
    before = pictures.read(code)
    pictures.check("dvc", "exp", "run", "--queue", "ingest", "-S", "ingest.limit=8", "-S", "++ingest.min_per_class=2")
    pictures.append(code, "raise RuntimeError('the code of the workspace')")
    try:
        done = pictures.check("dvc", "exp", "run", "--run-all")
    finally:
        (pictures.root / code).write_text(before)
    logged = "".join(path.read_text() for path in Path(pictures.root, ".dvc", "tmp", "exps", "run").rglob("*.out"))
    assert "8 images" in done.output + logged
    assert "the code of the workspace" not in done.output + logged
