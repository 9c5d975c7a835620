"""Locations of a project's parts: the project's own, or those installed with Sightline.

A clone of Sightline has its own `conf/`, `pipeline/` and `dvc.yaml`. A project made by `sightline init`, and code that
runs outside of any project, use the installed ones: a wheel contains them inside the package, and an editable install
finds those of the repository.
"""

from __future__ import annotations

from pathlib import Path

CONF = Path("conf")
SCRIPTS = Path("pipeline")
_PACKAGE = Path(__file__).parents[1]


def conf_folder() -> Path:
    """Returns `conf/` of the working directory if it is one of Sightline's, else the installed one."""
    return _located(CONF, "ingest/default.yaml")


def scripts_folder() -> Path:
    """Returns the folder of the stage scripts: `pipeline/` of the working directory, else the installed one."""
    return _located(SCRIPTS, "ingest.py")


def stage_command(stage: str) -> str:
    """Returns the command that runs a stage's script here; projects made by `sightline init` have no scripts."""
    own = (SCRIPTS / "ingest.py").is_file()
    return f"python -m pipeline.{stage}" if own else f"python -m sightline.stages {stage}"


def template(name: str) -> Path:
    """Returns a template file for new projects, from the package or from the repository around it."""
    places = (_PACKAGE / "template" / name, _PACKAGE.parents[1] / name)
    return next((place for place in places if place.exists()), places[0])


def _located(folder: Path, mark: str) -> Path:
    places = (folder, _PACKAGE / folder, _PACKAGE.parents[1] / folder)
    return next((place for place in places if (place / mark).is_file()), folder)
