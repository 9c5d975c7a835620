"""Images in MongoDB and GridFS: real pymongo, a real socket, and a real server where MONGODB_URI names one."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
import time
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import bson
import bson.json_util
import pytest
from gridfs import GridFSBucket

from sightline.core.credentials import DATABASE_PASSWORD, DATABASE_URL, parse_url
from sightline.core.errors import UserError
from sightline.core.rejection import RejectionReason
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.sources.databases import mongo
from sightline.sources.databases.mongo_source import MongodbSource, _beyond
from sightline.sources.databases.writeback import load_images
from sightline.sources.mongodb import MongodbOption
from tests.servers.proxy import proxy
from tests.stages.ingest.helpers import run
from tests.stages.ingest.pictures import as_read, pictures, png

pytestmark = pytest.mark.slow


def source(**settings: Any) -> MongodbSource:
    defaults: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(MongodbOption))
    fields = {"id_field": "_id", "image_field": "image", "label_field": "label"}
    fields |= {"split_field": "split", "group_field": "group"}
    rest = {"name": "mongodb", "collection": "images", "gridfs": False, "filter": {}, "max_bytes": 2**25}
    return MongodbSource(MongodbOption(**{**defaults, **fields, **rest, **settings}))


@pytest.fixture
def url(mongo_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(DATABASE_URL, mongo_url)
    return mongo_url


def insert(url: str, *documents: dict[str, Any], collection: str = "images") -> None:
    with mongo.connect(parse_url(url)) as client:
        client[parse_url(url).path[1:]][collection].insert_many(list(documents))


def update(url: str, found: dict[str, Any], change: dict[str, Any], collection: str = "images") -> None:
    with mongo.connect(parse_url(url)) as client:
        client[parse_url(url).path[1:]][collection].update_one(found, change)


@pytest.mark.parametrize("gridfs", [False, True], ids=["documents", "gridfs"])
def test_what_was_loaded_is_read_back_in_order_of_code_points(url: str, gridfs: bool) -> None:
    expected = pictures()
    assert load_images(reversed(expected), url, "images", gridfs) == len(expected)
    assert as_read(list(source(gridfs=gridfs).records())) == expected


def test_fields_filter_and_projection(url: str) -> None:
    day = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    insert(
        url,
        {"_id": 1, "name": "n1", "file": {"png": png(1)}, "tags": {"class": 7.0}, "seen": day, "huge": "x" * 10**6},
        {"_id": 2, "name": "n2", "file": {"png": png(2)}, "tags": {"class": "b"}, "seen": day},
        {"_id": 3, "name": "n3", "file": {"png": png(3)}, "tags": {"class": "c"}},
    )
    names = {"id_field": "name", "image_field": "file.png", "label_field": "tags.class"}
    recent = {"seen": {"$gte": {"$date": "2026-01-01T00:00:00Z"}}}
    expected = [ImageRecord("n1", png(1), "7"), ImageRecord("n2", png(2), "b")]
    assert as_read(list(source(**names, filter=recent).records())) == expected
    chosen = {"name": 1, "file": 1}
    assert [item.label for item in as_read(list(source(**names, projection=chosen).records()))] == [None] * 3


def test_a_list_is_no_label_and_a_label_has_one_unicode_form(url: str, tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    labels: list[Any] = [*forms, ["cat", "dog"], {"name": "cat"}]
    insert(url, *({"_id": n, "image": png(n), "label": label} for n, label in enumerate(labels)))
    result = run(source(), tmp_path / "out")
    assert result.summary["classes"] == {forms[0]: 2}
    assert result.rejected == {"2": "bad_label", "3": "bad_label"}


@pytest.mark.parametrize("gridfs", [False, True])
def test_a_limit_takes_an_even_sample(url: str, gridfs: bool) -> None:
    expected = {record.id: record for record in pictures(200)}
    load_images(expected.values(), url, "images", gridfs)
    limited = MongodbSource(source(gridfs=gridfs).option, limit=50)
    sample = as_read(list(limited.records()))
    assert sorted(Counter(record.label for record in sample).values()) == [16, 17, 17]
    assert limited.notes == ["ingest.limit: 50 of 200 inputs, sampled evenly from each of 3 classes"]
    assert sample == [expected[record.id] for record in sample]
    assert len(sample) == 50
    assert [record.id for record in sample] != list(expected)[:50]


def test_documents_without_an_image(url: str) -> None:
    insert(url, {"_id": 1}, {"_id": 2, "image": None}, {"_id": 3, "image": "text!"}, {"_id": 4, "image": png(4)})
    assert list(source().records()) == [
        Rejection("1", RejectionReason.MISSING, "the document has no image"),
        Rejection("2", RejectionReason.MISSING, "the document has no image"),
        Rejection("3", RejectionReason.NOT_AN_IMAGE, "image contains text that is not base64"),
        ImageRecord("4", png(4), None),
    ]
    nameless = list(source(id_field="name").records())
    assert nameless[0] == Rejection("1", RejectionReason.MISSING, "the document has no name")
    assert len(nameless) == 4


def test_damaged_gridfs_files(url: str) -> None:
    records = [ImageRecord(name, png(n), "cat") for n, name in enumerate(["a", "b", "c"])]
    load_images(records, url, "images", gridfs=True)
    with mongo.connect(parse_url(url)) as client:
        database = client[parse_url(url).path[1:]]
        database["images.chunks"].delete_many({"files_id": "b"})
        GridFSBucket(database, "images").upload_from_stream_with_id("d", "d", bytes(1000))
    items = list(source(gridfs=True, max_bytes=999).records())
    assert [(item.id, getattr(item, "reason", None)) for item in items] == [
        ("a", None),
        ("b", RejectionReason.TRUNCATED),
        ("c", None),
        ("d", RejectionReason.TOO_MANY_BYTES),
    ]


@pytest.mark.parametrize("field", ["filter", "projection"])
@pytest.mark.parametrize(
    "document",
    [
        {"$where": "sleep(1000)"},
        {"$expr": {"$function": {"body": "function() { return true }", "args": [], "lang": "js"}}},
        {"$and": [{"a": 1}, {"$or": [{"b": {"$not": {"$where": "1"}}}]}]},
        {"x": {"$accumulator": {}}},
    ],
)
def test_operators_that_run_code_are_refused(field: str, document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"{field}: \$\w+ runs code"):
        source(**{field: document})


class TestFingerprint:
    @pytest.mark.parametrize("gridfs", [False, True], ids=["documents", "gridfs"])
    def test_it_is_the_same_until_something_changes(self, url: str, gridfs: bool) -> None:
        records = pictures(20)
        load_images(records, url, "images", gridfs)
        watched = source(gridfs=gridfs)
        seen = [watched.fingerprint()]
        assert seen == [watched.fingerprint()]
        assert seen[0]["documents"] == 20
        assert seen[0]["largest_id"] == "🙂"
        load_images([ImageRecord("a", png(1), "owl")], url, "images", gridfs)
        seen.append(watched.fingerprint())
        load_images([ImageRecord("new", png(1), "owl")], url, "images", gridfs)
        seen.append(watched.fingerprint())
        assert len({str(fingerprint) for fingerprint in seen}) == 3

    def test_content_is_seen_through_a_checksum_only(self, url: str) -> None:
        load_images(pictures(20), url)
        ways = [source(), source(checksum_field="sha256")]
        before = [way.fingerprint() for way in ways]
        update(url, {"_id": "é"}, {"$set": {"image": png(999), "sha256": "changed"}})
        after = [way.fingerprint() for way in ways]
        assert [old == new for old, new in zip(before, after, strict=True)] == [True, False]

    def test_the_newest_change(self, url: str) -> None:
        day = datetime.datetime(2026, 1, 2)
        insert(url, {"_id": 1, "changed": day}, {"_id": 2, "changed": day - datetime.timedelta(days=1)})
        watched = source(changed_field="changed")
        before = watched.fingerprint()
        assert before["newest_change"] == "2026-01-02 00:00:00"
        assert "digest" not in before
        update(url, {"_id": 2}, {"$set": {"changed": day + datetime.timedelta(days=1)}})
        assert watched.fingerprint()["newest_change"] == "2026-01-03 00:00:00"


class TestLostConnections:
    """Nothing is lost, nothing comes twice."""

    def through(self, url: str, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
        monkeypatch.setenv(DATABASE_URL, url.replace(f":{parse_url(url).address.rpartition(':')[2]}/", f":{port}/"))

    @pytest.mark.parametrize("mongo_url", ["wire"], indirect=True)
    @pytest.mark.parametrize("gridfs", [False, True], ids=["documents", "gridfs"])
    def test_cut_by_the_network(self, url: str, gridfs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        expected = [ImageRecord(f"{n:05}", png(n, 32), "cat") for n in range(100 if gridfs else 600)]
        load_images(expected, url, "images", gridfs)
        port = int(parse_url(url).address.rpartition(":")[2])
        with proxy(port, [20_000, 40_000, 60_000] if gridfs else [200_000, 150_000, 30_000, 90_000]) as network:
            self.through(url, monkeypatch, network.port)
            assert as_read(list(source(gridfs=gridfs).records())) == expected
            assert network.cuts >= 2

    def test_ids_of_several_types(self, url: str) -> None:
        """`$gt` sees only ids of the last one's type: going on after it must not lose the others."""
        keys = [1, 2.5, 3, "a", "b", {"k": 1}, b"\xff\x00", bson.ObjectId(), False, datetime.datetime(2026, 1, 1)]
        insert(url, *({"_id": key, "image": png(n), "label": "cat"} for n, key in enumerate(keys)))
        assert [item.data for item in as_read(list(source().records()))] == [png(n) for n in range(len(keys))]
        for position, last in enumerate(keys):
            rest = source(filter=json.loads(bson.json_util.dumps(_beyond(last))))
            assert [item.data for item in rest.records()] == [png(n) for n in range(position + 1, len(keys))]

    @pytest.mark.parametrize("mongo_url", ["wire"], indirect=True)
    def test_a_cursor_that_the_server_forgot(self, url: str) -> None:
        """Servers drop a cursor that nobody asks for ten minutes."""
        expected = [ImageRecord(f"{n:05}", png(n), "cat") for n in range(300)]
        load_images(expected, url)
        stream = source().records()
        read = as_read(list(itertools.islice(stream, 10)))
        with mongo.connect(parse_url(url)) as client:
            namespace = client[parse_url(url).path[1:]]
            namespace.command({"forgetCursors": 1})
        read += as_read(list(stream))
        assert read == expected


