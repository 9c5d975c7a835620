"""Images in MariaDB, MySQL, PostgreSQL and SQLite: real servers, real sockets."""
# ruff: noqa: S608 - these statements are the tests' own

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from sightline.core.credentials import DATABASE_PASSWORD, DATABASE_URL, parse_url
from sightline.core.errors import UserError
from sightline.core.rejection import RejectionReason
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.sources.databases import sql, sql_source
from sightline.sources.databases.sql_source import SqlSource
from sightline.sources.databases.writeback import load_images
from sightline.sources.sql import SqlOption
from tests.servers.proxy import proxy
from tests.stages.ingest.helpers import spellings
from tests.stages.ingest.pictures import as_read, pictures, png

pytestmark = pytest.mark.slow


def source(**settings: Any) -> SqlSource:
    defaults: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(SqlOption))
    columns = {"id_column": "id", "image_column": "image", "label_column": "label"}
    return SqlSource(SqlOption(**{**defaults, "name": "sql", **columns, **settings}))


def full(table: str, **settings: Any) -> SqlSource:
    return source(table=table, split_column="split", group_column="group", **settings)


def change(url: str, statement: Any) -> None:
    with sql.engine(parse_url(url), write=True) as engine, engine.begin() as connection:
        connection.execute(statement)


def images_table(name: str, *more: str) -> sa.TableClause:
    return sa.table(name, *map(sa.column, ("id", "image", "label", *more)))


