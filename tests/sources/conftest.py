"""Fixtures of the tests of sources: database servers."""

from tests.servers.fixtures import *  # noqa: F403 - pytest finds fixtures by their names here
