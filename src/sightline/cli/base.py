"""The command itself: its name, its help, and what becomes of a fault."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sightline.core.credentials import mask
from sightline.core.errors import DISTRIBUTION, fault


class _Group(TyperGroup):
    """Turns a fault that the user can mend into one line and exit code 2, for every verb."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            mendable = fault(error)
            if mendable is None:
                raise
            typer.echo(f"sightline: {mask(str(mendable))}", err=True)
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


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"sightline {version(DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Image recognition that can be traced: work with the models that the pipeline exports."""
