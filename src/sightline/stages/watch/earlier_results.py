"""Outputs and images of another commit that are left in the folder after `git pull`, and must not be used.

`dvc repro --allow-missing` considers a stage up to date if the cache lacks the output that dvc.lock records, even if an
older output is in its place. The next stage would then run on the older output, and its results would be recorded in
dvc.lock.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from sightline.core import dvc_cache, dvc_files, git
from sightline.core.dvc_files import LOCK
from sightline.core.errors import UserError
from sightline.sources import content

_FLAG = b"--allow-missing"


def refuse_earlier(arguments: list[bytes] | None = None) -> None:
    """Refuses to continue from earlier outputs if the DVC command that runs this stage would use them.

    Args:
        arguments: The command line of DVC; None for that of the parent process.

    Raises:
        UserError: If there is such an output, with the remedy.
    """
    if "DVC_STAGE" not in os.environ or _FLAG not in (_parent() if arguments is None else arguments):
        return
    found = list(outputs())
    if found:
        more = f" and {len(found) - 1} more outputs are" if len(found) > 1 else " is"
        raise UserError(f"{found[0]}{more} from an earlier {LOCK}: run `sightline repair`, then this command again")


def remove_earlier(sources: bool) -> list[str]:
    """Removes the outputs of another dvc.lock, all of which are in DVC's cache; returns a line for each.

    Args:
        sources: Whether to also remove data tracked by DVC that belongs to another commit than its pointer file.
    """
    done = []
    for path, pointer in [*((path, LOCK) for path in outputs()), *(tracked_paths() if sources else ())]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        done.append(f"{path} belonged to another commit than {pointer}: removed, it is still in DVC's cache")
    return done


def outputs() -> Iterator[Path]:
    """Yields outputs that are in DVC's cache but differ from those in dvc.lock, which the cache lacks."""
    import yaml

    locked = yaml.safe_load(LOCK.read_bytes()) if LOCK.is_file() else {}
    for stage in locked.get("stages", {}).values():
        for out in stage.get("outs", []):
            path, digest = Path(out["path"]), str(out["md5"])
            if path.exists() and dvc_cache.cached_path(digest) is None:
                there = content.own_digest(path)
                if there != digest and dvc_cache.holds(there):
                    yield path


def tracked_paths() -> Iterator[tuple[Path, Path]]:
    """Yields data tracked by DVC that is in its cache but belongs to another commit, each with its pointer file."""
    for pointer in map(Path, git.paths("ls-files", "-z", "*.dvc")):
        tracked = dvc_files.tracked(pointer.with_suffix(""))
        if tracked is not None and tracked.pointer == pointer and tracked.path.exists():
            digest = content.own_digest(tracked.path)
            if digest != tracked.md5 and dvc_cache.holds(digest):
                yield tracked.path, pointer


def _parent() -> list[bytes]:
    """Returns the command line of the parent process."""
    try:
        return Path(f"/proc/{os.getppid()}/cmdline").read_bytes().split(b"\0")
    except OSError:  # not Linux
        import psutil

        return [word.encode() for word in psutil.Process(os.getppid()).cmdline()]
