"""Jobs on a Ray cluster. Ray does a job again whose node died."""

from __future__ import annotations

import importlib
import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

from sightline.core.errors import UserError, how_to_install
from sightline.stages.preprocess.backends import cluster
from sightline.stages.preprocess.cache import PixelCache
from sightline.stages.preprocess.jobs import Done, Job

CONNECT = 10
"""Seconds to wait for a cluster's head."""


def run(jobs: Sequence[Job], cache: PixelCache, address: str | None, done: Done) -> None:
    """Does all jobs. Twice as many as the cluster has CPUs are under way at a time: memory holds no more.

    Args:
        jobs: What there is to do.
        cache: Where the results go.
        address: Of a running cluster; None starts one on this machine for as long as this takes.
        done: Is told of each job that is done.

    Raises:
        UserError: If Ray is not installed, the cluster cannot be reached, or a job cannot be done on it.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # would leave a token in the home folder
    try:
        ray: Any = importlib.import_module("ray")
    except ModuleNotFoundError:
        raise UserError(f"preprocess.backend=ray: Ray is not installed: {how_to_install('ray')}") from None

    own = not ray.is_initialized()
    if own:
        options: dict[str, Any] = {"include_dashboard": False} if address is None else {}
        try:
            if address:
                _knock(address)
            ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise UserError(
                f"preprocess.backend=ray: no cluster at {address} ({cluster.one_line(error)}); start one by "
                "'ray start --head', or set preprocess.backend.address=null for one on this machine"
            ) from None
    try:
        _run(ray, jobs, cache, done)
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise UserError(f"preprocess.backend=ray: {cluster.one_line(error)}") from None
    finally:
        if own:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError unless something listens at "host:port" (Ray itself would try for minutes)."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT).close()


def _run(ray: Any, jobs: Sequence[Job], cache: PixelCache, done: Done) -> None:
    work = ray.remote(cluster.do).options(num_cpus=1, max_retries=cluster.RETRIES)
    most = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting = deque(jobs)
    under_way: dict[Any, Job] = {}
    while waiting or under_way:
        while waiting and len(under_way) < most:
            job = waiting.popleft()
            under_way[work.remote(cluster.parcel(job))] = job
        ready, _ = ray.wait(list(under_way), num_returns=1)
        for result in ready:
            job = under_way.pop(result)
            cluster.take(job, ray.get(result), cache, "ray")
            done(job)
