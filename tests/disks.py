"""Small and read-only file systems."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """Mounts an in-memory file system on a folder while the block runs; skips the test if mounting is not permitted."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount a file system")
    try:
        yield folder
    finally:
        # Lazy unmount: an exception that pytest keeps may hold a file that a library had open.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
