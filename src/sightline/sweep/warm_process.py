"""A process that trains one job after another: `python -m sightline.sweep.warm_process PARENT`.

It reads pickled tasks from its standard input and writes pickled outcomes to its standard output, until the one is
closed or a job was stopped. Nothing else is on these pipes: what jobs print goes to their logs.
"""

from __future__ import annotations

import os
import pickle
import sys

from sightline.core.files import die_with_parent
from sightline.sweep import job_runner


def serve_jobs(parent: int) -> None:
    """Trains jobs until there are no more.

    Args:
        parent: The process that gives them; this one ends with it.
    """
    die_with_parent(parent)
    tasks, outcomes = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    while True:
        try:
            task = pickle.load(tasks)  # noqa: S301 - from the process that started this one
        except (EOFError, KeyboardInterrupt):
            return
        outcome = job_runner.run_job(task)
        pickle.dump(outcome, outcomes)
        outcomes.flush()
        if outcome.state == "stopped":
            return


if __name__ == "__main__":
    serve_jobs(int(sys.argv[1]))
