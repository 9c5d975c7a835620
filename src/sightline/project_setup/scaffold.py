"""The files of a project of one's own, and its git and DVC repositories."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from sightline.config.location import template
from sightline.config.params import PARAMS
from sightline.core import files
from sightline.core.errors import UserError

_STAGE = re.compile(r"python -m pipeline\.(\w+)")
_DVC_CONFIG = "[core]\n    analytics = false\n    check_update = false\n    autostage = false\n"
_INTRODUCTION = "git config --global user.name 'Your Name' && git config --global user.email you@example.org"
_IGNORED = (".gitignore", ".dvcignore")


def require_free(folder: Path, source: Path | None) -> None:
    """Refuses a place in which no project can be made.

    Args:
        folder: The project's folder, which need not be there yet.
        source: Where the images are, if that is a place on this disk.

    Raises:
        UserError: If something else is there, or git is missing.
    """
    if shutil.which("git") is None:
        how = "brew install git" if sys.platform == "darwin" else "sudo apt-get install git"
        raise UserError(f"git is not installed, and a project is a git repository: {how}")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a new folder, as {_beside(folder)}")
    inside = {path.name for path in folder.iterdir()} - {".git"} if folder.is_dir() else set()
    if PARAMS.name in inside:
        raise UserError(f"{folder} is a project already: cd {shlex.quote(str(folder))} && sightline run")
    if inside:
        raise UserError(f"{folder} is not empty ({min(inside)}): name a new folder, as {_beside(folder)}")
    if source is not None and folder.resolve().is_relative_to(source.resolve()) and source.is_dir():
        raise UserError(f"{folder} lies in the folder of the images: name a folder outside, as {_beside(source)}")
    for parent in folder.resolve().parents:
        if (parent / ".dvc").is_dir():
            raise UserError(f"{folder} lies in the DVC project {parent}: name a folder outside, as {_beside(parent)}")


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
    within = _git(folder, "rev-parse", "--show-toplevel").returncode == 0
    if not within:
        _must(_git(folder, "init", "--quiet", "--initial-branch=main"))
    subdir = ["--subdir"] if within and not (folder / ".git").exists() else []
    _must(_run([sys.executable, "-m", "dvc", "init", "--quiet", *subdir], folder))
    content = {PARAMS.name: params, "README.md": readme, "dvc.yaml": dvc_yaml(), ".dvc/config": _DVC_CONFIG}
    content |= {name: template(name).read_text(encoding="utf-8") for name in _IGNORED}
    for name, text in content.items():
        files.write_bytes(folder / name, text.encode())
    if within or not was_empty:
        return []
    return commit(folder, "A project of Sightline, as sightline init makes it")


def commit(folder: Path, message: str) -> list[str]:
    """Commits all that has changed in a project; returns a line where git does not know who does it."""
    _must(_git(folder, "add", "--all"))
    if _git(folder, "commit", "--quiet", "--message", message).returncode == 0:
        return []
    again = shlex.join(["git", "-C", str(folder), "commit", "--quiet", "--message", message])
    return [f"not committed, git does not know who you are: {_INTRODUCTION} && {again}"]


def require_commits(folder: Path) -> None:
    """Refuses a place in which a project would not be committed: a search needs worktrees of its own repository.

    Raises:
        UserError: If it lies in another repository, or git does not know whose commits they are.
    """
    there = next(path for path in [folder.resolve(), *folder.resolve().parents] if path.is_dir())
    around = _git(there, "rev-parse", "--show-toplevel")
    if around.returncode == 0:
        repository = Path(around.stdout.strip())
        raise UserError(f"--try needs a git repository of its own, and {folder} lies in {repository}: leave --try out")
    if _git(there, "var", "GIT_COMMITTER_IDENT").returncode:
        raise UserError(f"--try commits, and git does not know who you are: {_INTRODUCTION}")


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return _run(["git", *words], folder)


def _run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def _must(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        why = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise UserError(f"{shlex.join(done.args)} failed: {why[-1] if why else done.returncode}")
