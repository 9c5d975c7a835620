"""Fixtures of the tests of ingestion: database servers."""

from tests.servers.fixtures import *  # noqa: F403 - pytest finds fixtures by their names here
