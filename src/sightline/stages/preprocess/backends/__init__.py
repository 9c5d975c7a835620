"""Where jobs are done: each backend leaves the same entries, bit for bit, in the cache."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Iterator, Sequence
from typing import cast

from sightline.config.schema import Option
from sightline.core.progress import track
from sightline.stages.preprocess.backends import processes
from sightline.stages.preprocess.backends.processes import Spare
from sightline.stages.preprocess.cache import PixelCache
from sightline.stages.preprocess.jobs import Done, Job
from sightline.stages.preprocess.options import Dask, Processes, Ray


def run(jobs: Sequence[Job], cache: PixelCache, option: Option, spare: Spare | None = None) -> None:
    """Does all jobs, in any order; when it returns their entries are in the cache.

    Args:
        jobs: What there is to do.
        cache: Where the results go.
        option: One of `options.BACKEND`.
        spare: Processes of this machine that are started already.

    Raises:
        UserError: If a process or a cluster ends before the work does.
    """
    if not jobs:
        return
    with _progress(sum(job.images for job in jobs)) as done:
        _run(jobs, cache, option, done, spare)


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Done]:
    """Yields what shows a person how many images are done, called from any thread."""
    shown = cast(Generator[int, None, None], track(range(total), "preprocess", total))
    one_at_a_time = threading.Lock()

    def done(job: Job) -> None:
        with one_at_a_time:
            for _ in range(job.images):
                next(shown, None)

    with contextlib.closing(shown):
        next(shown, None)  # the clock starts; an image counts when the next one is asked for
        yield done


def _run(jobs: Sequence[Job], cache: PixelCache, option: Option, done: Done, spare: Spare | None) -> None:
    # What lies here already need not travel.
    near = [job for job in jobs if job.local]
    far = [job for job in jobs if not job.local]
    match option:
        case Ray() if far:
            from sightline.stages.preprocess.backends import on_ray

            on_ray.run(far, cache, option.address, done)
        case Dask() if far:
            from sightline.stages.preprocess.backends import on_dask

            on_dask.run(far, cache, option.address, done)
        case _:
            near = [*near, *far]
    processes.run(near, cache, option.workers if isinstance(option, Processes) else None, done, spare)
