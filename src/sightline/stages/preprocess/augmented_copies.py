"""Augmented copies of training images, each named after its origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from sightline.core import files
from sightline.core.errors import UserError
from sightline.datasets.processed_set import INDEX_SCHEMA
from sightline.datasets.raw_set import SPLITS
from sightline.stages.preprocess import code_version
from sightline.stages.preprocess.config import PreprocessConfig
from sightline.stages.preprocess.copy_task import CopyTask
from sightline.stages.preprocess.options import policy_and_copies
from sightline.stages.preprocess.tasks import ShardSummary

MARK = "#aug"
"""A copy's id is its origin's, this mark, and its number from 1."""

_SECONDS = 0.0005  # estimated time per copy; most take less


@dataclass(frozen=True)
class CopyPlan:
    """The tasks that make copies, and the rows that each of them copies.

    Attributes:
        tasks: One for each shard with training images.
        origins: For each task, its rows in the index of the originals.
        copies: Number of copies of each row.
    """

    tasks: list[CopyTask]
    origins: list[pa.Table]
    copies: int


def plan_copies(index: pa.Table, config: PreprocessConfig, out: Path) -> CopyPlan:
    """Returns the tasks for copies of the training images; an empty plan if no copies are configured.

    A copy depends on its origin's pixels and id, its number, the seed and the policy, but on no other image.

    Args:
        index: Rows of the originals, in the columns of `INDEX_SCHEMA`.
        config: The preprocess section.
        out: Folder with the originals' pixels.
    """
    policy, copies = policy_and_copies(config.augment)
    plan = CopyPlan([], [], copies)
    training = index.filter(pc.equal(index["split"], SPLITS[0])) if copies else index.slice(0, 0)
    for name in training["shard"].unique().to_pylist():
        rows = training.filter(pc.equal(training["shard"], name))
        chosen, ids = tuple(rows["row"].to_pylist()), tuple(rows["id"].to_pylist())
        recipe = {"policy": policy, "copies": copies, "seed": config.augment_seed, "rows": chosen, "ids": ids}
        content = files.canonical_json([code_version.version("copies"), name, recipe])
        key = f"copies-{files.sha256(content.encode())[:32]}"
        seconds = _SECONDS * rows.num_rows * copies
        plan.tasks.append(CopyTask(key, out / name, seconds, policy, copies, config.augment_seed, chosen, ids))
        plan.origins.append(rows)
    return plan


def index_copies(index: pa.Table, plan: CopyPlan, shards: Sequence[ShardSummary]) -> list[pa.Table]:
    """Returns the rows of the copies in the columns of `INDEX_SCHEMA`, one table per shard of copies.

    Args:
        index: Rows of the originals.
        plan: The tasks.
        shards: Their results.

    Raises:
        UserError: If an image already has the id that a copy would get.
    """
    tables = [_rows(rows, plan.copies, shard.pixels.name) for rows, shard in zip(plan.origins, shards, strict=True)]
    _check_ids(index, tables)
    return tables


def _rows(origins: pa.Table, copies: int, shard: str) -> pa.Table:
    """Returns the index of a shard of copies: each row of an origin repeated `copies` times, under new ids."""
    count = origins.num_rows * copies
    repeated = origins.take([place for place in range(origins.num_rows) for _ in range(copies)])
    ids = [f"{identity}{MARK}{1 + place % copies}" for place, identity in enumerate(repeated["id"].to_pylist())]
    columns = {name: repeated[name] for name in INDEX_SCHEMA.names}
    new = {"id": pa.array(ids), "shard": pa.array([shard] * count), "row": pa.array(range(count), pa.int32())}
    return pa.table(columns | new)


def _check_ids(index: pa.Table, tables: list[pa.Table]) -> None:
    for table in tables:
        taken_already = table.filter(pc.is_in(table["id"], index["id"].combine_chunks()))
        if taken_already.num_rows:
            identity, origin = str(taken_already["id"][0]), str(taken_already["origin"][0])
            raise UserError(
                f"preprocess.augment: an image has the id {identity!r}, which is what a copy of {origin!r} would be "
                "called: rename the image, or set augment=none"
            )
