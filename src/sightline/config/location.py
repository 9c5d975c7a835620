"""The places of a project's parts: its own, or those that are installed with Sightline.

A clone of Sightline has `conf/`, `pipeline/` and `dvc.yaml` itself. A project of one's own, as `sightline init` makes
it, and code that runs outside of a project use what is installed: the wheel has it inside the package, an editable
installation finds that of the repository.
"""

from __future__ import annotations

from pathlib import Path

CONF = Path("conf")
SCRIPTS = Path("pipeline")
_PACKAGE = Path(__file__).parents[1]


def conf_folder() -> Path:
    """Returns `conf/` of the working directory if that is one of Sightline, else the one that is installed."""
    return _located(CONF, "ingest/default.yaml")


def scripts_folder() -> Path:
    """Returns the folder of the stages' scripts: the working directory's `pipeline/`, else the installed one."""
    return _located(SCRIPTS, "ingest.py")


def stage_command(stage: str) -> str:
    """Returns what starts a stage's script here: a project of one's own has no scripts itself."""
    own = (SCRIPTS / "ingest.py").is_file()
    return f"python -m pipeline.{stage}" if own else f"python -m sightline.stages {stage}"


def template(name: str) -> Path:
    """Returns a file that new projects are made from: in the package, or in the repository around it."""
    places = (_PACKAGE / "template" / name, _PACKAGE.parents[1] / name)
    return next((place for place in places if place.exists()), places[0])


def _located(folder: Path, mark: str) -> Path:
    places = (folder, _PACKAGE / folder, _PACKAGE.parents[1] / folder)
    return next((place for place in places if (place / mark).is_file()), folder)
