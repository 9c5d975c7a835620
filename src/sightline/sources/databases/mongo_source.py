"""Images in a MongoDB collection or a GridFS bucket."""

from __future__ import annotations

import datetime
import itertools
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sightline.core.credentials import Url, database_url
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.sampling import sample
from sightline.core.text import label_of, one_label
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.imaging.encoded import image_bytes
from sightline.sources.content import NO_MEMORY, ContentMemory
from sightline.sources.databases import RetryBudget, as_text, mongo, unreachable_error
from sightline.sources.databases.digests import set_digest
from sightline.sources.mongodb import MongodbOption

Document = dict[str, Any]

_BRACKETS = (
    ("minKey",), ("null",), ("int", "long", "double", "decimal"), ("string", "symbol"), ("object",), ("array",),
    ("binData",), ("objectId",), ("bool",), ("date",), ("timestamp",), ("regex",), ("maxKey",),
)  # fmt: skip
"""BSON types in MongoDB's sort order. `$gt` compares only within one of these brackets."""


@dataclass(frozen=True)
class MongodbSource:
    """Reads documents in order of `_id`, which is unique, and resumes after the last one if the connection is lost.

    It opens nothing until one of its methods is called.

    Attributes:
        option: The source's settings.
        limit: Maximum number of documents, sampled evenly from each class; memory holds their ids. None for all.
        setting: The name of the setting with the URL, for error messages.
        remedy: The remedy if the database refuses a query.
        notes: Human-readable notes on what was read; complete once all records have been read.
    """

    option: MongodbOption
    limit: int | None = None
    setting: str = "ingest.url"
    remedy: str = "check the collection, fields and filter in ingest.source"
    notes: list[str] = field(default_factory=list, compare=False)

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:  # noqa: ARG002 - nothing is on disk
        """Returns the number of documents, the largest id and change indicators: see `docs/databases.md`."""
        option = self.option
        url = database_url(option.url, self.setting)
        with mongo.connect(url) as client, mongo.user_errors(url, self.remedy):
            reader = _Reader(client, url, option, self.remedy)
            chosen = reader.filter
            largest = reader.documents.find_one(chosen, {"_id": 1}, sort=[("_id", -1)]) or {}
            result = {"location": url.location, "database": reader.documents.database.name}
            result |= {"collection": option.collection, "gridfs": option.gridfs, "filter": option.filter}
            result |= {"documents": reader.documents.count_documents(chosen), "largest_id": as_text(largest.get("_id"))}
            if option.changed_field:
                field = option.changed_field
                newest = reader.documents.find_one(chosen, {field: 1}, sort=[(field, -1)]) or {}
                result["newest_change"] = as_text(_get(newest, field))
            if option.checksum_field or not option.changed_field:
                names = [
                    option.id_field,
                    option.label_field,
                    option.split_field,
                    option.group_field,
                    option.checksum_field,
                ]
                # Replacing a GridFS file changes its upload date, so no checksum field is needed.
                names += ["length", "uploadDate"] if option.gridfs else []
                result["digest"] = set_digest(reader.fields([name for name in names if name]))[1]
        return result

    def records(self) -> Iterator[ImageRecord | Rejection]:
        url = database_url(self.option.url, self.setting)
        with mongo.connect(url) as client:
            reader = _Reader(client, url, self.option, self.remedy)
            if self.limit is None:
                chosen = [reader.filter]
            else:
                self.notes.clear()
                ids = reader.sampled(self.limit, self.notes)
                chosen = [{"_id": {"$in": ids[start : start + 1000]}} for start in range(0, len(ids), 1000)]
            for document in itertools.chain.from_iterable(map(reader.all, chosen)):
                yield reader.record(document)


