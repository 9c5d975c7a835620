"""The queue behind the server: batches, order, patience, limits."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest

from sightline.core.rejection import RejectionError, RejectionReason
from sightline.predict.inference_model import Answer
from sightline.serve.batcher import Batcher, QueueFull


class Model:
    """Decodes `b"5"` to 5 and gives it back; `b"slow"` waits for others, `b"bad"` is refused, `b"fault"` is a bug."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.batches: list[int] = []
        self.seconds = seconds
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.others_done = threading.Event()

    def prepare(self, data: bytes) -> np.ndarray:
        self.begun.set()
        self.gate.wait(60)
        if data == b"bad":
            raise RejectionError(RejectionReason.CORRUPT, "so")
        if data == b"fault":
            raise ZeroDivisionError
        if data == b"slow":
            return np.array([self.others_done.wait(60)], np.uint8)
        return np.array([int(data)], np.uint8)

    def answers(self, images: np.ndarray) -> list[Answer]:
        self.batches.append(len(images))
        time.sleep(self.seconds)
        return [Answer(row, None) for row in images.astype(np.float32)]


def run(model: Any, work: Any, threads: int = 2, size: int = 8, most: int = 100) -> Any:
    async def main() -> Any:
        queue = Batcher(model, threads, size, most)
        try:
            return await work(queue)
        finally:
            queue.close()

    return asyncio.run(main())


def plain(answers: list[Any]) -> list[Any]:
    return [str(one.reason) if isinstance(one, RejectionError) else int(one.probabilities[0]) for one in answers]


def test_answers_come_in_order_with_refusals_in_their_place() -> None:
    images = [str(i).encode() if i % 5 else b"bad" for i in range(40)]
    answers = run(Model(), lambda queue: queue.predict(images, 10))
    assert plain(answers) == [i if i % 5 else "corrupt" for i in range(40)]


def test_one_image_is_answered_at_once_and_many_in_batches() -> None:
    model = Model(seconds=0.02)

    async def work(queue: Batcher) -> list[Any]:
        await queue.predict([b"1"], 10)
        return await asyncio.gather(*(queue.predict([str(i).encode()], 10) for i in range(64)))

    answers = run(model, work)
    assert [plain(one) for one in answers] == [[i] for i in range(64)]
    assert model.batches[0] == 1
    assert max(model.batches) == 8
    assert len(model.batches) < 30


def test_a_slow_image_holds_up_few() -> None:
    model = Model()
    answered: list[bytes] = []

    async def one(queue: Batcher, data: bytes) -> list[Any]:
        answers = await queue.predict([data], 120)
        answered.append(data)
        if len(answered) == 40:
            model.others_done.set()
        return answers

    async def work(queue: Batcher) -> list[Any]:
        return await asyncio.gather(*(one(queue, data) for data in [b"slow", *[b"1"] * 7, *[b"2"] * 40]))

    slow, *_ = run(model, work)
    assert plain(slow) == [1], "they waited for the slow one"


def test_a_fault_reaches_the_one_who_asked_and_the_threads_live_on() -> None:
    async def work(queue: Batcher) -> Any:
        with pytest.raises(ZeroDivisionError):
            await queue.predict([b"fault"], 10)
        return await queue.predict([b"1"], 10)

    assert plain(run(Model(), work, threads=1)) == [1]


def test_too_many_are_refused_at_once_and_the_others_served() -> None:
    async def work(queue: Batcher) -> Any:
        model.gate.clear()
        first = asyncio.create_task(queue.predict([b"1"] * 10, 10))
        await asyncio.sleep(0.1)
        with pytest.raises(QueueFull):
            await queue.predict([b"2"] * 11, 10)
        model.gate.set()
        return await first

    model = Model()
    assert plain(run(model, work, threads=1, size=2, most=10)) == [1] * 10


def test_what_takes_too_long_is_refused_and_what_was_not_begun_may_come_again() -> None:
    async def work(queue: Batcher) -> None:
        model.gate.clear()
        begun = asyncio.create_task(queue.predict([b"1"], 1))
        await asyncio.to_thread(model.begun.wait, 60)
        with pytest.raises(QueueFull):
            await queue.predict([b"2"], 0.1)
        assert plain(await begun) == ["corrupt"]
        model.gate.set()
        assert plain(await queue.predict([b"3"], 60)) == [3]

    model = Model()
    run(model, work, threads=1, size=1)


def test_images_of_clients_that_went_away_are_not_computed() -> None:
    model = Model()

    async def work(queue: Batcher) -> None:
        model.gate.clear()
        first = asyncio.create_task(queue.predict([b"1"], 10))
        await asyncio.sleep(0.05)
        gone = asyncio.create_task(queue.predict([b"2"] * 20, 10))
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(0)
        model.gate.set()
        await first
        await queue.predict([b"3"], 10)

    run(model, work, threads=1, size=4)
    assert sum(model.batches) <= 2 + 4
