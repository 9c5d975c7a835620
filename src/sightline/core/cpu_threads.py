"""The CPU cores that a stage leaves idle: the number of threads is a setting, since the last bits depend on it."""

from __future__ import annotations

import os
import sys

FEW = 4
"""On fewer cores there is not enough to be gained to speak of."""


def available() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def idle(knob: str, threads: int, processes: int = 1) -> str | None:
    """Returns a hint where at least half of the cores stay idle, else None.

    Args:
        knob: The setting of the number of threads, for the remedy.
        threads: Its value.
        processes: Number of processes that compute with so many threads each.
    """
    cores = available()
    if cores < max(FEW, 2 * threads * processes):
        return None
    return (
        f"computes with {threads * processes} of {cores} CPU cores; ++{knob}={cores // processes} uses them all; it "
        "is a setting because the last bits of a result depend on it"
    )
