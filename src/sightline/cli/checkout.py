"""The code that the command runs: that of the git worktree, or of the experiment's copy, that it is given in.

The command is installed once, from one checkout of the project. In another one of the same repository its verbs would
read that one's files by the code of the first. No other folder's code is run: what lies in a folder is not trusted
merely because one stands in it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

INSTALLED = Path(__file__).resolve().parents[3]


def own_code(here: Path, installed: Path = INSTALLED) -> Path | None:
    """Returns the `src` to run in place of the installed one, or None where that is the right one.

    Args:
        here: The folder that the command is given in.
        installed: The root of the checkout that it was installed from.
    """
    code = here / "src"
    if here == installed or not (code / "sightline" / "cli" / "__init__.py").is_file():
        return None
    repository = repository_of(here)
    related = repository is not None and repository == repository_of(installed)
    return code if related or here.is_relative_to(installed / ".dvc" / "tmp") else None


def repository_of(root: Path) -> Path | None:
    """Returns the git folder that a checkout and its worktrees have in common; None where there is none."""
    git = root / ".git"
    if git.is_dir():
        return git.resolve()
    try:
        folder = Path(git.read_text().removeprefix("gitdir:").strip())
    except (OSError, UnicodeDecodeError):
        return None
    # <common>/worktrees/<name>, which points back: a file that only claims to be a worktree is none.
    try:
        known = Path((root / folder / "gitdir").read_text().strip())
    except (OSError, UnicodeDecodeError):
        return None
    return (root / folder).resolve().parents[1] if known.resolve() == git.resolve() else None


def run_own_code() -> None:
    """Begins the command anew with the code that belongs to this folder, where that is not the running one."""
    code = own_code(Path.cwd().resolve())
    if code is not None:
        others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(code), *others])}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - itself, no shell
