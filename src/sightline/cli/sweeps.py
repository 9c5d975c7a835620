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

    SWEEP is the name that the sweep prints, or the beginning of it; a sweep with several metrics needs --job. RUN is
    the id or name of any run in MLflow, or the name of a DVC experiment. Comments and quotes are kept; a comment in
    which `sightline init` gave the reason for a replaced value is marked as such. `dvc repro` then makes the model, or
    takes it from DVC's run cache.
    """
    try:
        from sightline.sweep.adoption import adopt as adopt_job
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    for line in adopt_job(reference, job):
        echo(folded(line, terminal_width()))
