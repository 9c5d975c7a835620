"""Fixtures of the tests of training."""

from __future__ import annotations

import pytest

from sightline.core import terminal_log


@pytest.fixture(autouse=True)
def _terminal() -> None:
    """The log as the stage shows it."""
    terminal_log.configure()
