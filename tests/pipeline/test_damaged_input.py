"""A flipped bit in what a stage reads, of which DVC notices nothing: the stage ends before it uses the file."""

from __future__ import annotations

import os

import pytest

from tests.pipeline.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_stage_below_dvc_refuses_an_input_with_a_flipped_bit(project: Project) -> None:
    project.repro("evaluate")  # so that DVC knows the files of this copy
    path = project.root / "models/model.json"
    before, state = path.read_bytes(), path.stat()
    path.chmod(0o644)
    with path.open("r+b") as stream:  # in place: size, inode and time stay
        stream.write(bytes([before[0] ^ 1]))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    project.set(evaluate__gallery=3)
    ran = project.command("dvc", "repro", "evaluate")
    assert ran.code != 0, ran.output
    assert (
        "evaluate: models/model.json has changed since the train stage wrote it: rm -rf models/model.json" in ran.output
    )
    assert "Traceback" not in ran.output
