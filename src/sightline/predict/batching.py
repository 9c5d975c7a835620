"""Batched inference: threads read and decode images, the network runs on batches, and results keep the order.

Decoding and the network both release the GIL, so threads share the cores. Memory holds a few batches.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from sightline.core.lookahead import map_ahead
from sightline.core.rejection import RejectionError
from sightline.predict.inference_model import Answer, Images, InferenceModel
from sightline.predict.inputs import Input

CHUNK = 16
"""Images that a thread takes at a time: few enough to distribute photographs, enough to be efficient for digits."""

PreparedOrRejected = Images | RejectionError
T = TypeVar("T")


def batches(
    items: Iterable[T], prepare: Callable[[T], Images], size: int, workers: int | None = None
) -> Iterator[list[tuple[T, PreparedOrRejected]]]:
    """Yields `items` in order, `size` at a time, each with the result of `prepare` or its rejection.

    Args:
        items: The items, which are taken a few batches ahead.
        prepare: Called in threads; exceptions other than RejectionError end the iteration.
        size: Items per batch.
        workers: Number of threads; None means one per core, 0 prepares in this thread.
    """
    rest = iter(items)
    chunk = min(CHUNK, size)
    count = (os.cpu_count() or 1) if workers is None else workers

    def work(part: list[T]) -> list[tuple[T, PreparedOrRejected]]:
        return [(item, _attempt(prepare, item)) for item in part]

    first = list(itertools.islice(rest, chunk))
    if count == 0 or len(first) < 2:  # a single image needs no threads
        while first:
            first += itertools.islice(rest, size - len(first))
            yield work(first)
            first = list(itertools.islice(rest, size))
        return
    chunks = itertools.chain([first], iter(lambda: list(itertools.islice(rest, chunk)), []))
    with contextlib.closing(map_ahead(work, chunks, count, ahead=2 * count + size // chunk)) as prepared:
        yield from _gathered(itertools.chain.from_iterable(prepared), size)


def answered(
    model: InferenceModel, items: Iterable[Input], size: int, workers: int | None
) -> Iterator[tuple[Input, Answer | RejectionError]]:
    """Yields `items` in order, each with the network's answer or its rejection; arguments as for `batches`."""

    def prepare(item: Input) -> Images:
        return model.prepare(item.read())

    for batch in batches(items, prepare, size, workers):
        arrays = [array for _, array in batch if not isinstance(array, RejectionError)]
        answers = iter(model.answers(np.stack(arrays)) if arrays else ())
        for item, array in batch:
            yield item, array if isinstance(array, RejectionError) else next(answers)


def _attempt(prepare: Callable[[T], Images], item: T) -> PreparedOrRejected:
    try:
        return prepare(item)
    except RejectionError as refused:
        return refused


def _gathered(
    prepared: Iterator[tuple[T, PreparedOrRejected]], size: int
) -> Iterator[list[tuple[T, PreparedOrRejected]]]:
    while batch := list(itertools.islice(prepared, size)):
        yield batch
