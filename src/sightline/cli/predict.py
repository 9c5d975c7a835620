"""Verbs for predictions: predict, serve."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer

from sightline.cli.base import SERVE, app, echo
from sightline.core.errors import UserError, fault, not_installed


class Format(StrEnum):
    """The formats of predictions."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"


class NetworkForm(StrEnum):
    """The formats of a bundle's network."""

    AUTO = "auto"
    FP32 = "fp32"
    INT8 = "int8"


class PredictBackend(StrEnum):
    """The backends of prediction."""

    LOCAL = "local"
    RAY = "ray"


@app.command(rich_help_panel=SERVE, short_help="Classify images, one row each.")
def predict(
    bundle: Annotated[
        str, typer.Argument(help="The exported model: models/bundle, or models:/name@champion.", metavar="BUNDLE")
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Image files, folders (all files below, except hidden ones), quoted patterns ('a/**/*.png'), zip "
            "and tar archives, URLs (s3://, https://), db:TABLE, gridfs:BUCKET; - reads a list of inputs from stdin.",
            metavar="INPUT...",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="Write to this .csv, .json, .jsonl or .parquet file, or to db:TABLE, instead of the terminal.",
        ),
    ] = None,
    form: Annotated[
        Format | None, typer.Option("--format", "-f", help="Default: by the output file's extension, else a table.")
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="How many classes to list for each image.")] = 1,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Abstain if the top class is less probable than this.")
    ] = None,
    abstain: Annotated[
        bool | None,
        typer.Option(
            "--abstain/--no-abstain",
            help="Label images unlike all classes 'none of these', and abstain below the model's confidence "
            "threshold. Default: as exported.",
        ),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(help="Also list a set of classes that contains the true one with this probability, such as 0.95."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 1 if any input failed.")] = False,
    model: Annotated[
        NetworkForm, typer.Option(help="The form of the network; auto is the export stage's default.")
    ] = NetworkForm.AUTO,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Images per batch.")] = 64,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Threads that read and decode. Default: one per core.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads for the network; 0: one per core.")] = 0,
    backend: Annotated[
        PredictBackend, typer.Option(help="Where to decode and predict: on this machine, or on a Ray cluster.")
    ] = PredictBackend.LOCAL,
    address: Annotated[
        str | None,
        typer.Option(help="Address of the Ray cluster: host:6379, ray://host:10001 or auto. Default: start one here."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="The database of db:TABLE, without a password. Default: SIGHTLINE_DATABASE_URL."),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="Column or field with the ids. Default: id; _id in MongoDB.")
    ] = None,
    image_column: Annotated[str, typer.Option(help="Column or field with the encoded images.")] = "image",
) -> None:
    """Classify images: one row per input, in order, including inputs that cannot be read.

    Exit codes: 0 done; 1 every input failed, an archive is incomplete, or, with --strict, any input failed; 2 wrong
    usage, or a bundle that cannot be used.
    """
    chosen = form or _format_of(output)
    if chosen is Format.PARQUET and output is None:
        raise UserError("--format parquet: name a file with --output")
    if address is not None and backend is PredictBackend.LOCAL:
        raise UserError("--address is for a Ray cluster: add --backend ray")
    try:
        from sightline.predict import load
        from sightline.predict import writers as rows
        from sightline.predict.inputs import Database
        from sightline.predict.tally import Tally
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "predict") from None

    opened = load.load(bundle, model.value, threads)
    if opened.extended:
        echo(f"extended, not trained: {', '.join(opened.extended)}; predictions of these are a first guess", err=True)
    question = opened.question(top_k, threshold, abstain, coverage)  # invalid options fail before any image is read
    if abstain and opened.extended and question.threshold is None:
        echo(f"--abstain only applies to images unlike all classes: {opened.lacking('threshold')}", err=True)
    if abstain and not opened.tells_novelty:
        echo(f"sightline: {bundle} cannot detect images that belong to none of its classes: export it again", err=True)
    if coverage is not None and opened.held_out is not None and (reason := opened.held_out.shortage(coverage)):
        echo(reason, err=True)
    database = Database(url, id_column, image_column)
    tally = Tally()
    predictions = tally.count(
        opened.predict(
            inputs, top_k, threshold, batch_size, workers, database, abstain, coverage, backend.value, address
        )
    )
    if output is not None or not sys.stdout.isatty():  # otherwise the printed rows show the progress
        from sightline.core.progress import track

        predictions = track(predictions, "predicting")
    if output is not None and output.startswith("db:"):
        from sightline.predict import database_inputs

        database_inputs.write_to_database(predictions, output.removeprefix("db:"), database, opened.digest)
    elif chosen is Format.PARQUET:
        from sightline.predict import parquet_writer

        with _explained(output):
            parquet_writer.write_parquet(predictions, Path(output or ""))
    else:
        with _destination(output) as stream:
            rows.write_as(chosen, predictions, stream, opened.classes, top_k, opened.tells_novelty)
    echo(f"{tally}{f' -> {output}' if output else ''}", err=True)
    if tally.is_failure(strict):
        raise typer.Exit(1)


