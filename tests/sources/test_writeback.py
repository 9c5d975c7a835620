"""Images and predictions written to databases: again and again, with one result."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from sightline.core.credentials import parse_url
from sightline.core.errors import UserError, how_to_install
from sightline.datasets.raw_set import ImageRecord
from sightline.sources.databases import mongo, sql
from sightline.sources.databases.writeback import load_images, write_predictions
from tests.stages.ingest.pictures import pictures, png

pytestmark = pytest.mark.slow

Rows = Callable[[], list[dict[str, Any]]]

PREDICTIONS = [
    {"id": "a", "model": "m1", "label": "cat", "probability": 0.75},
    {"id": "A", "model": "m1", "label": "鳥", "probability": 1.0},
    {"id": "a ", "model": "m1", "reason": "truncated", "detail": "ends early\nhere"},
    {"id": "a", "model": "m2", "label": "Hund", "probability": 0.5},
]


def rows_of(url: str, table: str) -> list[dict[str, Any]]:
    with sql.engine(parse_url(url)) as engine, engine.connect() as connection:
        made = sa.Table(table, sa.MetaData(), autoload_with=engine)
        found = [dict(row._mapping) for row in connection.execute(sa.select(made))]
    return sorted(({k: v for k, v in row.items() if v is not None} for row in found), key=str)


def documents_of(url: str, collection: str) -> list[dict[str, Any]]:
    with mongo.connect(parse_url(url)) as client:
        found = list(client[parse_url(url).path[1:]][collection].find())
    for document in found:
        document.pop("_id")
    return sorted(found, key=str)


def test_predictions_in_sql(sql_url: str, table: str) -> None:
    for _ in range(2):
        assert write_predictions(PREDICTIONS, sql_url, table) == 4
        assert rows_of(sql_url, table) == sorted(PREDICTIONS, key=str)
    write_predictions([{"id": "a", "model": "m1", "label": "dog", "probability": 0.25}], sql_url, table)
    assert {"id": "a", "model": "m1", "label": "dog", "probability": 0.25} in rows_of(sql_url, table)
    assert len(rows_of(sql_url, table)) == 4


def test_predictions_in_mongodb(mongo_url: str) -> None:
    for _ in range(2):
        assert write_predictions(PREDICTIONS, mongo_url) == 4
        assert documents_of(mongo_url, "predictions") == sorted(PREDICTIONS, key=str)


def test_images_are_replaced_not_doubled(sql_url: str, table: str) -> None:
    load_images(pictures(), sql_url, table)
    before = rows_of(sql_url, table)
    load_images(pictures(), sql_url, table)
    assert rows_of(sql_url, table) == before
    load_images([ImageRecord("a", png(5), "owl"), ImageRecord("a", png(6), "hawk")], sql_url, table)
    changed = [row for row in rows_of(sql_url, table) if row not in before]
    assert [(row["id"], row["image"], row["label"]) for row in changed] == [("a", png(6), "hawk")]
    assert len(rows_of(sql_url, table)) == len(before)


def test_an_image_of_some_megabytes(sql_url: str, table: str) -> None:
    large = bytes(range(256)) * 20_000
    load_images([ImageRecord(str(n), large, "cat") for n in range(3)], sql_url, table)
    assert [row["image"] for row in rows_of(sql_url, table)] == [large] * 3


def test_gridfs_is_mended_after_a_load_that_was_cut_short(mongo_url: str) -> None:
    records = [ImageRecord(str(n), png(n), "cat") for n in range(5)]
    load_images(records, mongo_url, "images", gridfs=True)
    with mongo.connect(parse_url(mongo_url)) as client:
        database = client[parse_url(mongo_url).path[1:]]
        database["images.files"].delete_one({"_id": "3"})  # its chunks are there, its file is not
    load_images(records, mongo_url, "images", gridfs=True)
    assert len(documents_of(mongo_url, "images.files")) == 5
    assert len(documents_of(mongo_url, "images.chunks")) == 5


def test_what_a_database_cannot_hold(sqlite_url: str, table: str) -> None:
    with pytest.raises(UserError, match="has 600 characters; 512 are allowed"):
        load_images([ImageRecord("x" * 600, png(1), "cat")], sqlite_url, table)
    with pytest.raises(UserError, match="GridFS"):
        load_images([], sqlite_url, table, gridfs=True)
    with pytest.raises(ValueError, match="a prediction has"):
        write_predictions([{"id": "a", "model": "m", "colour": "red"}], sqlite_url, table)
    with pytest.raises(ValueError, match="a prediction has"):
        write_predictions([{"id": "a"}], sqlite_url, table)


@pytest.mark.parametrize(
    ("absent", "program", "message"),
    [
        ("pymongo", "load('mongodb://h/d')", f"MongoDB needs pymongo: {how_to_install('mongodb')}"),
        ("sqlalchemy", "load('sqlite:///x')", f"SQL databases need SQLAlchemy and drivers: {how_to_install('sql')}"),
        ("pymysql", "load('mysql://h/d')", f"mysql needs the driver pymysql: {how_to_install('sql')}"),
        ("psycopg", "load('postgresql://h/d')", f"postgresql needs the driver psycopg: {how_to_install('sql')}"),
    ],
)
def test_a_missing_extra_is_named(absent: str, program: str, message: str) -> None:
    setup = (
        f"import sys; sys.modules[{absent!r}] = None; from sightline.sources.databases.writeback import load_images\n"
    )
    setup += "def load(url): load_images([], url)\n"
    attempt = f"try:\n    {program}\nexcept Exception as error:\n    print(type(error).__name__, error)"
    done = subprocess.run([sys.executable, "-c", setup + attempt], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("UserError ")
    assert message in done.stdout


def test_what_may_be_configured_costs_nothing_to_import() -> None:
    program = "import sys, sightline.sources; list(sightline.sources.SOURCES); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"sqlalchemy", "pymongo", "bson", "pyarrow", "numpy", "omegaconf", "cv2", "PIL", "fsspec", "yaml"} & set(
        done.stdout.split()
    )


def test_a_replaced_image_is_noticed_in_a_table_that_load_made(tmp_path, monkeypatch):
    from sightline.config.compose import compose, typed
    from sightline.datasets.raw_set import ImageRecord
    from sightline.sources import open_source
    from sightline.stages.ingest.config import IngestConfig

    url = f"sqlite:///{tmp_path / 'images.db'}"
    config = typed(IngestConfig, compose(["ingest/source=sql", f"ingest.url='{url}'"]).ingest, "ingest")
    load_images([ImageRecord("1", b"one", "a")], url)
    before = open_source(config).fingerprint()
    load_images([ImageRecord("1", b"one", "a")], url)
    assert open_source(config).fingerprint() == before
    load_images([ImageRecord("1", b"another", "a")], url)
    assert open_source(config).fingerprint() != before
