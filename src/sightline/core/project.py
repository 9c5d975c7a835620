"""The project's folder, also as seen from a copy of it in which DVC runs an experiment."""

from __future__ import annotations

import os
from pathlib import Path


def project_root() -> Path:
    """Returns the project's root, relative where it is this folder.

    `dvc exp run --temp` and DVC's queue run in a copy below `.dvc/tmp`, which is removed afterwards.
    """
    here = Path.cwd()
    inside = next((parent for parent in here.parents if parent.name == ".dvc"), None)
    return Path() if inside is None else inside.parent


def located(path: str | Path) -> Path:
    """Returns where a path of the configuration leads, from the project as from a copy that DVC runs an experiment in.

    `~` is the user's home: no shell has seen what params.yaml says.

    The copy holds what git and DVC track, as the experiment has recorded it: that comes first. What is tracked by
    neither, as most sources of images, is only beside the project itself.
    """
    path = Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's raises where there is no such user
    elsewhere = project_root() / path
    return elsewhere if not path.exists() and elsewhere.exists() else path
