"""Look-ahead: work on items done by threads before it is asked for, its results in order."""

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
    """Yields `work` of each item, in order. For work that lets go of Python's lock: the network, decoding, ONNX.

    Args:
        work: Is called in threads; what it raises ends the iteration.
        items: Are taken `ahead` of what has been yielded, in the caller's thread.
        threads: Number of threads that work at once.
        ahead: Items in work or done and waiting; None for as many as threads.
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
