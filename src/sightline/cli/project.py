"""Verbs for the project's folder: run, check, diff, doctor, repair."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.cli.base import TRAIN, app, echo, require_project
from sightline.core import files
from sightline.core.columns import folded, terminal_width
from sightline.core.errors import UserError, fault, not_installed


@app.command(
    rich_help_panel=TRAIN,
    short_help="Run what is out of date in the pipeline: dvc repro.",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def run(context: typer.Context) -> None:
    """Run the stages that are out of date, then say how good the model is and where to look.

    This is `sightline repair`, `dvc repro` and five closing lines. Further arguments go to `dvc repro`, such as the
    name of the last stage to run, or --force. Run it in the project's folder. Exit code: that of `dvc repro`.
    """
    _repair(sources=False)
    import os
    import subprocess
    import sys

    from sightline.reporting import closing_lines

    if not _in_git():
        raise UserError(f"{Path.cwd()} is not in a git repository, which DVC needs: git init")
    environment = {**os.environ, closing_lines.ASIDE: "1"}
    done = subprocess.run([sys.executable, "-m", "dvc", "repro", *context.args], env=environment, check=False)
    if done.returncode:
        raise typer.Exit(done.returncode)
    for line in closing_lines.project_lines():
        echo(folded(line, terminal_width()))


@app.command(rich_help_panel=TRAIN, short_help="Say what dvc repro would run, and why.")
def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Say whether `dvc repro` would run anything, and why. Run it in the project's folder.

    Looks at the source, the parameters, the configuration and the code, and compares them with dvc.lock; runs, pulls
    and writes nothing. Exit code 0: up to date; 1: out of date; 2: an error.
    """
    from sightline.core.package_imports import loading

    try:
        with loading("the project"):
            from sightline.changes import staleness
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    stale = staleness.stale_stages()
    if as_json:
        import dataclasses
        import json

        echo(json.dumps([dataclasses.asdict(stage) for stage in stale], indent=2, ensure_ascii=False))
    else:
        for line in staleness.stale_lines(stale) or ["up to date"]:
            echo(line)
    raise typer.Exit(1 if stale else 0)


@app.command(rich_help_panel=TRAIN, short_help="Show what changed between two states of the project.")
def diff(
    revision: Annotated[
        str, typer.Argument(help="The earlier state: a commit, such as HEAD~1 or a tag.", metavar="REV")
    ] = "HEAD",
    against: Annotated[
        str | None, typer.Option(metavar="REV", help="The later state. Default: the working folder.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also write a page with images.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")] = False,
) -> None:
    """Show what changed between two states of the project: data, parameters, metrics, predictions.

    Images are compared one by one, by name and content. Each metric comes with a verdict on whether its difference is
    more than chance. Data of a commit come from DVC's cache or its remote.
    """
    try:
        from sightline.changes import diff_page, diff_text, project_diff
        from sightline.changes.revision import Revision
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    require_project()
    found = project_diff.compare_projects(Revision(revision), Revision(against))
    for line in diff_text.markdown(found) if markdown else diff_text.terminal(found, terminal_width()):
        echo(line)
    if output is not None:
        try:
            files.write_text(output, diff_page.render_page(found))
        except OSError as error:
            raise fault(error) or UserError(f"--output {output}: {error.strerror}") from None
        echo(f"-> {output}", err=True)


@app.command(rich_help_panel=TRAIN, short_help="Check the installation and the project.")
def doctor() -> None:
    """Check the installation and the project in this folder: one line per check, with a remedy if something is wrong.

    Exit code 1 if something does not work; warnings do not count.
    """
    from sightline.doctor import installation, project_state
    from sightline.doctor.diagnosis import Level

    faults = 0
    for examine in (installation.examine, project_state.examine):
        for finding in examine():
            echo(finding.line())
            faults += finding.level is Level.FAULT
    raise typer.Exit(1 if faults else 0)


@app.command(rich_help_panel=TRAIN, short_help="Clean up after a killed dvc or a git pull.")
def repair() -> None:
    """Repair files that a killed dvc left truncated: dvc.lock, .dvc/tmp/rwlock. Run it in the project's folder.

    After `git pull` it also removes results and DVC-tracked images that belong to another commit, because `dvc repro`
    would use them; DVC's cache keeps a copy. Reports what it did. `sightline run` does this automatically, except for
    images.
    """
    if not _repair(sources=True):
        echo("sightline: nothing to repair", err=True)


def _repair(sources: bool) -> bool:
    """Repairs what is damaged, reports it, and returns whether there was anything to repair."""
    try:
        import dvc  # noqa: F401 - only to check that it is installed

        from sightline.core import dvc_files
        from sightline.stages.watch import earlier_results
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None

    lines = [*dvc_files.repair(), *earlier_results.remove_earlier(sources)]
    for line in lines:
        echo(f"sightline: {line}", err=True)
    return bool(lines)


def _in_git() -> bool:
    here = Path.cwd()
    own = Path(".dvc/config")
    without = own.is_file() and "no_scm" in own.read_text(encoding="utf-8")
    return without or any((folder / ".git").exists() for folder in (here, *here.parents))
