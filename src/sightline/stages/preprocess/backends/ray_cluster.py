"""The backend on a Ray cluster. Ray runs a task again whose node died."""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.core.errors import UserError, how_to_install
from sightline.stages.preprocess.backends import BACKEND, Backend, cluster

if TYPE_CHECKING:
    from sightline.stages.preprocess.tasks import Executor, Result, Task

CONNECT = 10
"""Seconds to wait for a cluster's head."""


@BACKEND.register("ray")
@dataclass
class Ray(Backend):
    """A Ray cluster. Attributes: its address, as "host:6379", "ray://host:10001" or "auto"; None starts one here."""

    address: str | None

    def open(self, expected: int) -> contextlib.AbstractContextManager[Executor]:  # noqa: ARG002 - other backends start that many workers
        """Returns the backend itself, which joins the cluster only where there are tasks."""
        return contextlib.nullcontext(self)

    def run(self, tasks: Sequence[Task], out: Path) -> Iterator[Result]:
        """Yields each task's result. Twice as many as the cluster has CPUs are under way: memory holds no more.

        Raises:
            UserError: If Ray is not installed, the cluster cannot be reached, or a task cannot be run on it.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if self.address is None:
            os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # would leave a token in the home folder
        try:
            ray: Any = importlib.import_module("ray")
        except ModuleNotFoundError:
            raise UserError(f"preprocess.backend=ray: Ray is not installed: {how_to_install('ray')}") from None

        own = not ray.is_initialized()
        if own:
            options: dict[str, Any] = {"include_dashboard": False} if self.address is None else {}
            try:
                if self.address:
                    _wait_for_port(self.address)
                ray.init(address=self.address or "local", log_to_driver=False, logging_level="ERROR", **options)
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                raise UserError(
                    f"preprocess.backend=ray: no cluster at {self.address} ({cluster.first_line(error)}); start one by "
                    "'ray start --head', or set preprocess.backend.address=null for one on this machine"
                ) from None
        try:
            yield from _run(ray, tasks, out)
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise UserError(f"preprocess.backend=ray: {cluster.first_line(error)}") from None
        finally:
            if own:
                ray.shutdown()


def _wait_for_port(address: str) -> None:
    """Raises OSError unless something listens at "host:port" (Ray itself would try for minutes)."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT).close()


def _run(ray: Any, tasks: Sequence[Task], out: Path) -> Iterator[Result]:
    run = ray.remote(cluster.run_parcel).options(num_cpus=1, max_retries=cluster.RETRIES)
    most = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting = deque(tasks)
    under_way: dict[Any, Task] = {}
    while waiting or under_way:
        while waiting and len(under_way) < most:
            task = waiting.popleft()
            under_way[run.remote(cluster.parcel(task))] = task
        ready, _ = ray.wait(list(under_way), num_returns=1)
        for answer in ready:
            yield cluster.unpack(under_way.pop(answer), ray.get(answer), out, "ray")
