"""Parallel execution of the baseline stage's jobs: a worker process per core, each with `baseline.threads` threads."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sightline.core import cpu_threads, progress
from sightline.core.errors import UserError
from sightline.core.worker_process import Worker, WorkerGroup

PROCESSES = "SIGHTLINE_NUM_WORKERS"
"""The environment variable with the number of processes; the default is one per core."""


class BaselineJob(Protocol):
    """An independent piece of the stage's work."""

    @property
    def name(self) -> str:
        """The job's name, for messages."""

    def run(self, out: Path) -> Any:
        """Runs the job, which writes its files into the folder `out`."""


Job = TypeVar("Job", bound=BaselineJob)


def process_count() -> int:
    """Returns the number of worker processes, which affects no result."""
    text = os.environ.get(PROCESSES, "").strip()
    if text and not text.isdecimal():
        raise UserError(f"{PROCESSES} is {text!r}, which is not a number of processes: unset it, or set 1")
    return max(1, int(text)) if text else cpu_threads.available()


class Team(WorkerGroup):
    """Worker processes; none if one process is enough, in which case this process does the work.

    Create it before the stage reads anything: workers are then forked, which is fast (see `forks`).

    Args:
        jobs: Expected number of jobs.
        count: Maximum number of processes; None means `process_count()`.
    """

    def __init__(self, jobs: int, count: int | None = None) -> None:
        super().__init__()
        self._ready: set[Worker] = set()
        count = min(jobs, process_count() if count is None else count)
        try:
            for _ in range(count if count > 1 else 0):
                self._workers.append(Worker())
        except OSError as error:
            self.close()
            raise UserError(f"no more processes can be started ({error}): set {PROCESSES}=1") from None

    def __len__(self) -> int:
        return len(self._workers)

    def run(
        self, jobs: Sequence[Job], out: Path, seconds: float | None, alone: Callable[[Job], Any]
    ) -> Iterator[tuple[Job, Any]]:
        """Yields jobs with their results as they finish. Jobs are started in order.

        Args:
            jobs: The jobs.
            out: The folder for the files that they write.
            seconds: Time limit after which no job is started; jobs not started are not yielded. None for no limit.
            alone: Runs a job in this process, if there are no workers.

        Raises:
            UserError: If a worker dies. Exceptions of jobs are raised as well.
        """
        began = time.monotonic()
        waiting = list(jobs)

        def following() -> Job | None:
            late = seconds is not None and time.monotonic() - began > seconds
            return waiting.pop(0) if waiting and not late else None

        if not self._workers:
            while job := following():
                progress.step(f"{job.name}, {jobs.index(job) + 1} of {len(jobs)}")
                yield job, alone(job)
            return
        busy: dict[int, tuple[Worker, Job | None]] = {}  # the job is None until the worker is ready
        for worker in self._workers:
            first = following() if worker in self._ready else None
            if first:
                with _naming_end(worker):
                    worker.send(first, out)
            if first or worker not in self._ready:
                busy[worker.fileno()] = worker, first
        done = 0
        while busy:
            for pipe in [pipe for pipe in wait(list(busy)) if isinstance(pipe, int)]:
                worker, job = busy.pop(pipe)
                answer = None
                with _naming_end(worker, job):
                    if job is None:
                        worker.wait_until_ready()
                    else:
                        answer = worker.receive()
                self._ready.add(worker)
                if after := following():
                    with _naming_end(worker):
                        worker.send(after, out)
                    busy[pipe] = worker, after
                if job is not None:
                    done += 1
                    yield job, answer
                names = ", ".join(each.name for _, each in busy.values() if each is not None)
                if names:
                    progress.step(f"{names}, {done} of {len(jobs)} done")


@contextlib.contextmanager
def _naming_end(worker: Worker, job: BaselineJob | None = None) -> Iterator[None]:
    """Raises UserError with the cause if a worker's end is noticed in the block."""
    try:
        yield
    except (EOFError, ConnectionError):
        at_work = f" while it worked on {job.name}" if job else ""
        cause = worker.cause_of_end(f"Set {PROCESSES}=1 to fit one method after the other")
        raise UserError(f"a worker process ended{at_work} ({cause})") from None
