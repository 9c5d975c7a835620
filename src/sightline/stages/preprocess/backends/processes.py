"""Processes on this machine: this one, and helpers where there is enough to do for them."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from sightline.core.errors import UserError
from sightline.stages.preprocess.backends.child import Child
from sightline.stages.preprocess.cache import PixelCache
from sightline.stages.preprocess.jobs import Done, Job, unnoticed

WORTH_HELPERS = 0.5
"""Seconds of work below which this process does it alone: a new process takes about as long to start."""


class Spare:
    """Helper processes that start while this one still finds out what there is to do.

    They end with the block, unless `run` has taken them.
    """

    def __init__(self, count: int = 0) -> None:
        self._processes: list[Child] = []
        with contextlib.suppress(OSError):  # no more can be had: `run` asks for one again and says so
            for _ in range(count):
                self._processes.append(Child())

    def __enter__(self) -> Spare:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.close()

    def __len__(self) -> int:
        return len(self._processes)

    def take(self) -> Child:
        """Returns one of them, or a new one where none is left."""
        return self._processes.pop() if self._processes else Child()


def count_of(workers: int | None) -> int:
    """Returns how many processes are asked for, this one included; None is one a core."""
    return os.cpu_count() or 1 if workers is None else workers


def run(
    jobs: Sequence[Job],
    cache: PixelCache,
    workers: int | None = None,
    done: Done = unnoticed,
    spare: Spare | None = None,
) -> None:
    """Does all jobs. Memory holds one image and a few rows of results a process, however many jobs there are.

    Args:
        jobs: What there is to do.
        cache: Where the results go.
        workers: Number of processes, this one included; None is one a core.
        done: Is told of each job that is done, from any thread.
        spare: Helpers that are started already.

    Raises:
        UserError: If a helper dies, or cannot be started.
    """
    import cv2

    cv2.setNumThreads(1)  # the processes are the parallelism
    # The longest first: whoever is last then waits for a short one.
    waiting = deque(sorted(jobs, key=lambda job: -job.seconds))
    spare = spare or Spare()
    count = count_of(workers)
    if sum(job.seconds for job in jobs) < WORTH_HELPERS:
        count = 1 + len(spare)
    lock = threading.Lock()
    helpers: list[_Helper] = []
    try:
        while len(helpers) < min(count, len(jobs)) - 1:
            helpers.append(_Helper(_started(spare), waiting, lock, cache.root, done))
        while waiting and not any(helper.error for helper in helpers):
            with lock:
                job = waiting.popleft() if waiting else None
            if job:
                job.do(cache)
                done(job)
        with lock:
            waiting.clear()  # after an error nothing more is begun
        for helper in helpers:
            helper.finish()
        if error := next((helper.error for helper in helpers if helper.error), None):
            raise error
    finally:
        for helper in helpers:
            helper.kill()


def _started(spare: Spare) -> Child:
    try:
        return spare.take()
    except OSError as error:
        raise UserError(f"no further process can be started ({error}): set fewer preprocess.backend.workers") from None


class _Helper:
    """A process and the thread that gives it jobs."""

    def __init__(self, process: Child, waiting: deque[Job], lock: threading.Lock, root: Path, done: Done) -> None:
        self.error: Exception | None = None
        self._process = process
        self._pipe = process.pipe
        self._waiting = waiting
        self._lock = lock
        self._root = root
        self._done = done
        self._job: Job | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._pipe.recv()  # ready; only now is a job taken from the others
            self._pipe.send(self._root)
            while self._take():
                self._pipe.send(self._job)
                answer = self._pipe.recv()
                if answer is not None:
                    raise answer
                if self._job:
                    self._done(self._job)
        except (EOFError, OSError):
            if self._job is not None or self._waiting:
                self.error = self._fault()
        except Exception as error:
            self.error = error

    def _take(self) -> bool:
        with self._lock:
            self._job = self._waiting.popleft() if self._waiting else None
            return self._job is not None

    def _fault(self) -> UserError:
        code = self._process.wait()
        why = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        hint = "; out of memory? Set fewer preprocess.backend.workers" if code == -signal.SIGKILL else ""
        doing = f" while it worked on {self._job.source.name}" if self._job else ""
        return UserError(f"a worker process ended{doing} ({why}{hint})")

    def finish(self) -> None:
        """Waits for the job in hand, if any; one that has not even started is not waited for."""
        with self._lock:
            idle = self._job is None
        if idle:
            self._process.kill()
        self._thread.join()

    def kill(self) -> None:
        """Ends the process and the thread."""
        self._process.kill()
        self._thread.join()  # it waits for the process, so not for long
        self._process.close()
