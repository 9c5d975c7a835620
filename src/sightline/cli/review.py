"""The verb for manual review of images: review."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sightline.cli.base import DATA, app, echo
from sightline.core.errors import UserError, not_installed


class ExchangeFormat(StrEnum):
    """The formats in which decisions are exchanged with other tools."""

    LABEL_STUDIO = "label-studio"
    COCO = "coco"


@app.command(rich_help_panel=DATA, short_help="Review suspect images and labels.")
def review(
    images: Annotated[
        Path | None,
        typer.Option("--images", help="A folder of unlabelled images, to label the most informative first."),
    ] = None,
    as_list: Annotated[bool, typer.Option("--list", help="Print the queue instead of serving it.")] = False,
    kind: Annotated[str | None, typer.Option(help="With --list: only one kind, such as suspect.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="With --list: how many of each kind.")] = 10,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write queue and decisions to this JSON file instead of serving.")
    ] = None,
    imported: Annotated[
        Path | None, typer.Option("--import", help="Import the decisions in this JSON file instead of serving.")
    ] = None,
    form: Annotated[
        ExchangeFormat, typer.Option("--format", help="Format for --export.")
    ] = ExchangeFormat.LABEL_STUDIO,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Write the decisions to db:TABLE instead of serving.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="The database of db:TABLE, without a password. Default: SIGHTLINE_DATABASE_URL.")
    ] = None,
    who: Annotated[
        str | None, typer.Option(help="Name that is recorded with decisions. Default: git's user.name.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 8001,
) -> None:
    """Serve a page for reviewing ranked images and labels by keyboard.

    The queue: images with two labels, labels that are probably wrong, near duplicates across splits, rejected inputs,
    the most unusual images, the most uncertain. Each decision is a row in data/corrections.csv; `dvc repro` applies
    them to any source, which is never written to. Run it in the project's folder, after `dvc repro`.

    Exit codes: 0 done; 2 wrong usage, no trained model, or an unusable file.
    """
    if output is not None and not output.startswith("db:"):
        raise UserError(f"--output {output}: name a table, such as db:labels; --export writes a file")
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
        echo(f"{imported}: {count:,} decisions imported to {project.desk.file.path}, {passed:,} skipped")
    elif export is not None:
        count = exchange.write(export, form.value, project)
        echo(f"{count:,} images -> {export}", err=True)
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
    config = ServeConfig(port=port)  # on this machine only: from elsewhere, use `ssh -L`
    served = review_application(project, config, BUNDLE if BUNDLE.is_dir() else None)
    waiting = sum(project.desk.decision(item.sha256) is None for item in project.desk.items)
    run_application(
        served, config, lambda address: echo(f"sightline: {waiting:,} images to review at {address}", err=True)
    )
