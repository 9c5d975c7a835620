"""Verb that compares incoming images with test and validation images: drift."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from sightline.cli.base import SERVE, app, echo
from sightline.core import files
from sightline.core.errors import UserError, fault, not_installed


@app.command(rich_help_panel=SERVE, short_help="Test whether incoming images differ from held-out ones.")
def drift(
    bundle: Annotated[
        str, typer.Argument(help="The exported model: models/bundle, or models:/name@champion.", metavar="BUNDLE")
    ],
    inputs: Annotated[list[str], typer.Argument(help="Images, as for sightline predict.", metavar="INPUT...")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write a page with the most drifted images.")
    ] = None,
    alpha: Annotated[
        float,
        typer.Option(min=0.0001, max=0.5, help="The false alarm rate allowed, over all tests together."),
    ] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    url: Annotated[
        str | None,
        typer.Option(help="The database of db:TABLE, without a password. Default: SIGHTLINE_DATABASE_URL."),
    ] = None,
) -> None:
    """Compare incoming images with test and validation images, by their pixels and the model's predictions.

    The bundle contains statistics, not images. Each is tested, with an effect size and a corrected p-value.

    Exit codes: 0 no drift; 3 drift; 2 no answer, for example with too few images.
    """
    try:
        from sightline.drift import sample_comparison as drifts
        from sightline.imaging.image_file import Limits
        from sightline.predict import load
        from sightline.predict.inputs import Database
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "predict") from None

    opened = load.load(bundle)
    reference = drifts.reference_of(opened)
    incoming = drifts.measure_incoming(opened, list(inputs), Database(url), Limits().max_bytes)
    found = drifts.compare_samples(reference, incoming, len(opened.classes), alpha)
    if as_json:
        echo(json.dumps({**dataclasses.asdict(found), "drifted": found.drifted}, indent=2))
    else:
        for line in drifts.drift_lines(found):
            echo(line)
    if output is not None:
        try:
            from sightline.drift.drift_page import render_page
        except ModuleNotFoundError as error:
            raise not_installed(error.name, "pipeline") from None
        try:
            files.write_text(output, render_page(found, reference, incoming, opened.classes))
        except OSError as error:
            raise fault(error) or UserError(f"--output {output}: {error.strerror}") from None
        echo(f"-> {output}", err=True)
    raise typer.Exit(3 if found.drifted else 0)
