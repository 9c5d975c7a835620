"""A server of processes: it imports what they need once, and forks them.

The trainings of a sweep, DVC and DVC's data stages need the same libraries, which take seconds to import. The server
is forked from the sweep's process before that has any connection, thread or lock, and does nothing but import and fork.
The project's own code every process imports anew, from the slot that it works in: that is what is recorded.

Where a fork cannot go on as it is (CUDA may not, macOS's libraries cannot), Python begins anew, by the same protocol.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from sightline.core.files import die_with_parent

_OWN = ("sightline", "pipeline")
"""The packages of the project itself."""
FRESH = sys.platform != "linux"
"""Whether every process has to begin Python anew: macOS's libraries do not go on after a fork."""


class ChildEndedError(Exception):
    """A process has ended without an answer.

    Args:
        code: Its exit code; negative for a signal.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class ProcessRequest:
    """A process to begin.

    Attributes:
        entry: The function that the process runs, of its end of the connection: `module:function`.
        modules: The modules that it needs, imported before.
        folder: Its working folder.
        environment: Its environment.
        log: The file for what it prints.
        fresh: Whether Python begins anew.
    """

    entry: str
    modules: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    log: Path
    fresh: bool


class ServedProcess:
    """A process that the server has begun.

    Args:
        connection: This end of its connection.
        status: The connection that brings its exit code.
    """

    def __init__(self, connection: Connection, status: Connection) -> None:
        self._connection, self._status = connection, status
        self._code: int | None = None
        self._pid: int = self._received()

    def ask(self, message: object) -> Any:
        """Sends a message and waits for the answer.

        Raises:
            ChildEndedError: If the process ends without one.
        """
        try:
            self._connection.send(message)
        except OSError:
            raise ChildEndedError(self._wait()) from None
        return self._received()

    def _received(self) -> Any:
        # Both, since a process of its own that outlives it may keep the connection open.
        wait([self._connection, self._status])
        try:
            if self._connection.poll():
                return self._connection.recv()
        except (EOFError, OSError):
            pass
        raise ChildEndedError(self._wait())

    def _wait(self) -> int:
        if self._code is None:
            try:
                self._code = int(self._status.recv())
            except (EOFError, OSError):  # the server was killed, and with it all that it began
                self._code = -signal.SIGKILL
        return self._code

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._code is not None or self._status.poll()

    def terminate(self) -> None:
        """Asks it to stop."""
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)

    def close(self, patience: float) -> None:
        """Has it end, which it does when its connection is closed.

        Args:
            patience: Seconds after which it is killed.
        """
        self._connection.close()
        if not self.ended and not self._status.poll(patience):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        self._wait()
        self._status.close()


class ForkServer:
    """The server; begun where the process that asks has no thread, connection or lock yet."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        self._lock = threading.Lock()
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            # Of threads that Python does not know of: those of NumPy's library, which handles forks.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if not self._pid:
            try:
                self._control.close()
                _serve(theirs, parent)
            finally:
                os._exit(1)
        theirs.close()

    def begin(self, request: ProcessRequest) -> ServedProcess:
        """Begins a process.

        Raises:
            ChildEndedError: If the server has ended.
        """
        ours, theirs = multiprocessing.Pipe()
        status, result = multiprocessing.Pipe(duplex=False)
        request.log.parent.mkdir(parents=True, exist_ok=True)
        with theirs, result, self._lock:
            ours.send(request)
            with contextlib.suppress(BrokenPipeError):
                socket.send_fds(self._control, [b"1"], [theirs.fileno(), result.fileno()])
            theirs.close()
            result.close()
            return ServedProcess(ours, status)

    def close(self) -> None:
        """Ends the server, once all that it has begun has ended."""
        self._control.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


@functools.cache
def shared_server() -> ForkServer:
    """Returns the server of this process, begun at the first call; it ends when this process does."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def _serve(control: socket.socket, parent: int) -> None:
    """Begins processes until nobody asks any more."""
    os.setsid()  # Ctrl-C reaches the sweep, which passes it on once
    die_with_parent(parent)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # Of its own, since a notebook or a test has others in their place.
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    context = multiprocessing.get_context("fork")
    while True:
        asked, descriptors, _, _ = socket.recv_fds(control, 1, 2)
        if not asked:
            for process in multiprocessing.active_children():
                process.join()
            os._exit(0)
        connection, result = Connection(descriptors[0]), Connection(descriptors[1], readable=False)
        request: ProcessRequest = connection.recv()
        _print_to(request.log)
        for module in () if request.fresh else request.modules:
            with contextlib.suppress(ImportError):  # the process will find it missing, and say so
                import_module(module)
        multiprocessing.active_children()  # those that have ended are let go of
        context.Process(target=_keep, args=(request, connection, result, control)).start()
        connection.close()
        result.close()


def _keep(request: ProcessRequest, connection: Connection, result: Connection, control: socket.socket) -> None:
    """Begins the process itself, and tells how it has ended: only its parent gets to know."""
    die_with_parent()
    control.close()
    process = multiprocessing.get_context("fork").Process(target=_work, args=(request, connection, result))
    process.start()
    connection.close()
    process.join()
    result.send(process.exitcode)


def _work(request: ProcessRequest, connection: Connection, result: Connection) -> None:
    die_with_parent()
    result.close()
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    connection.send(os.getpid())
    if request.fresh:
        os.set_inheritable(connection.fileno(), True)
        words = [sys.executable, "-m", __name__, request.entry, str(connection.fileno()), str(os.getppid())]
        os.execv(sys.executable, words)  # noqa: S606 - no shell
    forget_project()
    paths = request.environment["PYTHONPATH"].split(os.pathsep)
    sys.path[:] = [*paths, *(path for path in sys.path if path not in paths)]
    _run(request.entry, connection)


def _run(entry: str, connection: Connection) -> None:
    module, function = entry.split(":")
    getattr(import_module(module), function)(connection)


def forget_project() -> None:
    """Has the project's own code be imported anew, from where the process stands; libraries stay."""
    for name in [name for name in sys.modules if name.partition(".")[0] in _OWN]:
        del sys.modules[name]
    logging.getLogger("sightline").handlers.clear()  # they are of that code


def _print_to(log: Path) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[3]))
    _run(sys.argv[1], Connection(int(sys.argv[2])))
