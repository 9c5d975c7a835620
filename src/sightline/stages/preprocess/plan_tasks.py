"""The plan of pixel tasks: one for each raw shard."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from sightline.core import files
from sightline.core.rejection import RejectionError
from sightline.datasets.raw_set import raw_shards
from sightline.imaging.image_file import ANY_SIZE
from sightline.imaging.transform.pipeline import Transform
from sightline.stages.preprocess import code_version, pixel_task
from sightline.stages.preprocess.cache import PixelCache
from sightline.stages.preprocess.pixel_task import CachedPixels, PixelTask
from sightline.stages.preprocess.raw_table import RawSet, content_key

_PROBES = 8
_MUCH = 2**24
"""Bytes of encoded images whose processing takes longer than starting a new process."""


def expected_tasks(raw: Path, transform: Transform, cache: PixelCache) -> int:
    """Estimates, before the raw set is read, how many shards need processing; 0 if it is little work."""
    shards = raw_shards(raw)
    prefix = _key_prefix(transform)
    held = sum(key.startswith(prefix) for key in cache.names())
    encoded = sum(shard.path.stat().st_size for shard in shards)
    return 0 if encoded < _MUCH or 2 * held > len(shards) else len(shards)


def _key_prefix(transform: Transform) -> str:
    """Returns the common prefix of the keys of all results of a transform."""
    return files.sha256(f"{code_version.version('pixels')} {transform.digest}".encode())[:16] + "-"


def plan_pixels(images: RawSet, transform: Transform, cache: PixelCache) -> list[PixelTask]:
    """Returns a task for each shard, in order; images found in other cache entries are marked as cached.

    A shard's key depends only on what determines its pixels, not on its ids, labels or splits.
    """
    prefix, plain = _key_prefix(transform), transform.to_dict()
    contents = [images.contents_of(shard) for shard in range(len(images.shards))]
    keys = [prefix + content_key(each) for each in contents]
    held = set(cache.names())
    missing = [shard for shard, key in enumerate(keys) if key not in held]
    known = cached_images(cache, prefix, keys, [contents[shard] for shard in missing]) if missing else {}
    # One task needs no estimate.
    pace = seconds_per_image(images.shards[missing[0]], transform) if len(missing) > 1 else 0.0
    tasks = [
        PixelTask(key, source, 0.0, plain, each)
        for key, source, each in zip(keys, images.shards, contents, strict=True)
    ]
    for shard in missing:
        cached = {place: known[sha] for place, sha in enumerate(split(contents[shard])) if sha in known}
        seconds = pace * (tasks[shard].images - len(cached))
        tasks[shard] = PixelTask(keys[shard], images.shards[shard], seconds, plain, contents[shard], cached)
        for entry in {row.path.parent.name for row in cached.values()}:
            cache.use(entry)
    return tasks


def split(contents: bytes) -> list[bytes]:
    """Returns the digests of a shard's images, one by one."""
    return [contents[begin : begin + 32] for begin in range(0, len(contents), 32)]


def cached_images(
    cache: PixelCache, prefix: str, used: Collection[str], missing: Sequence[bytes]
) -> dict[bytes, CachedPixels]:
    """Finds images that were preprocessed before as part of other shards, such as earlier versions of changed ones.

    Args:
        cache: The cache to search.
        prefix: Prefix of the entries' keys.
        used: Keys of the set's current shards, whose entries are not searched.
        missing: Digests of the images to find, as in `ShardSummary.contents`, shard by shard.

    Returns:
        By digest, the location of the pixels of each image found.
    """
    left = {key for key in cache.names() if key.startswith(prefix)} - set(used)
    wanted = {digest for contents in missing for digest in split(contents)} if left else set()
    known: dict[bytes, CachedPixels] = {}
    for key in cache.last_used_first(left):
        if len(known) == len(wanted):
            break
        summary = cache.find(key, use=False)
        if summary is None:
            continue
        notes: dict[int, tuple[str, ...]] = {}
        for note, places in summary.notes.items():
            for place in places:
                notes[place] = (*notes.get(place, ()), note)
        each, pixels = split(summary.contents), cache.pixels(key)
        for row, place in enumerate(summary.kept.tolist()):
            if each[place] in wanted:
                known[each[place]] = CachedPixels(pixels, row, notes.get(place, ()))
    return known


def seconds_per_image(shard: Path, transform: Transform) -> float:
    """Times the transform on a few images, since more processes would not pay for very little work."""
    times = []
    for data in pixel_task.encoded_images(shard):
        begin = time.perf_counter()
        with contextlib.suppress(RejectionError):
            transform.run(transform.open(data, ANY_SIZE))
        times.append(time.perf_counter() - begin)
        if len(times) == _PROBES or sum(times) > 0.1:
            break
    # The minimum, since caches are cold at first and the machine may be busy.
    return min(times)
