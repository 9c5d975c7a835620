"""One reproduced copy of the project for all tests of this folder; tests that change it use copies."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sightline.core import files
from tests.pipeline import project as projects
from tests.pipeline.project import Project, Ran
from tests.servers.fixtures import mariadb_server, mariadb_url  # noqa: F401 - pytest finds fixtures by their names here


@dataclass(frozen=True)
class Base:
    """The copy, the outcome of its first `dvc repro`, and the folder of notes on what each stage used."""

    project: Project
    ran: Ran
    trace: Path

    def used(self, stage: str, kind: str) -> set[str]:
        """Returns the project's files that a stage read ("file") or imported ("import"), or all top-level modules
        that it imported ("module")."""
        notes = (self.trace / stage).read_text().splitlines()
        return {note.partition(" ")[2] for note in notes if note.startswith(f"{kind} ")}


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """A reproduced copy of the project, read-only for tests and shared by all test workers."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, done = shared / "base", shared / "base.json"
    project, trace = Project(folder / "project"), folder / "trace"
    with files.waiting_lock("base", shared):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # left by an interrupted attempt
            trace.mkdir(parents=True)
            projects.make(project.root)
            paths = f"{projects.TRACE}:{project.root / 'src'}"
            environment = {"PYTHONHASHSEED": "1", "SIGHTLINE_NUM_WORKERS": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
            ran = project.repro(SIGHTLINE_TEST_TRACE=str(trace), PYTHONPATH=paths, **environment)
            project.commit("reproduced")
            project.check("git", "gc", "--quiet")  # leaves fewer files to copy
            files.write_json(done, dataclasses.asdict(ran))
    return Base(project, Ran(**json.loads(done.read_text())), trace)


@pytest.fixture
def project(base: Base, tmp_path: Path) -> Iterator[Project]:
    """A reproduced copy of the project that the test may change."""
    copy = base.project.copy(tmp_path / "project")
    yield copy
    shutil.rmtree(tmp_path)
