"""The Dask backend. Dask retries a task whose worker died."""

from __future__ import annotations

import contextlib
import importlib
import os
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.core import clusters
from sightline.core.errors import UserError, how_to_install
from sightline.stages.preprocess.backends import BACKEND, Backend, cluster

if TYPE_CHECKING:
    from sightline.stages.preprocess.tasks import Executor, Result, Task


@BACKEND.register("dask")
@dataclass
class Dask(Backend):
    """A Dask cluster. Attributes: its scheduler's address, such as "tcp://host:8786"; None starts a local cluster."""

    address: str | None

    def open(self, expected: int) -> contextlib.AbstractContextManager[Executor]:  # noqa: ARG002 - other backends start that many workers
        """Returns the backend itself, which connects to the cluster only when there are tasks."""
        return contextlib.nullcontext(self)

    def run(self, tasks: Sequence[Task], out: Path) -> Iterator[Result]:
        """Yields each task's result. To bound memory, at most two tasks per thread of the cluster are in flight.

        Raises:
            UserError: If Dask is not installed, the scheduler cannot be reached, or a task cannot be run.
        """
        try:
            distributed: Any = importlib.import_module("distributed")
        except ModuleNotFoundError:
            raise UserError(f"preprocess.backend=dask: Dask is not installed: {how_to_install('dask')}") from None
        with contextlib.ExitStack() as stack:
            if self.address is None:
                # One thread per worker: Pillow and the steps hold the GIL between their calls.
                here = distributed.LocalCluster(
                    n_workers=os.cpu_count(),
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    host="127.0.0.1",
                )
                client = stack.enter_context(distributed.Client(stack.enter_context(here)))
            else:
                try:
                    client = stack.enter_context(distributed.Client(self.address, timeout=clusters.CONNECT))
                except (OSError, ValueError) as error:
                    raise UserError(
                        f"preprocess.backend=dask: no scheduler at {self.address} ({clusters.first_line(error)}); "
                        "start one by 'dask scheduler', or set preprocess.backend.address=null for one on this machine"
                    ) from None
            yield from _run(distributed, client, tasks, out)


def _run(distributed: Any, client: Any, tasks: Sequence[Task], out: Path) -> Iterator[Result]:
    most = 2 * max(1, sum(client.nthreads().values()))
    waiting = deque(tasks)
    under_way: dict[Any, Task] = {}
    completed = distributed.as_completed()

    def submit() -> None:
        task = waiting.popleft()
        with warnings.catch_warnings():
            # The parcel is deliberately an argument of the call: scattered data would be lost with its worker.
            warnings.filterwarnings("ignore", message=r"(?s)Sending large graph")
            future = client.submit(cluster.run_parcel, cluster.parcel(task), pure=False, retries=clusters.RETRIES)
        under_way[future] = task
        completed.add(future)

    try:
        while waiting and len(under_way) < most:
            submit()
        for future in completed:
            yield cluster.unpack(under_way.pop(future), future.result(), out, "dask")
            future.release()
            if waiting:
                submit()
    except (distributed.KilledWorker, distributed.CancelledError, OSError, TimeoutError) as error:
        raise UserError(f"preprocess.backend=dask: {clusters.first_line(error)}") from None
