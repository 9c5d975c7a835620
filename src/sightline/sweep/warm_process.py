"""A process that trains one job after another, until its connection is closed or a job was stopped."""

from __future__ import annotations

from multiprocessing.connection import Connection

from sightline.core import terminal_log
from sightline.sweep import job_runner

MODULES = ("sightline.stages.train.stage", "sightline.stages.train.tracked", "sightline.models.inference")
"""Modules that trainings import."""


def serve_jobs(connection: Connection) -> None:
    """Trains jobs until there are no more.

    Args:
        connection: Receives tasks and sends outcomes. The jobs' output goes to their logs.
    """
    terminal_log.configure()
    while True:
        try:
            task = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        outcome = job_runner.run_job(task)
        connection.send(outcome)
        if outcome.state == "stopped":
            return
