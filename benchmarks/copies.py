"""A copy of the project for a benchmark, which leaves the project's own outputs, runs and caches untouched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def make(root: Path) -> None:
    """Copies the project's current files, without the outputs of the stages, into a new git repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for path in {Path(name) for name in names if name}:
        written = path.parts[0] in ("data", "models", "reports") or path.name == "dvc.lock"
        if not written and (ROOT / path).is_file():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, root / path)
    run(root, "git", "init", "--quiet")


def run(root: Path, *words: str, paths: tuple[Path, ...] = (), **variables: str) -> str:
    """Runs a command in a copy of the project, with the copy's code.

    Args:
        root: The copy.
        words: The command.
        paths: Folders that come first on PYTHONPATH.
        variables: Further environment variables.

    Returns:
        Its output, including standard error.

    Raises:
        SystemExit: The command failed.
    """
    environment = {
        # Lets Python cache compiled modules, which is its default: installed packages are compiled as well.
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(map(str, (*paths, root / "src"))),
        **variables,
    }
    done = subprocess.run(words, cwd=root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout
