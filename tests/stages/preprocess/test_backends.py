"""Processes, Ray and Dask make the same bits; a worker's death is an error or costs nothing, never a wrong result."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.core import clusters
from sightline.core import worker_process as worker
from sightline.core.errors import UserError
from sightline.stages.preprocess import plan_tasks, run_tasks
from sightline.stages.preprocess.backends import cluster, processes
from sightline.stages.preprocess.cache import PixelCache
from sightline.stages.preprocess.pixel_task import PixelTask
from sightline.stages.preprocess.raw_table import RawSet
from sightline.stages.preprocess.tasks import Result, unfinished
from tests.clusters import CODE, ray_environment, two_nodes  # noqa: F401 - a fixture
from tests.stages.preprocess.conftest import Run
from tests.stages.preprocess.sets import configuration, content, pictures, write_set

BIN = Path(sys.executable).parent


@pytest.fixture
def always_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "WORTH_WORKERS", 0.0)


def run_in(workers: int, tasks: list[PixelTask], out: Path) -> list[Result]:
    with processes.WorkerPool(workers) as pool:
        return list(pool.run(tasks, out))


@pytest.mark.usefixtures("always_workers")
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_number_of_processes_says_nothing(run: Run, tmp_path: Path, workers: int):
    raw = write_set(tmp_path / "raw", pictures(80))
    expected = content(run(raw, configuration("backend.workers=1")))
    assert content(run(raw, configuration(f"backend.workers={workers}"))) == expected


def test_little_work_starts_no_process(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processes, "Worker", lambda: pytest.fail("a process was started"))
    run(write_set(tmp_path / "raw", pictures(80)), configuration("backend.workers=8"))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that a run has started, before it reads the set where there is anything to do."""
    found: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def popen(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        found.append(start(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(plan_tasks, "_MUCH", 0)
    monkeypatch.setattr(worker, "forks", lambda: False)
    monkeypatch.setattr(worker.subprocess, "Popen", popen)
    return found


def test_workers_that_started_early_do_the_work_and_end(
    run: Run, tmp_path: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
):
    raw = write_set(tmp_path / "raw", pictures(80))
    expected = content(run(raw, configuration("backend.workers=1")))
    assert not started
    # Each job takes a moment, so that no process is alone for all of them.
    monkeypatch.setattr(plan_tasks, "PixelTask", Held)
    monkeypatch.setenv("PYTHONPATH", CODE)
    monkeypatch.setenv("SIGHTLINE_TEST_WHO", str(tmp_path / "who"))
    assert content(run(raw, configuration("backend.workers=3"), tmp_path / "memo")) == expected
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)
    at_work = {int(line) for line in (tmp_path / "who").read_text().split()}
    assert at_work & {process.pid for process in started}
    # All is known now: nothing starts.
    assert content(run(raw, configuration("backend.workers=3"), tmp_path / "memo")) == expected
    assert len(started) == 2


def test_workers_that_started_early_end_with_an_error(
    run: Run, tmp_path: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
):
    raw = write_set(tmp_path / "raw", pictures(80))
    monkeypatch.setattr(RawSet, "groups", lambda *_: (_ for _ in ()).throw(UserError("no")))
    with pytest.raises(UserError, match="no"):
        run(raw, configuration("backend.workers=3"))
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


@pytest.mark.usefixtures("always_workers")
@pytest.mark.parametrize("workers", [1, 3])
def test_progress_counts_every_image_and_copy(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int):
    counts: list[tuple[int, int]] = []

    def counting(items: Iterator[None], what: str, total: int) -> Iterator[None]:
        count = 0
        for item in items:
            yield item
            count += 1
        counts.append((count, total))

    monkeypatch.setattr(run_tasks, "track", counting)
    raw = write_set(tmp_path / "raw", pictures(80, split="train"))
    options = ("augment=digits", "copies=2", "val_fraction=0", "test_fraction=0", f"backend.workers={workers}")
    run(raw, configuration(*options))
    assert counts == [(80, 80), (160, 160)]


class Slow(PixelTask):
    """Takes its time, in a worker only if told so by a file."""

    def write(self, out: Path):
        if os.environ.get("TEST_HOST") != str(os.getpid()):
            (Path(os.environ["TEST_PIDS"]) / str(os.getpid())).touch()
            time.sleep(float(os.environ.get("TEST_SLEEP", "0")))
            if os.environ.get("TEST_FAIL"):
                raise ZeroDivisionError("in the worker")
        else:
            time.sleep(0.05)
        return super().write(out)


@pytest.fixture
def slow_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[PixelTask]:
    from sightline.stages.preprocess.raw_table import RawSet
    from sightline.stages.preprocess.stage import build_transform

    pids = tmp_path / "pids"
    pids.mkdir()
    monkeypatch.setenv("TEST_PIDS", str(pids))
    monkeypatch.setenv("TEST_HOST", str(os.getpid()))
    monkeypatch.setenv("PYTHONPATH", CODE)
    images = RawSet.read(write_set(tmp_path / "raw", pictures(80)))
    plain = build_transform(configuration()).to_dict()
    return [
        Slow(f"key-{number}", shard, 10.0, plain, images.contents_of(number))
        for number, shard in enumerate(images.shards)
    ]


@pytest.mark.usefixtures("always_workers")
def test_a_dead_worker_is_one_line(tmp_path: Path, slow_tasks: list[PixelTask], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEST_SLEEP", "3600")

    def kill() -> None:
        while not (found := list((tmp_path / "pids").iterdir())):
            time.sleep(0.02)
        os.kill(int(found[0].name), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    # Enough for this process to be at work until the worker has begun.
    tasks = [dataclasses.replace(task, key=f"{task.key}-{n}") for n in range(100) for task in slow_tasks]
    with pytest.raises(
        UserError, match=r"a worker process ended while it worked on shard-\w+\.parquet \(killed by sig"
    ):
        run_in(2, tasks, tmp_path)


@pytest.mark.usefixtures("always_workers")
def test_a_workers_fault_is_shown(tmp_path: Path, slow_tasks: list[PixelTask], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEST_FAIL", "1")
    tasks = [dataclasses.replace(task, key=f"{task.key}-{n}") for n in range(100) for task in slow_tasks]
    with pytest.raises(RuntimeError, match="ZeroDivisionError: in the worker"):
        run_in(2, tasks, tmp_path)


@pytest.mark.usefixtures("always_workers")
def test_workers_end_with_the_stage(tmp_path: Path, slow_tasks: list[PixelTask], monkeypatch: pytest.MonkeyPatch):
    results = run_in(3, slow_tasks, tmp_path)
    assert {task.key for task, _ in results} == {task.key for task in slow_tasks}
    for path in (tmp_path / "pids").iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


def test_another_version_on_a_node_is_one_line(tmp_path: Path, slow_tasks: list[PixelTask]):
    task = slow_tasks[0]
    packed = cluster.parcel(task)
    answer = cluster.run_parcel((*packed[:2], "other"))
    assert answer == (packed[2], None, b"")
    with pytest.raises(UserError, match="a node has another version"):
        cluster.unpack(task, answer, tmp_path, "ray")


def test_a_task_on_a_node_gives_the_same_pixels(tmp_path: Path, slow_tasks: list[PixelTask]):
    task = slow_tasks[0]
    (tmp_path / "here").mkdir()
    here = task.write(unfinished(task, tmp_path / "here"))
    _, there = cluster.unpack(task, cluster.run_parcel(cluster.parcel(task)), tmp_path, "ray")
    assert there.to_bytes() == here.to_bytes()
    assert unfinished(task, tmp_path).read_bytes() == unfinished(task, tmp_path / "here").read_bytes()


@pytest.mark.parametrize(("backend", "package"), [("ray", "ray"), ("dask", "distributed")])
def test_a_missing_engine_is_one_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend, package):
    monkeypatch.setitem(sys.modules, package, None)
    raw = write_set(tmp_path / "raw", pictures(20))
    with pytest.raises(UserError, match=rf"pip install .*\[{backend}\]'"):
        run(raw, configuration(f"backend={backend}"))


# --- clusters ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def held_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> Iterator[None]:
    """Makes each job on a node take so long, by a recipe of the same result."""
    monkeypatch.setattr(plan_tasks, "PixelTask", Held)
    monkeypatch.setenv("PYTHONPATH", CODE)
    monkeypatch.setattr(Held, "pause", seconds)
    yield


class Held(PixelTask):
    """Takes a moment."""

    pause = 0.5

    def write(self, out: Path):
        time.sleep(self.pause)
        if who := os.environ.get("SIGHTLINE_TEST_WHO"):
            with Path(who).open("a") as file:
                print(os.getpid(), file=file)
        return super().write(out)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@pytest.mark.slow
@pytest.mark.usefixtures("ray_environment")
def test_ray_on_this_machine_makes_the_same_bits(run: Run, tmp_path: Path):
    raw = write_set(tmp_path / "raw", pictures(60))
    expected = content(run(raw, configuration()))
    assert content(run(raw, configuration("backend=ray"), tmp_path / "memo")) == expected


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.usefixtures("ray_environment")
def test_a_ray_cluster_of_two_nodes_survives_the_death_of_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    raw = write_set(tmp_path / "raw", pictures(250))
    expected = content(run(raw, configuration()))
    with two_nodes() as (nodes, second):
        cache = tmp_path / "memo"
        killed_at: list[int] = []

        def kill() -> None:
            while len(PixelCache(cache).entries()) < 4:
                time.sleep(0.05)
            killed_at.append(len(PixelCache(cache).entries()))
            nodes.remove_node(second, allow_graceful=False)

        thread = threading.Thread(target=kill)
        thread.start()
        with held_back(tmp_path, monkeypatch, 0.5):
            out = run(raw, configuration("backend=ray", f"backend.address='{nodes.address}'"), cache)
        thread.join()
        assert content(out) == expected
        assert killed_at[0] < len(PixelCache(cache).entries()) - 5, "the node died when all was done"


@pytest.mark.slow
@pytest.mark.usefixtures("ray_environment")
def test_no_ray_cluster_there_is_one_line(run: Run, tmp_path: Path):
    raw = write_set(tmp_path / "raw", pictures(20))
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match=rf"no cluster at {address} .* start one with 'ray start --head'"):
        run(raw, configuration("backend=ray", f"backend.address='{address}'"))


@pytest.fixture
def dask_scheduler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Starts a scheduler as a process of its own, and yields its address."""
    pytest.importorskip("distributed")
    monkeypatch.setenv("PYTHONPATH", CODE)
    address = f"tcp://127.0.0.1:{free_port()}"
    command = [BIN / "dask", "scheduler", "--host", address, "--no-dashboard", "--no-show"]
    with (tmp_path / "scheduler.log").open("w") as log:
        scheduler = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        yield address
    finally:
        os.killpg(scheduler.pid, signal.SIGKILL)
        scheduler.wait()


def dask_worker(address: str, log: Path) -> subprocess.Popen[bytes]:
    command = [BIN / "dask", "worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny"]
    with log.open("w") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True)


@pytest.mark.slow
def test_dask_on_this_machine_makes_the_same_bits(run: Run, tmp_path: Path):
    pytest.importorskip("distributed")
    raw = write_set(tmp_path / "raw", pictures(60))
    expected = content(run(raw, configuration()))
    assert content(run(raw, configuration("backend=dask"), tmp_path / "memo")) == expected


@pytest.mark.slow
@pytest.mark.full
def test_a_dask_cluster_of_two_workers_survives_the_death_of_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dask_scheduler: str
):
    raw = write_set(tmp_path / "raw", pictures(250))
    expected = content(run(raw, configuration()))
    workers = [dask_worker(dask_scheduler, tmp_path / f"worker-{n}.log") for n in range(2)]
    cache = tmp_path / "memo"
    killed_at: list[int] = []

    def kill() -> None:
        while len(PixelCache(cache).entries()) < 4:
            time.sleep(0.05)
        killed_at.append(len(PixelCache(cache).entries()))
        os.killpg(workers[0].pid, signal.SIGKILL)

    try:
        from distributed import Client

        with Client(dask_scheduler) as client:
            client.wait_for_workers(2, timeout=60)
        thread = threading.Thread(target=kill)
        thread.start()
        with held_back(tmp_path, monkeypatch, 0.5):
            out = run(raw, configuration("backend=dask", f"backend.address='{dask_scheduler}'"), cache)
        thread.join()
        assert content(out) == expected
        assert killed_at[0] < len(PixelCache(cache).entries()) - 5, "the worker died when all was done"
    finally:
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


@pytest.mark.slow
def test_no_dask_scheduler_there_is_one_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(clusters, "CONNECT", 2)
    raw = write_set(tmp_path / "raw", pictures(20))
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match=rf"no scheduler at {address} .* start one by 'dask scheduler'"):
        run(raw, configuration("backend=dask", f"backend.address='{address}'"))
