"""Fixtures of the ingestion's tests."""

from tests.servers.fixtures import *  # noqa: F403 - pytest finds fixtures by their names here
