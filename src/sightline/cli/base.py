"""The command itself: its name, its help, and its error handling."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sightline.core import files
from sightline.core.credentials import mask
from sightline.core.errors import DISTRIBUTION, UserError, fault
from sightline.core.text import for_terminal

DATA, TRAIN, MODELS, SERVE = "Data", "Train", "Models", "Serve"
"""Groups of verbs, in the order of the help."""


def echo(text: str, err: bool = False) -> None:
    """Prints text with control characters escaped, because any text may contain names from the data."""
    typer.echo(for_terminal(text), err=err)


def require_project() -> None:
    """Ends the command if the current folder is not a project's.

    Raises:
        UserError: With the remedy.
    """
    if not Path("dvc.yaml").is_file():
        raise UserError(f"{Path.cwd()} contains no dvc.yaml: run it in the project's folder")


def require_state() -> None:
    """Ends the command where the current folder is no project's and nothing was ever run there, from Python either.

    Raises:
        UserError: With what to do.
    """
    if not files.STATE.is_dir():
        require_project()


class _Group(TyperGroup):
    """Turns an error that the user can fix into one line and exit code 2, and lists the verbs in groups."""

    def format_commands(self, _: Any, formatter: Any) -> None:
        for group in (DATA, TRAIN, MODELS, SERVE, None):  # None: verbs added by third-party modules
            verbs = [command for command in self.commands.values() if command.rich_help_panel == group]  # type: ignore[attr-defined]
            if verbs:
                with formatter.section(group or "Other"):
                    formatter.write_dl([(verb.name, verb.get_short_help_str(formatter.width)) for verb in verbs])

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            mendable = fault(error)
            if mendable is None:
                raise
            echo(f"sightline: {mask(str(mendable))}", err=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=_Group,
    help="Reproducible image recognition: from labelled images to a model in production.",
    no_args_is_help=True,
    rich_markup_mode=None,  # its boxes would turn a one-line error into five lines
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        echo(f"sightline {version(DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Reproducible image recognition: from labelled images to a model in production."""
