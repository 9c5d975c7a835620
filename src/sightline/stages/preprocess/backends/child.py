"""A helper process: how it starts, what it does, how it ends."""

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

from sightline.core import files
from sightline.core.errors import fault
from sightline.stages.preprocess.cache import PixelCache
from sightline.stages.preprocess.jobs import Job

_THREADS = Path("/proc/self/task")  # Linux
_JEMALLOC = "jemalloc_bg_thd"
_open: set[Connection] = set()


def forks() -> bool:
    """Says whether a helper would be a copy of this process, which is there at once: a new one imports for a while.

    Only where this process has one thread: a copy has every lock, but not the thread that would release it. The one
    of jemalloc, which comes with Arrow, is no matter: jemalloc holds its locks itself while a process is copied.
    """
    try:
        others = [thread for thread in _THREADS.iterdir() if thread.name != str(os.getpid())]
        return all((thread / "comm").read_text().strip() == _JEMALLOC for thread in others)
    except OSError:  # another system; or a thread that has just ended, so that there were several
        return False


class Child:
    """A process at the other end of `pipe`, that says "ready" and then waits for what `serve` describes."""

    def __init__(self) -> None:
        self.pipe, theirs = Pipe()
        _open.add(self.pipe)
        try:
            self._process: _Fork | _Program = (_Fork if forks() else _Program)(theirs)
        except BaseException:
            self.close()
            raise
        finally:
            theirs.close()

    def wait(self) -> int:
        """Waits for its end and returns its exit code."""
        return self._process.wait()

    def kill(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Closes the pipe, of which the process learns that it is not needed any more."""
        _open.discard(self.pipe)
        self.pipe.close()


class _Program:
    def __init__(self, theirs: Connection) -> None:
        # Not by `multiprocessing`, whose "spawn" would run the main script again.
        code = f"import sys; from {__name__} import serve; serve(int(sys.argv[1]))"
        command = [sys.executable, "-c", code, str(theirs.fileno())]
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


def _copied(theirs: Connection, parent: int) -> None:
    files.die_with_parent(parent)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for pipe in _open:  # the stage's ends: as long as one is open, its helper does not see the stage end
        pipe.close()
    serve(theirs.fileno())


def serve(descriptor: int) -> None:
    """Runs a helper: takes the cache's folder, then jobs, and answers each with None or an exception."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stage's process decides
    import cv2

    cv2.setNumThreads(1)
    with Connection(descriptor) as pipe:
        try:
            pipe.send("ready")
            cache = PixelCache(pipe.recv())
            while True:
                job: Job = pipe.recv()
                answer: Exception | None = None
                try:
                    job.do(cache)
                except Exception as error:  # by its text: not every exception survives pickling
                    answer = fault(error) or RuntimeError(f"in a worker process:\n{traceback.format_exc()}")
                pipe.send(answer)
        except (EOFError, ConnectionError):  # the stage has ended
            return
