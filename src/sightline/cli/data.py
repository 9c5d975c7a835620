"""Verbs for images before training: load, preview, rejected, cache."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.cli.base import DATA, app, echo, require_project, require_state
from sightline.core.credentials import require_harmless
from sightline.core.errors import not_installed

if TYPE_CHECKING:
    from sightline.datasets.raw_set import Rejection

RAW_SET = Path("data/raw")
"""The folder that the ingest stage writes, relative to the project's."""


class FolderLayout(StrEnum):
    """The meanings of a tree's first folders."""

    AUTO = "auto"
    CLASSES = "classes"
    SPLITS = "splits"


@app.command(rich_help_panel=DATA, short_help="Load a folder of images into a database.")
def load(
    source: Annotated[Path, typer.Argument(help="A folder with one folder per class, or a zip or tar of one.")],
    table: Annotated[
        str, typer.Option("--table", "-t", help="Table, collection or GridFS bucket; created if necessary.")
    ],
    url: Annotated[
        str | None,
        typer.Option(help="The database, without a password. Default: the variable SIGHTLINE_DATABASE_URL."),
    ] = None,
    gridfs: Annotated[bool, typer.Option("--gridfs", help="MongoDB: store the images in a GridFS bucket.")] = False,
    layout: Annotated[FolderLayout, typer.Option(help="What the first folders are.")] = FolderLayout.AUTO,
    class_depth: Annotated[int, typer.Option(min=1, help="How many folders make a class's name.")] = 1,
) -> None:
    """Load a folder of images into MongoDB or an SQL database; repeating it changes nothing.

    Exit codes: 0 done; 1 some inputs could not be read; 2 wrong usage, or an unusable database.
    """
    try:
        from sightline.sources.databases.loading import fill_database as load_source
        from sightline.sources.layout_rules import LayoutRules
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline,sources") from None

    require_harmless(url)
    count, refused, notes = load_source(source, url, table, gridfs, LayoutRules(layout.value, class_depth))
    for note in notes:
        echo(note, err=True)
    for rejection in refused:
        echo(f"{rejection.id}: {rejection.reason} {rejection.detail}", err=True)
    echo(f"{count} images -> {table}{f', {len(refused)} inputs could not be read' if refused else ''}", err=True)
    if refused:
        raise typer.Exit(1)


@app.command(rich_help_panel=DATA, short_help="Show images before and after each preprocessing step.")
def preview(
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            help="Settings to try, such as preprocess/denoise=median or train/augment=standard.", metavar="KEY=VALUE"
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The image file to write.")] = Path("preview.png"),
    images: Annotated[int, typer.Option("--images", "-n", min=1, max=100, help="How many images.")] = 6,
    seed: Annotated[int, typer.Option(help="A different seed selects different images.")] = 0,
) -> None:
    """Show images before and after each preprocessing step, and as training augments them.

    Uses the settings of params.yaml, overridden by KEY=VALUE. Run it in the project's folder, after
    `dvc repro ingest`.
    """
    try:
        from sightline.config import compose, other_sections
        from sightline.stages.preprocess.config import PreprocessConfig
        from sightline.stages.preprocess.preview import TrainingAugmentation
        from sightline.stages.preprocess.preview import preview as draw
        from sightline.stages.train.config import TrainConfig
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    params, words = compose.read_params(), changes or []
    other_sections.refuse(words, ("preprocess", "train"), params)
    composed = compose.compose_with(params, words)
    section = compose.typed(PreprocessConfig, composed.preprocess, "preprocess")
    train = compose.typed(TrainConfig, composed.train, "train")
    training = TrainingAugmentation(train.augment, train.augment_on, train.seed)
    count, unread = draw(RAW_SET, section, output, images, seed, training)
    for line in unread:
        echo(line, err=True)
    echo(f"{count} images -> {output}", err=True)


@app.command(rich_help_panel=DATA, short_help="Show the inputs that ingest rejected, and why.")
def rejected(
    raw: Annotated[Path, typer.Argument(help="The folder that ingest wrote.", metavar="RAW_FOLDER")] = RAW_SET,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many to show for each reason.")] = 20,
) -> None:
    """Show the inputs that the last `dvc repro ingest` rejected, by reason, with the details of each."""
    try:
        from sightline.datasets.raw_set import read_rejected
        from sightline.stages.ingest.remedies import remedy_of_reason
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    if raw == RAW_SET and not raw.is_dir():
        require_project()
    rejections = read_rejected(raw)
    by_reason: dict[str, list[Rejection]] = {}
    for rejection in rejections:
        by_reason.setdefault(str(rejection.reason), []).append(rejection)
    for reason, those in sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0])):
        echo(f"{reason}: {len(those):,}{remedy_of_reason(reason, '; ')}")
        for each in those[:limit]:
            echo(f"  {each.id}" + (f": {each.detail}" if each.detail else ""))
        if len(those) > limit:
            echo(f"  ... {len(those) - limit:,} more (--limit)")
    if not rejections:
        echo("nothing was rejected")


@app.command(rich_help_panel=DATA, short_help="Show and prune the preprocessing cache.")
def cache(
    prune: Annotated[
        float | None, typer.Option(min=0, help="Remove the least recently used entries until this many GiB are left.")
    ] = None,
) -> None:
    """Show the preprocessing cache (.sightline/memo), and prune it.

    Pruning costs nothing but time. Every run of the stage prunes it to SIGHTLINE_MEMO_GIB, 20 by default.
    """
    try:
        from sightline.core.text import readable_size
        from sightline.stages.preprocess.cache import PixelCache
        from sightline.stages.preprocess.cache_summary import cache_lines
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    require_state()
    cache = PixelCache()
    if prune is not None:
        removed, freed = cache.prune(int(prune * 2**30))
        echo(f"removed {removed:,} entries, {readable_size(freed, binary=True)}", err=True)
    for line in cache_lines(cache):
        echo(line)
