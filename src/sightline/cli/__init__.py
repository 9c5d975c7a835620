"""The `sightline` command: one short function per verb, which imports heavy packages only when it runs.

Each module holds verbs of one kind; importing it registers them.
"""

from __future__ import annotations

from importlib import import_module

from sightline.cli.base import app
from sightline.cli.checkout import run_own_code
from sightline.core import terminal_log

# In the order in which a user meets them.
for _verbs in ("init", "project", "data", "review", "training", "sweeps", "runs", "bundles", "predict", "drift"):
    import_module(f"sightline.cli.{_verbs}")

__all__ = ["app", "main"]


def main() -> None:
    """The command."""
    run_own_code()
    terminal_log.configure()
    app()
