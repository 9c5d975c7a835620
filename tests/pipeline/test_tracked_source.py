"""A folder of images that DVC tracks, on two machines with one remote: what is equal runs nothing anew."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.pipeline import project as projects
from tests.pipeline.project import Project, image_diff
from tests.stages.ingest.helpers import picture, tree

STAGES = ("--pull", "--allow-missing", "preprocess")


def pictures(first: int, last: int) -> dict[str, bytes]:
    return {f"{'ab'[number % 2]}/{number:03}.png": picture(number) for number in range(first, last)}


def data_of(place: Project, first: int, last: int) -> None:
    tree(place.root / "data/mine", pictures(first, last))
    place.check("dvc", "add", "data/mine")


def shards(place: Project) -> set[str]:
    return {path.name for path in (place.root / "data/raw").glob("shard-*")}


def memo(place: Project) -> set[str]:
    return {path.name for path in (place.root / ".sightline/memo/preprocess").iterdir()}


@pytest.mark.slow
def test_two_clones_and_a_remote(tmp_path: Path) -> None:
    here = projects.make(tmp_path / "a", {"ingest__source": "folder", "ingest__path": "data/mine"})
    here.edit("src/sightline/datasets/raw_set.py", "TARGET_ROWS = 1024", "TARGET_ROWS = 8")  # many of few images
    here.check("dvc", "config", "cache.type", "symlink")  # as DVC advises for large sets
    here.check("dvc", "remote", "add", "--quiet", "--default", "shared", str(tmp_path / "remote"))
    data_of(here, 0, 60)
    assert here.repro("preprocess").ran == ["watch", "ingest", "preprocess"]
    here.commit("sixty images")
    here.check("dvc", "push", "--quiet")
    before, worked_on = shards(here), memo(here)

    there = here.clone(tmp_path / "b", "main")
    ran = there.repro(*STAGES)
    assert ran.ran == ["watch"], ran.output
    assert there.check("git", "status", "--porcelain").output == ""

    there.check("dvc", "pull", "--quiet", "data/mine.dvc")  # other times, other inodes, the same images
    assert there.repro(*STAGES).ran == ["watch"]
    assert there.check("git", "status", "--porcelain").output == ""

    data_of(here, 60, 110)
    here.commit("fifty more, by their pointer alone")
    here.check("dvc", "push", "--quiet", "data/mine.dvc")
    shutil.rmtree(there.root / "data/mine")
    shutil.copytree(here.root / ".sightline/memo", there.root / ".sightline/memo")  # as if it had worked on them
    there.check("git", "pull", "--quiet", str(here.root), "main")
    state = there.command("sightline", "check")
    assert (state.code, state.output.split(":")[0]) == (1, "ingest")
    ran = there.repro(*STAGES)
    assert ran.ran == ["watch", "ingest", "preprocess"]
    assert "ingest: data/mine was not here: pulled by DVC" in ran.output
    assert "110 images of 2 classes" in ran.output
    changed = shards(there) - before
    assert len(changed) < len(shards(there)), "a shard at least is as it was"
    assert len(memo(there) - worked_on) == len(changed)  # and no more was preprocessed

    diff = image_diff(there)
    assert diff.pop("added") == sorted(pictures(60, 110))
    assert not any(diff.values()), diff
    there.commit("the lock")
    there.check("dvc", "push", "--quiet")
    assert there.repro(*STAGES).ran == ["watch"]
    assert there.check("git", "status", "--porcelain").output == ""

    here.check("git", "pull", "--quiet", str(there.root), "main")  # the other way: results, of which most are here
    assert here.repro(*STAGES).ran == ["watch"]
    fetched = here.check("dvc", "fetch", "data/raw").output
    # The shards that changed, the summary, and DVC's list of them all.
    assert re.findall(r"(\d+) files fetched", fetched) == [str(len(changed) + 2)], fetched
