"""Sweeps: over knobs of the data and of training, killed, interrupted, with failures, several jobs at a time."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.pipeline import project as projects
from tests.pipeline.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DENSE = {"ingest__limit": 120, "train__max_epochs": 1, "train__model": "dense"}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project in which only sweeps have run; each test has learning rates of its own."""
    folder = tmp_path_factory.mktemp("sweeps")
    yield projects.make(folder / "project", DENSE)
    shutil.rmtree(folder)


def sweep(project: Project, *words: str, code: int = 0) -> str:
    done = project.command("python", "-m", "pipeline.sweep", "-m", *words)
    assert done.code == code, done.output
    return done.output


def begin(project: Project, *words: str) -> subprocess.Popen[str]:
    """Starts a sweep in a process group of its own."""
    return subprocess.Popen(
        ["python", "-m", "pipeline.sweep", "-m", *words],
        cwd=project.root,
        env=project.environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str], jobs: int) -> list[str]:
    """Reads a sweep's output until so many jobs have ended."""
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if sum(one.startswith("[") for one in lines) == jobs:
            return lines
    raise AssertionError("".join(lines))


def sweep_name(output: str) -> str:
    match = re.search(r"^sweep (\w+): ", output, re.MULTILINE)
    assert match, output
    return match[1]


def parent_and_jobs(project: Project, name: str) -> tuple[list, list]:
    runs = project.runs()
    parents = [run for run in runs if run.data.tags.get("sightline.sweep") == name]
    ids = {run.info.run_id for run in parents}
    return parents, [run for run in runs if run.data.tags.get("mlflow.parentRunId") in ids]


def is_clean(project: Project) -> bool:
    """Whether nothing is left behind of a sweep that git or DVC would see, and no slot."""
    slots = list((project.root / ".dvc/tmp/sweeps").glob("*/*"))
    trees = project.check("git", "worktree", "list").output.strip().splitlines()
    return not slots and len(trees) == 1 and not project.check("git", "status", "--porcelain").output


def test_killed_in_the_middle_the_same_command_runs_what_is_left(swept: Project) -> None:
    words = ["preprocess.size=8,16", "train.lr=0.01,0.02,0.03"]
    process = begin(swept, *words)
    said = "".join(ended(process, 2))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    again = sweep(swept, *words)
    name = sweep_name(said)
    assert sweep_name(again) == name
    done = int(re.search(r"; (\d+) are done already", again)[1])
    assert done in (2, 3)  # a third may have ended meanwhile
    assert len(re.findall(r"^\[", again, re.MULTILINE)) == 6 - done
    assert again.count(" knobs\n") == 1
    assert len(re.findall(r"^ *\d+[ =]", again, re.MULTILINE)) == 6

    parents, jobs = parent_and_jobs(swept, name)
    assert [run.info.status for run in parents] == ["FINISHED"]
    assert not [metric for metric in parents[0].data.metrics if metric.startswith("best_")]
    finished = [run for run in jobs if run.info.status == "FINISHED"]
    assert len({run.data.tags["sightline.sweep_job"] for run in finished}) == len(finished) == 6
    assert len({run.data.tags["sightline.data_sha256"] for run in finished}) == 2
    assert {run.data.params["preprocess.size"] for run in finished} == {"8", "16"}
    assert is_clean(swept)

    known = sweep(swept, "preprocess.size=16", "train.lr=0.03,0.02")
    assert known.count(f"known from sweep {name}") == 2