@pytest.fixture
def url(sql_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(DATABASE_URL, sql_url)
    return sql_url


def test_what_was_loaded_is_read_back_in_order_of_code_points(url: str, table: str) -> None:
    expected = pictures()
    assert load_images(reversed(expected), url, table) == len(expected)
    assert as_read(list(full(table).records())) == expected


def test_a_query_gives_the_same_stream(url: str, table: str) -> None:
    expected = pictures()
    load_images(expected, url, table)
    quote = "`" if url.startswith("mysql") else '"'
    query = f"SELECT * FROM {quote}{table}{quote} WHERE label LIKE 'c%' AND id <> ':x' -- the cats\n;"
    read = as_read(list(source(query=query, split_column="split", group_column="group").records()))
    assert read == [record for record in expected if record.label == "cat"]


def test_the_columns_collation_does_not_matter(url: str, table: str) -> None:
    """`load_images` makes columns that sort by bytes; other people's sort by words."""
    expected = pictures()
    by_words = {"mysql": "utf8mb4_unicode_ci", "postgresql": None, "sqlite": "NOCASE"}[parse_url(url).family]
    columns = [
        sa.Column("id", sa.String(100, by_words)),
        sa.Column("image", sa.LargeBinary),
        sa.Column("label", sa.Text),
    ]
    made = sa.Table(table, sa.MetaData(), *columns)
    with sql.engine(parse_url(url), write=True) as engine, engine.begin() as connection:
        made.create(connection)
        rows = [{"id": record.id, "image": record.data, "label": record.label} for record in expected]
        connection.execute(made.insert(), rows)
        order = connection.execute(sa.select(made.c.id).order_by(made.c.id)).scalars().all()
    assert order != [record.id for record in expected]
    for option in ({"table": table}, {"query": str(sa.select(made).compile(engine))}):
        read = as_read(list(source(**option).records()))
        assert [(record.id, record.data) for record in read] == [(record.id, record.data) for record in expected]


@pytest.mark.parametrize("as_query", [False, True], ids=["table", "query"])
def test_a_limit_takes_an_even_sample(url: str, table: str, as_query: bool) -> None:
    expected = {record.id: record for record in pictures(200)}
    load_images(expected.values(), url, table)
    quote = "`" if url.startswith("mysql") else '"'
    chosen = {"query": f"SELECT * FROM {quote}{table}{quote}"} if as_query else {"table": table}
    option = source(**chosen, split_column="split", group_column="group").option
    limited = SqlSource(option, limit=50)
    sample = as_read(list(limited.records()))
    assert sample == [expected[record.id] for record in sample]
    assert len(sample) == 50
    assert sorted(Counter(record.label for record in sample).values()) == [16, 17, 17]
    assert limited.notes == ["ingest.limit: 50 of 200 inputs, sampled evenly from each of 3 classes"]
    assert [record.id for record in sample] != list(expected)[:50]


def test_pages_end_anywhere(url: str, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.sources.databases.sql_source.ID_PAGE", 7)
    expected = pictures()
    load_images(expected, url, table)
    assert as_read(list(full(table).records())) == expected


def test_whole_numbers_as_ids_and_rows_that_hold_no_image(url: str, table: str) -> None:
    columns = [sa.Column("id", sa.Integer), sa.Column("image", sa.LargeBinary), sa.Column("label", sa.Integer)]
    made = sa.Table(table, sa.MetaData(), *columns)
    rows = [(9, png(9), 1), (10, png(10), None), (11, None, 1), (None, png(1), 1), (12, b"", 3), (9, png(8), 2)]
    with sql.engine(parse_url(url), write=True) as engine, engine.begin() as connection:
        made.create(connection)
        connection.execute(made.insert(), [dict(zip(("id", "image", "label"), row, strict=True)) for row in rows])
    items = list(source(table=table).records())
    assert items[:4] == [
        Rejection("(row without an id 1)", RejectionReason.MISSING, "the row has no id"),
        ImageRecord("10", png(10), None),
        Rejection("11", RejectionReason.MISSING, "the image column is NULL"),
        ImageRecord("12", b"", "3"),
    ]
    assert sorted(items[4:], key=str) == sorted([ImageRecord("9", png(9), "1"), ImageRecord("9", png(8), "2")], key=str)
    assert list(source(table=table).records()) == items


def test_images_as_text(url: str, table: str) -> None:
    columns = [sa.Column("id", sa.String(40)), sa.Column("image", sa.Text), sa.Column("label", sa.String(9))]
    made = sa.Table(table, sa.MetaData(), *columns)
    rows = {**spellings(png(1)), "zzz": "no image"}
    with sql.engine(parse_url(url), write=True) as engine, engine.begin() as connection:
        made.create(connection)
        connection.execute(made.insert(), [{"id": name, "image": text, "label": "a"} for name, text in rows.items()])
    *items, last = source(table=table).records()
    assert items == [ImageRecord(name, png(1), "a") for name in sorted(spellings(png(1)))]
    assert last == Rejection("zzz", RejectionReason.NOT_AN_IMAGE, "the image column contains text that is not base64")


def test_ids_of_mysqls_other_types(mariadb_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATABASE_URL, mariadb_url)
    kinds = {
        "BINARY(2)": [b"\x00\xff", b"\xfe\xfe", b"\xff\x00", b"\xff\xff"],
        "VARCHAR(9) CHARACTER SET latin1": ["z", "ß", "ä", "é"],
        "DECIMAL(4,1)": ["1.5", "10.0", "2.0", "9.9"],
        "VARCHAR(9) COLLATE utf8mb4_general_ci": ["A", "B", "a", "b"],
    }
    for kind, ids in kinds.items():
        change(mariadb_url, sa.text(f"CREATE OR REPLACE TABLE kinds (id {kind}, image BLOB, label INT)"))
        images = images_table("kinds")
        rows = [{"id": key, "image": png(number), "label": 1} for number, key in enumerate(ids)]
        change(mariadb_url, images.insert().values(rows))
        read = as_read(list(source(table="kinds").records()))
        assert [record.data for record in read] == [png(number) for number in range(4)], kind
        assert len({record.id for record in read}) == 4
        assert as_read(list(source(query="SELECT * FROM kinds").records())) == read
    change(mariadb_url, sa.text("DROP TABLE kinds"))


def test_an_array_is_no_label() -> None:
    refused = sql_source._record(["1", "1", png(1), ["cat", "dog"], None, None])  # as PostgreSQL's driver gives it
    assert isinstance(refused, Rejection)
    assert (refused.id, refused.reason) == ("1", "bad_label")


def test_a_hostile_name_is_a_name(url: str, table: str) -> None:
    load_images(pictures(), url, table)
    for name in ("x; DROP TABLE images", '"; DROP TABLE images; --', "`x` WHERE 1=1 --", "a'b", "images) --"):
        with pytest.raises(UserError, match="check the table"):
            list(source(table=name).records())
        with pytest.raises(UserError, match="check the table"):
            list(source(table=table, label_column=name).records())
    assert len(list(full(table).records())) == len(pictures())


def test_a_query_cannot_write(url: str, table: str) -> None:
    load_images(pictures(), url, table)
    quote = "`" if url.startswith("mysql") else '"'
    name = f"{quote}{table}{quote}"
    for query in (
        f"DELETE FROM {name}",
        f"SELECT * FROM {name}; DROP TABLE {name}",
        f"SELECT 1) AS images; DROP TABLE {name}; SELECT (1",
        f"WITH gone AS (DELETE FROM {name} RETURNING *) SELECT * FROM gone",
    ):
        with pytest.raises(UserError):
            list(source(query=query).records())
    assert len(list(full(table).records())) == len(pictures())


class TestFingerprint:
    def test_it_is_the_same_until_something_changes(self, url: str, table: str) -> None:
        records = pictures()
        load_images(records, url, table)
        watched = full(table)
        first = watched.fingerprint()
        assert first == watched.fingerprint()
        assert first["rows"] == len(records)
        assert first["largest_id"] == "🙂"
        seen = [first]
        images = images_table(table)
        for statement in (
            images.update().where(images.c.id == "bird/00003.png").values(label="owl"),
            images.delete().where(images.c.id == "bird/00003.png"),
            images.insert().values(id="bird/00003b.png", image=png(1), label="owl"),
        ):
            change(url, statement)
            seen.append(watched.fingerprint())
        assert len({str(fingerprint) for fingerprint in seen}) == 4

    def test_content_is_seen_through_a_checksum_only(self, url: str, table: str) -> None:
        load_images(pictures(), url, table)
        images = images_table(table, "sha256")
        before = full(table).fingerprint()
        summed = full(table, checksum_column="sha256").fingerprint()
        change(url, images.update().where(images.c.id == "é").values(image=png(777), sha256="changed"))
        assert full(table).fingerprint() == before
        assert full(table, checksum_column="sha256").fingerprint() != summed

    def test_the_newest_change(self, url: str, table: str) -> None:
        columns = [sa.Column("id", sa.Integer), sa.Column("image", sa.LargeBinary), sa.Column("label", sa.Text)]
        made = sa.Table(table, sa.MetaData(), *columns, sa.Column("changed", sa.DateTime))
        with sql.engine(parse_url(url), write=True) as engine, engine.begin() as connection:
            made.create(connection)
            day = datetime.datetime(2026, 1, 2, 3, 4, 5)
            connection.execute(made.insert(), [{"id": 1, "image": png(1), "label": "a", "changed": day}])
        watched = source(table=table, changed_column="changed")
        before = watched.fingerprint()
        assert before["newest_change"].startswith("2026-01-02 03:04:05")
        assert "digest" not in before
        change(url, made.update().values(changed=day + datetime.timedelta(seconds=1)))
        assert watched.fingerprint() != before


class TestLostConnections:
    """Nothing is lost, nothing comes twice."""

    @pytest.fixture(params=["mariadb", "postgresql"])
    def server(self, request: pytest.FixtureRequest) -> str:
        return str(request.getfixturevalue(f"{request.param}_url"))

    @pytest.fixture
    def loaded(self, server: str) -> Iterator[tuple[str, list[ImageRecord]]]:
        records = [ImageRecord(f"{n:05}", png(n, 32), "cat") for n in range(600)]
        name = f"lost_{id(records)}"
        load_images(records, server, name)
        yield name, records
        change(server, sa.text(f"DROP TABLE {name}"))

    @pytest.mark.parametrize("as_query", [False, True], ids=["table", "query"])
    def test_cut_by_the_network(
        self, server: str, loaded: tuple[str, list[ImageRecord]], as_query: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name, expected = loaded
        port = int(parse_url(server).hosts.partition(":")[2])
        with proxy(port, [30_000, 50_000, 20_000, 90_000, 1_000]) as network:
            monkeypatch.setenv(DATABASE_URL, server.replace(f":{port}/", f":{network.port}/"))
            chosen = {"query": f"SELECT * FROM {name}"} if as_query else {"table": name}
            assert as_read(list(source(**chosen).records())) == expected
            assert network.cuts >= 3

    @pytest.mark.parametrize("as_query", [False, True], ids=["table", "query"])
    def test_killed_by_the_server(
        self,
        server: str,
        loaded: tuple[str, list[ImageRecord]],
        as_query: bool,
        request: pytest.FixtureRequest,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        name, expected = loaded
        monkeypatch.setenv(DATABASE_URL, server)
        chosen = {"query": f"SELECT * FROM {name}"} if as_query else {"table": name}
        stream = source(**chosen).records()
        read = list(itertools.islice(stream, 40))
        killed = self.kill_readers(server, request)
        read += stream
        assert killed
        assert as_read(read) == expected

    def kill_readers(self, server: str, request: pytest.FixtureRequest) -> int:
        if server.startswith("postgresql"):
            others = "FROM pg_stat_activity WHERE datname = 'images' AND pid <> pg_backend_pid()"
            with sql.engine(parse_url(server)) as engine, engine.connect() as connection:
                return len(connection.execute(sa.text(f"SELECT pg_terminate_backend(pid) {others}")).all())
        place = request.getfixturevalue("mariadb_server")[1]
        client = ["mariadb", "--no-defaults", f"--socket={place}", "-uroot", "-N", "-e"]
        listed = "SELECT id FROM information_schema.processlist WHERE user = 'pipe'"
        ids = subprocess.run([*client, listed], check=True, capture_output=True, text=True).stdout.split()
        subprocess.run([*client, "".join(f"KILL CONNECTION {number};" for number in ids)], check=True)
        return len(ids)

    @pytest.mark.parametrize("as_query", [False, pytest.param(True, marks=pytest.mark.full)], ids=["table", "query"])
    def test_a_slow_reader_outlives_the_servers_patience(
        self, mariadb_server: tuple[str, Path], as_query: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url, place = mariadb_server
        client = ["mariadb", "--no-defaults", f"--socket={place}", "-uroot", "-e"]
        records = [ImageRecord(f"{n:05}", png(n) + bytes(200_000), "cat") for n in range(120)]
        load_images(records, url, "slow")
        subprocess.run([*client, "SET GLOBAL net_write_timeout = 2"], check=True)
        try:
            monkeypatch.setenv(DATABASE_URL, url)
            stream = source(**({"query": "SELECT * FROM slow"} if as_query else {"table": "slow"})).records()
            read = list(itertools.islice(stream, 20))
            time.sleep(3.5)
            read += stream
        finally:
            subprocess.run([*client, "SET GLOBAL net_write_timeout = 60; DROP TABLE images.slow"], check=True)
        assert as_read(read) == records

    def test_a_reader_may_leave_early(self, server: str, loaded: tuple[str, list[ImageRecord]]) -> None:
        name, expected = loaded
        option = source(table=name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(DATABASE_URL, server)
            stream = option.records()
            assert next(stream) == expected[0]
            stream.close()


@pytest.mark.usefixtures("hasty")
class TestUnreachable:
    @pytest.fixture
    def hasty(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sql, "CONNECT_SECONDS", 1)

    @pytest.mark.parametrize("scheme", ["mysql", "postgresql"])
    def test_a_server_that_is_down_is_named_at_once(self, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(DATABASE_URL, f"{scheme}://pipe:hunter2@127.0.0.1:9/images")
        begun = time.monotonic()
        with pytest.raises(UserError) as error:
            list(source(table="images").records())
        assert time.monotonic() - begun < 30
        assert "127.0.0.1:9" in str(error.value)
        assert DATABASE_URL in str(error.value)
        assert "\n" not in str(error.value)
        assert "hunter2" not in str(error.value)
        assert error.value.__cause__ is None
        assert error.value.__suppress_context__

    @pytest.mark.parametrize("scheme", ["mysql", "postgresql"])
    def test_a_server_that_says_nothing_is_given_up(self, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            monkeypatch.setenv(DATABASE_URL, f"{scheme}://pipe:x@127.0.0.1:{silent.getsockname()[1]}/images")
            begun = time.monotonic()
            with pytest.raises(UserError, match="cannot be reached"):
                source(table="images").fingerprint()
            assert time.monotonic() - begun < 30

    @pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
    def test_a_wrong_password(self, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        parts = parse_url(request.getfixturevalue(f"{kind}_url"))
        monkeypatch.setenv(DATABASE_PASSWORD, "c4nary-wrong")
        option = source(table="images", url=f"{parts.scheme}://pipe@{parts.hosts}/images")
        with pytest.raises(UserError, match=DATABASE_PASSWORD) as error:
            option.fingerprint()
        assert "c4nary" not in str(error.value)

    def test_the_password_may_come_by_itself(self, mariadb_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        from tests.servers.processes import PASSWORD

        load_images(pictures(), mariadb_url, "alone")
        monkeypatch.setenv(DATABASE_PASSWORD, PASSWORD)
        option = source(table="alone", url=f"mysql://pipe@{parse_url(mariadb_url).hosts}/images")
        assert len(list(option.records())) == len(pictures())
        change(mariadb_url, sa.text("DROP TABLE alone"))

    def test_a_missing_sqlite_file_is_not_made(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no such file"):
            source(table="images", url=f"sqlite:///{tmp_path}/none.db").fingerprint()
        assert not (tmp_path / "none.db").exists()

    def test_another_kind_of_database(self) -> None:
        with pytest.raises(UserError, match="mssql"):
            source(table="images", url="mssql://host/images").fingerprint()
        with pytest.raises(UserError, match="not a supported SQL"):
            source(table="images", url="mysql+aiomysql://host/images").fingerprint()


def test_a_hostile_server_gets_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A MySQL server may answer any statement by asking for a file of the client's (LOAD DATA LOCAL INFILE)."""
    secret = tmp_path / "secret"
    secret.write_text("c4nary-file")
    received = bytearray()

    def packet(number: int, body: bytes) -> bytes:
        return struct.pack("<I", len(body))[:3] + bytes([number]) + body

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        flags = 0xFFFFFFFF & ~(1 << 11)  # everything but TLS
        greeting = b"\x0a8.0.0\0" + struct.pack("<I", 1) + b"12345678\0" + struct.pack("<H", flags & 0xFFFF)
        greeting += b"\x2d" + struct.pack("<HH", 2, flags >> 16) + b"\x15" + bytes(10) + b"123456789012\0"
        connection.sendall(packet(0, greeting + b"mysql_native_password\0"))
        connection.recv(65536)
        connection.sendall(packet(2, b"\0\0\0\x02\0\0\0"))
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                received.extend(part)
                setting = part[4:].startswith((b"\x03SET", b"\x03ROLLBACK", b"\x03COMMIT"))
                connection.sendall(packet(1, b"\0\0\0\x02\0\0\0" if setting else b"\xfb" + str(secret).encode()))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        port = listener.getsockname()[1]
        monkeypatch.setenv(DATABASE_URL, f"mysql://u:p@127.0.0.1:{port}/d?local_infile=1&client_flag=128")
        with pytest.raises((UserError, RuntimeError)):
            list(source(table="images").records())
    assert b"SELECT" in received
    assert b"c4nary" not in received
