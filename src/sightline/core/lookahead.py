"""Look-ahead: threads work on items before their results are needed; results come in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_ahead(
    work: Callable[[T], R], items: Iterable[T], threads: int, ahead: int | None = None
) -> Generator[R, None, None]:
    """Yields `work` of each item, in order. For work that releases the GIL: network access, decoding, ONNX.

    Args:
        work: Called in threads; an exception ends the iteration.
        items: Consumed in the caller's thread, `ahead` of the results yielded so far.
        threads: Number of threads that work at once.
        ahead: Items in progress or done and waiting; None for as many as threads.
    """
    most = threads if ahead is None else ahead
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
