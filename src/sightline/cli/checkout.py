"""The choice of the code that the command runs: that of the git worktree or experiment copy in which it is called.

The command is installed once, from one checkout of the project. Called in another worktree of the same repository, it
would otherwise read that worktree's files with the first checkout's code. Code of unrelated folders is never run: being
in a folder is no reason to trust its content.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

INSTALLED = Path(__file__).resolve().parents[3]


def own_code(here: Path, installed: Path = INSTALLED) -> Path | None:
    """Returns the `src` to run instead of the installed one; None if the installed one is right.

    Args:
        here: The folder in which the command is called.
        installed: The root of the checkout that it was installed from.
    """
    code = here / "src"
    if here == installed or not (code / "sightline" / "cli" / "__init__.py").is_file():
        return None
    repository = repository_of(here)
    related = repository is not None and repository == repository_of(installed)
    return code if related or here.is_relative_to(installed / ".dvc" / "tmp") else None


def repository_of(root: Path) -> Path | None:
    """Returns the git folder shared by a checkout and its worktrees; None if there is none."""
    git = root / ".git"
    if git.is_dir():
        return git.resolve()
    try:
        folder = Path(git.read_text().removeprefix("gitdir:").strip())
    except (OSError, UnicodeDecodeError):
        return None
    # <common>/worktrees/<name> points back here: a file that only claims to be a worktree does not count.
    try:
        known = Path((root / folder / "gitdir").read_text().strip())
    except (OSError, UnicodeDecodeError):
        return None
    return (root / folder).resolve().parents[1] if known.resolve() == git.resolve() else None


def run_own_code() -> None:
    """Restarts the command with the code that belongs to this folder, if that is not the running one."""
    code = own_code(Path.cwd().resolve())
    if code is not None:
        others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(code), *others])}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - itself, no shell
