"""A pool of processes that check images: a decoder that crashes or hangs costs one image, not the whole stage."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.rejection import RejectionReason
from sightline.imaging.image_file import MAX_SECONDS
from sightline.stages.ingest.check_result import CheckFailure, CheckResult

T = TypeVar("T")
Chunk = list[bytes | None]

CHUNK_ITEMS = 64
CHUNK_BYTES = 2**17
"""A chunk ends with the image that reaches this size: a few small chunks fit into a pipe, a photograph may not."""
TIMEOUT = MAX_SECONDS
"""Seconds that a chunk, or an image checked on its own, may take."""

_HELD_BYTES = 64 * 2**20
_MOST = 8  # one process does the reading and writing, which keeps no more workers busy
_END_SECONDS = 10.0  # time for a process that has closed its pipe to end
_AHEAD = 3  # chunks queued for each process, so that it never waits for the next one


class CheckPool:
    """A pool of worker processes. `imap` preserves the order of its items, and holds a few chunks in memory.

    Args:
        limits: Arguments of `Limits`: what is accepted of an image.
        count: Number of processes; None means one per core, at most 8; 0 checks in this process.
        timeout: Seconds that one image may take.
    """

    def __init__(self, limits: dict[str, Any], count: int | None = None, timeout: float = TIMEOUT) -> None:
        self._limits = limits
        self._count = min(os.cpu_count() or 1, _MOST) if count is None else count
        self._timeout = timeout
        self._all: list[_Worker] = []

    def __enter__(self) -> CheckPool:
        if self._count:  # start one now: it imports decoders while the source is opened
            self._all.append(_Worker(self._limits, self._timeout))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._all:
            worker.stop()

    def imap(self, items: Iterable[tuple[T, bytes | None]]) -> Iterator[tuple[T, CheckResult | None]]:
        """Checks the bytes of each item (None: nothing to check), and yields the items with their results."""
        if self._count == 0:
            from sightline.imaging.image_file import Limits
            from sightline.stages.ingest.check import check_image

            limits = Limits(**self._limits)
            yield from ((item, None if data is None else check_image(data, limits)) for item, data in items)
            return
        waiting: deque[tuple[list[T], int, _Worker]] = deque()
        held = 0
        for number, (chunk, data, size) in enumerate(_chunks(items)):
            if len(self._all) < self._count:  # a small set starts no more workers than it has chunks
                self._all.append(_Worker(self._limits, self._timeout))
            worker = self._all[number % self._count]
            worker.give(data)
            waiting.append((chunk, size, worker))
            held += size
            while len(waiting) > _AHEAD * self._count or held > _HELD_BYTES:
                done, size, worker = waiting.popleft()
                held -= size
                yield from zip(done, worker.take(), strict=True)
        for done, _, worker in waiting:
            yield from zip(done, worker.take(), strict=True)


def _chunks(items: Iterable[tuple[T, bytes | None]]) -> Iterator[tuple[list[T], Chunk, int]]:
    chunk: list[T] = []
    data: Chunk = []
    size = 0
    for item, content in items:
        chunk.append(item)
        data.append(content)
        size += len(content or b"")
        if len(chunk) == CHUNK_ITEMS or size >= CHUNK_BYTES:
            yield chunk, data, size
            chunk, data, size = [], [], 0
    if chunk:
        yield chunk, data, size


class _Worker:
    """One process at the other end of a pipe, replaced when it dies. It answers in the order of the chunks.

    A separate thread sends the chunks, so that `give` never blocks on a full pipe, even if the process hangs.
    """

    def __init__(self, limits: dict[str, Any], timeout: float) -> None:
        self._limits = limits
        self._timeout = timeout
        self._given: deque[Chunk] = deque()
        self._start()

    def _start(self) -> None:
        self._pipe, theirs = Pipe()
        code = "import sys; from sightline.stages.ingest.workers import run_worker; run_worker(*map(int, sys.argv[1:]))"
        command = [sys.executable, "-c", code, str(theirs.fileno()), str(os.getpid())]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # images are small
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment)
        theirs.close()
        self._outbox: SimpleQueue[Any] = SimpleQueue()
        self._outbox.put(self._limits)
        self._sender = threading.Thread(target=_send_all, args=(self._outbox, self._pipe), daemon=True)
        self._sender.start()
        self._ready = False

    def give(self, chunk: Chunk) -> None:
        """Queues a chunk for checking."""
        self._given.append(chunk)
        self._outbox.put(chunk)

    def take(self) -> list[CheckResult | None]:
        """Returns the results of the oldest chunk. If the process dies or times out, finds the image that caused it."""
        chunk = self._given[0]
        try:
            outcomes = self._answer()
        except (EOFError, OSError) as error:
            fault = self._restart(error)
            blamed = len(chunk) == 1 and fault.reason is not RejectionReason.OUT_OF_MEMORY  # a kill may be no image's
            outcomes = [fault] if blamed else [self._alone(data) for data in chunk]
            for other in list(self._given)[1:]:
                self._outbox.put(other)
        self._given.popleft()
        return outcomes

    def _alone(self, data: bytes | None) -> CheckResult | None:
        self._outbox.put([data])
        try:
            return self._answer()[0]
        except (EOFError, OSError) as error:
            return self._restart(error)

    def _answer(self) -> list[CheckResult | None]:
        if not self._ready:
            try:
                self._pipe.recv()
            except (EOFError, ConnectionError):
                code = self._process.wait()
                if code == -signal.SIGKILL:
                    raise UserError(
                        "a process that checks images was killed (signal 9) as it started, as when memory runs out: "
                        "run the same command again; with `workers: 0` below `ingest:` in params.yaml none is started"
                    ) from None
                raise RuntimeError(f"the process that checks images ended with code {code}") from None
            self._ready = True
        if not self._pipe.poll(self._timeout):
            raise TimeoutError
        outcomes: list[CheckResult | None] = self._pipe.recv()
        return outcomes

    def _restart(self, error: Exception) -> CheckFailure:
        """Restarts the process; returns the failure that ended the previous one."""
        if not isinstance(error, TimeoutError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)  # let it exit, for the exit code in the message
        code = self._process.poll()
        self.stop()
        self._start()
        if isinstance(error, TimeoutError):
            return CheckFailure(RejectionReason.CORRUPT, f"decoding took more than {self._timeout:g} s")
        if code == -signal.SIGKILL:
            killed = "its decoder was killed (signal 9), as the system does when memory runs out"
            return CheckFailure(RejectionReason.OUT_OF_MEMORY, killed)
        ending = "without an answer" if code is None else f"signal {-code}" if code < 0 else f"exit code {code}"
        return CheckFailure(RejectionReason.CORRUPT, f"the decoder crashed ({ending})")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._outbox.put(None)
        self._sender.join()  # the pipe's other end is closed: no `send` waits any longer
        self._pipe.close()


def _send_all(outbox: SimpleQueue[Any], pipe: Connection) -> None:
    """Sends queued messages until a None, or until the process dies, in which case `take` queues the chunks again."""
    with contextlib.suppress(ConnectionError):
        while (message := outbox.get()) is not None:
            pipe.send(message)


def run_worker(descriptor: int, stage: int) -> None:
    """Runs a worker: receives the limits, then lists of bytes, and answers each list until the pipe or stage ends."""
    files.die_with_parent(stage)  # a decoder that hangs would not see the pipe close
    from sightline.imaging.image_file import Limits
    from sightline.stages.ingest.check import check_image

    with Connection(descriptor) as pipe:
        try:
            limits = Limits(**pipe.recv())
            pipe.send("ready")
            while True:
                pipe.send([None if data is None else check_image(data, limits) for data in pipe.recv()])
        except EOFError:  # the stage has ended
            return
