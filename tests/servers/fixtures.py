"""Fixtures: servers, started once per session, and databases and tables in them that only one test uses."""

from __future__ import annotations

import dataclasses
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from sightline.core.credentials import parse_url
from sightline.sources.databases import mongo, sql
from tests.servers import mongowire, processes


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[tuple[str, Path]]:
    with processes.mariadb() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_url(mariadb_server: tuple[str, Path]) -> str:
    return mariadb_server[0]


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    with processes.postgresql() as url:
        yield url


@pytest.fixture(scope="session")
def mysql_url() -> str:
    url = os.environ.get("SIGHTLINE_TEST_MYSQL_URL")
    return url or pytest.skip("SIGHTLINE_TEST_MYSQL_URL names no MySQL (these tests ran on MariaDB)")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    (tmp_path / "images.db").touch()
    return f"sqlite:///{tmp_path}/images.db"


@pytest.fixture(params=["mariadb", "mysql", "postgresql", "sqlite"])
def sql_url(request: pytest.FixtureRequest) -> str:
    """Each kind of SQL database in turn."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Iterator[str]:
    """A unique table name; the table is dropped afterwards."""
    name = f"images {uuid.uuid4().hex[:8]}"  # with a space, so that identifiers must be quoted
    yield name
    if "sql_url" in request.fixturenames:
        with (
            sql.engine(parse_url(request.getfixturevalue("sql_url")), write=True) as engine,
            engine.begin() as connection,
        ):
            sa.Table(name, sa.MetaData()).drop(connection, checkfirst=True)


@pytest.fixture(scope="session")
def wire_url() -> Iterator[str]:
    with mongowire.serve() as url:
        yield url


@pytest.fixture(params=["wire", "server"])
def mongo_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A new MongoDB database for the test: on the wire server, and on the server in MONGODB_URI if that is set."""
    if request.param == "wire":
        base = str(request.getfixturevalue("wire_url"))
    else:
        base = os.environ.get("MONGODB_URI") or pytest.skip(
            "MONGODB_URI names no server (these tests ran on mongomock, over the wire)"
        )
    parts = parse_url(base)
    name = f"sightline_{uuid.uuid4().hex[:8]}"
    query = parts.query
    if parts.user and "authSource=" not in query:  # authentication keeps its database, although the URL names another
        query = f"authSource={parts.path.strip('/') or 'admin'}" + (f"&{query}" if query else "")
    url = dataclasses.replace(parts, path=f"/{name}", query=query).text()
    yield url
    with mongo.connect(parse_url(url)) as client:
        client.drop_database(name)
