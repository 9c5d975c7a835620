"""The files of a new project, and its git and DVC repositories."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from sightline.config.location import template
from sightline.config.params import PARAMS
from sightline.core import files, git
from sightline.core.errors import UserError

_STAGE = re.compile(r"python -m pipeline\.(\w+)")
_DVC_CONFIG = "[core]\n    analytics = false\n    check_update = false\n    autostage = false\n"
_INTRODUCTION = "git config --global user.name 'Your Name' && git config --global user.email you@example.org"
_COPIED = (".gitignore", ".dvcignore", ".gitattributes")


def require_free(folder: Path, source: Path | None) -> None:
    """Refuses a place in which no project can be made.

    Args:
        folder: The project's folder, which need not be there yet.
        source: The place of the images, if that is on this disk.

    Raises:
        UserError: If something else is there, or git is missing.
    """
    if shutil.which("git") is None:
        command = "brew install git" if sys.platform == "darwin" else "sudo apt-get install git"
        raise UserError(f"git is not installed, and a project is a git repository: {command}")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a new folder, such as {_beside(folder)}")
    inside = {path.name for path in folder.iterdir()} - {".git"} if folder.is_dir() else set()
    if PARAMS.name in inside:
        raise UserError(f"{folder} is already a project: cd {shlex.quote(str(folder))} && sightline run")
    if inside:
        raise UserError(f"{folder} is not empty ({min(inside)}): name a new folder, such as {_beside(folder)}")
    if source is not None and folder.resolve().is_relative_to(source.resolve()) and source.is_dir():
        raise UserError(f"{folder} is inside the folder of images: name a folder outside, such as {_beside(source)}")
    for parent in folder.resolve().parents:
        if (parent / ".dvc").is_dir():
            raise UserError(
                f"{folder} is inside the DVC project {parent}: name a folder outside, such as {_beside(parent)}"
            )


def _beside(folder: Path) -> str:
    """Returns a free name beside a folder, as a word of a shell."""
    whole = folder.resolve()
    names = (whole.with_name(f"{whole.name}-project{number}") for number in ("", *range(2, 100)))
    return shlex.quote(str(next(path for path in names if not path.exists())))


def dvc_yaml() -> str:
    """Returns the project's DAG: that of Sightline's own dvc.yaml, by what is installed."""
    return _STAGE.sub(r"python -m sightline.stages \1", template("dvc.yaml").read_text(encoding="utf-8"))


def make_project(folder: Path, params: str, readme: str) -> list[str]:
    """Makes the project.

    Args:
        folder: As `require_free` has found it good.
        params: The content of params.yaml.
        readme: The content of README.md.

    Returns:
        Lines on what could not be done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    was_empty = not any(folder.iterdir())
    within = _repository(folder) is not None
    if not within:
        git.run("init", "--quiet", "--initial-branch=main", folder=folder)
    subdir = ["--subdir"] if within and not (folder / ".git").exists() else []
    _initialise_dvc(folder, subdir)
    content = {PARAMS.name: params, "README.md": readme, "dvc.yaml": dvc_yaml(), ".dvc/config": _DVC_CONFIG}
    content |= {name: template(name).read_text(encoding="utf-8") for name in _COPIED}
    for name, text in content.items():
        files.write_bytes(folder / name, text.encode())
    if within or not was_empty:
        return []
    return commit(folder, "Create the project with sightline init")


def commit(folder: Path, message: str) -> list[str]:
    """Commits all changes in a project; returns a line if git has no user name or email address."""
    git.run("add", "--all", folder=folder)
    if git.stdout("commit", "--quiet", "--message", message, folder=folder) is not None:
        return []
    again = shlex.join(["git", "-C", str(folder), "commit", "--quiet", "--message", message])
    return [f"not committed, because git does not know who you are: {_INTRODUCTION} && {again}"]


def require_commits(folder: Path) -> None:
    """Refuses a place in which a project would not be committed: a search needs worktrees of its own repository.

    Raises:
        UserError: If it lies in another repository, or git does not know whose commits they are.
    """
    there = next(path for path in [folder.resolve(), *folder.resolve().parents] if path.is_dir())
    if repository := _repository(there):
        raise UserError(
            f"--try needs a git repository of its own, and {folder} is inside {repository}: leave --try out"
        )
    if git.answer("var", "GIT_COMMITTER_IDENT", folder=there) is None:
        raise UserError(f"--try commits, and git does not know who you are: {_INTRODUCTION}")


def _repository(folder: Path) -> str | None:
    """Returns the folder of the git repository around a folder, if there is one."""
    return git.answer("rev-parse", "--show-toplevel", folder=folder)


def _initialise_dvc(folder: Path, options: list[str]) -> None:
    command = [sys.executable, "-m", "dvc", "init", "--quiet", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise UserError(f"dvc init failed: {lines[-1] if lines else f'exit code {done.returncode}'}")
