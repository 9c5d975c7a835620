"""A worker process: its start, its work, its end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import traceback
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from sightline.core import files, progress
from sightline.core.errors import fault

Answer_co = TypeVar("Answer_co", covariant=True)

_THREADS = Path("/proc/self/task")  # Linux
_JEMALLOC = "jemalloc_bg_thd"
_open: set[Connection] = set()


class WorkerTask(Protocol[Answer_co]):
    """A piece of work that can be pickled, as its answer can."""

    def run(self, out: Path) -> Answer_co:
        """Does it; what it writes goes into the folder `out`."""


def forks() -> bool:
    """Says whether a worker would be a copy of this process, which is there at once: a new one imports for a while.

    Only where this process has one thread: a copy has every lock, but not the thread that would release it. The one
    of jemalloc, which comes with Arrow, is no matter: jemalloc holds its locks itself while a process is copied.
    """
    try:
        others = [thread for thread in _THREADS.iterdir() if thread.name != str(os.getpid())]
        return all((thread / "comm").read_text().strip() == _JEMALLOC for thread in others)
    except OSError:  # another system; or a thread that has just ended, so that there were several
        return False


class Worker:
    """A process that runs tasks, one after the other, and is ready for them once it has imported their code."""

    def __init__(self) -> None:
        self._pipe, theirs = Pipe()
        _open.add(self._pipe)
        try:
            self._process: _Fork | _Program = (_Fork if forks() else _Program)(theirs)
        except BaseException:
            self._close_pipe()
            raise
        finally:
            theirs.close()

    def wait_until_ready(self) -> None:
        """Waits until it can take a task; EOFError or OSError if it ends before."""
        self._pipe.recv()

    def run(self, task: WorkerTask[Answer_co], out: Path) -> Answer_co:
        """Runs a task. Raises the task's error, or EOFError or OSError if the process ends."""
        self.send(task, out)
        answer: Answer_co = self.receive()
        return answer

    def send(self, task: WorkerTask[Any], out: Path) -> None:
        """Hands over a task: `receive` has its answer, and `fileno` can be read when that is there."""
        self._pipe.send((task, out))

    def receive(self) -> Any:
        """Returns the answer to the task before, as `run` does."""
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def fileno(self) -> int:
        """Returns what `multiprocessing.connection.wait` waits for: that it is ready, has an answer, or has ended."""
        return self._pipe.fileno()

    def cause_of_end(self, remedy: str) -> str:
        """Waits for its end and returns the cause, in words; `remedy` is what helps where memory ran out."""
        code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        hint = f"; out of memory? {remedy}" if code == -signal.SIGKILL else ""
        return f"killed by signal {-code}{hint}"

    def kill(self) -> None:
        """Ends it, whatever it does."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Ends it and closes the pipe, which no thread may be reading from."""
        self.kill()
        self._close_pipe()

    def _close_pipe(self) -> None:
        _open.discard(self._pipe)
        self._pipe.close()


class WorkerGroup:
    """Workers that end together, when a `with` block does."""

    def __init__(self) -> None:
        self._workers: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers, whatever they do."""
        while self._workers:
            self._workers.pop().close()


class _Program:
    def __init__(self, theirs: Connection) -> None:
        # Not by `multiprocessing`, whose "spawn" would run the main script again.
        code = f"import sys; import {__name__} as worker; worker.{serve_tasks.__name__}(*map(int, sys.argv[1:]))"
        command = [sys.executable, "-c", code, str(theirs.fileno()), str(os.getpid())]
        # The processes are the parallelism: without threads of its own NumPy starts sooner.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment)
        self.wait = self._process.wait
        self.kill = self._process.kill


class _Fork:
    def __init__(self, theirs: Connection) -> None:
        self._ended = threading.Lock()
        self._process = multiprocessing.get_context("fork").Process(
            target=_copied, args=(theirs, os.getpid()), daemon=True
        )
        self._process.start()

    def wait(self) -> int:
        with self._ended:  # of two threads that wait, the system tells but one how it ended
            self._process.join()
        return self._process.exitcode or 0

    def kill(self) -> None:
        self._process.kill()


def _copied(theirs: Connection, stage: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for pipe in _open:  # the stage's ends: as long as one is open, its worker does not see the stage end
        pipe.close()
    serve_tasks(theirs.fileno(), stage)


def serve_tasks(descriptor: int, stage: int) -> None:
    """Runs a worker: takes tasks, and answers each with its result or an exception, as long as the stage is there."""
    files.die_with_parent(stage)
    progress.silence()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stage's process decides
    import cv2

    cv2.setNumThreads(1)
    with Connection(descriptor) as pipe:
        try:
            pipe.send("ready")
            while True:
                task, out = pipe.recv()
                try:
                    answer = task.run(out)
                except Exception as error:  # by its text: not every exception survives pickling
                    answer = fault(error) or RuntimeError(f"in a worker process:\n{traceback.format_exc()}")
                pipe.send(answer)
        except (EOFError, ConnectionError):  # the stage has ended
            return
