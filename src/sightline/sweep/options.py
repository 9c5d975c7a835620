"""The executors of a sweep's jobs, as options; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.config.schema import Option, Registry, require

EXECUTORS: Registry[Option] = Registry("sweep/executor")


@EXECUTORS.register("local")
@dataclass
class LocalExecutor(Option):
    """Processes on this machine; if there are several GPUs, each has its own."""


@EXECUTORS.register("slurm")
@dataclass
class SlurmExecutor(Option):
    """A job of a SLURM cluster for each job of the sweep; the project's folder must be on a file system that all share.

    Attributes:
        partition: The partition to queue in; null for the cluster's default.
        minutes: Time limit of a job in minutes.
        cpus: CPU cores per job.
        gpus: GPUs per job.
        memory_gb: Memory per job in GiB.
        cluster: "slurm", or "local" for processes on this machine that submitit starts in place of SLURM jobs.
    """

    partition: str | None
    minutes: int
    cpus: int
    gpus: int
    memory_gb: int
    cluster: str

    def __post_init__(self) -> None:
        for field in ("minutes", "cpus", "memory_gb"):
            require(getattr(self, field) > 0, f"executor.{field}: must be positive, not {getattr(self, field)}")
        require(self.gpus >= 0, f"executor.gpus: must be at least 0, not {self.gpus}")
        require(self.cluster in ("slurm", "local"), f"executor.cluster: {self.cluster!r} is not one of slurm, local")


@EXECUTORS.register("ray")
@dataclass
class RayExecutor(Option):
    """A Ray cluster; the project's folder must be on a file system that all its machines share.

    Attributes:
        address: Address of the cluster, such as `auto` or `ray://host:10001`; null starts one on this machine.
        cpus: CPU cores per job.
        gpus: GPUs per job.
    """

    address: str | None
    cpus: int
    gpus: float

    def __post_init__(self) -> None:
        require(self.cpus > 0, f"executor.cpus: must be positive, not {self.cpus}")
        require(self.gpus >= 0, f"executor.gpus: must be at least 0, not {self.gpus}")
