"""Verbs for the project's folder: check, repair."""

from __future__ import annotations

from typing import Annotated

import typer

from sightline.cli.base import app
from sightline.core.errors import not_installed


@app.command()
def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, for a program.")] = False,
) -> None:
    """Say whether `dvc repro` would run anything, and why. Run it in the project's folder.

    Looks at the source, the parameters, the configuration and the code, and compares them with dvc.lock; runs, pulls
    and writes nothing. Exit code 0: up to date; 1: out of date; 2: an error.
    """
    try:
        from sightline.changes import staleness
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    stale = staleness.stale_stages()
    if as_json:
        import dataclasses
        import json

        typer.echo(json.dumps([dataclasses.asdict(stage) for stage in stale], indent=2, ensure_ascii=False))
    else:
        for line in staleness.lines(stale) or ["up to date"]:
            typer.echo(line)
    raise typer.Exit(1 if stale else 0)


@app.command()
def repair() -> None:
    """Mend what a killed dvc leaves: dvc.lock or .dvc/tmp/rwlock cut short. Run it in the project's folder.

    Says what it mended; nothing where nothing is damaged. `make repro` does it by itself. Of a knob in params.yaml that
    has another name now it says so, which DVC, reading dvc.yaml, cannot.
    """
    try:
        import dvc  # noqa: F401

        from sightline.config import params, renames
        from sightline.core import dvc_files
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    for line in dvc_files.repair():
        typer.echo(f"sightline: {line}", err=True)
    if params.PARAMS.is_file():
        renames.refuse_params(params.read(), str(params.PARAMS))
