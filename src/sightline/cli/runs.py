"""Verbs for runs: runs, compare, sync."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Annotated

import typer

from sightline.cli.base import TRAIN, app, echo, require_state
from sightline.core.columns import terminal_width
from sightline.core.errors import UserError, fault, not_installed


@app.command(rich_help_panel=TRAIN, short_help="Show runs and sweeps, or how two runs differ.")
def runs(
    pair: Annotated[
        list[str] | None, typer.Argument(help="Two runs to compare: names or ids.", metavar="[A B]")
    ] = None,
    sort: Annotated[str | None, typer.Option(help="Sort by this, best first: best_val_loss, lr.")] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Reverse the order.")] = False,
    wanted: Annotated[
        list[str] | None,
        typer.Option("--filter", help="Only matching runs: model=cnn, name~seed, 'test_accuracy>0.98'; repeatable."),
    ] = None,
    limit: Annotated[int, typer.Option(help="How many to show; 0: all.", min=0)] = 30,
) -> None:
    """Show the project's runs and sweeps, newest first, or how two runs differ.

    A key of --sort or --filter is name, status, a metric, a tag, or the last part of a parameter: lr is train.lr.
    """
    from sightline.runs import run_difference, run_query, run_reader, run_record, run_table

    found = run_reader.read_runs()
    if pair:
        if len(pair) != 2 or sort or wanted:
            raise UserError("name two runs to see how they differ, or none for the table")
        one, other = (run_record.matching_run(found, reference) for reference in pair)
        for line in run_difference.difference_lines(one, other, terminal_width()):
            echo(line)
        return
    keys = [re.split(r"[=!<>~]", condition)[0].strip() for condition in wanted or ()]
    chosen = run_query.select(found, wanted or ())
    in_time = chosen[::-1] if reverse else chosen
    chosen = run_query.order(chosen, sort, reverse) if sort else run_table.with_jobs(in_time)
    shown = chosen[: limit or None]
    if not shown:
        echo(f"none of {len(found)} runs", err=True)
        return
    for line in run_table.run_lines(shown, shutil.get_terminal_size().columns, [*([sort] if sort else []), *keys]):
        echo(line)
    if len(shown) < len(chosen):
        echo(f"... and {len(chosen) - len(shown)} more: --limit 0 shows all", err=True)


@app.command(rich_help_panel=TRAIN, short_help="Compare two models on the same images.")
def compare(
    first: Annotated[str, typer.Argument(help="A run, as described above.", metavar="RUN")],
    second: Annotated[str, typer.Argument(help="The run to compare it with.", metavar="RUN")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path("compare.html"),
    data: Annotated[Path, typer.Option(help="The preprocessed images, to show those on which the two differ.")] = Path(
        "data/processed"
    ),
) -> None:
    """Compare two models image by image, on the test images, or on the validation images if one has only these.

    A RUN is a run's id or name in MLflow, a sweep's job among them, a registered model (models:/name@champion,
    models:/name/3), a commit (HEAD~1), or a folder with reports/predictions.parquet, such as another checkout. Prints
    the settings that differ, the metrics, McNemar's test and the interval of the difference, and writes a page.
    """
    try:
        from sightline.compare import comparison, page, run_sources
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None
    from sightline.core import files

    pair = run_sources.load_pair(first, second)
    result = comparison.compare_models(pair.a, pair.b)
    for line in comparison.comparison_lines(pair, result, terminal_width()):
        echo(line)
    try:
        files.write_text(output, page.render_page(pair, result, data))
    except OSError as error:
        raise fault(error) or UserError(f"--output {output}: {error.strerror}") from None
    echo(f"-> {output}", err=True)


@app.command(rich_help_panel=TRAIN, short_help="Send MLflow what was queued while it was unreachable.")
def sync() -> None:
    """Send MLflow the calls that were queued while it was unreachable. Run it in the project's folder."""
    try:
        from sightline import tracking
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    require_state()
    count = 0
    for line in tracking.sync():
        count += 1
        echo(line)
    if not count:
        echo("nothing is queued for MLflow")
