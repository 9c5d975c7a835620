"""The Ray backend. Ray retries a task whose node died."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.core import clusters
from sightline.stages.preprocess.backends import BACKEND, Backend, cluster

if TYPE_CHECKING:
    from sightline.stages.preprocess.tasks import Executor, Result, Task


@BACKEND.register("ray")
@dataclass
class Ray(Backend):
    """A Ray cluster. Attributes: its address: "host:6379", "ray://host:10001" or "auto"; None starts a local one."""

    address: str | None

    def open(self, expected: int) -> contextlib.AbstractContextManager[Executor]:  # noqa: ARG002 - other backends start that many workers
        """Returns the backend itself, which connects to the cluster only when there are tasks."""
        return contextlib.nullcontext(self)

    def run(self, tasks: Sequence[Task], out: Path) -> Iterator[Result]:
        """Yields each task's result. To bound memory, at most two tasks per CPU of the cluster are in flight.

        Raises:
            UserError: If Ray is not installed, the cluster cannot be reached, or a task cannot be run on it.
        """
        with clusters.ray_cluster(self.address, "preprocess.backend=ray", "set preprocess.backend.address=null") as ray:
            yield from _run(ray, tasks, out)


def _run(ray: Any, tasks: Sequence[Task], out: Path) -> Iterator[Result]:
    run = ray.remote(cluster.run_parcel).options(num_cpus=1, max_retries=clusters.RETRIES)
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
