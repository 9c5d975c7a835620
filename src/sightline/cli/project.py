"""Verbs for the project's folder: repair."""

from __future__ import annotations

import typer

from sightline.cli.base import app
from sightline.core.errors import not_installed


@app.command()
def repair() -> None:
    """Mend what a killed dvc leaves: dvc.lock or .dvc/tmp/rwlock cut short. Run it in the project's folder.

    Says what it mended; nothing where nothing is damaged. `make repro` does it by itself.
    """
    try:
        import dvc  # noqa: F401

        from sightline.core import dvc_files
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    for line in dvc_files.repair():
        typer.echo(f"sightline: {line}", err=True)
