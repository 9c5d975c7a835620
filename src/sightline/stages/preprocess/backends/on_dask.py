"""Jobs on a Dask cluster. Dask does a job again whose worker died."""

from __future__ import annotations

import importlib
import os
import warnings
from collections import deque
from collections.abc import Sequence
from typing import Any

from sightline.core.errors import UserError, how_to_install
from sightline.stages.preprocess.backends import cluster
from sightline.stages.preprocess.cache import PixelCache
from sightline.stages.preprocess.jobs import Done, Job

CONNECT = 10
"""Seconds to wait for the scheduler."""


def run(jobs: Sequence[Job], cache: PixelCache, address: str | None, done: Done) -> None:
    """Does all jobs. Twice as many as the cluster has threads are under way at a time: memory holds no more.

    Args:
        jobs: What there is to do.
        cache: Where the results go.
        address: Of a running scheduler; None starts a cluster on this machine for as long as this takes.
        done: Is told of each job that is done.

    Raises:
        UserError: If Dask is not installed, the scheduler cannot be reached, or a job cannot be done on its workers.
    """
    try:
        distributed: Any = importlib.import_module("distributed")
    except ModuleNotFoundError:
        raise UserError(f"preprocess.backend=dask: Dask is not installed: {how_to_install('dask')}") from None

    if address is None:
        # One thread a worker: Pillow and the steps hold Python's lock between their calls.
        here = distributed.LocalCluster(
            n_workers=os.cpu_count(), threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
        )
        with here, distributed.Client(here) as client:
            _run(distributed, client, jobs, cache, done)
        return
    try:
        client = distributed.Client(address, timeout=CONNECT)
    except (OSError, ValueError) as error:
        raise UserError(
            f"preprocess.backend=dask: no scheduler at {address} ({cluster.one_line(error)}); start one by "
            "'dask scheduler', or set preprocess.backend.address=null for one on this machine"
        ) from None
    with client:
        _run(distributed, client, jobs, cache, done)


def _run(distributed: Any, client: Any, jobs: Sequence[Job], cache: PixelCache, done: Done) -> None:
    most = 2 * max(1, sum(client.nthreads().values()))
    waiting = deque(jobs)
    under_way: dict[Any, Job] = {}
    completed = distributed.as_completed()

    def submit() -> None:
        job = waiting.popleft()
        with warnings.catch_warnings():
            # A parcel is part of the job on purpose: what had been scattered would be lost with its worker.
            warnings.filterwarnings("ignore", message=r"(?s)Sending large graph")
            future = client.submit(cluster.do, cluster.parcel(job), pure=False, retries=cluster.RETRIES)
        under_way[future] = job
        completed.add(future)

    try:
        while waiting and len(under_way) < most:
            submit()
        for future in completed:
            job = under_way.pop(future)
            cluster.take(job, future.result(), cache, "dask")
            done(job)
            future.release()
            if waiting:
                submit()
    except (distributed.KilledWorker, distributed.CancelledError, OSError, TimeoutError) as error:
        raise UserError(f"preprocess.backend=dask: {cluster.one_line(error)}") from None
