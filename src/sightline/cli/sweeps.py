"""Verbs for sweeps: adopt."""

from __future__ import annotations

from typing import Annotated

import typer

from sightline.cli.base import TRAIN, app, echo
from sightline.core.errors import not_installed


@app.command(rich_help_panel=TRAIN, short_help="Take a sweep's best settings into params.yaml.")
def adopt(
    reference: Annotated[str, typer.Argument(help="A sweep's name, or a job's run.", metavar="SWEEP|RUN")],
) -> None:
    """Take the settings of a sweep's best job over into params.yaml, or those of one of its runs.

    SWEEP is the name that the sweep prints, or its beginning; RUN a run's id or name in MLflow. Comments and quotes
    stay. `dvc repro` then makes the model, from DVC's run cache where the job's is there.
    """
    try:
        from sightline.sweep.adoption import adopt as adopt_job
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    for line in adopt_job(reference):
        echo(line)
