"""Files that a killed DVC leaves damaged are mended with one line, and none of its stages outlives it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from sightline.cli import app
from sightline.core import dvc_files
from sightline.core.errors import UserError

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "dvc.lock").read_bytes()
BIN = Path(sys.executable).parent
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_"))},
    "PATH": f"{BIN}:{os.environ['PATH']}",
    "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
    "DVC_NO_ANALYTICS": "1",
}
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process cannot ask to end with its parent")


def git(*words: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *identity, *words], check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder as DVC has left it, with the lock of this project, committed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "dvc.lock").write_bytes(LOCK)
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    git("init", "--quiet")
    git("add", "dvc.lock")
    git("commit", "--quiet", "--message", "the lock")
    return tmp_path


NOTHING = ["sightline: nothing to repair"]


def repaired() -> list[str]:
    done = CliRunner().invoke(app, ["repair"])
    assert done.exit_code == 0, done.output
    return done.stderr.splitlines()


# --- what is damaged -------------------------------------------------------------------------------------------------


def test_nothing_is_done_where_nothing_is_damaged(folder: Path) -> None:
    (folder / ".dvc/tmp/rwlock").write_text(
        json.dumps({"read": {"data": [{"pid": 7, "cmd": "dvc repro"}]}, "write": {}})
    )
    before = {path: path.read_bytes() for path in (folder / "dvc.lock", folder / ".dvc/tmp/rwlock")}
    assert repaired() == NOTHING
    assert {path: path.read_bytes() for path in before} == before
    for path in before:
        path.unlink()
    assert repaired() == NOTHING
    assert not any(path.exists() for path in before)


@pytest.mark.parametrize("content", ["", '{"read": {}, "wri', '{"read": []}', "[]"])
def test_a_damaged_rwlock_is_removed(folder: Path, content: str) -> None:
    rwlock = folder / ".dvc/tmp/rwlock"
    rwlock.write_text(content)
    assert repaired() == ["sightline: .dvc/tmp/rwlock was cut short when dvc was killed: removed"]
    assert not rwlock.exists()
    assert repaired() == NOTHING


@pytest.mark.parametrize("cut", [0, 1, len(LOCK) // 3, len(LOCK) // 2 + 5, len(LOCK) - 1])
@pytest.mark.parametrize("kept", [True, False])
def test_a_cut_lock_is_restored_from_the_last_stages_copy_or_from_git(folder: Path, cut: int, kept: bool) -> None:
    lock, newer = folder / "dvc.lock", LOCK.replace(b"md5: ", b"md5: 0", 1)
    assert newer != LOCK
    cut -= (
        newer[cut - 1 : cut] == b"\n"
    )  # at a line's end it may be a lock of fewer stages, which is none of DVC's faults
    if kept:
        lock.write_bytes(newer)
        dvc_files.keep_lock()
    lock.write_bytes(newer[:cut])
    source = "restored as it was when the last stage began" if kept else "restored from the last commit"
    assert repaired() == [f"sightline: dvc.lock was cut short when dvc was killed: {source}"]
    assert lock.read_bytes() == (newer if kept else LOCK)
    assert cut == 0 or (folder / ".sightline/dvc.lock.damaged").read_bytes() == newer[:cut]
    assert repaired() == NOTHING


def test_a_damaged_copy_is_not_used_and_without_any_the_lock_goes(folder: Path) -> None:
    (folder / "dvc.lock").write_bytes(b"")
    (folder / ".sightline").mkdir()
    (folder / ".sightline/dvc.lock").write_bytes(LOCK[: len(LOCK) // 2 + 5])
    assert repaired()[0].endswith("restored from the last commit")
    git("rm", "--cached", "dvc.lock")
    git("commit", "--quiet", "--message", "no lock")
    (folder / "dvc.lock").write_bytes(b"")
    assert repaired()[0].endswith("removed, because there was no copy; dvc repro writes it again")
    assert not (folder / "dvc.lock").exists()


def test_a_merge_is_left_to_its_user(folder: Path) -> None:
    merge = b"<<<<<<< ours\n" + LOCK + b"=======\n" + LOCK + b">>>>>>> theirs\n"
    (folder / "dvc.lock").write_bytes(merge)
    done = CliRunner().invoke(app, ["repair"])
    assert done.exit_code == 2
    assert (
        done.stderr
        == "sightline: dvc.lock contains both sides of a merge: git checkout --ours dvc.lock, then dvc repro\n"
    )
    assert (folder / "dvc.lock").read_bytes() == merge


def test_nothing_is_touched_while_dvc_runs_here(folder: Path) -> None:
    (folder / ".dvc/tmp/rwlock").touch()
    (folder / "dvc").write_text("import time; print('here', flush=True); time.sleep(3600)\n")
    with subprocess.Popen([sys.executable, "dvc", "repro"], stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout
            running.stdout.readline()
            with pytest.raises(
                UserError, match=rf"^\.dvc/tmp/rwlock is damaged, and dvc is running here \(process {running.pid}\)"
            ):
                dvc_files.repair()
        finally:
            running.kill()
    assert (folder / ".dvc/tmp/rwlock").exists()
    assert len(dvc_files.repair()) == 1


def test_outside_of_a_project_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"contains no dvc\.yaml: run it in the project's folder$"):
        dvc_files.repair()


# --- with DVC itself -------------------------------------------------------------------------------------------------

STAGES = """
stages:
  short:
    cmd: exec python -c "import pipeline; open('short', 'w').write('1')"
    outs: [short]
  long:
    cmd: exec python -c "import os, pipeline, time; open('began', 'w').close(); time.sleep(3600)"
    deps: [short]
    outs: [long]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of DVC's own, of two stages, the first of which has run."""
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    subprocess.run(["dvc", "init", "--quiet"], env=ENVIRONMENT, check=True)
    (tmp_path / "dvc.yaml").write_text(STAGES)
    assert dvc("repro", "short")[0] == 0
    return tmp_path


