"""A fork server: it imports the modules that processes need once, and forks the processes.

The trainings of a sweep, DVC and DVC's data stages need the same libraries, which take seconds to import. The server
is forked from the sweep's process before that has any connection, thread or lock, and does nothing but import and fork.
The project's own code every process imports anew, from the slot that it works in: that is what is recorded.

Where forked processes fail (with CUDA, or on macOS), a new Python interpreter is started, with the same protocol.
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
"""Whether every process must start a new interpreter, because macOS's libraries do not support forks."""


class ChildEndedError(Exception):
    """A process has ended without a response.

    Args:
        code: Its exit code; negative for a signal.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class ProcessRequest:
    """A request to start a process.

    Attributes:
        entry: The function to call with the process's end of the connection, as `module:function`.
        modules: Modules that the server imports before it forks.
        folder: The working directory.
        environment: The environment variables.
        log: The file for its output.
        fresh: Whether to start a new Python interpreter.
    """

    entry: str
    modules: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    log: Path
    fresh: bool


class ServedProcess:
    """A process that the server has started.

    Args:
        connection: This end of its connection.
        status: The connection that receives its exit code.
    """

    def __init__(self, connection: Connection, status: Connection) -> None:
        self._connection, self._status = connection, status
        self._code: int | None = None
        self._pid: int = self._received()

    def ask(self, message: object) -> Any:
        """Sends a message and waits for the response.

        Raises:
            ChildEndedError: If the process ends without a response.
        """
        try:
            self._connection.send(message)
        except OSError:
            raise ChildEndedError(self._wait()) from None
        return self._received()

    def _received(self) -> Any:
        # Waits for both, since a child that outlives the process may keep the connection open.
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
            except (EOFError, OSError):  # the server was killed, and all its processes with it
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
        """Closes the connection, upon which the process ends.

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
    """The server, which must be started before the calling process has any thread, connection or lock."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        self._lock = threading.Lock()
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            # Python warns about threads that it did not start: those of NumPy's BLAS library, which handles forks.
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
        """Starts a process.

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
        """Ends the server, after all its processes have ended."""
        self._control.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


@functools.cache
def shared_server() -> ForkServer:
    """Returns the server of this process, started at the first call; it ends when this process does."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def _serve(control: socket.socket, parent: int) -> None:
    """Starts processes until the control connection is closed."""
    os.setsid()  # Ctrl-C reaches the sweep, which passes it on once
    die_with_parent(parent)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # New streams, since a notebook or a test may have replaced them.
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
            with contextlib.suppress(ImportError):  # the process will report the missing module
                import_module(module)
        multiprocessing.active_children()  # reaps processes that have ended
        context.Process(target=_keep, args=(request, connection, result, control)).start()
        connection.close()
        result.close()


def _keep(request: ProcessRequest, connection: Connection, result: Connection, control: socket.socket) -> None:
    """Starts the process itself and sends its exit code, which only its parent can obtain."""
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
    """Unloads the project's own modules, so that they are imported again from the working directory."""
    for name in [name for name in sys.modules if name.partition(".")[0] in _OWN]:
        del sys.modules[name]
    logging.getLogger("sightline").handlers.clear()  # they belong to the unloaded code


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
