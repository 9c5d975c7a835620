"""The inputs of a stage, verified against the digests that DVC recorded when another stage wrote them.

DVC itself detects changes by size, mtime and inode: it would read a file that was damaged without changing these.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from sightline.core.dvc_files import LOCK
from sightline.core.errors import UserError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NAMED_BY_CONTENT = "shard-"
"""Prefix of the names of large files, whose readers verify the content against the digest in the name."""


def require_intact() -> None:
    """Refuses inputs that are not as the previous stage wrote them; does nothing unless DVC started this process.

    A stage run by hand may well read what another has just written, which DVC has not recorded.

    Raises:
        UserError: For the first such file, with the remedy.
    """
    stage = os.environ.get("DVC_STAGE", "").rpartition(":")[2]
    if not stage or not LOCK.is_file():
        return
    try:
        locked: dict[str, Any] = yaml.load(LOCK.read_bytes(), _LOADER)["stages"]  # noqa: S506 - a safe loader
        reads = yaml.load(Path("dvc.yaml").read_bytes(), _LOADER)["stages"][stage].get("deps", [])  # noqa: S506
    except (OSError, yaml.YAMLError, LookupError, TypeError):  # DVC itself reports it
        return
    outs = ((maker, out) for maker, one in locked.items() for out in one.get("outs", []))
    made = {out["path"]: (maker, str(out.get("md5", ""))) for maker, out in outs}
    for path in reads:
        if path in made:
            _require(Path(path), *made[path])


def _require(path: Path, maker: str, digest: str) -> None:
    expected = dict(_files(path, digest))
    damaged = next((file for file, md5 in expected.items() if file.is_file() and _md5(file) != md5), None)
    if not expected and path.is_dir() and md5_of_folder(path) != digest:  # DVC has no list of its files
        damaged = path
    if damaged is not None:
        raise UserError(
            f"{damaged} has changed since the {maker} stage wrote it: rm -rf {path} && dvc repro (or, if the change "
            f"is intended, dvc commit {maker})"
        )


def _files(path: Path, digest: str) -> Iterator[tuple[Path, str]]:
    """Yields the files of an output with their digests, except files that are named by their content.

    A folder's list is a file of DVC's cache; one that is damaged is as good as none.
    """
    if not digest.endswith(".dir"):
        yield path, digest
        return
    listed = _cache() / digest[:2] / digest[2:]
    if listed.is_file() and _md5(listed) == digest.removesuffix(".dir"):
        for entry in json.loads(listed.read_bytes()):
            if not Path(entry["relpath"]).name.startswith(_NAMED_BY_CONTENT):
                yield path / entry["relpath"], str(entry["md5"])


def _cache() -> Path:
    """Returns the folder of DVC's cache from the project's configuration; asking DVC itself would take a second."""
    folder = Path(".dvc")
    config = configparser.ConfigParser(interpolation=None)
    config.read([folder / "config", folder / "config.local"], encoding="utf-8")
    return folder / config.get("cache", "dir", fallback="cache") / "files" / "md5"


def md5_of_folder(path: Path) -> str:
    """Returns DVC's digest of a folder: that of the list of its files."""
    names = [inner.relative_to(path) for inner in path.rglob("*") if inner.is_file()]
    listed = [{"md5": _md5(path / name), "relpath": name.as_posix()} for name in names]
    listed.sort(key=lambda entry: entry["relpath"])
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
