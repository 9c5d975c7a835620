"""The files that a project depends on, verified by digest: outputs, DVC's copies, checkpoints, corrections."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.config.compose import read_params
from sightline.config.params import PARAMS
from sightline.core import files, git, progress
from sightline.core.dvc_files import LOCK
from sightline.core.errors import UserError
from sightline.core.stage_inputs import md5_of_folder
from sightline.datasets.corrections import CorrectionFile

CORRECTIONS = "data/corrections.csv"
"""The default in `conf/ingest/default.yaml`."""


@dataclass(frozen=True)
class Damage:
    """A file that has changed since it was written, and the remedy."""

    path: Path
    remedy: str

    def __str__(self) -> str:
        """Returns one line."""
        return f"{self.path} has changed since it was written: {self.remedy}"


@dataclass(frozen=True)
class RecordedFile:
    """A file in a stage's output: stage, output, path, MD5, and DVC's copy."""

    stage: str
    output: Path
    path: Path
    md5: str
    copy: Path

    def damage(self) -> Iterator[Damage]:
        """Yields its damage; a missing file is not damaged (`dvc pull` or `dvc repro` makes it)."""
        copy_is_sound = self.copy.is_file() and _md5(self.copy) == self.md5
        if self.copy.is_file() and not copy_is_sound:
            yield Damage(self.copy, f"rm -rf {self.copy} {self.output} && dvc repro {self.stage}")
        elif self.path.is_file() and not self._is_linked() and _md5(self.path) != self.md5:
            # Removed first: DVC considers a file unchanged if its size, mtime and inode are.
            mending = f"dvc checkout {self.output}" if copy_is_sound else f"dvc repro {self.stage}"
            yield Damage(self.path, f"rm -f {self.path} && {mending}")

    def _is_linked(self) -> bool:
        return self.copy.is_file() and self.path.samefile(self.copy)


def damages() -> tuple[int, list[Damage]]:
    """Returns the number of files read in the project in the current folder, and the damaged ones.

    Raises:
        UserError: If there is no readable `dvc.lock`.
    """
    found: list[Damage] = []
    recorded = list(_recorded(found))
    kept = sorted(files.STATE.glob("**/*.ckpt"))
    decided = _corrections_path()
    for file in progress.track(recorded, "outputs"):
        found += file.damage()
    for path in progress.track(kept, "checkpoints"):
        found += _checkpoint(path)
    found += _corrections(decided)
    return len(recorded) + len(kept) + decided.is_file(), found


def _corrections_path() -> Path:
    knobs = read_params().get("ingest") if PARAMS.is_file() else None
    return Path((knobs or {}).get("corrections") or CORRECTIONS)


def _corrections(path: Path) -> Iterator[Damage]:
    """Yields damage to the file of corrections: rows are only ever appended, so committed ones must still be there."""
    if not path.is_file():
        return
    committed = git.stdout("show", f"HEAD:./{path}")
    if committed is not None and not path.read_bytes().startswith(committed):
        later = committed.count(b"\n") + 1
        yield Damage(path, f"(git show HEAD:./{path}; tail -n +{later} {path}) > {path}.tmp && mv {path}.tmp {path}")
        return
    try:
        CorrectionFile(path).rows()
    except UserError as error:
        yield Damage(path, str(error))


def _recorded(found: list[Damage]) -> Iterator[RecordedFile]:
    """Yields the files of all outputs; a folder's list of files is itself in DVC's cache, and may be damaged."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        stages: dict[str, Any] = YAML(typ="safe").load(LOCK.read_bytes())["stages"]
    except FileNotFoundError:
        raise UserError(f"there is no {LOCK} here: name a bundle, or go to the project's folder") from None
    except (YAMLError, KeyError, TypeError):
        raise UserError(f"{LOCK} is damaged: sightline repair") from None
    cache = _cache()
    for stage, made in stages.items():
        for out in made.get("outs", []):
            path, digest = Path(out["path"]), str(out["md5"])
            copy = cache / digest[:2] / digest[2:]
            if not digest.endswith(".dir"):
                yield RecordedFile(stage, path, path, digest, copy)
            elif copy.is_file():
                listed = copy.read_bytes()
                if hashlib.md5(listed, usedforsecurity=False).hexdigest() != digest.removesuffix(".dir"):
                    found.append(Damage(copy, f"rm -rf {copy} {path} && dvc repro {stage}"))
                    continue
                for entry in json.loads(listed):
                    part = str(entry["md5"])
                    yield RecordedFile(stage, path, path / entry["relpath"], part, cache / part[:2] / part[2:])
            elif path.is_dir() and md5_of_folder(path) != digest:  # DVC's list of its files is gone
                found.append(Damage(path, f"rm -rf {path} && dvc repro {stage}"))


def _cache() -> Path:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(".") as repo:
            return Path(repo.cache.local.path)
    except DvcException as error:
        raise UserError(f"this is not a DVC project ({error}): name a bundle, or go to the project's folder") from None


def _checkpoint(path: Path) -> Iterator[Damage]:
    from sightline.stages.train import checkpoint_io

    try:
        checkpoint_io.read_checkpoint(path)
    except checkpoint_io.DamagedError:
        yield Damage(path, f"rm {path}    # training resumes from the checkpoint before it, or restarts")


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
