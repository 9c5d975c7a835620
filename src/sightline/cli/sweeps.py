"""Verbs for sweeps: adopt."""

from __future__ import annotations

from typing import Annotated

import typer

from sightline.cli.base import TRAIN, app, echo
from sightline.core.columns import folded, terminal_width
from sightline.core.errors import not_installed


@app.command(rich_help_panel=TRAIN, short_help="Write a sweep's best settings, or a run's, to params.yaml.")
def adopt(
    reference: Annotated[str, typer.Argument(help="A sweep's name, or a run.", metavar="SWEEP|RUN")],
    job: Annotated[int | None, typer.Option(help="A job by its place in the sweep's ranking; 1 is the first.")] = None,
) -> None:
    """Write the settings of a sweep's best job, or of a run, to params.yaml.

    SWEEP is the name that the sweep prints, or its beginning; where it went by several metrics, say which --job. RUN is
    the id or name of any run in MLflow, or the name of DVC's experiment. Comments and quotes stay; a comment of
    `sightline init` that gave the reason for a value that goes says so. `dvc repro` then makes the model, from DVC's
    run cache where it is there.
    """
    try:
        from sightline.sweep.adoption import adopt as adopt_job
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    for line in adopt_job(reference, job):
        echo(folded(line, terminal_width()))
