"""Augmented copies of training images, each named after its origin."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from sightline.core import files
from sightline.core.errors import UserError
from sightline.datasets.processed_set import INDEX_SCHEMA
from sightline.datasets.raw_set import SPLITS
from sightline.stages.preprocess import backends, code_version
from sightline.stages.preprocess.cache import PixelCache
from sightline.stages.preprocess.config import PreprocessConfig
from sightline.stages.preprocess.copy_task import CopyTask
from sightline.stages.preprocess.index import Moments
from sightline.stages.preprocess.jobs import Job
from sightline.stages.preprocess.options import policy_and_copies
from sightline.stages.preprocess.run_tasks import obtain

MARK = "#aug"
"""A copy's id is its origin's, this mark, and its number from 1."""

_SECONDS = 0.0005  # an image; most of them take less


def make_copies(
    index: pa.Table, config: PreprocessConfig, cache: PixelCache, out: Path, moments: Moments
) -> list[pa.Table]:
    """Makes copies of the training images stand in `out`, adds them to the statistics, and returns their rows.

    A copy depends on its origin's pixels and id, on its number and on the policy: on no other image.

    Args:
        index: Rows of the originals, in the columns of `INDEX_SCHEMA`.
        config: The preprocess section.
        cache: What was computed before.
        out: Holds the originals' pixels, and gets the copies'.
        moments: The statistics.

    Raises:
        UserError: If an image already has the id that a copy would get.
    """
    policy, copies = policy_and_copies(config.augment)
    if not copies:
        return []
    training = index.filter(pc.equal(index["split"], SPLITS[0]))
    names, jobs, parts = training["shard"].unique().to_pylist(), [], []
    for name in names:
        rows = training.filter(pc.equal(training["shard"], name))
        parts.append(rows)
        recipe = CopyTask(
            policy, copies, config.augment_seed, tuple(rows["row"].to_pylist()), tuple(rows["id"].to_pylist())
        )
        said = [code_version.version("copies"), name, dataclasses.asdict(recipe)]
        key = f"copies-{files.sha256(files.canonical_json(said).encode())[:32]}"
        jobs.append(Job(key, out / name, recipe, _SECONDS * rows.num_rows * copies))
    by_key = {job.key: job for job in jobs}
    facts = obtain(
        list(by_key), cache, out, lambda missing: backends.run([by_key[key] for key in missing], cache, config.backend)
    )
    tables = []
    for job, rows in zip(jobs, parts, strict=True):
        moments.add(facts[job.key].sums)
        tables.append(_rows(rows, copies, facts[job.key].pixels.name))
    _check_ids(index, tables)
    return tables


def _rows(origins: pa.Table, copies: int, shard: str) -> pa.Table:
    """Returns the index of a shard of copies: the origins' rows, each so many times, under new ids."""
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
