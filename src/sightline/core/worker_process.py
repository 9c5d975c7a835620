"""A worker process: start, work and end."""

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
    """A piece of work; both it and its answer can be pickled."""

    def run(self, out: Path) -> Answer_co:
        """Does the work, and writes files only into the folder `out`."""


def forks() -> bool:
    """Returns whether a worker would be a fork of this process, which is ready at once; a new one has to import first.

    Only if this process has a single thread: a fork copies every lock, but not the thread that would release it.
    jemalloc's thread, which comes with Arrow, is safe: jemalloc holds its own locks during a fork.
    """
    try:
        others = [thread for thread in _THREADS.iterdir() if thread.name != str(os.getpid())]
        return all((thread / "comm").read_text().strip() == _JEMALLOC for thread in others)
    except OSError:  # another system; or a thread that has just ended, so there were several
        return False


class Worker:
    """A process that runs tasks one after the other; it is ready once it has imported their code."""

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
        """Waits until it can take a task; raises EOFError or OSError if it ends before that."""
        self._pipe.recv()

    def run(self, task: WorkerTask[Answer_co], out: Path) -> Answer_co:
        """Runs a task. Raises the task's error, or EOFError or OSError if the process ends."""
        self.send(task, out)
        answer: Answer_co = self.receive()
        return answer

    def send(self, task: WorkerTask[Any], out: Path) -> None:
        """Hands over a task: `receive` returns its answer, and `fileno` becomes readable when the answer is there."""
        self._pipe.send((task, out))

    def receive(self) -> Any:
        """Returns the answer to the last task, or raises as `run` does."""
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def fileno(self) -> int:
        """Returns the descriptor for `multiprocessing.connection.wait`: readable when ready, answered or ended."""
        return self._pipe.fileno()

    def cause_of_end(self, remedy: str) -> str:
        """Waits for it to end and returns the cause in words; `remedy` is the advice if it ran out of memory."""
        code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        hint = f"; out of memory? {remedy}" if code == -signal.SIGKILL else ""
        return f"killed by signal {-code}{hint}"

    def kill(self) -> None:
        """Ends it, whatever it is doing."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Ends it and closes the pipe; no other thread may be reading from the pipe."""
        self.kill()
        self._close_pipe()

    def _close_pipe(self) -> None:
        _open.discard(self._pipe)
        self._pipe.close()


class WorkerGroup:
    """Workers that end together at the end of a `with` block."""

    def __init__(self) -> None:
        self._workers: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers, whatever they are doing."""
        while self._workers:
            self._workers.pop().close()


class _Program:
    def __init__(self, theirs: Connection) -> None:
        # Not with `multiprocessing`, whose "spawn" would run the main script again.
        code = f"import sys; import {__name__} as worker; worker.{serve_tasks.__name__}(*map(int, sys.argv[1:]))"
        command = [sys.executable, "-c", code, str(theirs.fileno()), str(os.getpid())]
        # The processes already run in parallel, and NumPy starts faster without threads.
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
        with self._ended:  # the system reports the exit code to only one of two waiting threads
            self._process.join()
        return self._process.exitcode or 0

    def kill(self) -> None:
        self._process.kill()


def _copied(theirs: Connection, stage: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for pipe in _open:  # the stage's ends: while any is open, its worker does not notice that the stage has ended
        pipe.close()
    serve_tasks(theirs.fileno(), stage)


def serve_tasks(descriptor: int, stage: int) -> None:
    """Runs a worker: takes tasks and answers each with its result or an exception until the stage ends."""
    files.die_with_parent(stage)
    progress.silence()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stage's process handles it
    import cv2

    cv2.setNumThreads(1)
    with Connection(descriptor) as pipe:
        try:
            pipe.send("ready")
            while True:
                task, out = pipe.recv()
                try:
                    answer = task.run(out)
                except Exception as error:  # sent as text: not every exception survives pickling
                    answer = fault(error) or RuntimeError(f"in a worker process:\n{traceback.format_exc()}")
                pipe.send(answer)
        except (EOFError, ConnectionError):  # the stage has ended
            return
