"""Fixtures of the tests of the command."""

from tests.exported import project

__all__ = ["project"]
