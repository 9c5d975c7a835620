"""The preprocess stage: turns a raw set into a processed set."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sightline.core import files
from sightline.core.errors import UserError
from sightline.datasets.arrow_columns import integers, strings
from sightline.datasets.processed_set import INDEX, TRANSFORM
from sightline.datasets.raw_set import CLASSES, SPLITS, write_classes
from sightline.imaging.transform.pipeline import Transform
from sightline.stages.preprocess.augmented_copies import index_copies, plan_copies
from sightline.stages.preprocess.cache import PixelCache
from sightline.stages.preprocess.config import PreprocessConfig
from sightline.stages.preprocess.groups import Groups
from sightline.stages.preprocess.index import Moments, split_summary, write_index
from sightline.stages.preprocess.plan_tasks import expected_tasks, plan_pixels
from sightline.stages.preprocess.raw_table import RawSet
from sightline.stages.preprocess.run_tasks import run_tasks
from sightline.stages.preprocess.splits import LEFT_OUT, TEST, TRAIN, VAL, SplitAssignment, asked, assign
from sightline.stages.preprocess.tasks import Executor, ShardSummary

SUMMARY = "preprocess.json"


def build_transform(config: PreprocessConfig) -> Transform:
    """Builds the preprocessing transform that the section describes."""
    return Transform.build(
        size=config.size,
        channels=config.channels,
        sample_bits=config.sample_bits,
        background=[config.background] * config.channels,
        clean=config.clean,
        denoise=config.denoise,
        enhance=config.enhance,
        segment=config.segment,
        resize=config.resize,
    )


def preprocess(raw: Path, config: PreprocessConfig, out: Path, cache: Path | None = None) -> dict[str, Any]:
    """Plans a task for each shard, runs those that are not cached, and writes a processed set.

    Args:
        raw: Folder written by the ingest stage.
        config: The preprocess section.
        out: Empty folder for the processed set.
        cache: Folder of the results of earlier runs; None keeps nothing.

    Returns:
        The summary, which is also written to `preprocess.json`. All output is a pure function of the raw set and the
        configuration, independent of the cache and the backend.

    Raises:
        UserError: If there are no raw shards, or nothing is left to train on.
    """
    transform = build_transform(config)
    with cache_and_executor(raw, transform, config, cache) as (pixels, executor):
        images = RawSet.read(raw)
        groups = images.groups(config.balance == "images")
        assigned = _assign(images, groups, config)
        shards = run_tasks(plan_pixels(images, transform, pixels), pixels, executor, out)
        index = index_originals(images, shards, assigned)
        training = [shard.sums[rows] for shard, rows in zip(shards, index.rows_of(TRAIN), strict=True)]
        if not any(map(len, training)):
            raise UserError(
                f"no training images are left of {len(images)}, in {len(groups)} group(s) that stay together: add "
                "images, or smaller groups, or lower preprocess.val_fraction and test_fraction"
            )
        plan = plan_copies(index.table, config, out)
        copied = run_tasks(plan.tasks, pixels, executor, out)
    if pixels.limit:
        pixels.prune(pixels.limit)
    copies = index_copies(index.table, plan, copied)
    write_index([index.table, *copies], out / INDEX)
    write_classes(images.classes, out / CLASSES)
    moments = Moments(transform.shape)
    for sums in [*training, *(shard.sums for shard in copied)]:
        moments.add(sums)
    transform.with_statistics(*moments.mean_and_std()).save(out / TRANSFORM)
    counts = {
        "augmented_copies": sum(table.num_rows for table in copies),
        "groups_kept_together": groups.together,
        "division": {"asked": asked(images.splits(), config.plan), "balance": config.balance, **groups.sizes()},
        "leaks": {"found": len(assigned.leaks), "left_out": int(np.count_nonzero(assigned.splits == LEFT_OUT))},
        "notes": _notes(shards),
    }
    result = split_summary(index.labels, index.splits, images.classes, counts)
    files.write_json(out / SUMMARY, result)
    return result


@contextlib.contextmanager
def cache_and_executor(
    raw: Path, transform: Transform, config: PreprocessConfig, cache: Path | None
) -> Iterator[tuple[PixelCache, Executor]]:
    """Opens the cache of earlier results (disabled if `cache` is None) and the backend's executor."""
    pixels = PixelCache(cache, int(config.memo_gib * 2**30)) if cache else PixelCache(limit=0)
    with config.backend.open(expected_tasks(raw, transform, pixels)) as executor:
        yield pixels, executor


def _assign(images: RawSet, groups: Groups, config: PreprocessConfig) -> SplitAssignment:
    given = images.splits()
    if config.fold and np.isin([VAL, TEST], given).all():
        raise UserError(
            f"preprocess.fold={config.fold}: the source names a validation and a test split of its own, which leaves "
            "no fold to choose; set it to null"
        )
    assigned = assign(given, groups, config.plan, images.labels(), images.classes)
    if config.leaks == "fail" and len(assigned.leaks):
        first = int(assigned.leaks[0])
        raise UserError(
            f"preprocess.leaks=fail: {len(assigned.leaks):,} image(s) of the source have a duplicate or another "
            f"image of their group in a more protected split, such as {str(images.table['id'][first])!r} "
            f"({SPLITS[given[first]]})"
        )
    return assigned


@dataclass(frozen=True)
class OriginalsIndex:
    """The index of the originals.

    Attributes:
        table: The index in the columns of `INDEX_SCHEMA`.
        labels: [n] class indices.
        splits: [n] positions in `SPLITS`.
        shard: [n] number of each image's shard.
        row: [n] its row in that shard.
        shards: Number of shards.
    """

    table: pa.Table
    labels: npt.NDArray[np.int32]
    splits: npt.NDArray[np.int8]
    shard: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    shards: int

    def rows_of(self, split: int) -> Iterator[npt.NDArray[np.int64]]:
        """Yields a split's rows for each shard in turn."""
        chosen = self.splits == split
        ends = np.searchsorted(self.shard, np.arange(self.shards + 1))
        for begin, end in itertools.pairwise(ends):
            yield self.row[begin:end][chosen[begin:end]]


def index_originals(images: RawSet, shards: Sequence[ShardSummary], assigned: SplitAssignment) -> OriginalsIndex:
    """Builds the index of all images that the transform accepted and that are in a split."""
    kept = [shard.kept for shard in shards]
    places = np.concatenate([begin + rows for begin, rows in zip(images.begins[:-1], kept, strict=True)])
    shard = np.repeat(np.arange(len(shards)), [len(rows) for rows in kept])
    row = np.concatenate([np.arange(len(rows)) for rows in kept])
    used = assigned.splits[places] != LEFT_OUT
    places, shard, row = places[used], shard[used], row[used]
    labels, splits = images.labels()[places], assigned.splits[places]
    # Usually these are all images, in order, and the table need not be copied.
    chosen = images.table if len(places) == len(images) else images.table.take(integers(places))
    ids = chosen["id"]
    columns = {
        "id": ids,
        "label": integers(labels),
        "split": strings(SPLITS).take(integers(splits)),
        "shard": strings([shard.pixels.name for shard in shards]).take(integers(shard)),
        "row": integers(row),
        "origin": ids,
        "sha256": chosen["sha256"],
    }
    return OriginalsIndex(pa.table(columns), labels, splits, shard, row, len(shards))


def _notes(shards: Sequence[ShardSummary]) -> dict[str, int]:
    notes: Counter[str] = Counter()
    for shard in shards:
        notes.update({name: len(places) for name, places in [*shard.rejected.items(), *shard.notes.items()]})
    return dict(sorted(notes.items()))
