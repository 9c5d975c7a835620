"""The folder of the configuration, for code that runs outside of a project as well."""

from __future__ import annotations

from pathlib import Path

from sightline.config.compose import CONF

_PACKAGE = Path(__file__).parents[1]


def conf_folder() -> Path:
    """Returns `conf/` of the working directory if that is a project of Sightline, else the one that is installed.

    The wheel has it inside the package; an editable installation finds that of the repository.
    """
    places = (CONF, _PACKAGE / CONF, _PACKAGE.parents[1] / CONF)
    return next((place for place in places if (place / "ingest" / "default.yaml").is_file()), CONF)
