"""Images of a folder that DVC tracks, fetched in the raw shards that contain most of them instead of one by one.

A machine that starts from scratch, such as a CI runner, has neither the images nor an earlier raw set. The shards that
dvc.lock names contain the image files unchanged, a thousand per object: DVC's cache is filled from them, and DVC then
fetches only the files that they lack.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sightline.core import dvc_cache, dvc_files
from sightline.core.progress import track
from sightline.datasets.raw_set import SHARD_GLOB, RawShard

RAW = "data/raw"
FEWEST = 1000
"""Number of files in a folder from which on a second call of DVC costs less than it saves."""


def pull_images(path: Path, setting: str | None) -> str:
    """Pulls the tracked file or folder that a path belongs to, if it is missing.

    Args:
        path: The location of the images.
        setting: `ingest.path` as configured: shards made from another location are not used.

    Returns:
        A description of what was done; empty if nothing was.

    Raises:
        UserError: If DVC cannot pull them.
    """
    there = dvc_files.tracked(path)
    held = 0
    if there is not None and there.files >= FEWEST and not os.path.lexists(there.path):
        held = _fill_cache(setting)
    if not dvc_files.pull_missing(path):
        return ""
    return f"{path} was missing: pulled by DVC{f', {held:,} images in shards' if held else ''}"


def _fill_cache(setting: str | None) -> int:
    """Adds the images in the shards of dvc.lock to DVC's cache; returns how many were added."""
    digest = _locked_shards(setting)
    if digest is None or dvc_cache.cached_path(digest):  # a clone with the raw set in its cache has the images, too
        return 0
    command = [sys.executable, "-m", "dvc", "fetch", "--quiet", RAW]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return 0  # never pushed; if the remote cannot be reached, pulling the images reports it
    cache, count = list(dvc_cache.caches())[-1], 0
    shards = {name: md5 for name, md5 in (dvc_cache.listing(digest) or {}).items() if Path(name).match(SHARD_GLOB)}
    with tempfile.TemporaryDirectory() as folder:
        for name, md5 in track(shards.items(), "unpacking shards", len(shards)):
            shard = Path(folder) / name  # a shard is verified against its name, which it does not have in the cache
            shard.symlink_to(Path(str(dvc_cache.cached_path(md5))).resolve())
            for image in RawShard(shard).images():
                count += _put(cache, image.data)
    return count


def _locked_shards(setting: str | None) -> str | None:
    """Returns the digest of the raw set in dvc.lock; None if there is none, or it was made from another location."""
    import yaml

    try:
        stage: dict[str, Any] = yaml.safe_load(dvc_files.LOCK.read_bytes())["stages"]["ingest"]
        if stage["params"]["params.yaml"]["ingest"]["path"] != setting:
            return None
        return str(next(out["md5"] for out in stage["outs"] if out["path"] == RAW))
    except (FileNotFoundError, LookupError, TypeError, StopIteration):
        return None


def _put(cache: Path, data: bytes) -> bool:
    """Adds a file's content to DVC's cache, as DVC does; returns whether it was not there before."""
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    place = cache / "files" / "md5" / digest[:2] / digest[2:]
    if place.exists():
        return False
    place.parent.mkdir(parents=True, exist_ok=True)
    half = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    half.write_bytes(data)
    half.chmod(0o444)  # DVC takes this as a sign that the file is complete
    half.replace(place)
    return True
