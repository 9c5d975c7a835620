"""The rank of a process in distributed training, read from the environment without heavy imports.

torchrun sets RANK and WORLD_SIZE; SLURM's srun sets SLURM_PROCID and SLURM_NTASKS. A process started by neither is
either the only one, or the first of those that it starts itself (`stages.train.ddp`).
"""

from __future__ import annotations

import os


def rank() -> int:
    """Returns this process's rank among those that train together; rank 0 writes and reports."""
    for world, number in (("WORLD_SIZE", "RANK"), ("SLURM_NTASKS", "SLURM_PROCID")):
        if _from_environment(world) > 1:
            return _from_environment(number)
    return 0


def started(world: int) -> bool:
    """Returns whether this is one of `world` processes that were started from outside."""
    return world > 1 and world in (_from_environment("WORLD_SIZE"), _from_environment("SLURM_NTASKS"))


def _from_environment(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else 0
