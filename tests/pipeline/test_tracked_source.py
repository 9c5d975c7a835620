"""A folder of images that DVC tracks, on two machines with one remote: what is equal runs nothing anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.pipeline import project as projects
from tests.pipeline.project import Project
from tests.stages.ingest.helpers import picture, tree


def pictures(first: int, last: int) -> dict[str, bytes]:
    return {f"{'ab'[number % 2]}/{number:02}.png": picture(number) for number in range(first, last)}


def data_of(place: Project, first: int, last: int) -> None:
    tree(place.root / "data/mine", pictures(first, last))
    place.check("dvc", "add", "data/mine")


@pytest.mark.slow
def test_two_clones_and_a_remote(tmp_path: Path) -> None:
    here = projects.make(tmp_path / "a", {"ingest__source": "folder", "ingest__path": "data/mine"})
    here.check("dvc", "config", "cache.type", "symlink")  # as DVC advises for large sets
    here.check("dvc", "remote", "add", "--quiet", "--default", "shared", str(tmp_path / "remote"))
    data_of(here, 0, 40)
    assert here.repro("ingest").ran == ["watch", "ingest"]
    here.commit("forty images")
    here.check("dvc", "push", "--quiet")

    there = here.clone(tmp_path / "b", "main")
    ran = there.repro("--pull", "--allow-missing", "ingest")
    assert ran.ran == ["watch"], ran.output
    assert there.check("git", "status", "--porcelain").output == ""

    there.check("dvc", "pull", "--quiet", "data/mine.dvc")  # other times, other inodes, the same images
    assert there.repro("--pull", "--allow-missing", "ingest").ran == ["watch"]
    assert there.check("git", "status", "--porcelain").output == ""

    data_of(here, 40, 50)
    here.commit("ten more, by their pointer alone")
    here.check("dvc", "push", "--quiet")
    shutil.rmtree(there.root / "data/mine")
    there.check("git", "pull", "--quiet", str(here.root), "main")
    ran = there.repro("--pull", "--allow-missing", "ingest")
    assert ran.ran == ["watch", "ingest"]
    assert "ingest: data/mine was not here: pulled by DVC" in ran.output
    assert "50 images of 2 classes" in ran.output
