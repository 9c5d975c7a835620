"""Fixtures: databases that machines share."""

from tests.servers.fixtures import *  # noqa: F403 - pytest finds fixtures by their names here
