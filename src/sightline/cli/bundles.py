"""Verbs for exported models: verify, sign, promote, lineage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.cli.base import MODELS, app, echo
from sightline.core.columns import folded, terminal_width
from sightline.core.errors import UserError, not_installed


@app.command(rich_help_panel=MODELS, short_help="Check that a bundle, or the whole project, is intact.")
def verify(
    bundle: Annotated[
        Path | None,
        typer.Argument(help="The exported model: the folder models/bundle. Default: the project.", metavar="BUNDLE"),
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Public key (PEM) of the expected signer.")] = None,
    identity: Annotated[
        str | None, typer.Option(help="The expected Sigstore signer: an e-mail or workflow address.")
    ] = None,
    issuer: Annotated[str | None, typer.Option(help="The OpenID Connect issuer that vouches for --identity.")] = None,
    signature: Annotated[Path | None, typer.Option(help="The signature. Default: BUNDLE.sig.")] = None,
    digests_only: Annotated[bool, typer.Option("--digests-only", help="Do not check the signature.")] = False,
) -> None:
    """Check that a bundle is unchanged since it was exported and, if it was, signed.

    Without BUNDLE, check every output of the project in the current folder, and DVC's copies of them, against
    `dvc.lock`, and check the checkpoints; each damaged file has a line with the command that repairs it.

    Exit codes: 0 intact; 2 damaged, or the signature was not or could not be checked.
    """
    if bundle is None:
        if key or identity or issuer or signature or digests_only:
            raise UserError("only a bundle has a signature: sightline verify models/bundle --key ...")
        _verify_project()
        return
    from sightline.predict import signing

    echo(signing.verify(bundle, signing.Signer(key, identity, issuer), signature, digests_only))


def _verify_project() -> None:
    try:
        from sightline.doctor.stored_files import damages

        count, found = damages()
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None
    for damage in found:
        echo(str(damage), err=True)
    if found:
        raise typer.Exit(2)
    echo(f"{count:,} files are intact")


@app.command(rich_help_panel=MODELS, short_help="Sign a bundle.")
def sign(
    bundle: Annotated[Path, typer.Argument(help="The exported model: the folder models/bundle.", metavar="BUNDLE")],
    key: Annotated[
        Path | None,
        typer.Option("--key", help="Private key (PEM, elliptic curve). Default: sign with Sigstore, online."),
    ] = None,
    password: Annotated[
        str | None, typer.Option(envvar="SIGHTLINE_KEY_PASSWORD", help="Password of the private key.", show_envvar=True)
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="SIGSTORE_ID_TOKEN", help="An identity token for Sigstore.", show_envvar=True)
    ] = None,
) -> None:
    """Sign a bundle: write the signature next to it, as BUNDLE.sig.

    With a key, nothing leaves the machine. Without one, Sigstore signs, and records it in its public log.
    """
    from sightline.predict import signing

    echo(f"{bundle} -> {signing.sign(bundle, key, password, token)}", err=True)


@app.command(rich_help_panel=MODELS, short_help="Add classes to a bundle from a few images each, without training.")
def extend(
    bundle: Annotated[
        str, typer.Argument(help="The exported model: models/bundle, or models:/name@champion.", metavar="BUNDLE")
    ],
    pictures: Annotated[
        Path, typer.Argument(help="A folder with one folder of images for each new class.", metavar="NEW_FOLDER")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder of the extended bundle.")],
) -> None:
    """Write a bundle with additional classes, in seconds, from about ten images of each.

    The bundle is meant to bridge the time until the next training (train.start_from), and says so wherever it is used:
    new classes are recognized by their mean features, and the accuracy lost on the old classes is not measured.
    """
    try:
        from sightline.predict import load
        from sightline.predict.extension import extend
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None
    for line in extend(load.bundle(bundle), pictures, output).lines():
        echo(line, err=True)


@app.command(rich_help_panel=MODELS, short_help="Register the bundle; make it champion if not worse.")
def promote(
    changes: Annotated[
        list[str] | None,
        typer.Argument(help="Settings to change, such as promote.margin=0.05.", metavar="KEY=VALUE"),
    ] = None,
    bundle: Annotated[Path, typer.Option("--bundle", help="The exported model.")] = Path("models/bundle"),
    predictions: Annotated[Path, typer.Option(help="Its model's predictions on the test split.")] = Path(
        "reports/predictions.parquet"
    ),
    force: Annotated[bool, typer.Option("--force", help="Make it the champion whatever the policy says.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; recorded with your name. Required by --force.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only decide; register nothing.")] = False,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="REV",
            help="A commit whose data and predictions to compare with; with --dry-run, instead of the champion.",
        ),
    ] = None,
) -> None:
    """Register the bundle in MLflow, and make it the champion if it is good enough and not worse than the one before.

    Reads the policy from `promote` in params.yaml and conf/, which also asks something of the data: how many inputs
    were refused, whether test images were trained on, what was lost. Run it in the project's folder, after `dvc repro`.

    Exit codes: 0 it is the champion; 3 it was held back, with the reasons; 2 it could not be decided.
    """
    if force and reason is None:
        raise UserError("--force needs a --reason, which is recorded with the version")
    if reason is not None and not force:
        raise UserError("--reason only goes with --force")
    try:
        from sightline.changes.revision import Revision
        from sightline.config import compose
        from sightline.promote import gate
        from sightline.promote import promote as promotion
        from sightline.promote.config import PromoteConfig
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    composed = compose.compose_with(compose.read_params(), changes or [])
    policy = compose.typed(PromoteConfig, composed.promote, "promote")
    objections = []
    if against is not None or Path(gate.SUMMARY).is_file():  # a bundle of another project has no data here
        objections = gate.objections(Revision(None), None if against is None else Revision(against), policy)
    if dry_run:
        decision = promotion.rehearse(bundle, predictions, policy, objections, alone=against is not None)
        for line in ["would be promoted" if decision.passed else "would be held back:", *decision.lines()]:
            echo(line)
        raise typer.Exit(0 if decision.passed else 3)
    done = promotion.promote(bundle, predictions, policy, reason, objections)
    for line in promotion.outcome_lines(done, policy.name):
        echo(line)
    if not done.promoted:
        raise typer.Exit(3)


@app.command(rich_help_panel=MODELS, short_help="Show the origin of a version of the registered model.")
def lineage(
    version: Annotated[str, typer.Argument(help="A version's number, or an alias: champion.", metavar="VERSION")],
    every: Annotated[bool, typer.Option("--all", help="Print every parameter and metric.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show which data, commit and parameters produced a version of the registered model, and how it was judged."""
    try:
        from sightline.config import compose
        from sightline.core import files
        from sightline.promote import lineage as lineages
        from sightline.promote.config import PromoteConfig
        from sightline.tracking.model_registry import ModelRegistry
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    composed = compose.compose(compose.saved_overrides(compose.read_params()))
    policy = compose.typed(PromoteConfig, composed.promote, "promote")
    traced = lineages.trace(ModelRegistry(policy.name), version)
    if as_json:
        echo(files.canonical_json(traced).rstrip())
        return
    for line in lineages.all_lines(traced) if every else lineages.lineage_lines(traced):
        echo(folded(line, terminal_width()))
