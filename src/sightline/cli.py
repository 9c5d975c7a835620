"""The `sightline` command: one thin verb a function; heavy imports stand inside the verb that needs them."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from sightline.errors import UserError


class _Group(TyperGroup):
    """Turns a fault that the user can mend into one line and exit code 2, for every verb."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            typer.echo(f"sightline: {error}", err=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=_Group,
    help="Image recognition that can be traced: work with the models that the pipeline exports.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # boxes would turn a one-line fault into five
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(StrEnum):
    """How predictions are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"


class Form(StrEnum):
    """The forms that a bundle's network comes in."""

    AUTO = "auto"
    FP32 = "fp32"
    INT8 = "int8"


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"sightline {version('sightline')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Image recognition that can be traced: work with the models that the pipeline exports."""


@app.command()
def predict(
    bundle: Annotated[
        str, typer.Argument(help="The exported model: models/bundle, or models:/name@champion.", metavar="BUNDLE")
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Image files, folders (every file below, hidden ones left out), quoted patterns ('a/**/*.png'), zip "
            "and tar archives, URLs (s3://, https://), db:TABLE, gridfs:BUCKET; - for a list of such on stdin.",
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
        Format | None, typer.Option("--format", "-f", help="Default: by the output file's name, else a table.")
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="How many classes to name for each image.")] = 1,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Abstain where the likeliest class is less probable than this.")
    ] = None,
    abstain: Annotated[
        bool, typer.Option("--abstain", help="Abstain below the threshold that came with the model.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 1 if any input failed.")] = False,
    model: Annotated[
        Form, typer.Option(help="The form of the network; auto is the one that export found best.")
    ] = Form.AUTO,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Images a run of the network.")] = 64,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Threads that read and decode. Default: one a core.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads for the network; 0 is one a core.")] = 0,
    url: Annotated[
        str | None,
        typer.Option(help="The database of db:TABLE, without a password. Default: SIGHTLINE_DATABASE_URL."),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="Its column or field of the images' ids. Default: id; _id in MongoDB.")
    ] = None,
    image_column: Annotated[str, typer.Option(help="Its column or field of the encoded images.")] = "image",
) -> None:
    """Say what is on images: one row an input, in order, the ones that cannot be read included.

    Exit codes: 0 done; 1 an input failed, with --strict; 2 wrong usage, or a bundle that cannot be used.
    """
    chosen = form or _format_of(output)
    if chosen is Format.PARQUET and output is None:
        raise UserError("--format parquet: name a file with --output")
    try:
        from sightline.predict import locate
        from sightline.predict import output as rows
        from sightline.predict.inputs import Database
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install 'sightline[predict]'") from None

    opened = locate.load(bundle, model.value, threads)
    if abstain and threshold is None and (threshold := opened.threshold) is None:
        raise UserError(f"--abstain: {bundle} came without a threshold; give one with --threshold")
    database = Database(url, id_column, image_column)
    tally = rows.Tally()
    predictions = tally.count(opened.predict(inputs, top_k, threshold, batch_size, workers, database))
    if output is not None or not sys.stdout.isatty():  # else the rows are the progress
        from sightline.progress import track

        predictions = track(predictions, "predicting")
    if output is not None and output.startswith("db:"):
        from sightline.predict import tables

        tables.write(predictions, output.removeprefix("db:"), database, opened.digest)
    elif chosen is Format.PARQUET:
        from sightline.predict import parquet

        with _explained(output):
            parquet.write(predictions, Path(output or ""))
    else:
        with _destination(output) as stream:
            rows.write(chosen, predictions, stream, opened.classes, top_k)
    typer.echo(f"{tally}{f' -> {output}' if output else ''}", err=True)
    if strict and tally.failed:
        raise typer.Exit(1)


@app.command()
def serve(
    bundle: Annotated[
        str, typer.Argument(help="The exported model: models/bundle, or models:/name@champion.", metavar="BUNDLE")
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on. Any but this machine's own needs SIGHTLINE_API_KEY.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    model: Annotated[
        Form, typer.Option(help="The form of the network; auto is the one that export found best.")
    ] = Form.AUTO,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Images a run, at most.")] = 32,
    max_images: Annotated[int, typer.Option(min=1, help="Images a request, at most.")] = 64,
    seconds: Annotated[float, typer.Option(min=0.1, help="What a request may take, and its sending.")] = 30.0,
    workers: Annotated[int, typer.Option(min=0, help="Threads that decode and compute; 0 is one a core.")] = 0,
    threads: Annotated[int, typer.Option(min=0, help="Threads for one run of the network; 0 is one a core.")] = 1,
) -> None:
    """Serve a model: a REST API, a web page at /, its description at /docs, counters for Prometheus at /metrics.

    SIGINT and SIGTERM end it once what was begun is answered.
    """
    try:
        from sightline.predict import locate
        from sightline.serve.config import API_KEY, ServeConfig
        from sightline.serve.server import run
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install 'sightline[serve]'") from None

    config = ServeConfig(
        host=host,
        port=port,
        key=os.environ.get(API_KEY) or None,
        max_images=max_images,
        seconds=seconds,
        batch_size=batch_size,
        workers=workers,
    )
    opened = locate.load(bundle, model.value, threads)
    run(opened, config, lambda address: typer.echo(f"sightline: {bundle} at {address}", err=True))


