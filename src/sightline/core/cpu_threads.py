"""Idle CPU cores of a stage: the number of threads is a setting, because the last bits of a result depend on it."""

from __future__ import annotations

import os
import sys

FEW = 4
"""With fewer cores than this there is too little to gain for a hint."""


def available() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def idle(knob: str, threads: int, processes: int = 1) -> str | None:
    """Returns a hint if at least half of the cores are idle, else None.

    Args:
        knob: The name of the setting for the number of threads.
        threads: Its value.
        processes: Number of processes that use that many threads each.
    """
    cores = available()
    if cores < max(FEW, 2 * threads * processes):
        return None
    return (
        f"computes with {threads * processes} of {cores} CPU cores; ++{knob}={cores // processes} uses them all; it "
        "is a setting because the last bits of a result depend on it"
    )
