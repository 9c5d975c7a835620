"""The transform over a raw set: what was computed before is taken from the cache, the rest goes to a backend."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from sightline.config.schema import Option
from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError
from sightline.datasets.raw_set import raw_shards
from sightline.imaging.decode import ANY_SIZE
from sightline.imaging.transform.pipeline import Transform
from sightline.stages.preprocess import backends, code_version, pixel_task
from sightline.stages.preprocess.backends.processes import Spare, count_of
from sightline.stages.preprocess.cache import PixelCache
from sightline.stages.preprocess.jobs import Job
from sightline.stages.preprocess.options import Processes
from sightline.stages.preprocess.pixel_task import CachedPixels, PixelTask
from sightline.stages.preprocess.raw_table import RawSet, content_key
from sightline.stages.preprocess.tasks import ShardSummary

_PROBES = 8
_MUCH = 2**24
"""Bytes of encoded images that take longer than the start of a new process."""

_TRIES = 5
"""How often an entry is made that other runs prune before it is used."""


def start_helpers(raw: Path, transform: Transform, backend: Option, cache: PixelCache) -> Spare:
    """Starts helper processes, before the raw set is read, where it looks as if there were much for them to do."""
    shards = raw_shards(raw)
    recipe = _recipe(transform)
    held = sum(key.startswith(f"{recipe}-") for key in cache.names())
    encoded = sum(shard.path.stat().st_size for shard in shards)
    if not isinstance(backend, Processes) or encoded < _MUCH or 2 * held > len(shards):
        return Spare()
    return Spare(min(count_of(backend.workers), len(shards)) - 1)


def _recipe(transform: Transform) -> str:
    """Returns what all keys of entries made by this transform begin with."""
    return files.sha256(f"{code_version.version('pixels')} {transform.digest}".encode())[:16]


def make_pixels(
    images: RawSet, transform: Transform, backend: Option, cache: PixelCache, out: Path, spare: Spare | None = None
) -> list[ShardSummary]:
    """Makes every shard's pixels stand in `out`, and returns the facts about them in order of the shards.

    A shard's key says what its pixels are made from and no more: neither its ids, nor its labels, nor its splits.
    """
    recipe = _recipe(transform)
    contents = [images.contents_of(shard) for shard in range(len(images.shards))]
    keys = [f"{recipe}-{content_key(each)}" for each in contents]
    shard_of = {key: shard for shard, key in enumerate(keys)}

    def make(missing: Collection[str]) -> None:
        plain = transform.to_dict()
        known = cached_images(cache, recipe, shard_of.keys(), [contents[shard_of[key]] for key in missing])
        # One job needs no plan.
        pace = (
            seconds_per_image(images.shards[min(shard_of[key] for key in missing)], transform)
            if len(missing) > 1
            else 0.0
        )
        jobs = []
        for key in missing:
            shard = shard_of[key]
            each = split(contents[shard])
            here = {place: known[sha] for place, sha in enumerate(each) if sha in known}
            # A few known rows are not worth keeping a job from the cluster.
            here = here if 2 * len(here) >= len(each) else {}
            made = PixelTask(plain, contents[shard], here)
            jobs.append(Job(key, images.shards[shard], made, pace * (len(each) - len(here))))
            for used in {row.path.parent.name for row in here.values()}:
                cache.use(used)
        backends.run(jobs, cache, backend, spare)

    facts = obtain(keys, cache, out, make)
    return [facts[key] for key in keys]


def obtain(
    keys: Sequence[str], cache: PixelCache, out: Path, make: Callable[[Collection[str]], None]
) -> dict[str, ShardSummary]:
    """Makes the entries' pixels stand in `out`, and returns the facts about them by key.

    Args:
        keys: The entries'.
        cache: Where they are, or will be.
        out: Folder for the pixels.
        make: Makes entries that the cache lacks: all that it is called with. Called again only if another run prunes
            some before they are used.

    Raises:
        UserError: If entries are pruned again and again.
    """
    there: dict[str, ShardSummary] = {}
    for attempt in range(_TRIES + 1):
        missing = []
        for key in dict.fromkeys(keys):
            if key not in there:
                facts = cache.find(key)
                if facts and (not facts.pixels.shape[0] or cache.link(key, out / facts.pixels.name)):
                    there[key] = facts
                else:
                    missing.append(key)
        if not missing:
            return there
        if attempt < _TRIES:
            make(missing)
    raise UserError(f"{cache.root}: other runs prune it faster than this one fills it: wait for them, then run again")


def split(contents: bytes) -> list[bytes]:
    """Returns the digests of a shard's images, one by one."""
    return [contents[begin : begin + 32] for begin in range(0, len(contents), 32)]


def cached_images(
    cache: PixelCache, recipe: str, used: Collection[str], missing: Sequence[bytes]
) -> dict[bytes, CachedPixels]:
    """Finds images that were preprocessed before, in shards that the set no longer has: those that one image left.

    Args:
        cache: Where to look.
        recipe: What the entries' keys must begin with.
        used: Keys of the set's own entries.
        missing: Digests of the images that are looked for, as in `ShardSummary.contents`, shard by shard.
    """
    left = [key for key in cache.names() if key.startswith(f"{recipe}-") and key not in used]
    wanted = {digest for contents in missing for digest in split(contents)} if left else set()
    known: dict[bytes, CachedPixels] = {}
    for key in cache.last_used_first(left):
        if len(known) == len(wanted):
            break
        facts = cache.find(key, use=False)
        if facts is None:
            continue
        said: dict[int, tuple[str, ...]] = {}
        for note, places in facts.notes.items():
            for place in places:
                said[place] = (*said.get(place, ()), note)
        each, pixels = split(facts.contents), cache.pixels(key)
        for row, place in enumerate(facts.kept.tolist()):
            if each[place] in wanted:
                known[each[place]] = CachedPixels(pixels, row, said.get(place, ()))
    return known


def seconds_per_image(shard: Path, transform: Transform) -> float:
    """Tries the transform on a few images: two processes for the work of a moment would cost more than they save."""
    times = []
    for data in pixel_task.encoded(shard):
        begin = time.perf_counter()
        with contextlib.suppress(RejectionError):
            transform.run(transform.open(data, ANY_SIZE))
        times.append(time.perf_counter() - begin)
        if len(times) == _PROBES or sum(times) > 0.1:
            break
    # The least: the first ones find caches cold, and the machine may be busy.
    return min(times)