@app.command()
def features(
    model: Annotated[Path, typer.Argument(help="The trained model: the folder models.", metavar="MODEL_FOLDER")],
    data: Annotated[
        Path, typer.Argument(help="The preprocessed images: the folder data/processed.", metavar="PROCESSED_FOLDER")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The Parquet file to write.")],
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Images in a pass.")] = 256,
) -> None:
    """Write what a trained network sees in each image: id, label, split and embedding, a row an image."""
    try:
        from sightline.features import write_features
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install 'sightline[pipeline]'") from None

    try:
        count = write_features(model, data, output, batch_size)
    except OSError as error:
        raise UserError(f"--output {output}: {error.strerror}") from None
    typer.echo(f"{count} images -> {output}", err=True)


Changes = Annotated[
    list[str] | None,
    typer.Argument(help="Settings to try, as train/model=resnet18 or train.batch_size=128.", metavar="KEY=VALUE"),
]


@app.command("find-lr")
def find_lr(
    changes: Changes = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write.")] = Path("find_lr.png"),
    steps: Annotated[int, typer.Option("--steps", "-n", min=20, help="Training steps.")] = 100,
) -> None:
    """Find a learning rate: train a little while it rises, and see where the loss falls fastest.

    Uses what params.yaml asks for, with KEY=VALUE in its place where given, on data/processed; nothing is kept but
    the picture and a run in MLflow.
    """
    composed, section, data = _training(changes)
    from sightline import tracking
    from sightline.train.find import draw, learning_rates

    curve = learning_rates(data, section, steps)
    draw(curve, output)
    tracker = tracking.start_trial("find-lr", composed)
    tracker.log_curve("find_lr_loss", curve.losses)
    tracker.log_curve("find_lr_rate", curve.rates)
    tracker.log_artifact(output)
    tracker.finish()
    if curve.suggestion is None:
        raise UserError(f"the loss never falls between learning rates {curve.rates[0]:g} and {curve.rates[-1]:g}")
    typer.echo(f"steepest descent at train.lr={curve.suggestion:.2g} -> {output}")


@app.command("find-batch-size")
def find_batch_size(changes: Changes = None) -> None:
    """Find a batch size: train a few seconds with each, and see how many images a second that gives.

    Uses what params.yaml asks for, with KEY=VALUE in its place where given, on data/processed.
    """
    composed, section, data = _training(changes)
    from sightline import tracking
    from sightline.train.find import batch_sizes, best_batch_size

    trials = []
    typer.echo(f"{'batch size':>10}  {'images/s':>10}  {'GPU memory':>10}")
    for trial in batch_sizes(data, section):
        trials.append(trial)
        memory = f"{trial.memory / 2**30:.2f} GiB" if trial.memory else "-"
        typer.echo(f"{trial.batch_size:>10}  {trial.images_per_second:>10,.0f}  {memory:>10}")
    if not trials:
        raise UserError("no batch could be trained: there are too few training images, or too little memory")
    best = best_batch_size(trials)
    tracker = tracking.start_trial("find-batch-size", composed)
    tracker.log_metrics({f"images_per_second/batch_{t.batch_size}": t.images_per_second for t in trials})
    tracker.finish()
    typer.echo(f"train.batch_size={best}: larger ones are hardly faster; scale train.lr along with it")


def _training(changes: list[str] | None) -> tuple[Any, Any, Any]:
    """Returns the composed configuration with changes, its train section, and the processed set."""
    try:
        from sightline import config
        from sightline.shards import ProcessedSet
        from sightline.train.config import TrainConfig
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install 'sightline[pipeline]'") from None

    composed = config.compose([*config.saved_overrides(config.read_params()), *map(config.selecting, changes or [])])
    return composed, config.typed(TrainConfig, composed.train, "train"), ProcessedSet(Path("data/processed"))


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="The exported model: the folder models/bundle.", metavar="BUNDLE")],
    key: Annotated[Path | None, typer.Option("--key", help="Public key (PEM) of who should have signed it.")] = None,
    identity: Annotated[
        str | None, typer.Option(help="Who should have signed it with Sigstore: an e-mail or workflow address.")
    ] = None,
    issuer: Annotated[str | None, typer.Option(help="The OpenID Connect issuer that vouches for --identity.")] = None,
    signature: Annotated[Path | None, typer.Option(help="The signature. Default: BUNDLE.sig.")] = None,
    digests_only: Annotated[bool, typer.Option("--digests-only", help="Leave the signature alone.")] = False,
) -> None:
    """Check that a bundle is as it was exported, and as it was signed if it was.

    Exit codes: 0 it is; 2 it is not, or its signature was not or could not be checked.
    """
    from sightline.predict import signing

    typer.echo(signing.verify(bundle, signing.Signer(key, identity, issuer), signature, digests_only))


