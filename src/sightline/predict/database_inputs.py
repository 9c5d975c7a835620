"""Images in a database's table, collection or GridFS bucket, and predictions back into it."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from sightline.core.credentials import database_url, require_harmless
from sightline.core.errors import UserError
from sightline.datasets.raw_set import ImageRecord
from sightline.predict.inputs import Database, Input, failed
from sightline.predict.prediction import Prediction
from sightline.sources.mongodb import MongodbOption
from sightline.sources.sql import SqlOption

OPTION = "--url"
"""The option that names the database on the command line of prediction."""


def database_images(name: str, database: Database, max_bytes: int) -> Iterator[Input]:
    """Yields the images of `db:TABLE` or `gridfs:BUCKET`, in order of id, each under its id.

    Raises:
        UserError: If the database cannot be reached, or has no such table or columns.
    """
    kind, _, table = name.partition(":")
    for record in _source(table, kind == "gridfs", database, max_bytes).records():
        if isinstance(record, ImageRecord):
            yield Input(record.id, functools.partial(bytes, record.data))
        else:
            yield failed(record.id, record.reason, record.detail)


def _source(table: str, gridfs: bool, database: Database, max_bytes: int) -> Any:
    require_harmless(database.url)
    try:
        return _reader(table, gridfs, database, max_bytes)
    except ValueError as error:  # from the checks of the source's options
        raise UserError(f"{'gridfs' if gridfs else 'db'}:{table}: {error}") from None


def _reader(table: str, gridfs: bool, database: Database, max_bytes: int) -> Any:
    # There may be no labels, so the id is read in their place.
    if gridfs or database_url(database.url, OPTION).family == "mongodb":
        from sightline.sources.databases.mongo_source import MongodbSource

        identity = database.id_column or "_id"
        fields: dict[str, Any] = dict.fromkeys(["split_field", "group_field", "changed_field", "checksum_field"])
        fields |= {"database": None, "filter": {}, "projection": None, "max_bytes": max_bytes, "gridfs": gridfs}
        fields |= {"id_field": identity, "label_field": identity, "image_field": database.image_column}
        option = MongodbOption("mongodb", url=database.url, collection=table, **fields)
        return MongodbSource(option, setting=OPTION, remedy=f"check the name {table!r} and the user's rights")
    from sightline.sources.databases.sql_source import SqlSource

    identity = database.id_column or "id"
    columns: dict[str, Any] = dict.fromkeys(["split_column", "group_column", "changed_column", "checksum_column"])
    columns |= {"schema": None, "query": None}
    columns |= {"id_column": identity, "label_column": identity, "image_column": database.image_column}
    remedy = f"it must have a table {table!r} with the columns {identity!r} and {database.image_column!r}"
    return SqlSource(SqlOption("sql", url=database.url, table=table, **columns), setting=OPTION, remedy=remedy)


def write_to_database(predictions: Iterable[Prediction], table: str, database: Database, model: str) -> int:
    """Writes predictions into a table or collection, which is created if needed. Writing them again is idempotent.

    Args:
        predictions: The predictions, whose paths become the rows' ids.
        table: Name of the table or collection.
        database: The database.
        model: The model's digest, part of a row's key.

    Returns:
        The number of predictions written.

    Raises:
        UserError: If the database cannot be reached, or rejects them.
    """
    from sightline.core.text import readable
    from sightline.sources.databases.writeback import write_predictions

    require_harmless(database.url)

    def as_record(p: Prediction) -> dict[str, Any]:
        reason = p.error or ("abstained" if p.abstained else None)
        return {
            "id": readable(p.path),
            "model": model,
            "label": p.label,
            "probability": p.probability,
            "reason": reason,
            "detail": p.detail or None,
            "novelty": p.novelty,
            "class_set": None if p.class_set is None else json.dumps(p.class_set, ensure_ascii=False),
        }

    return write_predictions(map(as_record, predictions), database.url, table)
