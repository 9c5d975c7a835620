"""The executors of a sweep's jobs, as options; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.config.schema import Option, Registry, require

EXECUTORS: Registry[Option] = Registry("sweep/executor")


@EXECUTORS.register("local")
@dataclass
class LocalExecutor(Option):
    """Processes of this machine; each has a GPU of its own where there are several."""


@EXECUTORS.register("slurm")
@dataclass
class SlurmExecutor(Option):
    """A job of a SLURM cluster for each job of the sweep; the project's folder must be on a file system that all share.

    Attributes:
        partition: The partition to queue in; null takes the cluster's default.
        minutes: Most minutes of a job.
        cpus: CPU cores of a job.
        gpus: GPUs of a job.
        memory_gb: GiB of memory of a job.
        cluster: "slurm", or "local" for processes of this machine that submitit starts in SLURM's place.
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
        address: Of the cluster, as `auto` or `ray://host:10001`; null starts one on this machine.
        cpus: CPU cores of a job.
        gpus: GPUs of a job.
    """

    address: str | None
    cpus: int
    gpus: float

    def __post_init__(self) -> None:
        require(self.cpus > 0, f"executor.cpus: must be positive, not {self.cpus}")
        require(self.gpus >= 0, f"executor.gpus: must be at least 0, not {self.gpus}")
