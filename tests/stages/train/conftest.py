"""Fixtures of the tests of training."""

from __future__ import annotations

import pytest

from sightline.core import terminal_log


@pytest.fixture(autouse=True)
def _terminal() -> None:
    """Configures the log as the stage does."""
    terminal_log.configure()
