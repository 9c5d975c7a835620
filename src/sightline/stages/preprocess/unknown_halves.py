"""Preprocessing of images of none of the classes, with the same transform: a processed set of two halves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from sightline.core.errors import UserError
from sightline.datasets.processed_set import INDEX, TRANSFORM
from sightline.datasets.raw_set import CLASSES, raw_shards, write_classes
from sightline.stages.preprocess.config import PreprocessConfig
from sightline.stages.preprocess.groups import Groups
from sightline.stages.preprocess.index import write_index
from sightline.stages.preprocess.plan_tasks import plan_pixels
from sightline.stages.preprocess.raw_table import RawSet
from sightline.stages.preprocess.run_tasks import run_tasks
from sightline.stages.preprocess.splits import TEST, VAL, SplitAssignment, draws
from sightline.stages.preprocess.stage import build_transform, cache_and_executor, index_originals


def preprocess_unknown(raw: Path, config: PreprocessConfig, out: Path, cache: Path | None = None) -> str | None:
    """Writes a processed set of the images, or just an empty class map if there are none.

    The split `val` is the half for setting a threshold or training, `test` the half for evaluation. A hash of its bytes
    decides an image's half, and its copies and near duplicates go with it; an added image moves at most one group.

    Args:
        raw: Folder written by the ingest stage.
        config: The preprocess section.
        out: Empty folder for the processed set.
        cache: Folder of the results of earlier runs; None keeps nothing.

    Returns:
        A line that describes them; None if there are none.

    Raises:
        UserError: If the transform rejects all of them.
    """
    if not raw_shards(raw):
        write_classes([], out / CLASSES)  # DVC warns of an empty folder in every run
        return None
    transform = build_transform(config)
    images = RawSet.read(raw)
    with cache_and_executor(raw, transform, config, cache) as (pixels, executor):
        shards = run_tasks(plan_pixels(images, transform, pixels), pixels, executor, out)
    index = index_originals(images, shards, SplitAssignment(halves(images.groups()), np.zeros(0, np.int64)))
    if not len(index.labels):
        raise UserError(f"ingest.unknown: preprocessing rejects all {len(images):,} images, as it does blank ones")
    write_index([index.table], out / INDEX)
    write_classes(images.classes, out / CLASSES)
    transform.save(out / TRANSFORM)
    setting, judging = (int((index.splits == split).sum()) for split in (VAL, TEST))
    lost = len(images) - setting - judging
    line = f"{setting:,} unknown images set the novelty threshold, {judging:,} test it"
    return f"{line}; {lost:,} were rejected" if lost else line


def halves(groups: Groups) -> npt.NDArray[np.int8]:
    """Returns each image's half as a position in `SPLITS`, [n] int8; of an odd number of groups one more is `val`."""
    drawn = draws(groups.keys(), 0, b"unknown")
    first = np.zeros(len(groups), bool)
    first[np.argsort(drawn, kind="stable")[: (len(groups) + 1) // 2]] = True
    split: npt.NDArray[np.int8] = np.where(first, VAL, TEST).astype(np.int8)[groups.codes]
    return split