class _Reader:
    """A single pass over the source with one client."""

    def __init__(self, client: mongo.Client, url: Url, option: MongodbOption, remedy: str) -> None:
        self._url, self._option, self._remedy = url, option, remedy
        database = mongo.database(client, url, option.database)
        self.documents = database[f"{option.collection}.files" if option.gridfs else option.collection]
        self._bucket = mongo.gridfs.GridFSBucket(database, option.collection) if option.gridfs else None
        with mongo.user_errors(url, "write ingest.source.filter in MongoDB's Extended JSON"):
            self.filter = mongo.bson.json_util.loads(json.dumps(option.filter))
        names = [option.id_field, option.image_field, option.label_field, option.split_field, option.group_field]
        self._projection = option.projection or ({name: 1 for name in names if name} if not option.gridfs else None)

    def sampled(self, limit: int, notes: list[str]) -> list[Any]:
        """Returns the `_id`s of an even sample of the documents."""
        name = self._option.label_field
        wanted = None if self._option.gridfs else {"_id": 1, name: 1}
        with mongo.user_errors(self._url, self._remedy):
            labelled = (
                (document["_id"], label_of(self._field(document, name), as_text))
                for document in self.documents.find(self.filter, wanted).sort("_id", 1)
            )
            chosen = sample(labelled, limit, lambda pair: str(as_text(pair[0])), lambda pair: pair[1], notes)
            return [identity for identity, _ in chosen]

    def all(self, wanted: Document) -> Iterator[Document]:
        """Yields every document that matches a filter, once, in order of `_id`."""
        retries = RetryBudget()
        chosen = wanted
        while True:
            try:
                for document in self.documents.find(chosen, self._projection).sort("_id", 1):
                    yield document
                    chosen = {"$and": [wanted, _beyond(document["_id"])]}
                    retries.progress()
                return
            except mongo.LOST as error:
                if retries.exhausted():
                    raise unreachable_error(self._url, error) from None
            except mongo.pymongo.errors.PyMongoError:
                with mongo.user_errors(self._url, self._remedy):
                    raise

    def fields(self, names: list[str]) -> Iterator[list[Any]]:
        """Yields the `_id` and the named fields of every document, in any order."""
        projection = None if self._option.gridfs else dict.fromkeys(names, 1)
        for document in self.documents.find(self.filter, projection):
            yield [document["_id"], *(self._field(document, name) for name in names)]

    def record(self, document: Document) -> ImageRecord | Rejection:
        option = self._option
        identifier = as_text(self._field(document, option.id_field))
        if identifier is None:
            return Rejection(
                str(as_text(document["_id"])), RejectionReason.MISSING, f"the document has no {option.id_field}"
            )
        data = self._file(self._bucket, document) if self._bucket else self._field(document, option.image_field)
        if isinstance(data, RejectionReason):
            return Rejection(identifier, data, f"GridFS file of {document.get('length')} bytes")
        if data is None:
            return Rejection(identifier, RejectionReason.MISSING, f"the document has no {option.image_field}")
        try:
            content = image_bytes(data) or b""
        except RejectionError as fault:
            return Rejection(identifier, fault.reason, f"{option.image_field} contains {fault.detail}")
        try:
            label = as_text(one_label(self._field(document, option.label_field)))
        except RejectionError as fault:
            return Rejection(identifier, fault.reason, fault.detail)
        split, group = (
            as_text(self._field(document, name)) if name else None for name in (option.split_field, option.group_field)
        )
        return ImageRecord(identifier, content, label, split, group)

    def _field(self, document: Document, name: str) -> Any:
        value = _get(document, name)
        if value is None and self._option.gridfs:
            return _get(document.get("metadata") or {}, name)
        return value

    def _file(self, bucket: Any, document: Document) -> bytes | RejectionReason:
        """Returns a GridFS file's content, or the reason why it cannot be read."""
        if document.get("length", 0) > self._option.max_bytes:
            return RejectionReason.TOO_MANY_BYTES
        retries = RetryBudget()
        while True:
            try:
                with bucket.open_download_stream(document["_id"]) as stream:
                    return bytes(stream.read())
            except mongo.LOST as error:
                if retries.exhausted():
                    raise unreachable_error(self._url, error) from None
            except mongo.gridfs.errors.NoFile:
                return RejectionReason.MISSING
            except mongo.gridfs.errors.CorruptGridFile:  # missing or surplus chunks
                return RejectionReason.TRUNCATED


def _beyond(last: Any) -> Document:
    """Returns the filter for ids that sort after `last`: larger ones in its bracket, and all in later brackets."""
    bracket = next(i for i, names in enumerate(_BRACKETS) if _type_of(last) in names)
    behind = [name for names in _BRACKETS[bracket + 1 :] for name in names]
    others = [{"_id": {"$type": behind}}] if behind else []
    return {"$or": [{"_id": {"$gt": last}}, *others]}


def _type_of(value: Any) -> str:
    """Returns the BSON type of a value read from the server, by its `$type` name (any name of the same bracket)."""
    bson = mongo.bson
    types: list[tuple[type | tuple[type, ...], str]] = [
        (bool, "bool"), (str, "string"), (bytes, "binData"), (uuid.UUID, "binData"), (bson.ObjectId, "objectId"),
        ((int, float, bson.Decimal128), "int"), (datetime.datetime, "date"), (bson.Timestamp, "timestamp"),
        (dict, "object"), (list, "array"), (type(None), "null"), (bson.MinKey, "minKey"), (bson.MaxKey, "maxKey"),
    ]  # fmt: skip
    return next((name for kind, name in types if isinstance(value, kind)), "regex")


def _get(document: Document, name: str) -> Any:
    """Returns a field, following dots into embedded documents; None if it does not exist."""
    value: Any = document
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
