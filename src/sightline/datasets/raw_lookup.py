"""The raw images behind a split's rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from sightline.core.errors import UserError
from sightline.datasets.raw_set import RawImage, raw_shards


def raw_images(root: Path, ids: Collection[str]) -> Iterator[RawImage]:
    """Yields the raw images with these ids, with a few hundred in memory at a time.

    Args:
        root: Folder written by the ingest stage.
        ids: Ids of images, without duplicates.

    Raises:
        UserError: If some do not exist; raised after the others have been yielded.
    """
    wanted, count = set(ids), 0
    for shard in raw_shards(root):
        for image in shard.images():
            if image.id in wanted:
                count += 1
                yield image
    if count != len(wanted):
        raise UserError(
            f"{root} lacks {len(wanted) - count} of the preprocessed images: run the preprocess stage again"
        )
