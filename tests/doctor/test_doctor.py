"""`sightline doctor`: each fault is found where there is one, with a remedy, and none where there is none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo
from typer.testing import CliRunner

from sightline.cli import app
from sightline.doctor import installation
from sightline.doctor.diagnosis import Level


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    subprocess.run(["git", "init", "--quiet"], check=True)
    Repo.init().close()
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    return tmp_path


def examined(code: int) -> dict[str, str]:
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == code, done.output
    return {line[9:].partition(":")[0]: line for line in done.output.splitlines()}


def test_a_sound_project(project: Path) -> None:
    lines = examined(0)
    assert {line.split()[0] for line in lines.values()} == {"ok"}
    assert {"python", "accelerator", "permissions", "disk", "mlflow", "dvc.lock", "links", "remote"} <= lines.keys()


def test_a_damaged_lock_a_remote_and_a_server_that_are_not_there(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "dvc.lock").write_text("stages: {in")
    (project / ".dvc" / "config").write_text(
        f"['remote \"here\"']\n    url = {tmp_path}\n['remote \"there\"']\n    url = ssh://user:secret@127.0.0.1:1/x\n"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert "fault    dvc.lock: damaged: dvc.lock: sightline repair" in lines
    assert any(line.startswith("warning  mlflow: http://127.0.0.1:1 does not answer") for line in lines)
    assert f"ok       remote: here ({tmp_path}) answers" in lines
    (other,) = [line for line in lines if line.startswith("fault    remote: there")]
    assert "[ssh]" in other
    assert "secret" not in done.output


def test_a_folder_that_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "run it in the project's folder" in examined(0)["project"]


def test_versions_are_compared_with_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("requirements.lock").write_text(
        "numpy==0.0.1 \\\n    --hash=00\nno-such-package==1\nwin==1 ; sys_platform == 'win32' \\\n    --hash=00\n"
    )
    (finding,) = [finding for finding in installation.examine() if finding.subject == "versions"]
    assert finding.level is Level.WARNING
    assert finding.text.endswith(
        "(locked: 0.0.1), no-such-package missing (locked: 1), which differ from requirements.lock"
    )
    assert finding.remedy == "make install"
