"""Every stage on a full disk and on a read-only one: one line that says what to do, and all outputs as they were."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disks import mounted
from tests.pipeline.conftest import Base
from tests.pipeline.project import STAGES, Project, Ran

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FULL = "the disk is full (0.0 MiB are free): free some space there, and run the same command again"


@pytest.fixture(scope="module")
def project(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A reproduced copy of the project on a file system of its own."""
    with mounted(tmp_path_factory.mktemp("disk"), "size=128m") as disk:
        yield base.project.copy(disk / "project")


def fill(project: Project, rest: int) -> Path:
    """Writes a file that leaves `rest` bytes of the disk."""
    filler = project.root.parent / "filler"
    with filler.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, shutil.disk_usage(project.root).free - rest)
    return filler


def run(project: Project, stage: str) -> Ran:
    return project.command("python", "-m", f"pipeline.{stage}", PYTHONDONTWRITEBYTECODE="1")


def is_one_line(ran: Ran, stage: str, end: str) -> bool:
    """Says whether a stage ended with code 2 and one line for the fault (MLflow has its own)."""
    lines = [line for line in ran.output.splitlines() if line.endswith(end)]
    return ran.code == 2 and "Traceback" not in ran.output and len(lines) == 1 and lines[0].startswith(f"{stage}: ")


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk(project: Project, stage: str) -> None:
    before = project.outputs()
    filler = fill(project, 0 if stage in ("watch", "headline") else 8192)  # what these write is small
    try:
        ran = run(project, stage)
    finally:
        filler.unlink()
    assert is_one_line(ran, stage, FULL), f"{ran.code}: {ran.output}"
    assert project.outputs() == before


def test_a_read_only_project(project: Project) -> None:
    disk = str(project.root.parent)
    remedy = f"mount -o remount,rw {disk}, or work in a copy of the project elsewhere"
    before = project.outputs()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    try:
        for stage in STAGES:
            ran = run(project, stage)
            assert is_one_line(ran, stage, f": the file system is read-only: {remedy}"), f"{ran.code}: {ran.output}"
    finally:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert project.outputs() == before
