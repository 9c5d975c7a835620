"""Calls of the `git` command: queries and actions."""

from __future__ import annotations

import subprocess
from pathlib import Path

from sightline.core.errors import UserError

_SECONDS = 60.0  # timeout of a query


def stdout(*words: str, folder: Path | None = None) -> bytes | None:
    """Returns the standard output of git; None if it fails, takes over a minute, or is not installed.

    Args:
        words: Its arguments, such as "rev-parse", "HEAD".
        folder: The folder to run it in; None for the working directory.
    """
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def answer(*words: str, folder: Path | None = None) -> str | None:
    """Returns the output of git as stripped text; None as for `stdout`."""
    content = stdout(*words, folder=folder)
    return None if content is None else content.decode(errors="replace").strip()


def paths(*words: str) -> list[str]:
    """Returns the paths that a git command with `-z` prints; an empty list if it fails."""
    return [path for path in (stdout(*words) or b"").decode(errors="surrogateescape").split("\0") if path]


def run(*words: str, folder: Path | None = None) -> str:
    """Runs git and returns its output as stripped text.

    Raises:
        UserError: If it fails, with the last line of its output.
    """
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise UserError(f"git {words[0]} failed: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout.strip()
