"""Dynamic batching: images that arrive while the network is busy form the next batch.

It uses threads instead of processes, since decoding and ONNX Runtime release the GIL, and no child process can be left
behind. Images never wait for a batch to fill: a single one is answered at once, and batches grow with the load.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sightline.core.rejection import RejectionError, RejectionReason
from sightline.predict import inference_model
from sightline.predict.bundle import Bundle
from sightline.predict.inference_model import Images

DECODE_BUDGET_S = 0.05
"""Seconds after which a batch is run with the images decoded so far, so that a slow image delays few others."""

Answer = inference_model.Answer | RejectionError


class QueueFull(Exception):
    """The queue of images is full."""


@dataclass
class QueuedImage:
    """An image in the queue.

    Attributes:
        data: The encoded file.
        future: Gets the network's answer, or the refusal.
        begun: Whether a thread has taken it.
    """

    data: bytes
    future: asyncio.Future[Answer]
    begun: bool = field(default=False)


class Batcher:
    """Threads that take images from one queue; use it from one event loop.

    Args:
        bundle: The model.
        threads: Number of threads.
        batch_size: Images per run of the network, at most.
        max_waiting: Images in the queue, at most.
        observe: Called with the number of images of every run, from any thread.
        observe_answer: Called with every image that was answered, and the answer, from any thread.
    """

    def __init__(
        self,
        bundle: Bundle,
        threads: int,
        batch_size: int,
        max_waiting: int,
        observe: Callable[[int], None] = lambda _: None,
        observe_answer: Callable[[bytes, inference_model.Answer], None] = lambda *_: None,
    ) -> None:
        self._bundle = bundle
        self._batch_size = batch_size
        self._max_waiting = max_waiting
        self._observe = observe
        self._observe_answer = observe_answer
        self._queue: deque[QueuedImage] = deque()
        self._ready = threading.Condition()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._threads = [threading.Thread(target=self._work, daemon=True, name=f"predict-{i}") for i in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Images in the queue."""
        return len(self._queue)

    async def predict(self, images: Sequence[bytes], seconds: float) -> list[Answer]:
        """Returns each image's answer or rejection, in order.

        Args:
            images: Encoded files.
            seconds: Time limit; images that have been started but are not finished by then are rejected.

        Raises:
            QueueFull: If too many images are queued already, or these were not started within `seconds`.
        """
        jobs = [QueuedImage(data, self._loop.create_future()) for data in images]
        with self._ready:
            if len(self._queue) + len(jobs) > self._max_waiting:
                raise QueueFull
            self._queue.extend(jobs)
            self._ready.notify(min(len(jobs), len(self._threads)))
        try:
            _, late = await asyncio.wait([job.future for job in jobs], timeout=seconds)
        finally:  # the client may have gone
            for job in jobs:
                job.future.cancel()
        if late and not any(job.begun for job in jobs if job.future in late):
            raise QueueFull
        slow = RejectionError(RejectionReason.CORRUPT, f"decoding took more than {seconds:g} s")
        return [slow if job.future in late else job.future.result() for job in jobs]

    def close(self) -> None:
        """Ends the threads after their current work."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def _work(self) -> None:
        while True:
            with self._ready:
                while not self._queue and not self._closed:
                    self._ready.wait()
                if self._closed:
                    return
                jobs = [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_size))]
            answers = self._answer([job for job in jobs if not job.future.cancelled()])
            self._loop.call_soon_threadsafe(_deliver, answers)
            for job, answer in answers:  # nobody waits for it
                if not isinstance(answer, Exception):
                    self._observe_answer(job.data, answer)

    def _answer(self, jobs: list[QueuedImage]) -> list[tuple[QueuedImage, Answer | Exception]]:
        prepared: list[Images] = []
        good: list[QueuedImage] = []
        answers: list[tuple[QueuedImage, Answer | Exception]] = []
        deadline = time.monotonic() + DECODE_BUDGET_S
        for place, job in enumerate(jobs):
            if place and time.monotonic() > deadline:
                with self._ready:
                    self._queue.extendleft(reversed(jobs[place:]))
                    self._ready.notify()
                break
            job.begun = True
            try:
                prepared.append(self._bundle.prepare(job.data))
                good.append(job)
            except Exception as error:  # a RejectionError is an answer; other errors must reach the waiting request
                answers.append((job, error))
        if good:
            try:
                rows = self._bundle.answers(np.stack(prepared))
                answers += zip(good, rows, strict=True)
            except Exception as error:  # as above; the thread must survive
                answers += [(job, error) for job in good]
            self._observe(len(good))
        return answers


def _deliver(answers: list[tuple[QueuedImage, Answer | Exception]]) -> None:
    for job, answer in answers:
        if job.future.cancelled():
            continue
        if isinstance(answer, Exception) and not isinstance(answer, RejectionError):
            job.future.set_exception(answer)
        else:
            job.future.set_result(answer)
