"""The project's folder, also from within a copy of it in which DVC runs an experiment."""

from __future__ import annotations

import os
from pathlib import Path


def project_root() -> Path:
    """Returns the project's root; a relative path if it is the current directory.

    `dvc exp run --temp` and DVC's queue run in a copy below `.dvc/tmp`, which is removed afterwards.
    """
    here = Path.cwd()
    inside = next((parent for parent in here.parents if parent.name == ".dvc"), None)
    return Path() if inside is None else inside.parent


def located(path: str | Path) -> Path:
    """Returns the location of a path from the configuration, also from a copy in which DVC runs an experiment.

    `~` is expanded to the user's home here, because no shell has expanded params.yaml.

    The copy contains the files tracked by git and DVC, as recorded by the experiment, so it is searched first.
    Untracked files, such as most image sources, exist only in the project itself.
    """
    path = Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's raises if there is no such user
    elsewhere = project_root() / path
    return elsewhere if not path.exists() and elsewhere.exists() else path
