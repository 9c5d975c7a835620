"""Images of a folder that DVC tracks, fetched as the raw shards that hold most of them instead of one by one.

A machine that starts from nothing, as a runner of CI, has neither the images nor an earlier raw set. The shards that
dvc.lock names hold the files of the images as they are, a thousand in one object: from these DVC's cache is filled, and
DVC fetches no more than what they do not hold.
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
"""Files of a folder from which on a second call of DVC costs less than it spares."""


def pull_images(path: Path, setting: str | None) -> str:
    """Brings what DVC tracks at a path, or around it, from the remote if it is not here.

    Args:
        path: The place of the images.
        setting: `ingest.path` as the configuration has it: shards of another place are left alone.

    Returns:
        What was done in words; empty where there was nothing to do.

    Raises:
        UserError: If DVC cannot.
    """
    there = dvc_files.tracked(path)
    held = 0
    if there is not None and there.files >= FEWEST and not os.path.lexists(there.path):
        held = _fill_cache(setting)
    if not dvc_files.pull_missing(path):
        return ""
    return f"{path} was missing: pulled by DVC{f', {held:,} images in shards' if held else ''}"


def _fill_cache(setting: str | None) -> int:
    """Puts the images of the shards in dvc.lock into DVC's cache; returns how many came so."""
    digest = _locked_shards(setting)
    if digest is None or dvc_cache.cached_path(digest):  # a clone that is kept has the images, too
        return 0
    command = [sys.executable, "-m", "dvc", "fetch", "--quiet", RAW]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return 0  # never pushed; of a remote that cannot be reached, the pull of the images says so
    cache, count = list(dvc_cache.caches())[-1], 0
    shards = {name: md5 for name, md5 in (dvc_cache.listing(digest) or {}).items() if Path(name).match(SHARD_GLOB)}
    with tempfile.TemporaryDirectory() as folder:
        for name, md5 in track(shards.items(), "unpacking shards", len(shards)):
            shard = Path(folder) / name  # a shard is held against its name, which the cache does not have
            shard.symlink_to(Path(str(dvc_cache.cached_path(md5))).resolve())
            for image in RawShard(shard).images():
                count += _put(cache, image.data)
    return count


def _locked_shards(setting: str | None) -> str | None:
    """Returns the digest of dvc.lock's raw set; None where there is none, or it came from another place."""
    import yaml

    try:
        stage: dict[str, Any] = yaml.safe_load(dvc_files.LOCK.read_bytes())["stages"]["ingest"]
        if stage["params"]["params.yaml"]["ingest"]["path"] != setting:
            return None
        return str(next(out["md5"] for out in stage["outs"] if out["path"] == RAW))
    except (FileNotFoundError, LookupError, TypeError, StopIteration):
        return None


def _put(cache: Path, data: bytes) -> bool:
    """Puts a file's content into DVC's cache, as DVC does; returns whether it was not there."""
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    place = cache / "files" / "md5" / digest[:2] / digest[2:]
    if place.exists():
        return False
    place.parent.mkdir(parents=True, exist_ok=True)
    half = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    half.write_bytes(data)
    half.chmod(0o444)  # by which DVC knows that it is whole
    half.replace(place)
    return True
