"""Verbs for runs: compare, sync."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.cli.base import app
from sightline.core.errors import UserError, fault, not_installed


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="A run, as described above.", metavar="RUN")],
    second: Annotated[str, typer.Argument(help="The run to compare it with.", metavar="RUN")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path("compare.html"),
    data: Annotated[Path, typer.Option(help="The preprocessed images, to show those on which the two differ.")] = Path(
        "data/processed"
    ),
) -> None:
    """Compare two models, image by image, on the test set that both have scored.

    A RUN is a run's id or name in MLflow, a registered model (models:/name@champion, models:/name/3), or a folder with
    reports/predictions.parquet, such as another checkout. Prints a table, McNemar's test and the interval of the
    difference, and writes a page.
    """
    try:
        from sightline.compare import comparison, page, run_predictions
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None
    from sightline.core import files

    a, b = run_predictions.load_run(first), run_predictions.load_run(second)
    run_predictions.require_same(a, b)
    result = comparison.compare(a, b)
    for line in comparison.lines(a, b, result):
        typer.echo(line)
    try:
        files.write_text(output, page.render_page(a, b, result, data))
    except OSError as error:
        raise fault(error) or UserError(f"--output {output}: {error.strerror}") from None
    typer.echo(f"-> {output}", err=True)


@app.command()
def sync() -> None:
    """Send MLflow the calls that were queued while it could not be reached; run it in the project's folder."""
    try:
        from sightline import tracking
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    count = 0
    for line in tracking.sync():
        count += 1
        typer.echo(line)
    if not count:
        typer.echo("nothing is queued for MLflow")