def dvc(*words: str) -> tuple[int, str]:
    done = subprocess.run(["dvc", *words], env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_dvc_goes_on_after_the_repair(project: Path) -> None:
    sound = (project / "dvc.lock").read_bytes()
    dvc_files.keep_lock()
    for path in (project / "dvc.lock", project / ".dvc/tmp/rwlock"):
        path.write_bytes(b"")
        assert dvc("repro", "short")[0] == 255
        assert len(dvc_files.repair()) == 1
        code, output = dvc("repro", "short")
        assert (code, "didn't change, skipping" in output) == (0, True), output
    assert (project / "dvc.lock").read_bytes() == sound


def survivors(processes: list[psutil.Process], seconds: float = 60) -> list[psutil.Process]:
    """Waits for processes to end, and ends those that do not. (Init may take a while to take note of an end.)"""
    deadline = time.monotonic() + seconds
    while alive := [process for process in processes if runs(process)]:
        if time.monotonic() > deadline:
            for process in alive:
                process.kill()
            return alive
        time.sleep(0.005)
    return []


def runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD))
    return False


def processes_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == str(folder) and process.pid != os.getpid():
                found.append(process)
    return found


@linux
@pytest.mark.slow
def test_no_stage_outlives_a_dvc_killed_in_its_first_moments(project: Path) -> None:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for seconds in (0, 0.02, 0.05, 0.1):
        running = subprocess.Popen(["dvc", "repro", "long"], env=ENVIRONMENT, **quiet)
        parent = psutil.Process(running.pid)
        deadline = time.monotonic() + 30
        while not (children := parent.children()) and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(seconds)
        running.kill()
        running.wait()
        assert children
        assert not survivors([*children, *processes_in(project)]), f"killed after {seconds} s"


# --- a stage whose parent has ended ----------------------------------------------------------------------------------

PARENT = """
import json, os, pathlib, subprocess, sys, time
pathlib.Path(".dvc/tmp").mkdir(parents=True, exist_ok=True)
pathlib.Path(".dvc/tmp/rwlock").write_text(json.dumps({"write": {"out": {"pid": os.getpid(), "cmd": "dvc"}}}))
code = "import os, pipeline, time; open(f'began-{os.getpid()}', 'w').close(); time.sleep(3600)"
child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "DVC_STAGE": "train"})
print(child.pid, flush=True)
time.sleep(3600)
"""


@linux
def test_a_stage_ends_with_its_parent_at_any_moment(tmp_path: Path) -> None:
    """Killed at 20 moments, from before the interpreter runs to after it has asked to end with its parent."""
    for moment in range(20):
        command = [sys.executable, "-c", PARENT]
        with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout
            child = psutil.Process(int(parent.stdout.readline()))
            time.sleep(0.01 * moment)
            parent.send_signal(signal.SIGKILL)
        assert not survivors([child]), f"killed after {10 * moment} ms"


@linux
def test_a_stage_runs_while_its_dvc_does_whatever_stands_between_them(tmp_path: Path) -> None:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    stage = [sys.executable, "-c", "import pipeline; print('ran')"]
    wrapped = ["sh", "-c", f'{stage[0]} -c "{stage[2]}"; true']
    environment = {**ENVIRONMENT, "DVC_STAGE": "train"}
    rwlock = tmp_path / ".dvc/tmp/rwlock"
    for noted, expected in ((os.getpid(), "ran\n"), (2**22 + 1, "")):
        rwlock.write_text(json.dumps({"write": {"out": {"pid": noted, "cmd": "dvc"}}}))
        for command in (stage, wrapped):
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
            assert done.stdout == expected
    for unknown in ("", "{}", '{"write": 3}'):
        rwlock.write_text(unknown)
        done = subprocess.run(stage, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.stdout == "ran\n"
