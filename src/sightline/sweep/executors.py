"""Executors of a sweep's jobs: warm processes on this machine, SLURM, and Ray. All run the same tasks.

An executor has one place per parallel job; a separate thread calls each place and waits for its job.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any, Protocol

from sightline.config.schema import Option
from sightline.core import files
from sightline.core.errors import not_installed
from sightline.sweep import fork_server, job_runner, slots, warm_process
from sightline.sweep.fork_server import ChildEndedError, ProcessRequest, ServedProcess
from sightline.sweep.job import JobOutcome, JobTask
from sightline.sweep.options import RayExecutor, SlurmExecutor

PATIENCE = 60.0
"""Seconds that a job may take to stop when asked to."""


class Place(Protocol):
    """A place for one job at a time."""

    def run(self, task: JobTask) -> JobOutcome:
        """Runs a job to its end."""

    def stop(self) -> None:
        """Stops the running job such that the same command can resume it; called from another thread."""

    def close(self) -> None:
        """Releases the place."""


def places(option: Option, jobs: int) -> list[Place]:
    """Returns places for jobs.

    Args:
        option: `sweep.executor`.
        jobs: Number of jobs.
    """
    if isinstance(option, SlurmExecutor):
        return [SlurmPlace(option) for _ in range(jobs)]
    if isinstance(option, RayExecutor):
        return [RayPlace(option) for _ in range(jobs)]
    devices = gpus()
    return [LocalPlace(devices[i % len(devices)] if len(devices) > 1 else None) for i in range(jobs)]


def gpus() -> list[str]:
    """Returns the GPUs that this process may use, as values for CUDA_VISIBLE_DEVICES."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in visible.split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.split() if done.returncode == 0 else []


class LocalPlace:
    """A process on this machine, which keeps its imports from one job to the next.

    Args:
        gpu: The only GPU that it may use; None for no restriction.
    """

    def __init__(self, gpu: str | None) -> None:
        self._gpu = gpu
        self._process: ServedProcess | None = None
        self._stopping = threading.Event()

    def run(self, task: JobTask) -> JobOutcome:
        if self._stopping.is_set():
            return JobOutcome("stopped")
        try:
            if self._process is None or self._process.ended:
                self._process = self._start(task)
            outcome: JobOutcome = self._process.ask(task)
        except ChildEndedError as ended:
            if self._stopping.is_set():
                return JobOutcome("stopped")
            ending = f"signal {signal.Signals(-ended.code).name}" if ended.code < 0 else f"exit code {ended.code}"
            return JobOutcome("failed", reason=f"its process ended with {ending}; see {_shown(task.log)}")
        return outcome

    def _start(self, task: JobTask) -> ServedProcess:
        environment = slots.slot_environment(task.slot)
        if self._gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpu
        entry = f"{warm_process.__name__}:{warm_process.serve_jobs.__name__}"
        fresh = fork_server.FRESH or bool(gpus())  # CUDA fails after a fork if a library has initialised it
        return fork_server.shared_server().begin(
            ProcessRequest(entry, warm_process.MODULES, task.slot, environment, task.log, fresh)
        )

    def stop(self) -> None:
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close(PATIENCE)


class SlurmPlace:
    """A place that submits each job to SLURM, with submitit.

    Args:
        option: The executor's settings.
    """

    def __init__(self, option: SlurmExecutor) -> None:
        try:
            import submitit
        except ModuleNotFoundError as error:
            raise not_installed(error.name, "slurm") from None
        folder = (files.STATE / "submitit").absolute()
        self._executor: Any = submitit.AutoExecutor(folder=folder, cluster=option.cluster)
        partition = {"slurm_partition": option.partition} if option.partition and option.cluster == "slurm" else {}
        self._executor.update_parameters(
            name="sightline",
            timeout_min=option.minutes,
            cpus_per_task=option.cpus,
            gpus_per_node=option.gpus,
            mem_gb=option.memory_gb,
            **partition,
        )
        self._job: Any = None
        self._stopping = False

    def run(self, task: JobTask) -> JobOutcome:
        if self._stopping:
            return JobOutcome("stopped")
        self._job = self._executor.submit(job_runner.run_job, task)
        try:
            outcome: JobOutcome = self._job.result()
        except Exception as error:  # submitit raises various errors if a job ended without a result
            return JobOutcome("stopped") if self._stopping else JobOutcome.failed(error)
        return outcome

    def stop(self) -> None:
        self._stopping = True
        if self._job is not None and not self._job.done():
            self._job.cancel(check=False)

    def close(self) -> None:
        pass


class RayPlace:
    """A place that runs each job as a Ray task.

    Args:
        option: The executor's settings.
    """

    def __init__(self, option: RayExecutor) -> None:
        try:
            import ray
        except ModuleNotFoundError as error:
            raise not_installed(error.name, "ray") from None
        if not ray.is_initialized():
            ray.init(address=option.address, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
        # One process per job: otherwise libraries would keep the threads and settings of the previous job.
        self._run = ray.remote(num_cpus=option.cpus, num_gpus=option.gpus, max_retries=0)(job_runner.run_job)
        self._ray = ray
        self._reference: Any = None
        self._stopping = False

    def run(self, task: JobTask) -> JobOutcome:
        if self._stopping:
            return JobOutcome("stopped")
        environment = {"env_vars": {"PYTHONPATH": slots.slot_environment(task.slot)["PYTHONPATH"]}}
        self._reference = self._run.options(runtime_env=environment).remote(task)
        try:
            outcome: JobOutcome = self._ray.get(self._reference)
        except Exception as error:  # Ray raises various errors if a worker died or was cancelled
            return JobOutcome("stopped") if self._stopping else JobOutcome.failed(error)
        return outcome

    def stop(self) -> None:
        self._stopping = True
        if self._reference is not None:
            self._ray.cancel(self._reference)

    def close(self) -> None:
        if self._ray.is_initialized():
            self._ray.shutdown()


def _shown(path: Path) -> str:
    return os.path.relpath(path)
