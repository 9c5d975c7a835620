"""Upserts into MongoDB collections and GridFS buckets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sightline.core.credentials import Url
from sightline.sources.databases.mongo import connect, database, gridfs, pymongo, user_errors

Row = Mapping[str, Any]


def upsert(batches: Iterable[list[Row]], url: Url, collection: str, key: Sequence[str]) -> Iterator[int]:
    """Writes batches of rows as documents, and yields the number of rows in each.

    Args:
        batches: The rows; a field that is None is left out.
        url: The database.
        collection: The collection.
        key: The fields that make up `_id`: a single one gives its value, several a document of them.

    Raises:
        UserError: If the database cannot be reached, or refuses the rows.
    """
    with connect(url) as client, user_errors(url, f"check the collection {collection} and the user's rights"):
        target = database(client, url, None)[collection]
        for batch in batches:
            changes = []
            for row in batch:
                identifier = row[key[0]] if len(key) == 1 else {part: row[part] for part in key}
                embedded = key if len(key) == 1 else ()
                content = {name: value for name, value in row.items() if value is not None and name not in embedded}
                changes.append(pymongo.ReplaceOne({"_id": identifier}, content, upsert=True))
            target.bulk_write(changes)
            yield len(batch)


def put_files(rows: Iterable[Row], url: Url, bucket: str) -> int:
    """Writes images to a GridFS bucket, with labels in the files' `metadata`; unchanged files are left alone.

    Raises:
        UserError: If the database cannot be reached, or refuses the images.
    """
    with connect(url) as client, user_errors(url, f"check the bucket {bucket} and the user's rights"):
        target = database(client, url, None)
        store = gridfs.GridFSBucket(target, bucket)
        count = 0
        for row in rows:
            names = ("label", "split", "group", "sha256")
            metadata = {name: row[name] for name in names if row[name] is not None}
            there = target[f"{bucket}.files"].find_one({"_id": row["id"]}, {"metadata": 1})
            if there is None or there.get("metadata") != metadata:
                # A file cannot be replaced in place; an interrupted load may have left chunks without a file.
                with contextlib.suppress(gridfs.errors.NoFile):
                    store.delete(row["id"])
                store.upload_from_stream_with_id(row["id"], row["id"], row["image"], metadata=metadata)
            count += 1
        return count
