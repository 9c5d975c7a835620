"""git, the command: its answers to questions, and its work."""

from __future__ import annotations

import subprocess
from pathlib import Path

from sightline.core.errors import UserError

_SECONDS = 60.0  # for an answer; one that takes longer is none


def stdout(*words: str, folder: Path | None = None) -> bytes | None:
    """Returns the standard output of git; None where it fails, takes over a minute, or is not installed.

    Args:
        words: Its arguments, as "rev-parse", "HEAD".
        folder: The folder to run it in; None is the working directory.
    """
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def answer(*words: str, folder: Path | None = None) -> str | None:
    """Returns the output of git as text without white space around it; None as `stdout`."""
    content = stdout(*words, folder=folder)
    return None if content is None else content.decode(errors="replace").strip()


def paths(*words: str) -> list[str]:
    """Returns the paths that a command of git with `-z` lists; none as `stdout` has none."""
    return [path for path in (stdout(*words) or b"").decode(errors="surrogateescape").split("\0") if path]


def run(*words: str, folder: Path | None = None) -> str:
    """Runs git and returns its output as text without white space around it.

    Raises:
        UserError: If it fails, with the last line that it prints.
    """
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise UserError(f"git {words[0]} failed: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout.strip()
