"""The local backend: this process, plus worker processes if there is enough work for them."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.config.schema import require
from sightline.core.errors import UserError
from sightline.core.worker_process import Worker, WorkerGroup
from sightline.stages.preprocess.backends import BACKEND, Backend

if TYPE_CHECKING:
    from sightline.stages.preprocess.tasks import Executor, Result, Task

WORTH_WORKERS = 0.5
"""Seconds of work below which this process works alone: a new process takes about as long to start."""
_FEWER = "Set fewer preprocess.backend.workers"


@BACKEND.register("processes")
@dataclass
class Processes(Backend):
    """This machine. Attributes: number of processes; None means one per core."""

    workers: int | None

    def __post_init__(self) -> None:
        require(self.workers is None or self.workers >= 1, f"workers: must be at least 1, not {self.workers}")

    def open(self, expected: int) -> contextlib.AbstractContextManager[Executor]:
        """Returns the pool; if tasks are expected, its workers start while this process reads the raw set."""
        processes = os.cpu_count() or 1 if self.workers is None else self.workers
        return WorkerPool(processes, min(processes, expected) - 1)


class WorkerPool(WorkerGroup):
    """This process and its workers.

    Args:
        processes: Maximum number of processes, including this one.
        start: Number of workers to start immediately.
    """

    def __init__(self, processes: int, start: int = 0) -> None:
        super().__init__()
        self._processes = processes
        with contextlib.suppress(OSError):  # no more processes can be started: `run` tries again and reports it
            for _ in range(start):
                self._workers.append(Worker())

    def run(self, tasks: Sequence[Task], out: Path) -> Iterator[Result]:
        """Yields each task's result, as `Executor.run` does. Each process holds one image and a few rows of results.

        The workers end with the last task.

        Raises:
            UserError: If a worker dies, or cannot be started.
        """
        import cv2

        cv2.setNumThreads(1)  # the processes are the parallelism
        # The longest first, so that the wait for the last task is short.
        waiting = deque(sorted(tasks, key=lambda task: -task.seconds))
        if sum(task.seconds for task in tasks) >= WORTH_WORKERS:
            while len(self._workers) < min(self._processes, len(tasks)) - 1:
                self._workers.append(_started())
        results: queue.SimpleQueue[Result | Exception] = queue.SimpleQueue()
        threads = [
            threading.Thread(target=_feed, args=(worker, waiting, out, results), daemon=True)
            for worker in self._workers
        ]
        try:
            for thread in threads:
                thread.start()
            for _ in tasks:
                # Finished results first; without any, this process runs a task itself or waits for the workers.
                result = None if results.empty() else results.get()
                task = _next(waiting) if result is None else None
                if task:
                    result = task, task.run(out)
                result = result or results.get()
                if isinstance(result, Exception):
                    raise result
                yield result
        finally:
            waiting.clear()  # after an error no further task is started
            for worker in self._workers:
                worker.kill()
            for thread in threads:
                thread.join()
            self.close()


def _started() -> Worker:
    try:
        return Worker()
    except OSError as error:
        raise UserError(f"no more processes can be started ({error}): set fewer preprocess.backend.workers") from None


def _next(waiting: deque[Task]) -> Task | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None


def _feed(worker: Worker, waiting: deque[Task], out: Path, results: queue.SimpleQueue[Result | Exception]) -> None:
    """Feeds a worker one task after the other, in a separate thread, until none is left or the worker dies."""
    task = None
    try:
        worker.wait_until_ready()  # before taking a task that another worker could run
        while task := _next(waiting):
            results.put((task, worker.run(task, out)))
    except (EOFError, OSError):
        if task or waiting:
            at_work = f" while it worked on {task.source.name}" if task else ""
            results.put(UserError(f"a worker process ended{at_work} ({worker.cause_of_end(_FEWER)})"))
    except Exception as error:  # raised by the task
        results.put(error)
