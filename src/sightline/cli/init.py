"""The verb that creates a project: init."""

from __future__ import annotations

import re
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from sightline.cli.base import DATA, app, echo
from sightline.core.columns import folded, table, terminal_width
from sightline.core.errors import UserError, not_installed

if TYPE_CHECKING:
    from sightline.project_setup.doubt_search import DoubtSearch
    from sightline.project_setup.interpretations import Interpretation
    from sightline.project_setup.project_plan import ProjectPlan

_SETTING = re.compile(r"\+*[a-z_]+[./][\w./]+=.*")


@app.command(rich_help_panel=DATA, short_help="Create a project for your own images.")
def init(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The project's folder, which is created.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings that you choose yourself, such as train.max_epochs=20."),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option("--images", "-i", metavar="SOURCE", help="A folder, archive, list or URL of labelled images."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; if in doubt, take the most likely.")] = False,
    within: Annotated[
        str | None,
        typer.Option("--budget", metavar="TIME", help="How long dvc repro may take on this machine: 10m, 90s, 1h."),
    ] = None,
    trying: Annotated[
        bool, typer.Option("--try", help="Test the most uncertain choices in short trainings, and keep the winner.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Only print what is measured and chosen, and why.")
    ] = False,
) -> None:
    """Create a project for your own images: inspect them, choose settings, and write these down with reasons.

    Then run `sightline run` in DIR.
    """
    try:
        from sightline.project_setup import budget, project_plan, scaffold
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None
    if trying and find_spec("optuna") is None:
        raise not_installed("optuna", "sweep")

    if folder is not None and _SETTING.fullmatch(str(folder)):  # without DIR, as with --explain, the first setting
        folder, settings = None, [str(folder), *(settings or [])]
    seconds = None if within is None else budget.seconds(within)
    if images is None:
        raise UserError(
            "--images is missing: sightline init my-project --images FOLDER, with one folder per class in it"
        )
    if not explain:
        if folder is None:
            raise UserError(f"DIR is missing: sightline init my-project --images {shlex.quote(images)}")
        place = Path(images).expanduser()
        scaffold.require_free(folder, place if place.exists() else None)
        if trying:
            scaffold.require_commits(folder)
    try:
        plan = project_plan.plan(images, settings or [], project_plan.first if yes else _ask, seconds)
    except UserError as error:  # the message ends with a command, which should work when copied
        raise UserError(str(error).replace(" DIR ", f" {shlex.quote(str(folder or 'my-project'))} ")) from None
    width = terminal_width()
    for line in [*plan.images.lines(), *plan.machine.lines(), *plan.notes]:
        echo(folded(line, width))
    reasons = [(f"{key} = {choice.value}", str(choice.reason)) for key, choice in plan.chosen.items()]
    for line in table(reasons, width, indent="  "):
        echo(line)
    if trying:
        for line in _search(plan).lines() or ["to try: nothing, no choice is uncertain"]:
            echo(folded(line, width))
    if explain or folder is None:
        return
    for line in project_plan.write_project(plan, folder):
        echo(f"sightline: {line}", err=True)
    if trying:
        _try(_search(plan), folder)
    echo("\nparams.yaml has these settings with their reasons. Next:")
    echo(f"  cd {shlex.quote(str(folder))} && sightline run")


def _search(plan: ProjectPlan) -> DoubtSearch:
    from sightline.project_setup.doubt_search import DoubtSearch

    return DoubtSearch.of(plan)


def _try(search: DoubtSearch, folder: Path) -> None:
    """Runs the search; if it fails or is interrupted, the project keeps the rules' choices."""
    from sightline.core import terminal_log
    from sightline.project_setup import doubt_search

    if not search.sweeps:
        return
    terminal_log.configure()
    try:
        for line in doubt_search.run_search(search, folder):
            echo(line)
    except (UserError, KeyboardInterrupt) as error:
        reason = str(error) or "interrupted"
        on = f"the project keeps the rules' choices; to continue the search: {search.command(folder)}"
        echo(f"sightline: the search has no result ({reason}); {on}", err=True)
        raise typer.Exit(130 if isinstance(error, KeyboardInterrupt) else 1) from None


def _ask(possible: list[Interpretation]) -> Interpretation:
    """Asks how to read a source; without a terminal that is an error, because a guess would go unnoticed."""
    ways = [f"{number}: {reading.words}" for number, reading in enumerate(possible, 1)]
    if not sys.stdin.isatty():
        raise UserError(f"--images can be read in {len(ways)} ways ({'; '.join(ways)}): --yes takes the first")
    question = "\n".join([*ways, "Which one do you mean?"])
    return possible[int(typer.prompt(question, default=1, type=click.IntRange(1, len(ways)))) - 1]
