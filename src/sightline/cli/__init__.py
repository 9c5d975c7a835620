"""The `sightline` command: one short function per verb; heavy packages are imported only when a verb runs.

Each module contains verbs of one kind and registers them when it is imported.
"""

from __future__ import annotations

from importlib import import_module

from sightline.cli.base import app
from sightline.cli.checkout import run_own_code
from sightline.core import terminal_log

# In the order in which a user needs them.
for _verbs in ("init", "project", "data", "review", "training", "sweeps", "runs", "bundles", "predict", "drift"):
    import_module(f"sightline.cli.{_verbs}")

__all__ = ["app", "main"]


def main() -> None:
    """Runs the command."""
    run_own_code()
    terminal_log.configure()
    app()
