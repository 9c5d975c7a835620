"""DVC killed in the middle of a stage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.pipeline.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(600)]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process cannot ask to end with its parent")
def test_a_killed_repro_leaves_no_stage_behind_and_the_next_one_succeeds(project: Project):
    project.set(train__max_epochs=40)
    dvc = subprocess.Popen(
        ["dvc", "repro", "train"],
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert dvc.stdout
    seen = []
    try:
        for line in dvc.stdout:
            seen.append(line)
            if line.startswith("epoch   2/40"):
                break
        else:
            pytest.fail(f"training never started:\n{''.join(seen)}")
        assert len(project.processes()) >= 2
        os.kill(dvc.pid, signal.SIGKILL)
        dvc.wait()
        deadline = time.monotonic() + 60
        while (left := project.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left
    finally:
        dvc.stdout.close()
        if project.processes():
            os.killpg(dvc.pid, signal.SIGKILL)
    assert not (project.root / "models" / "model.safetensors").exists()
    assert project.repro("train").ran == ["watch", "train"]
    assert not list(project.root.glob("**/*.tmp"))