@pytest.mark.usefixtures("hasty")
class TestUnreachable:
    @pytest.fixture
    def hasty(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mongo, "CONNECT_SECONDS", 1)

    def test_a_server_that_is_down_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(DATABASE_URL, "mongodb://127.0.0.1:9/images")
        begun = time.monotonic()
        with pytest.raises(UserError) as error:
            list(source().records())
        assert time.monotonic() - begun < 30
        for word in ("127.0.0.1:9", DATABASE_URL, "Connection refused"):
            assert word in str(error.value)
        assert "\n" not in str(error.value)
        assert error.value.__suppress_context__

    def test_a_login_that_is_refused(self, wire_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(DATABASE_PASSWORD, "c4nary")
        address = parse_url(wire_url).hosts
        with pytest.raises(UserError, match=DATABASE_PASSWORD) as error:
            source(url=f"mongodb://pipe@{address}/images").fingerprint()
        assert "c4nary" not in str(error.value)

    def test_a_url_without_a_database(self, wire_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(DATABASE_URL, wire_url)
        with pytest.raises(UserError, match="no database in the URL"):
            source().fingerprint()

    def test_a_setting_that_is_none(self, wire_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(DATABASE_URL, f"{wire_url}/x?tlsCertificateKeyFilePassword=c4nary&authSource=")
        with pytest.raises(UserError) as error:
            source().fingerprint()
        assert "c4nary" not in str(error.value)
