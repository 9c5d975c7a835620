"""The verb for what a person decides on images: review."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sightline.cli.base import DATA, app, echo
from sightline.core.errors import UserError, not_installed


class ExchangeFormat(StrEnum):
    """The formats of other tools that decisions go to and come from."""

    LABEL_STUDIO = "label-studio"
    COCO = "coco"


@app.command(rich_help_panel=DATA, short_help="Look at doubtful images and labels, and decide.")
def review(
    images: Annotated[
        Path | None,
        typer.Option("--images", help="A folder of pictures without labels: those first that would teach most."),
    ] = None,
    as_list: Annotated[bool, typer.Option("--list", help="Print the queue, and serve nothing.")] = False,
    kind: Annotated[str | None, typer.Option(help="With --list: one kind alone, as suspect.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="With --list: how many of each kind.")] = 10,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write queue and decisions to this JSON file, and serve nothing.")
    ] = None,
    imported: Annotated[
        Path | None, typer.Option("--import", help="Take the decisions in this JSON file, and serve nothing.")
    ] = None,
    form: Annotated[ExchangeFormat, typer.Option("--format", help="Of --export.")] = ExchangeFormat.LABEL_STUDIO,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Write the decisions to db:TABLE, and serve nothing.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="The database of db:TABLE, without a password. Default: SIGHTLINE_DATABASE_URL.")
    ] = None,
    who: Annotated[str | None, typer.Option(help="Whose decisions they are. Default: git's user.name.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8001,
) -> None:
    """Serve a page that shows what is worth a person's look, ranked, and takes decisions by keyboard.

    The queue: pictures under two labels, labels that are probably wrong, near duplicates across splits, refused inputs,
    the most unusual images, the most uncertain. Each decision is a row of data/corrections.csv; `dvc repro` applies
    them, whatever the source, which is never written. Run it in the project's folder, after `dvc repro`.

    Exit codes: 0 done; 2 wrong usage, no trained model, or a file that cannot be used.
    """
    if output is not None and not output.startswith("db:"):
        raise UserError(f"--output {output}: name a table, as db:labels; --export writes a file")
    try:
        from sightline.review import exchange, queue_lines
        from sightline.review.review_project import open_project
        from sightline.review.review_queue import Kind
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    kinds = [each.value for each in Kind]
    if kind is not None and kind not in kinds:
        raise UserError(f"--kind {kind}: choose one of {', '.join(kinds)}")
    project = open_project(images, who)
    if as_list:
        for line in queue_lines.queue_lines(project.desk, limit, None if kind is None else Kind(kind)):
            echo(line)
    elif imported is not None:
        count, passed = exchange.take(imported, project.desk)
        echo(f"{imported}: {count:,} decisions taken into {project.desk.file.path}, {passed:,} left aside")
    elif export is not None:
        count = exchange.write(export, form.value, project)
        echo(f"{count:,} pictures -> {export}", err=True)
    elif output is not None:
        count = exchange.write_back(project, output.removeprefix("db:"), url)
        echo(f"{count:,} decisions -> {output}", err=True)
    else:
        _serve(project, port)


def _serve(project: object, port: int) -> None:
    try:
        from sightline.review.judgements import BUNDLE
        from sightline.review.review_app import review_application
        from sightline.review.review_project import ReviewProject
        from sightline.serve.config import ServeConfig
        from sightline.serve.server import run_application
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "serve") from None

    assert isinstance(project, ReviewProject)  # noqa: S101 - for the type checker
    config = ServeConfig(port=port)  # this machine alone: from another, `ssh -L`
    served = review_application(project, config, BUNDLE if BUNDLE.is_dir() else None)
    waiting = sum(project.desk.decision(item.sha256) is None for item in project.desk.items)
    run_application(
        served, config, lambda address: echo(f"sightline: {waiting:,} pictures to look at, at {address}", err=True)
    )
