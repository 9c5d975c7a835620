"""Workers as copies of one that has a single thread: as the stage is when it starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sightline.core import worker_process as worker
from sightline.core.errors import UserError
from sightline.stages.preprocess.backends import processes
from sightline.stages.preprocess.pixel_task import PixelTask
from sightline.stages.preprocess.raw_table import RawSet
from sightline.stages.preprocess.stage import build_transform
from tests.stages.preprocess.conftest import Run
from tests.stages.preprocess.sets import configuration, content, pictures, write_set

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process is copied")


def alone(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts a process of its own, with one thread, from the project's root."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def output_of(process: subprocess.Popen[str]) -> list[str]:
    out, _ = process.communicate(timeout=300)
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
from sightline.stages.preprocess import plan_tasks
from sightline.core import worker_process as worker
from sightline.stages.preprocess.stage import preprocess
from tests.stages.preprocess.sets import configuration

forked, forks = [], worker.forks
worker.forks = lambda: forked.append(forks()) or forked[-1]
plan_tasks._MUCH = 0
preprocess(Path(sys.argv[1]), configuration("backend.workers=3"), Path(sys.argv[2]))
print(*forked)
"""


def test_a_stage_with_copies_writes_the_same(run: Run, tmp_path: Path) -> None:
    raw = write_set(tmp_path / "raw", pictures(80))
    expected = content(run(raw, configuration("backend.workers=1")))
    (tmp_path / "out").mkdir()
    assert output_of(alone(STAGE, raw, tmp_path / "out")) == ["True", "True"]
    assert content(tmp_path / "out") == expected


def test_other_threads_forbid_a_copy() -> None:
    code = """
import threading
from sightline.core.worker_process import forks
print(forks())
done = threading.Event()
threading.Thread(target=done.wait).start()
print(forks())
done.set()
"""
    assert output_of(alone(code)) == ["True", "False"]


def test_a_thread_that_ends_meanwhile_was_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / str(os.getpid())).mkdir()
    monkeypatch.setattr(worker, "_THREADS", tmp_path)
    assert worker.forks()
    (tmp_path / "1").mkdir()  # no "comm" in it any more
    assert not worker.forks()
    monkeypatch.setattr(worker, "_THREADS", tmp_path / "nothing")
    assert not worker.forks()


@pytest.mark.parametrize("kind", ["_Fork", "_Program"])
def test_a_start_that_fails_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def fail(_: object) -> None:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(worker, kind, fail)
    monkeypatch.setattr(worker, "forks", lambda: kind == "_Fork")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(BlockingIOError):
            worker.Worker()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_no_further_process_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[worker.Worker] = []

    def second_fails() -> worker.Worker:
        if started:
            raise BlockingIOError("no more processes")
        started.append(worker.Worker())
        return started[0]

    monkeypatch.setattr(processes, "Worker", second_fails)
    monkeypatch.setattr(processes, "WORTH_WORKERS", 0.0)
    raw = RawSet.read(write_set(tmp_path / "raw", pictures(80)))
    transform = build_transform(configuration()).to_dict()
    tasks = [PixelTask(f"key-{n}", shard, 10.0, transform, raw.contents_of(n)) for n, shard in enumerate(raw.shards)]
    (tmp_path / "out").mkdir()
    error = r"no more processes can be started \(no more processes\): set fewer pre"
    with processes.WorkerPool(3) as pool, pytest.raises(UserError, match=error):
        list(pool.run(tasks, tmp_path / "out"))
    assert started[0].cause_of_end("").startswith("killed by signal 9")


DYING = """
import os, signal, sys, time
from pathlib import Path
from sightline.core.errors import UserError
from sightline.stages.preprocess.backends import processes
from sightline.core.worker_process import forks
from sightline.stages.preprocess.raw_table import RawSet
from sightline.stages.preprocess.stage import build_transform
from sightline.stages.preprocess.pixel_task import PixelTask
from tests.stages.preprocess.sets import configuration

HOST = os.getpid()

class Deadly(PixelTask):
    def write(self, out):
        if os.getpid() != HOST:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.2)
        return super().write(out)

print(forks())
pool = processes.WorkerPool(2, 1)  # before Arrow starts threads
images = RawSet.read(Path(sys.argv[1]))
plain = build_transform(configuration()).to_dict()
tasks = [Deadly(str(n), images.shards[0], 10.0, plain, images.contents_of(0)) for n in range(100)]
try:
    list(pool.run(tasks, Path(sys.argv[2])))
except UserError as error:
    print(error)
"""


def test_a_copy_that_dies_at_work_is_one_line(tmp_path: Path) -> None:
    raw = write_set(tmp_path / "raw", pictures(20))
    out, _ = (process := alone(DYING, raw, tmp_path)).communicate(timeout=300)
    first, second = out.splitlines()
    assert first == "True"
    assert second.startswith("a worker process ended while it worked on shard-")
    assert "(killed by signal 9; out of memory? Set fewer preprocess.backend.workers)" in second
    assert process.returncode == 0


WORKERS = """
import os, sys, time
from sightline.core.worker_process import Worker
workers = [Worker(), Worker()]
for worker in workers:
    worker.wait_until_ready()
print(*(worker._process._process.pid for worker in workers), flush=True)
"""


def test_a_copy_ends_where_the_pipe_does_and_where_it_is_killed() -> None:
    ending = """
workers[0]._pipe.close()
print(workers[0]._process.wait())
workers[1].kill()
print(workers[1]._process.wait())
"""
    first, second, *codes = output_of(alone(WORKERS + ending))
    assert codes == ["0", str(-signal.SIGKILL)]
    assert not is_there(int(first))
    assert not is_there(int(second))


def test_copies_end_with_the_stage() -> None:
    process = alone(WORKERS + "time.sleep(3600)")
    assert process.stdout
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert all(map(is_there, pids))
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while any(map(is_there, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_there, pids))