@app.command(rich_help_panel=SERVE, short_help="Serve a model: a web page and a REST API.")
def serve(
    bundle: Annotated[
        str, typer.Argument(help="The exported model: models/bundle, or models:/name@champion.", metavar="BUNDLE")
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on. Any other than this machine's needs SIGHTLINE_API_KEY.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 8000,
    model: Annotated[
        NetworkForm, typer.Option(help="The form of the network; auto is the export stage's default.")
    ] = NetworkForm.AUTO,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, help="Maximum number of images per batch.")
    ] = 32,
    max_images: Annotated[int, typer.Option(min=1, help="Maximum number of images per request.")] = 64,
    seconds: Annotated[float, typer.Option(min=0.1, help="Maximum time to send a request, and to process it.")] = 30.0,
    workers: Annotated[int, typer.Option(min=0, help="Threads for decoding and inference; 0: one per core.")] = 0,
    threads: Annotated[int, typer.Option(min=0, help="Threads for one run of the network; 0: one per core.")] = 1,
) -> None:
    """Serve a model: a REST API, a web page at /, API documentation at /docs, Prometheus metrics at /metrics.

    SIGINT and SIGTERM stop it once requests in progress are finished.
    """
    try:
        from sightline.predict import load
        from sightline.serve.config import API_KEY, ServeConfig
        from sightline.serve.server import run_server
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "serve") from None

    config = ServeConfig(
        host=host,
        port=port,
        key=os.environ.get(API_KEY) or None,
        max_images=max_images,
        seconds=seconds,
        batch_size=batch_size,
        workers=workers,
    )
    opened = load.load(bundle, model.value, threads)
    run_server(opened, config, lambda address: echo(f"sightline: {bundle} at {address}", err=True))


def _format_of(output: str | None) -> Format:
    if output is None or output.startswith("db:"):
        return Format.TABLE
    suffix = Path(output).suffix.lower().removeprefix(".")
    if suffix not in (known := [f.value for f in Format if f is not Format.TABLE]):
        raise UserError(
            f"--output {output}: the name must end in {', '.join('.' + k for k in known)}; or give --format"
        )
    return Format(suffix)


@contextlib.contextmanager
def _explained(output: str | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise fault(error) or UserError(f"--output {output}: {error.strerror}") from None


@contextlib.contextmanager
def _destination(output: str | None) -> Iterator[TextIO]:
    """Opens the destination of predictions: a file, which appears only when it is complete, or standard output."""
    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A name with a character that the terminal's encoding lacks must not end the run.
            sys.stdout.reconfigure(errors="backslashreplace")
        yield sys.stdout
        return
    from sightline.core import files

    with (
        _explained(output),
        files.atomic_file(Path(output)) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        yield stream