@app.command()
def sign(
    bundle: Annotated[Path, typer.Argument(help="The exported model: the folder models/bundle.", metavar="BUNDLE")],
    key: Annotated[
        Path | None, typer.Option("--key", help="Private key (PEM, elliptic curve). Without: Sigstore, online.")
    ] = None,
    password: Annotated[
        str | None, typer.Option(envvar="SIGHTLINE_KEY_PASSWORD", help="Of the private key.", show_envvar=True)
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="SIGSTORE_ID_TOKEN", help="An identity token, for Sigstore.", show_envvar=True)
    ] = None,
) -> None:
    """Vouch for a bundle: write its signature beside it, as BUNDLE.sig.

    With a key, nothing leaves the machine. Without, Sigstore is asked, and the signature appears in its public log.
    """
    from sightline.predict import signing

    typer.echo(f"{bundle} -> {signing.sign(bundle, key, password, token)}", err=True)


@app.command()
def promote(
    changes: Annotated[
        list[str] | None,
        typer.Argument(help="Settings to change, as promote.margin=0.05.", metavar="KEY=VALUE"),
    ] = None,
    bundle: Annotated[Path, typer.Option("--bundle", help="The exported model.")] = Path("models/bundle"),
    predictions: Annotated[Path, typer.Option(help="Its model's predictions on the test split.")] = Path(
        "reports/predictions.parquet"
    ),
    force: Annotated[bool, typer.Option("--force", help="Make it the champion whatever is decided.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; recorded with who did so. Needed by --force.")] = None,
) -> None:
    """Register the bundle in MLflow, and make it the champion if it is good enough and not worse than the one before.

    Reads the policy from `promote` in params.yaml and conf/. Run it in the project's folder, after `dvc repro`.

    Exit codes: 0 it is the champion; 3 it was held back, with the reasons; 2 it could not be decided.
    """
    if force and reason is None:
        raise UserError("--force needs a --reason: it is recorded with the version")
    if reason is not None and not force:
        raise UserError("--reason is for --force")
    try:
        from sightline import config
        from sightline.promote import promote as promotion
        from sightline.promote.config import PromoteConfig
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install 'sightline[pipeline]'") from None

    composed = config.compose([*config.saved_overrides(config.read_params()), *(changes or [])])
    policy = config.typed(PromoteConfig, composed.promote, "promote")
    done = promotion.promote(bundle, predictions, policy, reason)
    for line in promotion.lines(done, policy.name):
        typer.echo(line)
    if not done.promoted:
        raise typer.Exit(3)


