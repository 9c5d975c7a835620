"""Writing to databases: images, to try them as a source, and predictions.

Every write is an upsert: writing the same rows again, or resuming after a crash, gives the same content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sightline.core.credentials import Url, database_url
from sightline.core.errors import UserError

PREDICTION_FIELDS = ("id", "model", "label", "probability", "reason", "detail", "novelty", "class_set")
"""Fields of a prediction: image, the model's digest, class and its probability, or why the image was rejected; novelty,
and the set of classes as a JSON array."""

_BATCH_ROWS = 500
_BATCH_BYTES = 4 * 2**20  # a server's max_allowed_packet may be as low as 16 MiB

Row = Mapping[str, Any]


def load_images(records: Iterable[Any], url: str | None, table: str = "images", gridfs: bool = False) -> int:
    """Writes labelled images to a table or collection, which is created if it does not exist.

    Args:
        records: `ImageRecord`s, or other objects with `id`, `data`, `label`, `split` and `group`.
        url: The database, from the command's --url; None takes it from the environment.
        table: Name of the table, collection or GridFS bucket.
        gridfs: Whether to write the images to a GridFS bucket (MongoDB only; needed for images above some 16 MB).

    Returns:
        The number of images written.

    Raises:
        UserError: If the database cannot be reached, or refuses the images.
    """
    fields = ("id", "image", "label", "split", "group", "sha256")
    rows = (dict(zip(fields, _values(record), strict=True)) for record in records)
    address = database_url(url, "--url")
    if address.family == "mongodb":
        from sightline.sources.databases import mongo_write

        return mongo_write.put_files(rows, address, table) if gridfs else _to_mongodb(rows, address, table, ("id",))
    if gridfs:
        raise UserError(f"{address.location}: only MongoDB has GridFS")
    from sightline.sources.databases import sql_write

    return sum(sql_write.upsert(_batches(rows), address, table, sql_write.image_columns, ("id",)))


def write_predictions(rows: Iterable[Row], url: str | None, table: str = "predictions") -> int:
    """Writes predictions to a table or collection, which is created if needed. A row's key is its `id` and `model`.

    Args:
        rows: Mappings with some of `PREDICTION_FIELDS`; `id` and `model` are required.
        url: The database, from the command's --url; None takes it from the environment.
        table: Name of the table or collection.

    Returns:
        The number of predictions written.

    Raises:
        UserError: If the database cannot be reached, or refuses them.
        ValueError: If a row has an unknown field, or no id or model.
    """
    checked = (_prediction(row) for row in rows)
    address = database_url(url, "--url")
    if address.family == "mongodb":
        return _to_mongodb(checked, address, table, ("id", "model"))
    from sightline.sources.databases import sql_write

    return sum(sql_write.upsert(_batches(checked), address, table, sql_write.prediction_columns, ("id", "model")))


def _to_mongodb(rows: Iterable[Row], url: Url, collection: str, key: Sequence[str]) -> int:
    from sightline.sources.databases import mongo_write

    return sum(mongo_write.upsert(_batches(rows), url, collection, key))


def _values(record: Any) -> tuple[Any, ...]:
    digest = hashlib.sha256(record.data).hexdigest()
    return record.id, record.data, record.label, record.split, record.group, digest


def _prediction(row: Row) -> Row:
    unknown = set(row) - set(PREDICTION_FIELDS)
    if unknown or not row.get("id") or not row.get("model"):
        raise ValueError(
            f"a prediction has an id, a model, and of the rest only {PREDICTION_FIELDS}: not {sorted(row)}"
        )
    return {name: row.get(name) for name in PREDICTION_FIELDS}


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yields lists of rows that are small enough for one request."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        weight = len(row.get("image") or b"")
        if batch and (len(batch) == _BATCH_ROWS or size + weight > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += weight
    if batch:
        yield batch
