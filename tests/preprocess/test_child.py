"""Helper processes as copies of one that has a single thread: as the stage is when it starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.preprocess.conftest import Run
from tests.preprocess.sets import configuration, content, pictures, write_set

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process is copied")


def alone(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts a process of its own, with one thread, from the project's root."""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> list[str]:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.split()


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


STAGE = """
import sys
from pathlib import Path
from sightline.preprocess import pixels
from sightline.preprocess.backends import child
from sightline.preprocess.stage import preprocess
from tests.preprocess.sets import configuration

forked, forks = [], child.forks
child.forks = lambda: forked.append(forks()) or forked[-1]
pixels._MUCH = 0
preprocess(Path(sys.argv[1]), configuration("backend.workers=3"), Path(sys.argv[2]))
print(*forked)
"""


def test_a_stage_with_copies_writes_the_same(run: Run, tmp_path: Path) -> None:
    raw = write_set(tmp_path / "raw", pictures(80))
    expected = content(run(raw, configuration("backend.workers=1")))
    (tmp_path / "out").mkdir()
    assert said(alone(STAGE, raw, tmp_path / "out")) == ["True", "True"]
    assert content(tmp_path / "out") == expected


def test_other_threads_forbid_a_copy() -> None:
    code = """
import threading
from sightline.preprocess.backends.child import forks
print(forks())
done = threading.Event()
threading.Thread(target=done.wait).start()
print(forks())
done.set()
"""
    assert said(alone(code)) == ["True", "False"]


CHILDREN = """
import os, sys, time
from sightline.preprocess.backends.child import Child
from sightline.preprocess.memo import Memo
children = [Child(), Child()]
for child in children:
    assert child.pipe.recv() == "ready"
print(*(child._process._process.pid for child in children), flush=True)
"""


def test_a_copy_ends_where_the_pipe_does_and_where_it_is_killed() -> None:
    ending = """
children[0].close()
print(children[0].wait())
children[1].kill()
print(children[1].wait())
"""
    first, second, *codes = said(alone(CHILDREN + ending))
    assert codes == ["0", str(-signal.SIGKILL)]
    assert not is_there(int(first))
    assert not is_there(int(second))


def test_copies_end_with_the_stage() -> None:
    process = alone(CHILDREN + "time.sleep(60)")
    assert process.stdout
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert all(map(is_there, pids))
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while any(map(is_there, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_there, pids))
