"""The rank of a process in distributed training, read from the environment, so that nothing heavy is imported.

torchrun sets RANK and WORLD_SIZE, SLURM's srun SLURM_PROCID and SLURM_NTASKS. A process that neither of them started
is the only one, or the first of those that it starts itself (`stages.train.ddp`).
"""

from __future__ import annotations

import os


def rank() -> int:
    """Returns this process's number among those that train together, from 0: the one that writes and reports."""
    for world, number in (("WORLD_SIZE", "RANK"), ("SLURM_NTASKS", "SLURM_PROCID")):
        if _from_environment(world) > 1:
            return _from_environment(number)
    return 0


def started(world: int) -> bool:
    """Returns whether `world` processes were started from outside, of which this is one."""
    return world > 1 and world in (_from_environment("WORLD_SIZE"), _from_environment("SLURM_NTASKS"))


def _from_environment(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else 0