@app.command()
def lineage(
    version: Annotated[str, typer.Argument(help="A version's number, or an alias: champion.", metavar="VERSION")],
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Say which data, commit and parameters made a version of the registered model, and why it is where it is."""
    try:
        from sightline import config, files
        from sightline.promote import lineage as lineages
        from sightline.promote.config import PromoteConfig
        from sightline.registry import Registry
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install 'sightline[pipeline]'") from None

    composed = config.compose(config.saved_overrides(config.read_params()))
    policy = config.typed(PromoteConfig, composed.promote, "promote")
    traced = lineages.trace(Registry(policy.name), version)
    typer.echo(files.canonical_json(traced).rstrip() if as_json else "\n".join(lineages.lines(traced)))


@app.command()
def load(
    source: Annotated[Path, typer.Argument(help="A folder with one folder a class, or a zip or tar of one.")],
    table: Annotated[str, typer.Option("--table", "-t", help="Table, collection or GridFS bucket; made if absent.")],
    url: Annotated[
        str | None,
        typer.Option(help="The database, without a password. Default: the variable SIGHTLINE_DATABASE_URL."),
    ] = None,
    gridfs: Annotated[bool, typer.Option("--gridfs", help="MongoDB: put the images into a GridFS bucket.")] = False,
) -> None:
    """Put a folder of images into MongoDB or an SQL database; repeating it changes nothing.

    Exit codes: 0 done; 1 some inputs could not be read; 2 wrong usage, or a database that cannot be used.
    """
    try:
        from sightline.ingest.load import load as load_source
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install 'sightline[pipeline,sources]'") from None

    count, refused = load_source(source, url, table, gridfs)
    for rejection in refused:
        typer.echo(f"{rejection.id}: {rejection.reason} {rejection.detail}", err=True)
    typer.echo(f"{count} images -> {table}{f', {len(refused)} inputs not read' if refused else ''}", err=True)
    if refused:
        raise typer.Exit(1)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="A run, as described above.", metavar="RUN")],
    second: Annotated[str, typer.Argument(help="The run to hold it against.", metavar="RUN")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path("compare.html"),
    data: Annotated[Path, typer.Option(help="The preprocessed images, to show those on which the two differ.")] = Path(
        "data/processed"
    ),
) -> None:
    """Hold two models against each other, image by image, on the test set that both have scored.

    A RUN is a run's id or name in MLflow, a registered model (models:/name@champion, models:/name/3), or a folder with
    reports/predictions.parquet, such as another checkout. Prints a table, McNemar's test and the interval of the
    difference, and writes a page.
    """
    try:
        from sightline.compare import outcome, page, scored
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install 'sightline[pipeline]'") from None
    from sightline import files

    a, b = scored.load(first), scored.load(second)
    scored.require_same(a, b)
    result = outcome.compare(a, b)
    for line in outcome.lines(a, b, result):
        typer.echo(line)
    try:
        files.write_text(output, page.write(a, b, result, data))
    except OSError as error:
        raise UserError(f"--output {output}: {error.strerror}") from None
    typer.echo(f"-> {output}", err=True)


@app.command()
def preview(
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            help="Settings to try, as preprocess/denoise=median or preprocess.size=64.", metavar="KEY=VALUE"
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write.")] = Path("preview.png"),
    images: Annotated[int, typer.Option("--images", "-n", min=1, max=100, help="How many images.")] = 6,
    seed: Annotated[int, typer.Option(help="Another seed, other images.")] = 0,
) -> None:
    """Draw images before and after every preprocessing step, to choose by looking.

    Shows what params.yaml asks for, with KEY=VALUE in its place where given. Run it in the project's folder, after
    `dvc repro ingest`.
    """
    try:
        from sightline import config
        from sightline.preprocess.config import PreprocessConfig
        from sightline.preprocess.preview import preview as draw
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install 'sightline[pipeline]'") from None

    composed = config.compose([*config.saved_overrides(config.read_params()), *map(config.selecting, changes or [])])
    section = config.typed(PreprocessConfig, composed.preprocess, "preprocess")
    count, unread = draw(Path("data/raw"), section, output, images, seed)
    for line in unread:
        typer.echo(line, err=True)
    typer.echo(f"{count} images -> {output}", err=True)


@app.command()
def sync() -> None:
    """Tell MLflow what it could not be told while it was away; run it in the project's folder."""
    try:
        from sightline import tracking
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install 'sightline[pipeline]'") from None

    count = 0
    for line in tracking.sync():
        count += 1
        typer.echo(line)
    if not count:
        typer.echo("nothing is left to tell MLflow")


@app.command()
def cache(
    prune: Annotated[
        float | None, typer.Option(min=0, help="Remove what was used longest ago until this many GiB are left.")
    ] = None,
) -> None:
    """Show what preprocessing remembers (.sightline/memo), and prune it.

    Nothing is lost by pruning but time. Every run of the stage prunes to SIGHTLINE_MEMO_GIB, 20 by default.
    """
    try:
        from sightline.preprocess.cache import lines, size
        from sightline.preprocess.memo import Memo
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install 'sightline[pipeline]'") from None

    memo = Memo()
    if prune is not None:
        removed, freed = memo.prune(int(prune * 2**30))
        typer.echo(f"removed {removed:,} entries, {size(freed)}", err=True)
    for line in lines(memo):
        typer.echo(line)


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
        raise UserError(f"--output {output}: {error.strerror}") from None


@contextlib.contextmanager
def _destination(output: str | None) -> Iterator[TextIO]:
    """Opens where predictions go: a file, which appears when it is complete, or standard output."""
    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A name must not end a run because the terminal's encoding lacks one of its letters.
            sys.stdout.reconfigure(errors="backslashreplace")
        yield sys.stdout
        return
    from sightline import files

    with (
        _explained(output),
        files.atomic_file(Path(output)) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        yield stream
